//! The caller of a request and its correlation id.
//!
//! Over HTTP, `server` verifies the token and adds a [`Caller`] to the request. Over stdio, one
//! token is used for the life of the process. It is verified again for each call, so that its
//! expiry takes effect.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use rmcp::RoleServer;
use rmcp::service::RequestContext;
use tokio::time::Instant;

use super::tool_access::ToolAccess;
use crate::auth::{AuthError, Principal, Verifier};
use crate::foundation::memory_budget::Reservation;
use crate::foundation::secret::Secret;
use crate::telemetry::traces::TraceContext;

/// An authenticated caller, with the context of the request.
#[derive(Debug, Clone)]
pub struct Caller {
    pub principal: Principal,
    pub correlation_id: Arc<str>,
    pub traceparent: Option<Arc<str>>,
    /// The trace context of the request, if it is traced.
    pub trace_context: TraceContext,
    /// Whether messages can reach the client before the result does.
    pub accepts_progress: bool,
    /// The permissions that the filter of the request leaves.
    pub requested_access: ToolAccess,
    pub transport: TransportKind,
    /// The time that the verification of the token took.
    pub verified_in: Duration,
    /// The memory that is reserved for the request and its response.
    pub memory: Reservation,
}

/// The transport of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransportKind {
    Http,
    /// The HTTP+SSE transport of revision 2024-11-05.
    Sse,
    Stdio,
}

impl TransportKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Sse => "sse",
            Self::Stdio => "stdio",
        }
    }
}

/// How the caller of a request is determined.
pub enum Callers {
    /// From the extensions of the HTTP request.
    Request,
    /// From a token that is fixed for the life of the process.
    Fixed(FixedCaller),
}

/// The one caller of a process that is served over stdio.
pub struct FixedCaller {
    pub token: Secret,
    pub verifier: Arc<Verifier>,
    pub new_correlation_id: fn() -> Arc<str>,
}

/// The authentication of a call failed.
#[derive(Debug)]
pub struct UnauthenticatedError {
    pub refusal: AuthError,
    pub correlation_id: Arc<str>,
}

impl Callers {
    /// Authenticates the caller of a request.
    pub async fn identify(
        &self,
        context: &RequestContext<RoleServer>,
    ) -> Result<Caller, UnauthenticatedError> {
        match self {
            Self::Request => {
                let parts = context.extensions.get::<Parts>();
                let caller = parts
                    .and_then(|parts| parts.extensions.get::<Caller>())
                    .cloned();
                // The transport adds a caller to each request that it has authenticated.
                caller.ok_or_else(|| UnauthenticatedError {
                    refusal: AuthError::Missing,
                    correlation_id: Arc::from(""),
                })
            }
            Self::Fixed(fixed) => fixed.identify().await,
        }
    }
}

impl FixedCaller {
    async fn identify(&self) -> Result<Caller, UnauthenticatedError> {
        let correlation_id = (self.new_correlation_id)();
        let since = Instant::now();
        match self.verifier.verify(self.token.expose()).await {
            Ok(principal) => Ok(Caller {
                principal,
                correlation_id,
                traceparent: None,
                trace_context: TraceContext::default(),
                accepts_progress: true,
                requested_access: ToolAccess::ALL,
                transport: TransportKind::Stdio,
                verified_in: since.elapsed(),
                // Over stdio, the caller owns the process, so memory is not shared.
                memory: Reservation::uncounted(),
            }),
            Err(refusal) => Err(UnauthenticatedError {
                refusal,
                correlation_id,
            }),
        }
    }
}

impl fmt::Debug for FixedCaller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FixedCaller")
    }
}
