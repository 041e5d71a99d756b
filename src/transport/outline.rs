//! The outline of a JSON-RPC message, looked at before rmcp sees it, whichever way it came.
//!
//! rmcp says little about what it refuses, and over stdio nothing at all: a client would wait for ever. Here every
//! request that will not reach a method gets its objection, with the request's id where that can be found.

use std::borrow::Cow;
use std::fmt;

use http::StatusCode;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::answer::{INVALID_PARAMS, INVALID_REQUEST, PARSE_ERROR};

/// Ids are counters and UUIDs.
const MAX_ID_BYTES: usize = 256;

/// Versions are dates.
const MAX_VERSION_BYTES: usize = 64;

/// Why a message does not reach rmcp.
#[derive(Debug)]
pub struct Objection {
    pub status: StatusCode,
    pub code: i32,
    pub message: Cow<'static, str>,
}

impl Objection {
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
}

/// What has to be known of a message before it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It begins a conversation of the legacy revisions.
    Initialize,
    Other,
}

/// A message of good outline.
#[derive(Debug, Clone, Copy)]
pub struct Outlined<'a> {
    pub kind: Kind,
    pub method: Option<&'a RawValue>,
    pub params: Option<&'a RawValue>,
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
pub fn outline(body: &[u8]) -> (Option<&RawValue>, Result<Outlined<'_>, Objection>) {
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
        Ok(outline) => {
            let outlined = |kind| Outlined {
                kind,
                method: outline.method,
                params: outline.params,
            };
            (outline.id.filter(|id| is_proper_id(id)), outline.check().map(outlined))
        }
        Err(error) if error.classify() == Category::Data => (
            None,
            Err(Objection::invalid("a member of the JSON-RPC message is given twice")),
        ),
        Err(_) => (None, Err(not_json())),
    }
}

impl Outline<'_> {
    fn check(&self) -> Result<Kind, Objection> {
        if self.jsonrpc.map(RawValue::get) != Some("\"2.0\"") {
            return Err(Objection::invalid("jsonrpc must be \"2.0\""));
        }
        if self.id.is_some_and(|id| !is_proper_id(id)) {
            return Err(Objection::invalid(
                "id must be a string of at most 256 bytes, or an integer",
            ));
        }
        if self.params.is_some_and(|params| !params.get().starts_with(['{', 'n'])) {
            let message = "params must be an object";
            return Err(Objection::new(StatusCode::BAD_REQUEST, INVALID_PARAMS, message));
        }
        if self.method.map(RawValue::get) == Some("\"tools/list\"") && !self.params.is_none_or(has_good_cursor) {
            let message = "the cursor must be a string";
            return Err(Objection::new(StatusCode::BAD_REQUEST, INVALID_PARAMS, message));
        }
        let initialize = self.method.map(RawValue::get) == Some("\"initialize\"");
        if initialize && !self.params.is_none_or(has_short_version) {
            let message = "protocolVersion must be a string of at most 64 bytes";
            return Err(Objection::new(StatusCode::BAD_REQUEST, INVALID_PARAMS, message));
        }
        match self.method {
            Some(_) if initialize => Ok(Kind::Initialize),
            Some(method) if is_string(method) => Ok(Kind::Other),
            Some(_) => Err(Objection::invalid("method must be a string")),
            None if self.result.is_some() || self.error.is_some() => Ok(Kind::Other),
            None => Err(Objection::invalid("method is missing")),
        }
    }
}

/// MCP forbids `null`, and rmcp would take a request with a strange id for a notification. An id is repeated in the
/// answer, so it may not be a burden of its own.
fn is_proper_id(id: &RawValue) -> bool {
    match id.get().len() {
        // Both quotes.
        length if length > MAX_ID_BYTES + 2 => false,
        _ => is_string(id) || id.get().parse::<i64>().is_ok(),
    }
}

/// rmcp takes a cursor of another type for none at all, and would answer with the first page.
fn has_good_cursor(params: &RawValue) -> bool {
    #[derive(Deserialize)]
    struct Page<'a> {
        #[serde(borrow)]
        cursor: Option<&'a RawValue>,
    }
    match serde_json::from_str::<Option<Page<'_>>>(params.get()) {
        Ok(page) => page.and_then(|page| page.cursor).is_none_or(is_string),
        Err(_) => false,
    }
}

/// rmcp logs a version that its header does not agree with, at whatever length.
fn has_short_version(params: &RawValue) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Hello<'a> {
        #[serde(borrow)]
        protocol_version: Option<&'a RawValue>,
    }
    match serde_json::from_str::<Option<Hello<'_>>>(params.get()) {
        Ok(hello) => hello
            .and_then(|hello| hello.protocol_version)
            .is_none_or(|version| version.get().len() <= MAX_VERSION_BYTES + 2),
        Err(_) => false,
    }
}

/// Half of a surrogate pair passes for raw JSON and is no text.
fn is_string(value: &RawValue) -> bool {
    value.get().starts_with('"') && serde_json::from_str::<Cow<'_, str>>(value.get()).is_ok()
}

/// Why a message of good outline cannot be read by rmcp, which does not say it. Looked for only when it has refused.
pub fn unreadable(body: &[u8]) -> Objection {
    let because = |why: &str| {
        let message = format!("params cannot be read: {why}");
        Objection::new(StatusCode::BAD_REQUEST, INVALID_PARAMS, message)
    };
    match serde_json::from_slice::<Value>(body) {
        Err(error) => {
            let said = error.to_string();
            let known = [
                ("recursion limit", "nested too deeply"),
                ("surrogate", "a text holds half of a surrogate pair"),
                ("hex escape", "a text holds half of a surrogate pair"),
                ("out of range", "a number is out of range"),
            ];
            let why = known.iter().find(|(sign, _)| said.contains(sign));
            because(why.map_or("a value is not one that can be read", |(_, why)| why))
        }
        Ok(message) if message.get("method").is_none() => Objection::invalid("the message is not one that MCP defines"),
        Ok(message) => match message.pointer("/params/_meta") {
            Some(meta) if !meta.is_object() => because("_meta must be an object"),
            _ => because("a member does not have the form that MCP gives it"),
        },
    }
}

/// The id in the beginning of a message that is too long to be kept, when it stands there.
pub fn id_in_beginning(beginning: &[u8]) -> Option<&RawValue> {
    let text = match std::str::from_utf8(beginning) {
        Ok(text) => text,
        // Most likely a character that was cut.
        Err(error) => std::str::from_utf8(beginning.get(..error.valid_up_to())?).ok()?,
    };
    let mut found = Found(None);
    // This ends in an error, where the text was cut; what came before is what it is for.
    let _ = (&mut found).deserialize(&mut serde_json::Deserializer::from_str(text));
    found.0.filter(|id| is_proper_id(id))
}

struct Found<'a>(Option<&'a RawValue>);

impl<'a> DeserializeSeed<'a> for &mut Found<'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'a> Visitor<'a> for &mut Found<'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a message")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut members: A) -> Result<(), A::Error> {
        let mut id = None;
        while let Some(name) = members.next_key::<String>()? {
            // Only now is it known that the number before was not cut.
            self.0 = self.0.or(id.take());
            if name == "id" {
                id = Some(members.next_value::<&'a RawValue>()?);
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
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
    fn ids_are_bounded_and_must_be_text() {
        for (id, good) in [
            (format!("\"{}\"", "x".repeat(256)), true),
            (format!("\"{}\"", "x".repeat(257)), false),
            (r#""\ud83d""#.to_owned(), false),
        ] {
            let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
            assert_eq!(verdict(body.as_bytes()).1 == 0, good, "{body}");
        }
    }

    #[test]
    fn parameters_that_rmcp_would_mistake_are_refused() {
        for (method, params, good) in [
            ("tools/list", r#"{"cursor":7}"#.to_owned(), false),
            ("tools/list", r#"{"cursor":null}"#.to_owned(), true),
            ("tools/list", "null".to_owned(), true),
            ("initialize", r#"{"protocolVersion":"2025-06-18"}"#.to_owned(), true),
            (
                "initialize",
                format!(r#"{{"protocolVersion":"{}"}}"#, "9".repeat(65)),
                false,
            ),
        ] {
            let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
            assert_eq!(verdict(body.as_bytes()).1 == 0, good, "{body}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_said_in_words() {
        let said = |params: &str| {
            let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#);
            let objection = unreadable(body.as_bytes());
            assert_eq!(objection.code, INVALID_PARAMS);
            objection.message.into_owned()
        };
        let deep = format!("{{\"x\":{}{}}}", "[".repeat(200), "]".repeat(200));
        for (params, why) in [
            (deep.as_str(), "nested too deeply"),
            (r#"{"title":"x\ud83d"}"#, "half of a surrogate pair"),
            (r#"{"title":"\ude00"}"#, "half of a surrogate pair"),
            (r#"{"_meta":7}"#, "_meta must be an object"),
        ] {
            assert!(said(params).contains(why), "{}", said(params));
        }
    }

    #[test]
    fn the_id_is_found_in_a_beginning() {
        for (beginning, id) in [
            (
                r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"x":"yyy"#,
                Some("7"),
            ),
            (r#"{"method":"x","id":"a","params":{"x":"yyy"#, Some("\"a\"")),
            (r#"{"method":"x","id":12"#, None),
            (r#"{"method":"x","params":{"id":5,"x":"yyy"#, None),
            ("[1", None),
            ("", None),
        ] {
            let found = id_in_beginning(beginning.as_bytes()).map(RawValue::get);
            assert_eq!(found, id, "{beginning}");
        }
    }
}
