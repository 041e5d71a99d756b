//! Metrics and span of each request to the API: route, outcome and duration.

use http::Method;
use tokio::time::Instant;

use super::client::ApiAnswer;
use super::request::{ApiError, Request};
use crate::telemetry::metrics;
use crate::telemetry::traces::{Side, Span, TraceContext, names};

/// Status of a request that was dropped before its answer arrived.
const GIVEN_UP: &str = "given_up";

/// Records one request, from before it is sent. Recorded as given up if dropped early.
#[derive(Debug)]
pub(crate) struct RequestSpan {
    route: String,
    method: Method,
    since: Instant,
    ended: bool,
    span: Span,
}

impl RequestSpan {
    pub fn begin(request: &Request, parent: &TraceContext) -> Self {
        let route = template(&request.path);
        let method = request.method.clone();
        // Readiness checks belong to no call and to no trace.
        let mut span = if parent.is_known() {
            Span::begin(Side::Client, parent, || format!("{method} {route}").into())
        } else {
            Span::default()
        };
        if span.is_on() {
            span.set(names::HTTP_METHOD, method.to_string());
            span.set(names::URL_TEMPLATE, route.clone());
        }
        Self {
            span,
            route,
            method,
            since: Instant::now(),
            ended: false,
        }
    }

    /// The trace context to send, so that the API continues the trace.
    pub fn traceparent(&self) -> Option<String> {
        self.span.context().traceparent()
    }

    pub fn end(mut self, result: &Result<ApiAnswer, ApiError>) {
        self.ended = true;
        match result {
            Ok(answer) => {
                let status = http::StatusCode::from_u16(answer.reply.status).unwrap_or_default();
                self.record(status.as_str());
                self.span
                    .set(names::HTTP_STATUS, i64::from(status.as_u16()));
                if status.is_client_error() || status.is_server_error() {
                    self.span.failed(status.as_str().to_owned());
                }
            }
            Err(failure) => {
                self.record(reason(failure));
                self.span.failed(reason(failure));
            }
        }
    }

    fn record(&self, status: &str) {
        metrics::api_request_finished(
            &self.route,
            self.method.as_str(),
            status,
            self.since.elapsed(),
        );
    }
}

impl Drop for RequestSpan {
    fn drop(&mut self) {
        if !self.ended {
            self.record(GIVEN_UP);
            self.span.failed(GIVEN_UP);
        }
    }
}

/// Label of a failure that has no status.
fn reason(failure: &ApiError) -> &'static str {
    match failure {
        ApiError::Unreachable => "unreachable",
        ApiError::TimedOut { .. } => "timed_out",
        ApiError::AnswerTooLarge { .. } | ApiError::NoMemoryForAnswer => "too_large",
        // The other errors do not come from a request that was sent.
        ApiError::AnswerLost
        | ApiError::SessionRefused(_)
        | ApiError::NoAccess(_)
        | ApiError::CircuitOpen { .. }
        | ApiError::Overloaded
        | ApiError::Cancelled => "lost",
    }
}

/// The path with identifiers replaced: `/v1/notes/{id}/archive`. The remaining segments come from
/// the catalogue, so the number of templates is bounded. A segment after `sessions` is always an
/// identifier, because the API chooses it.
fn template(path: &str) -> String {
    let mut template = String::with_capacity(path.len());
    let mut previous = "";
    for segment in path.split('/').skip(1) {
        let is_name = segment.len() <= 24
            && segment
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        let named = is_name || (previous.is_empty() && segment == "v1");
        template.push('/');
        template.push_str(if named && previous != "sessions" {
            segment
        } else {
            "{id}"
        });
        previous = segment;
    }
    template
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn route_templates_contain_no_identifiers() {
        for (path, expected) in [
            ("/readyz", "/readyz"),
            ("/v1/chat_messages", "/v1/chat_messages"),
            (
                "/v1/notes/0192f0c8-7b1a-7cc0-8a1e-3f2b6f0d9a11",
                "/v1/notes/{id}",
            ),
            (
                "/v1/notes/aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa/archive",
                "/v1/notes/{id}/archive",
            ),
            ("/v1/sync/sessions", "/v1/sync/sessions"),
            ("/v1/sync/sessions/abcdef", "/v1/sync/sessions/{id}"),
            ("/v1/sync/sessions/v1", "/v1/sync/sessions/{id}"),
        ] {
            assert_eq!(template(path), expected);
        }
    }
}
