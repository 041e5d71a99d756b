//! The JSON-RPC message in a POST to `/mcp`, looked at before and after rmcp.
//!
//! Before: rmcp answers malformed JSON, batches and unreadable messages alike with 415 and plain text, and asks for an
//! `Accept` header that some clients do not send; so the message's outline is checked here, and `Accept` is read
//! generously. After: whatever rmcp still answers in plain text becomes a JSON-RPC error. The parameters are left
//! alone; rmcp parses them once.

use std::borrow::Cow;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use rmcp::transport::streamable_http_server::StreamableHttpService;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use serde::{Deserialize, Deserializer};
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::answer::{self, INTERNAL_ERROR, INVALID_PARAMS, INVALID_REQUEST, PARSE_ERROR};
use super::correlation::CorrelationId;
use crate::mcp::{Caller, Server};

/// What rmcp says in plain text is short.
const MAX_PLAIN_TEXT: usize = 1024;

#[derive(Clone)]
pub struct Endpoint {
    pub service: StreamableHttpService<Server, NeverSessionManager>,
    pub max_body_bytes: usize,
    pub body_timeout: Duration,
}

/// Why a message does not reach rmcp.
#[derive(Debug)]
struct Objection {
    status: StatusCode,
    code: i32,
    message: Cow<'static, str>,
}

impl Objection {
    fn new(status: StatusCode, code: i32, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
        }
    }

    fn invalid(message: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, INVALID_REQUEST, message)
    }
}

pub async fn post(State(endpoint): State<Endpoint>, request: Request) -> Response {
    let correlation_id = CorrelationId::of(&request);
    let refused = |objection: Objection, id: Option<&RawValue>| {
        answer::rpc_error(
            objection.status,
            objection.code,
            &objection.message,
            id,
            &correlation_id,
        )
    };
    let streams = match check_headers(request.headers()) {
        Ok(streams) => streams,
        Err(objection) => return refused(objection, None),
    };
    let (mut parts, body) = request.into_parts();
    let body = match endpoint.read(body).await {
        Ok(body) => body,
        Err(objection) => return refused(objection, None),
    };
    let (id, outline) = outline(&body);
    if let Err(objection) = outline {
        return refused(objection, id);
    }
    // rmcp compares both headers letter by letter.
    for (name, value) in [
        (ACCEPT, "application/json, text/event-stream"),
        (CONTENT_TYPE, "application/json"),
    ] {
        parts.headers.insert(name, HeaderValue::from_static(value));
    }
    if let Some(caller) = parts.extensions.get_mut::<Caller>() {
        caller.hears_progress = streams;
    }
    let served = endpoint
        .service
        .handle(Request::from_parts(parts, Body::from(body.clone())))
        .await;
    match plain_text_error(served).await {
        Ok(response) => response,
        Err(objection) => refused(objection, id),
    }
}

impl Endpoint {
    async fn read(&self, body: Body) -> Result<Bytes, Objection> {
        let collected = Limited::new(body, self.max_body_bytes).collect();
        match tokio::time::timeout(self.body_timeout, collected).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                let message = format!("the message is larger than {} bytes", self.max_body_bytes);
                Err(Objection::new(StatusCode::PAYLOAD_TOO_LARGE, INVALID_REQUEST, message))
            }
            Ok(Err(_)) => Err(Objection::invalid("the message did not arrive in full")),
            Err(_) => {
                let message = "the message did not arrive in time";
                Err(Objection::new(StatusCode::REQUEST_TIMEOUT, INVALID_REQUEST, message))
            }
        }
    }
}

/// Whether the client takes an event stream, if its headers are acceptable at all.
fn check_headers(headers: &HeaderMap) -> Result<bool, Objection> {
    let text = |name| {
        headers
            .get(name)
            .map(|value: &HeaderValue| value.to_str().unwrap_or("?"))
    };
    let unsupported =
        |message: &'static str| Objection::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, INVALID_REQUEST, message);
    let media_type = text(CONTENT_TYPE)
        .and_then(|value| value.split(';').next())
        .unwrap_or_default()
        .trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        return Err(unsupported("Content-Type must be application/json"));
    }
    if text(CONTENT_ENCODING).is_some_and(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
        return Err(unsupported("Content-Encoding is not supported"));
    }
    let accepted = Accepted::read(headers);
    if accepted.json {
        Ok(accepted.streams)
    } else {
        let message = "Accept must include application/json";
        Err(Objection::new(StatusCode::NOT_ACCEPTABLE, INVALID_REQUEST, message))
    }
}

/// What the client says it takes. The specification asks for both types; whoever says nothing, or takes JSON only, is
/// served in JSON, and only whoever names event streams may get one.
#[derive(Debug, Default, PartialEq, Eq)]
struct Accepted {
    json: bool,
    streams: bool,
}

impl Accepted {
    fn read(headers: &HeaderMap) -> Self {
        let mut accepted = Self {
            json: !headers.contains_key(ACCEPT),
            streams: false,
        };
        let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        for range in values.flat_map(|value| value.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let media_type = parts.next().unwrap_or_default().to_ascii_lowercase();
            let refused = parts.any(|part| {
                let quality = part.strip_prefix("q=").or_else(|| part.strip_prefix("Q="));
                quality
                    .and_then(|quality| quality.parse::<f32>().ok())
                    .is_some_and(|quality| quality <= 0.0)
            });
            match media_type.as_str() {
                _ if refused => {}
                "application/json" | "application/*" | "*/*" => accepted.json = true,
                "text/event-stream" => accepted.streams = true,
                _ => {}
            }
        }
        accepted
    }
}

/// The parts of a message that make it JSON-RPC. Unknown members are rmcp's business; a member that comes twice is an
/// error, since two readers could each believe another one.
#[derive(Deserialize)]
struct Outline<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    method: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    error: Option<&'a RawValue>,
}

/// `null` is present too.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// The message's id, if it has a proper one, and whether its outline is that of one JSON-RPC 2.0 message.
fn outline(body: &[u8]) -> (Option<&RawValue>, Result<(), Objection>) {
    let not_json = || Objection::new(StatusCode::BAD_REQUEST, PARSE_ERROR, "the message is not valid JSON");
    let Ok(text) = std::str::from_utf8(body) else {
        return (None, Err(not_json()));
    };
    // A struct would also be read from an array, so the kind of value is settled first.
    let is_object = text.trim_ascii_start().starts_with('{');
    if !is_object {
        let objection = match serde_json::from_str::<&RawValue>(text) {
            Err(_) => not_json(),
            Ok(value) if value.get().starts_with('[') => Objection::invalid("JSON-RPC batches are not supported"),
            Ok(_) => Objection::invalid("the message is not a JSON-RPC object"),
        };
        return (None, Err(objection));
    }
    match serde_json::from_str::<Outline<'_>>(text) {
        Ok(outline) => (outline.id.filter(|id| is_proper_id(id)), outline.check()),
        Err(error) if error.classify() == Category::Data => (
            None,
            Err(Objection::invalid("a member of the JSON-RPC message is given twice")),
        ),
        Err(_) => (None, Err(not_json())),
    }
}

impl Outline<'_> {
    fn check(&self) -> Result<(), Objection> {
        if self.jsonrpc.map(RawValue::get) != Some("\"2.0\"") {
            return Err(Objection::invalid("jsonrpc must be \"2.0\""));
        }
        if self.id.is_some_and(|id| !is_proper_id(id)) {
            return Err(Objection::invalid("id must be a string or an integer"));
        }
        if self.params.is_some_and(|params| !params.get().starts_with(['{', 'n'])) {
            let message = "params must be an object";
            return Err(Objection::new(StatusCode::BAD_REQUEST, INVALID_PARAMS, message));
        }
        match self.method {
            Some(method) if method.get().starts_with('"') => Ok(()),
            Some(_) => Err(Objection::invalid("method must be a string")),
            None if self.result.is_some() || self.error.is_some() => Ok(()),
            None => Err(Objection::invalid("method is missing")),
        }
    }
}

/// MCP forbids `null`, and rmcp would take a request with a strange id for a notification.
fn is_proper_id(id: &RawValue) -> bool {
    id.get().starts_with('"') || id.get().parse::<i64>().is_ok()
}

/// Lets through what a JSON-RPC client can read.
async fn plain_text_error(
    response: http::Response<impl http_body::Body<Data = Bytes, Error = std::convert::Infallible> + Send + 'static>,
) -> Result<Response, Objection> {
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
    tracing::debug!(status = status.as_u16(), error = %text, "the protocol library refused a message");
    Err(match status {
        // How rmcp says that valid JSON is no message it knows.
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Objection::invalid("the message is not one that MCP defines"),
        status if status.is_client_error() => {
            let message = text.strip_prefix("Bad Request: ").unwrap_or(&text).to_owned();
            Objection::new(status, INVALID_REQUEST, message)
        }
        status => Objection::new(status, INTERNAL_ERROR, "the message could not be answered"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(body: &[u8]) -> (Option<String>, i32) {
        let (id, outline) = outline(body);
        (
            id.map(|id| id.get().to_owned()),
            outline.err().map_or(0, |objection| objection.code),
        )
    }

    #[test]
    fn outlines() {
        for (body, id, code) in [
            (r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#, Some("1"), 0),
            (
                " \n{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"method\":\"ping\"} ",
                Some("\"a\""),
                0,
            ),
            (r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#, None, 0),
            (r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, Some("1"), 0),
            (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, None, INVALID_REQUEST),
            (r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, None, INVALID_REQUEST),
            (r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#, None, INVALID_REQUEST),
            (
                r#"{"jsonrpc":"2.0","id":99999999999999999999,"method":"ping"}"#,
                None,
                INVALID_REQUEST,
            ),
            (
                r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#,
                Some("1"),
                INVALID_REQUEST,
            ),
            (r#"{"id":1,"method":"ping"}"#, Some("1"), INVALID_REQUEST),
            (r#"{"jsonrpc":"2.0","id":1}"#, Some("1"), INVALID_REQUEST),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[1]}"#,
                Some("1"),
                INVALID_PARAMS,
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":null}"#,
                Some("1"),
                0,
            ),
            (r#"{"jsonrpc":"2.0","id":1,"method":7}"#, Some("1"), INVALID_REQUEST),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}"#,
                None,
                INVALID_REQUEST,
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"ping","\u006dethod":"x"}"#,
                None,
                INVALID_REQUEST,
            ),
            ("[]", None, INVALID_REQUEST),
            (r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, None, INVALID_REQUEST),
            (r#"["2.0",1,"ping"]"#, None, INVALID_REQUEST),
            ("7", None, INVALID_REQUEST),
            ("null", None, INVALID_REQUEST),
            ("", None, PARSE_ERROR),
            ("[", None, PARSE_ERROR),
            ("{", None, PARSE_ERROR),
            (r#"{"jsonrpc":"2.0","id":1,"method":"ping"}}"#, None, PARSE_ERROR),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":tru}}"#,
                None,
                PARSE_ERROR,
            ),
        ] {
            assert_eq!(verdict(body.as_bytes()), (id.map(str::to_owned), code), "{body}");
        }
        assert_eq!(
            verdict(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\"}").1,
            PARSE_ERROR
        );
        // Depth is no reason to overflow the stack.
        let deep = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"x\",\"params\":{{\"x\":{}{}}}}}",
            "[".repeat(1 << 20),
            "]".repeat(1 << 20)
        );
        assert_eq!(verdict(deep.as_bytes()), (Some("1".into()), 0));
    }

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
        assert_eq!(read(&["application/json", "text/event-stream"]), (true, true));
        assert_eq!(read(&["*/*"]), (true, false));
        assert_eq!(read(&["Application/JSON;q=0.5"]), (true, false));
        assert_eq!(read(&["text/event-stream"]), (false, true));
        assert_eq!(read(&["application/json;q=0, text/html"]), (false, false));
        assert_eq!(read(&["application/json, text/event-stream;q=0"]), (true, false));
    }
}
