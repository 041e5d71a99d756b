//! Handles the JSON-RPC message of a POST to `/mcp`, before and after rmcp.
//!
//! rmcp answers malformed JSON, batches and unreadable messages alike with 415 and plain text, and
//! requires an `Accept` header that some clients do not send. The form of the message is therefore
//! checked here first, `Accept` is read generously, and what rmcp still answers in plain text
//! becomes a JSON-RPC error. The parameters are read later and once: by rmcp, or by the
//! [fast path](crate::server::http::fast_path).

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::response::Response;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::{BodyExt, Limited};
use rmcp::transport::streamable_http_server::StreamableHttpService;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;

use super::router::Handler;
use crate::foundation::json::Json;
use crate::mcp::Caller;
use crate::server::http::fast_path::FastRequest;
use crate::server::http::in_flight::InFlight;
use crate::server::http::middleware::authenticate::Authentication;
use crate::server::http::middleware::correlation::CorrelationId;
use crate::server::http::middleware::{scope_challenge, tool_filter};
use crate::server::http::request_body;
use crate::server::http::request_body::Limits;
use crate::server::http::response;
use crate::server::http::response::{INTERNAL_ERROR, INVALID_REQUEST};
use crate::server::jsonrpc::structured_content;
use crate::server::jsonrpc::validate::{Kind, MessageError, SplitMessage, unreadable, validate};
use crate::server::sessions::{RmcpResponse, SessionMode, Sessions, retry_later};
use crate::telemetry::fields;

/// What rmcp says in plain text is short.
const MAX_PLAIN_TEXT: usize = 1024;

pub struct Endpoint<H> {
    /// Serves each request on its own.
    pub stateless: StreamableHttpService<H, NeverSessionManager>,
    pub sessions: Option<Sessions<H>>,
    pub limits: Limits,
    pub handler: H,
    pub authentication: Arc<Authentication>,
}

pub async fn post<H: Handler>(endpoint: &Endpoint<H>, request: Request) -> Response {
    let correlation_id = CorrelationId::of(&request);
    let refused = |error: MessageError, id: Option<Json<'_>>| {
        let mut response = response::rpc_error(
            error.status,
            error.code,
            &error.message,
            id,
            &correlation_id,
            None,
        );
        retry_later(&mut response);
        response
    };
    let requested_access = match tool_filter::requested_access(
        |filter| endpoint.handler.apply_filter(filter),
        request.uri(),
        request.headers(),
    ) {
        Ok(requested_access) => requested_access,
        Err(error) => return refused(error, None),
    };
    let streams = match check_headers(request.headers()) {
        Ok(streams) => streams,
        Err(error) => return refused(error, None),
    };
    let (mut parts, body) = request.into_parts();
    let memory = parts
        .extensions
        .get()
        .map(|caller: &Caller| caller.memory.clone());
    let memory = memory.unwrap_or_default();
    let body = match endpoint.limits.read(body, &memory).await {
        Ok(body) => body,
        Err(error) => return refused(error, None),
    };
    // From here on it is waited for when the server leaves.
    let running = InFlight::begin(&parts.extensions);
    let (id, checked) = validate(&body);
    let valid = match checked {
        Ok(valid) => valid,
        Err(error) => return refused(error, id),
    };
    if let Some(caller) = parts.extensions.get_mut::<Caller>() {
        caller.accepts_progress = streams;
        caller.requested_access = requested_access;
        if let Some(refusal) = scope_challenge::refusal(
            &endpoint.handler,
            &endpoint.authentication.challenge,
            caller,
            id,
            &valid,
        ) {
            return refusal;
        }
    }
    if let (None, Some(server), Some(caller)) = (
        &endpoint.sessions,
        endpoint.handler.fast_path_server(),
        parts.extensions.get(),
    ) && let Some(question) =
        FastRequest::read(server, &parts.headers, id, &valid, &body, caller, None)
    {
        // Boxed, because the futures around it are moved several times.
        let answer = Box::pin(question.answer(server, caller, None)).await;
        memory.shrink_to(answer.capacity());
        let answer = Body::from(memory.attach(answer));
        return response::written(StatusCode::OK, running.until_the_end_of(answer));
    }
    if let Err(error) = Limits::reserve_document(&valid, &body, &memory).await {
        return refused(error, id);
    }
    // rmcp compares both headers letter by letter.
    for (name, value) in [
        (ACCEPT, "application/json, text/event-stream"),
        (CONTENT_TYPE, "application/json"),
    ] {
        parts.headers.insert(name, HeaderValue::from_static(value));
    }
    let SplitMessage { message, arguments } = valid.split(&body, H::ARGUMENTS_APART);
    if let Some(arguments) = arguments {
        parts.extensions.insert(arguments);
    }
    let request = Request::from_parts(parts, Body::from(message.clone()));
    // Boxed, which keeps rmcp's state out of the future of the fast path.
    let served = match Box::pin(endpoint.serve(request, valid.kind, streams)).await {
        Ok(served) => served,
        Err(error) => return refused(error, id),
    };
    match plain_text_error(served, &message).await {
        Ok(response) => structured_content::fill_response(response, memory)
            .await
            .map(|answer| running.until_the_end_of(answer)),
        Err(error) => refused(error, id),
    }
}

impl<H: Handler> Endpoint<H> {
    async fn serve(
        &self,
        request: Request,
        kind: Kind,
        streams: bool,
    ) -> Result<RmcpResponse, MessageError> {
        let (Some(sessions), Some(caller)) = (&self.sessions, request.extensions().get::<Caller>())
        else {
            return Ok(self.stateless.handle(request).await);
        };
        match sessions.mode(request.headers(), caller, kind, streams)? {
            SessionMode::Stateless => Ok(self.stateless.handle(request).await),
            SessionMode::Opening => {
                let caller = caller.clone();
                sessions.open(request, &caller).await
            }
            SessionMode::Existing => sessions.handle(request).await,
        }
    }
}

/// Whether the client takes an event stream, if its headers are acceptable at all.
fn check_headers(headers: &HeaderMap) -> Result<bool, MessageError> {
    request_body::check(headers)?;
    let accepted = Accepted::read(headers);
    if accepted.json {
        Ok(accepted.streams)
    } else {
        let message = "Accept must include application/json";
        Err(MessageError::new(
            StatusCode::NOT_ACCEPTABLE,
            INVALID_REQUEST,
            message,
        ))
    }
}

/// The media types that the client accepts. The specification requires both. A client that names
/// none, or JSON only, is answered in JSON; an event stream needs to be named.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub json: bool,
    pub streams: bool,
}

impl Accepted {
    pub fn read(headers: &HeaderMap) -> Self {
        let mut accepted = Self {
            json: !headers.contains_key(ACCEPT),
            streams: false,
        };
        let values = headers
            .get_all(ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok());
        for range in values.flat_map(|value| value.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let media_type = parts.next().unwrap_or_default();
            let is = |one_of: &[&str]| {
                one_of
                    .iter()
                    .any(|name| media_type.eq_ignore_ascii_case(name))
            };
            let refused = parts.any(|part| {
                let quality = part.strip_prefix("q=").or_else(|| part.strip_prefix("Q="));
                quality
                    .and_then(|quality| quality.parse::<f32>().ok())
                    .is_some_and(|quality| quality <= 0.0)
            });
            if refused {
                continue;
            }
            accepted.json |= is(&["application/json", "application/*", "*/*"]);
            accepted.streams |= is(&["text/event-stream"]);
        }
        accepted
    }
}

/// Lets through what a JSON-RPC client can read.
pub async fn plain_text_error(
    response: http::Response<
        impl http_body::Body<Data = Bytes, Error = std::convert::Infallible> + Send + 'static,
    >,
    message: &[u8],
) -> Result<Response, MessageError> {
    let status = response.status();
    let is_json = response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/json"));
    if status.is_success() || is_json {
        return Ok(response.map(Body::new));
    }
    let text = Limited::new(response.into_body(), MAX_PLAIN_TEXT)
        .collect()
        .await
        .map(|body| body.to_bytes())
        .unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    tracing::debug!({ fields::STATUS } = status.as_u16(), { fields::ERROR } = %text, "the protocol \
        library refused a message");
    Err(match status {
        // How rmcp says that it cannot read what is valid JSON.
        StatusCode::UNSUPPORTED_MEDIA_TYPE => unreadable(message),
        status if status.is_client_error() => {
            let message = text
                .strip_prefix("Bad Request: ")
                .unwrap_or(&text)
                .to_owned();
            MessageError::new(status, INVALID_REQUEST, message)
        }
        status => MessageError::new(status, INTERNAL_ERROR, "the message could not be answered"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_is_read_generously() {
        let read = |values: &[&str]| {
            let headers = values
                .iter()
                .map(|value| (ACCEPT, HeaderValue::from_str(value).unwrap()))
                .collect();
            let accepted = Accepted::read(&headers);
            (accepted.json, accepted.streams)
        };
        assert_eq!(read(&[]), (true, false));
        assert_eq!(read(&["application/json, text/event-stream"]), (true, true));
        assert_eq!(
            read(&["application/json", "text/event-stream"]),
            (true, true)
        );
        assert_eq!(read(&["*/*"]), (true, false));
        assert_eq!(read(&["Application/JSON;q=0.5"]), (true, false));
        assert_eq!(read(&["text/event-stream"]), (false, true));
        assert_eq!(read(&["application/json;q=0, text/html"]), (false, false));
        assert_eq!(
            read(&["application/json, text/event-stream;q=0"]),
            (true, false)
        );
    }
}
