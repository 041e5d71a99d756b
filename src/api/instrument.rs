//! What is told of each request to the API: its route, how it ended, how long it took. A traced one has a
//! span, in which the API goes on.

use http::Method;
use tokio::time::Instant;

use super::client::ApiAnswer;
use super::request::{ApiError, Request};
use crate::telemetry::metrics;
use crate::telemetry::traces::{Side, Span, TraceContext, names};

/// In place of the status of a request whose answer nobody waited for any more.
const GIVEN_UP: &str = "given_up";

/// One request, from before it is sent. Dropped in the middle, it tells that it was given up.
#[derive(Debug)]
pub(crate) struct RequestSpan {
    route: String,
    method: Method,
    since: Instant,
    ended: bool,
    span: Span,
}

impl RequestSpan {
    pub fn begin(request: &Request, place: &TraceContext) -> Self {
        let route = template(&request.path);
        let method = request.method.clone();
        // Whether the API is ready is asked in nobody's name, and belongs to no trace.
        let mut span = if place.is_known() {
            Span::begin(Side::Client, place, || format!("{method} {route}").into())
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

    /// For the API, which goes on from there.
    pub fn traceparent(&self) -> Option<String> {
        self.span.place().traceparent()
    }

    pub fn end(mut self, result: &Result<ApiAnswer, ApiError>) {
        self.ended = true;
        match result {
            Ok(answer) => {
                let status = http::StatusCode::from_u16(answer.reply.status).unwrap_or_default();
                self.tell(status.as_str());
                self.span
                    .set(names::HTTP_STATUS, i64::from(status.as_u16()));
                if status.is_client_error() || status.is_server_error() {
                    self.span.failed(status.as_str().to_owned());
                }
            }
            Err(failure) => {
                self.tell(reason(failure));
                self.span.failed(reason(failure));
            }
        }
    }

    fn tell(&self, status: &str) {
        metrics::api_asked(
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
            self.tell(GIVEN_UP);
            self.span.failed(GIVEN_UP);
        }
    }
}

/// Why there was no status.
fn reason(failure: &ApiError) -> &'static str {
    match failure {
        ApiError::Unreachable => "unreachable",
        ApiError::TimedOut { .. } => "timed_out",
        ApiError::AnswerTooLarge { .. } | ApiError::NoMemoryForAnswer => "too_large",
        // The others are no words on a request that was sent.
        ApiError::AnswerLost
        | ApiError::SessionRefused(_)
        | ApiError::NoAccess(_)
        | ApiError::CircuitOpen { .. }
        | ApiError::Overloaded
        | ApiError::Cancelled => "lost",
    }
}

/// The path without what tells one item from another: `/v1/notes/{id}/archive`. What stays is what the catalogue wrote
/// into it, so there are so many of them and no more; what follows `sessions` is the API's own word.
fn template(path: &str) -> String {
    let mut template = String::with_capacity(path.len());
    let mut after = "";
    for segment in path.split('/').skip(1) {
        let is_word = segment.len() <= 24
            && segment
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        let named = is_word || (after.is_empty() && segment == "v1");
        template.push('/');
        template.push_str(if named && after != "sessions" {
            segment
        } else {
            "{id}"
        });
        after = segment;
    }
    template
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_names_nothing_but_the_kind_of_request() {
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
