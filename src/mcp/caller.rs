//! Who is behind a request, and under which correlation id it runs.
//!
//! Over HTTP, `transport` has verified the token and put a [`Caller`] into the request. Over stdio there is one token
//! for the life of the process, verified anew for each call, so that it expires like any other.

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
use crate::foundation::token_secret::Secret;
use crate::telemetry::traces::TraceContext;

#[derive(Debug, Clone)]
pub struct Caller {
    pub principal: Principal,
    pub correlation_id: Arc<str>,
    pub traceparent: Option<Arc<str>>,
    /// Where in a trace the request is, when it is traced.
    pub place: TraceContext,
    /// Whether messages can reach the client before the result does.
    pub hears_progress: bool,
    /// What the request itself leaves of the tools.
    pub asked: ToolAccess,
    pub via: Via,
    /// How long it took to verify the token.
    pub verified_in: Duration,
    /// What the request and its answer take while they are here.
    pub memory: Reservation,
}

/// How a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    Http,
    /// The transport of 2024-11-05.
    Sse,
    Stdio,
}

impl Via {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Sse => "sse",
            Self::Stdio => "stdio",
        }
    }
}

/// Where callers come from.
pub enum Callers {
    /// From the extensions of the HTTP request.
    Request,
    Fixed(FixedCaller),
}

pub struct FixedCaller {
    pub token: Secret,
    pub verifier: Arc<Verifier>,
    pub new_correlation_id: fn() -> Arc<str>,
}

/// A caller who is not let in.
#[derive(Debug)]
pub struct UnauthenticatedError {
    pub refusal: AuthError,
    pub correlation_id: Arc<str>,
}

impl Callers {
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
                // A request without a caller has come past the door; it is nobody's.
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
                place: TraceContext::default(),
                hears_progress: true,
                asked: ToolAccess::ALL,
                via: Via::Stdio,
                verified_in: since.elapsed(),
                // A pipe has one caller, whose own process this is.
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
