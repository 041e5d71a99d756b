//! Validates the form of a JSON-RPC message before rmcp reads it, on every transport.
//!
//! rmcp explains little of what it refuses, and over stdio nothing, so a client would wait for
//! ever. Here every request that cannot reach a method is answered with an error that names the
//! cause, with the request's id if that can be found.

use std::borrow::Cow;

use axum::body::Bytes;
use http::StatusCode;
use serde_json::Value;

use crate::foundation::json::{Json, JsonError, count_parts};
use crate::mcp::Arguments;
use crate::server::http::response::{INVALID_PARAMS, INVALID_REQUEST, PARSE_ERROR};
use crate::telemetry::metrics;

/// Ids are counters and UUIDs.
const MAX_ID_BYTES: usize = 256;

/// Versions are dates.
const MAX_VERSION_BYTES: usize = 64;

/// The size of a message without the arguments of its tool call, which are never built. The rest is
/// read into rmcp's model, which takes many times the memory of its text.
const MAX_ENVELOPE_BYTES: usize = 64 * 1024;

/// The values in that part. A document takes up to some 400 bytes for each, which a limit of bytes
/// alone does not bound: objects within objects take 85 times the memory of their text.
const MAX_ENVELOPE_PARTS: usize = 512;

/// The same limits for `initialize`, of which rmcp keeps a copy for as long as the session or
/// stream lasts.
const MAX_KEPT_BYTES: usize = 16 * 1024;
const MAX_KEPT_PARTS: usize = 128;

/// Memory that a document takes for each value, at most.
const BYTES_PER_PART: usize = 512;

/// Why a message does not reach rmcp.
#[derive(Debug)]
pub struct MessageError {
    pub status: StatusCode,
    pub code: i32,
    pub message: Cow<'static, str>,
}

impl MessageError {
    pub fn new(status: StatusCode, code: i32, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
        }
    }

    pub fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, INVALID_REQUEST, message)
    }

    fn params(why: &str) -> Self {
        let message = format!("params cannot be read: {why}");
        Self::new(StatusCode::BAD_REQUEST, INVALID_PARAMS, message)
    }
}

/// What has to be known of a message before it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It begins a conversation of the legacy revisions.
    Initialize,
    Other,
}

/// A valid message of JSON-RPC.
#[derive(Debug, Clone, Copy)]
pub struct ValidMessage<'a> {
    pub kind: Kind,
    pub method: Option<Json<'a>>,
    pub params: Option<Json<'a>>,
    /// Those of a tool call.
    arguments: Option<Json<'a>>,
    /// The text before and after them.
    around: (&'a str, &'a str),
}

/// The parts of a message that make it JSON-RPC. Unknown members are rmcp's business; a member that
/// comes twice is an error, since two readers could each use another one.
#[derive(Default)]
struct Outline<'a> {
    jsonrpc: Option<Json<'a>>,
    id: Option<Json<'a>>,
    method: Option<Json<'a>>,
    params: Option<Json<'a>>,
    result: Option<Json<'a>>,
    error: Option<Json<'a>>,
}

impl<'a> Outline<'a> {
    fn read(message: Json<'a>) -> Result<Self, MessageError> {
        let mut members = Self::default();
        for (name, value) in message.members() {
            let slot = match name.as_ref() {
                "jsonrpc" => &mut members.jsonrpc,
                "id" => &mut members.id,
                "method" => &mut members.method,
                "params" => &mut members.params,
                "result" => &mut members.result,
                "error" => &mut members.error,
                _ => continue,
            };
            if slot.replace(value).is_some() {
                return Err(MessageError::invalid(
                    "a member of the JSON-RPC message is given twice",
                ));
            }
        }
        Ok(members)
    }
}

/// The message's id, if it has a proper one, and whether it is one valid JSON-RPC 2.0 message.
pub fn validate(body: &[u8]) -> (Option<Json<'_>>, Result<ValidMessage<'_>, MessageError>) {
    let message = match Json::parse_syntax(body) {
        Err(_) => {
            let error = MessageError::new(
                StatusCode::BAD_REQUEST,
                PARSE_ERROR,
                "the message is not valid JSON",
            );
            return (None, Err(error));
        }
        Ok(value) if value.is_array() => {
            return (
                None,
                Err(MessageError::invalid("JSON-RPC batches are not supported")),
            );
        }
        Ok(value) if !value.is_object() => {
            return (
                None,
                Err(MessageError::invalid(
                    "the message is not a JSON-RPC object",
                )),
            );
        }
        Ok(message) => message,
    };
    match Outline::read(message) {
        Ok(members) => {
            let id = members.id.filter(|id| is_proper_id(*id));
            (id, members.check(message))
        }
        Err(error) => (None, Err(error)),
    }
}

impl<'a> Outline<'a> {
    fn check(&self, message: Json<'a>) -> Result<ValidMessage<'a>, MessageError> {
        let kind = self.kind()?;
        message
            .check()
            .map_err(|error| MessageError::params(reason(error)))?;
        let is_call = self.method.map(Json::get) == Some("\"tools/call\"");
        let arguments = self
            .params
            .filter(|_| is_call)
            .and_then(|params| params.member("arguments"));
        let around = arguments.and_then(|arguments| message.around(arguments));
        let (head, tail) = around.unwrap_or((message.get(), ""));
        let bytes = head.len() + tail.len();
        let (max_bytes, max_parts) = match kind {
            Kind::Initialize => (MAX_KEPT_BYTES, MAX_KEPT_PARTS),
            Kind::Other => (MAX_ENVELOPE_BYTES, MAX_ENVELOPE_PARTS),
        };
        // A value takes at least a byte, so a short text need not be counted.
        let too_much = if bytes > max_parts && count_parts(head) + count_parts(tail) > max_parts {
            Some(format!("has more than {max_parts} values"))
        } else if bytes > max_bytes {
            Some(format!("is larger than {max_bytes} bytes"))
        } else {
            None
        };
        if let Some(too_much) = too_much {
            metrics::limit_reached("request_bytes");
            return Err(MessageError::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                INVALID_REQUEST,
                format!("the message without a tool's arguments {too_much}"),
            ));
        }
        Ok(ValidMessage {
            kind,
            method: self.method,
            params: self.params,
            arguments,
            around: (head, tail),
        })
    }

    fn kind(&self) -> Result<Kind, MessageError> {
        if self.jsonrpc.map(Json::get) != Some("\"2.0\"") {
            return Err(MessageError::invalid("jsonrpc must be \"2.0\""));
        }
        if self.id.is_some_and(|id| !is_proper_id(id)) {
            return Err(MessageError::invalid(
                "id must be a string of at most 256 bytes, or an integer",
            ));
        }
        if self
            .params
            .is_some_and(|params| !params.is_object() && !params.is_null())
        {
            let message = "params must be an object";
            return Err(MessageError::new(
                StatusCode::BAD_REQUEST,
                INVALID_PARAMS,
                message,
            ));
        }
        if self.method.map(Json::get) == Some("\"tools/list\"")
            && !self.params.is_none_or(has_good_cursor)
        {
            let message = "the cursor must be a string";
            return Err(MessageError::new(
                StatusCode::BAD_REQUEST,
                INVALID_PARAMS,
                message,
            ));
        }
        let initialize = self.method.map(Json::get) == Some("\"initialize\"");
        if initialize && !self.params.is_none_or(has_short_version) {
            let message = "protocolVersion must be a string of at most 64 bytes";
            return Err(MessageError::new(
                StatusCode::BAD_REQUEST,
                INVALID_PARAMS,
                message,
            ));
        }
        match self.method {
            Some(_) if initialize => Ok(Kind::Initialize),
            Some(method) if method.as_str().is_some() => Ok(Kind::Other),
            Some(_) => Err(MessageError::invalid("method must be a string")),
            None if self.result.is_some() || self.error.is_some() => Ok(Kind::Other),
            None => Err(MessageError::invalid("method is missing")),
        }
    }
}

/// A message as rmcp gets it, and the arguments of its tool call, which travel beside it as they
/// came.
pub struct SplitMessage {
    pub message: Bytes,
    pub arguments: Option<Arguments>,
}

impl ValidMessage<'_> {
    /// Memory for the document that rmcp reads the message into.
    pub fn document_bytes(&self) -> usize {
        let (head, tail) = self.around;
        (count_parts(head) + count_parts(tail)) * BYTES_PER_PART
    }

    /// The arguments of a tool call, out of the body that was validated.
    pub fn split_arguments(&self, body: &Bytes) -> Option<Arguments> {
        let text = self.arguments?.get().as_bytes();
        Some(Arguments::from_object(body.slice_ref(text)))
    }

    /// Splits `body`, which this was read from. With `apart` false the arguments stay in the
    /// message.
    pub fn split(&self, body: &Bytes, apart: bool) -> SplitMessage {
        let Some(arguments) = self.arguments.filter(|_| apart) else {
            return SplitMessage {
                message: body.clone(),
                arguments: None,
            };
        };
        let (head, tail) = self.around;
        // What is of another type is refused by rmcp, whatever it holds.
        let stand_in = if arguments.is_object() || arguments.is_null() {
            "{}"
        } else {
            "0"
        };
        SplitMessage {
            message: [head, stand_in, tail].concat().into(),
            arguments: self.split_arguments(body),
        }
    }
}

/// MCP forbids `null`, and rmcp would take a request with a strange id for a notification. An id is
/// repeated in the answer, so it may not be a burden of its own.
fn is_proper_id(id: Json<'_>) -> bool {
    match id.get().len() {
        // Both quotes.
        length if length > MAX_ID_BYTES + 2 => false,
        _ => id.as_str().is_some() || id.get().parse::<i64>().is_ok(),
    }
}

/// rmcp takes a cursor of another type for none at all, and would answer with the first page.
fn has_good_cursor(params: Json<'_>) -> bool {
    let mut cursors = params.members().filter(|(name, _)| name == "cursor");
    let good = |(_, cursor): (_, Json<'_>)| cursor.is_null() || cursor.as_str().is_some();
    cursors.next().is_none_or(good) && cursors.next().is_none()
}

/// rmcp logs a version that its header does not agree with, at whatever length.
fn has_short_version(params: Json<'_>) -> bool {
    let mut versions = params
        .members()
        .filter(|(name, _)| name == "protocolVersion");
    let short = |(_, version): (_, Json<'_>)| version.get().len() <= MAX_VERSION_BYTES + 2;
    versions.next().is_none_or(short) && versions.next().is_none()
}

fn reason(error: JsonError) -> &'static str {
    match error {
        JsonError::TooDeep => "nested too deeply",
        JsonError::LoneSurrogate => "a text holds half of a surrogate pair",
        JsonError::Syntax => "a value is not one that can be read",
    }
}

/// Why a valid message cannot be read by rmcp, which does not say it. Looked for only
/// when it has refused.
pub fn unreadable(body: &[u8]) -> MessageError {
    match serde_json::from_slice::<Value>(body) {
        Err(error) if error.to_string().contains("out of range") => {
            MessageError::params("a number is out of range")
        }
        Err(_) => MessageError::params("a value is not one that can be read"),
        Ok(message) if message.get("method").is_none() => {
            MessageError::invalid("the message is not one that MCP defines")
        }
        Ok(message) => match message.pointer("/params/_meta") {
            Some(meta) if !meta.is_object() => MessageError::params("_meta must be an object"),
            _ => MessageError::params("a member does not have the form that MCP gives it"),
        },
    }
}

/// The id in the beginning of a message that is too long to be kept, when it stands there.
pub fn id_in_prefix(beginning: &[u8]) -> Option<Json<'_>> {
    let text = match std::str::from_utf8(beginning) {
        Ok(text) => text,
        // Most likely a character that was cut.
        Err(error) => std::str::from_utf8(beginning.get(..error.valid_up_to())?).ok()?,
    };
    let beginning = Json::trusted(text.trim_ascii_start());
    let mut id = None;
    for (name, value) in beginning.members() {
        // Only with another member behind it is it known that the id was not cut.
        if id.is_some() {
            return id.filter(|id| is_proper_id(*id));
        }
        // What follows a value that is none need not stand where it seems to.
        let value = Json::parse_syntax(value.get().as_bytes()).ok()?;
        id = (name == "id").then_some(value);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(body: &[u8]) -> (Option<String>, i32) {
        let (id, checked) = validate(body);
        (
            id.map(|id| id.get().to_owned()),
            checked.err().map_or(0, |error| error.code),
        )
    }

    #[test]
    fn checks_messages() {
        for (body, id, code) in [
            (r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#, Some("1"), 0),
            (
                " \n{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"method\":\"ping\"} ",
                Some("\"a\""),
                0,
            ),
            (
                r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
                None,
                0,
            ),
            (r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, Some("1"), 0),
            (
                r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#,
                None,
                INVALID_REQUEST,
            ),
            (
                r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#,
                None,
                INVALID_REQUEST,
            ),
            (
                r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#,
                None,
                INVALID_REQUEST,
            ),
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
            (
                r#"{"jsonrpc":"2.0","id":1,"method":7}"#,
                Some("1"),
                INVALID_REQUEST,
            ),
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
            (
                r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#,
                None,
                INVALID_REQUEST,
            ),
            (r#"["2.0",1,"ping"]"#, None, INVALID_REQUEST),
            ("7", None, INVALID_REQUEST),
            ("null", None, INVALID_REQUEST),
            ("", None, PARSE_ERROR),
            ("[", None, PARSE_ERROR),
            ("{", None, PARSE_ERROR),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"ping"}}"#,
                None,
                PARSE_ERROR,
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":tru}}"#,
                None,
                PARSE_ERROR,
            ),
        ] {
            assert_eq!(
                outcome(body.as_bytes()),
                (id.map(str::to_owned), code),
                "{body}"
            );
        }
        assert_eq!(
            outcome(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\"}").1,
            PARSE_ERROR
        );
        // Depth is no reason to overflow the stack, and the id is known all the same.
        let deep = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"x\",\"params\":{{\"x\":{}{}}}}}",
            "[".repeat(1 << 20),
            "]".repeat(1 << 20)
        );
        assert_eq!(outcome(deep.as_bytes()), (Some("1".into()), INVALID_PARAMS));
    }

    #[test]
    fn ids_are_bounded_and_must_be_text() {
        for (id, good) in [
            (format!("\"{}\"", "x".repeat(256)), true),
            (format!("\"{}\"", "x".repeat(257)), false),
            (r#""\ud83d""#.to_owned(), false),
        ] {
            let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
            assert_eq!(outcome(body.as_bytes()).1 == 0, good, "{body}");
        }
    }

    #[test]
    fn refuses_parameters_that_rmcp_would_misread() {
        for (method, params, good) in [
            ("tools/list", r#"{"cursor":7}"#.to_owned(), false),
            ("tools/list", r#"{"cursor":null}"#.to_owned(), true),
            ("tools/list", "null".to_owned(), true),
            (
                "initialize",
                r#"{"protocolVersion":"2025-06-18"}"#.to_owned(),
                true,
            ),
            (
                "initialize",
                format!(r#"{{"protocolVersion":"{}"}}"#, "9".repeat(65)),
                false,
            ),
        ] {
            let body =
                format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
            assert_eq!(outcome(body.as_bytes()).1 == 0, good, "{body}");
        }
    }

    #[test]
    fn what_is_kept_of_initialize_is_bounded() {
        for (method, bytes, values, good) in [
            ("initialize", 15_000, 100, true),
            ("initialize", 17_000, 0, false),
            ("initialize", 0, 130, false),
            ("ping", 17_000, 130, true),
        ] {
            let (text, list) = ("x".repeat(bytes), "0,".repeat(values));
            let params = format!(r#"{{"x":"{text}","y":[{list}0]}}"#);
            let body =
                format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
            let outcome = validate(body.as_bytes()).1;
            assert_eq!(outcome.is_ok(), good, "{method} {bytes} {values}");
            assert!(outcome.map_or(true, |message| message.document_bytes() > values * 500));
        }
    }

    #[test]
    fn explains_unreadable_messages() {
        let message = |params: &str| {
            let body =
                format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#);
            let refused = validate(body.as_bytes()).1.err();
            let error = refused.unwrap_or_else(|| unreadable(body.as_bytes()));
            assert_eq!(error.code, INVALID_PARAMS);
            error.message.into_owned()
        };
        let deep = format!("{{\"x\":{}{}}}", "[".repeat(200), "]".repeat(200));
        for (params, why) in [
            (deep.as_str(), "nested too deeply"),
            (r#"{"title":"x\ud83d"}"#, "half of a surrogate pair"),
            (r#"{"title":"\ude00"}"#, "half of a surrogate pair"),
            (r#"{"_meta":7}"#, "_meta must be an object"),
        ] {
            assert!(message(params).contains(why), "{}", message(params));
        }
    }

    #[test]
    fn finds_the_id_in_a_truncated_message() {
        for (beginning, id) in [
            (
                r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"x":"yyy"#,
                Some("7"),
            ),
            (
                r#"{"method":"x","id":"a","params":{"x":"yyy"#,
                Some("\"a\""),
            ),
            (r#"{"method":"x","id":12"#, None),
            (r#"{"method":"x","params":{"id":5,"x":"yyy"#, None),
            ("[1", None),
            ("", None),
        ] {
            let found = id_in_prefix(beginning.as_bytes()).map(Json::get);
            assert_eq!(found, id, "{beginning}");
        }
    }
}
