//! Verifies the token of a request and puts a [`Caller`] into its extensions, before the body is
//! read.
//!
//! From here on only the principal holds the token: the header is removed, so that no library that
//! logs requests can leak it. Headers reserved for the server are removed too.

use std::future::Future;
use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use http::header::{AUTHORIZATION, CONNECTION};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::time::Instant;

use super::correlation::{CorrelationId, traceparent};
use crate::auth::Verifier;
use crate::auth::challenge::Challenge;
use crate::foundation::memory_budget::MemoryBudget;
use crate::mcp::{Caller, ToolAccess, TransportKind};
use crate::server::http::limits::principal_limit::{
    Connection, PrincipalLimit, TooManyConnectionsError,
};
use crate::server::http::response;
use crate::telemetry::traces::TraceContext;
use crate::telemetry::{fields, metrics};

const TOO_MANY: &str = "too_many_connections";

#[derive(Debug)]
pub struct Authentication {
    pub verifier: Arc<Verifier>,
    pub challenge: Challenge,
    pub principal_limit: Arc<PrincipalLimit>,
    pub memory: Arc<MemoryBudget>,
}

pub async fn check<F>(
    authentication: &Authentication,
    mut request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response
where
    F: Future<Output = Response>,
{
    let correlation_id = CorrelationId::of(&request);
    let since = Instant::now();
    match authentication
        .verifier
        .authenticate(request.headers())
        .await
    {
        Ok(principal) => {
            let connection = request.extensions().get::<Connection>();
            let held = connection.map(|connection| {
                connection.belongs_to(&principal.subject, &authentication.principal_limit)
            });
            if let Some(Err(TooManyConnectionsError)) = held {
                metrics::limit_reached("connections_per_principal");
                tracing::info!(
                    { fields::CORRELATION_ID } = correlation_id.as_str(),
                    { fields::REASON } = TOO_MANY,
                    "a caller was refused: they hold as many connections as one may"
                );
                return too_many_connections(&correlation_id);
            }
            let traceparent = traceparent(request.headers());
            let trace_context = request
                .extensions()
                .get::<TraceContext>()
                .cloned()
                .unwrap_or_default();
            strip(request.headers_mut());
            let correlation_id = correlation_id.0;
            let memory = authentication.memory.open(&principal.subject);
            request.extensions_mut().insert(Caller {
                principal,
                correlation_id,
                traceparent,
                trace_context,
                accepts_progress: false,
                requested_access: ToolAccess::ALL,
                transport: TransportKind::Http,
                verified_in: since.elapsed(),
                memory,
            });
            next(request).await
        }
        Err(refusal) => {
            metrics::auth_failed(refusal.reason());
            tracing::info!(
                { fields::CORRELATION_ID } = correlation_id.as_str(),
                { fields::REASON } = refusal.reason(),
                "a caller was refused: {refusal}"
            );
            response::refusal(refusal, &authentication.challenge, &correlation_id)
        }
    }
}

/// Closes the connection, as it exceeds the limit.
fn too_many_connections(about: &CorrelationId) -> Response {
    let message = "this caller holds as many connections as one may; close one first";
    let response = response::error(StatusCode::TOO_MANY_REQUESTS, TOO_MANY, message, about);
    let mut response = response::retry_after(response, 1);
    response
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

pub(crate) fn strip(headers: &mut HeaderMap) {
    headers.remove(AUTHORIZATION);
    let is_reserved = |name: &&HeaderName| {
        name.as_str().starts_with("x-tb-") || name.as_str().starts_with("x-sync-")
    };
    let forged: Vec<HeaderName> = headers.keys().filter(is_reserved).cloned().collect();
    for name in forged {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removes_the_token_and_forged_headers() {
        let names = [
            "authorization",
            "x-tb-tenant-id",
            "x-tb-anything",
            "x-sync-session",
            "x-correlation-id",
            "accept",
        ];
        let mut headers = HeaderMap::new();
        for name in names.map(HeaderName::from_static) {
            headers.append(&name, HeaderValue::from_static("1"));
            headers.append(&name, HeaderValue::from_static("2"));
        }
        strip(&mut headers);
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["accept", "x-correlation-id"]);
    }
}
