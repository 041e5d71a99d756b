//! From the request's token to a [`Caller`] in its extensions, before the body is read.
//!
//! After this point the token exists only inside the principal: the header is taken off, so that no log line of a
//! library that prints requests can show it. Headers that only the sidecar may write are taken off too.

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
use crate::mcp::{Caller, ToolAccess, Via};
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
    pub holders: Arc<PrincipalLimit>,
    pub memory: Arc<MemoryBudget>,
}

pub async fn check<F>(
    door: &Authentication,
    mut request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response
where
    F: Future<Output = Response>,
{
    let correlation_id = CorrelationId::of(&request);
    let since = Instant::now();
    match door.verifier.authenticate(request.headers()).await {
        Ok(principal) => {
            let connection = request.extensions().get::<Connection>();
            let held = connection
                .map(|connection| connection.belongs_to(&principal.subject, &door.holders));
            if let Some(Err(TooManyConnectionsError)) = held {
                metrics::limited("connections_per_principal");
                tracing::info!(
                    { fields::CORRELATION_ID } = correlation_id.as_str(),
                    { fields::REASON } = TOO_MANY,
                    "a caller was refused: they hold as many connections as one may"
                );
                return too_many_connections(&correlation_id);
            }
            let traceparent = traceparent(request.headers());
            let place = request
                .extensions()
                .get::<TraceContext>()
                .cloned()
                .unwrap_or_default();
            strip(request.headers_mut());
            let correlation_id = correlation_id.0;
            let memory = door.memory.open(&principal.subject);
            request.extensions_mut().insert(Caller {
                principal,
                correlation_id,
                traceparent,
                place,
                hears_progress: false,
                asked: ToolAccess::ALL,
                via: Via::Http,
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
            response::refusal(refusal, &door.challenge, &correlation_id)
        }
    }
}

/// The connection goes with the answer: it is one too many.
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
    let ours = |name: &&HeaderName| {
        name.as_str().starts_with("x-tb-") || name.as_str().starts_with("x-sync-")
    };
    let forged: Vec<HeaderName> = headers.keys().filter(ours).cloned().collect();
    for name in forged {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_the_token_nor_forged_headers_go_further() {
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
