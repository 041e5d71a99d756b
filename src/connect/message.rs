//! What the bridge needs to know of a client's message: the headers of its POST, the response that
//! it expects, and whether it may be retried.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::Value;

use crate::foundation::json::Json;

/// The first revision without a handshake. ISO dates compare as strings.
const FIRST_MODERN: &str = "2026-07-28";

/// Requests without side effects, which are safe to retry.
const REPEATABLE: [&str; 8] = [
    "initialize",
    "notifications/initialized",
    "ping",
    "prompts/list",
    "resources/list",
    "resources/templates/list",
    "server/discover",
    "tools/list",
];

/// A JSON-RPC id in canonical JSON, so that equal ids are equal strings.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Id(String);

impl Id {
    pub fn of(id: Json<'_>) -> Option<Self> {
        if id.is_number() {
            return Some(Self(id.get().to_owned()));
        }
        Some(Self(Value::from(id.as_str()?).to_string()))
    }

    pub fn as_json(&self) -> &str {
        &self.0
    }
}

#[derive(Debug, Clone)]
pub struct Message {
    pub body: Bytes,
    /// Only of a request. A message without an id is not answered.
    pub id: Option<Id>,
    /// Absent in a response.
    pub method: Option<String>,
    /// The modern revision that the message declares.
    pub modern: Option<String>,
    /// The tool, prompt or resource that it names, encoded for a header.
    pub name: Option<String>,
    /// The request that this notification cancels.
    pub cancels: Option<Id>,
    /// The request of the server that this response is to.
    pub responds: Option<Id>,
}

impl Message {
    /// Parses a line that is a valid JSON-RPC message.
    pub fn read(line: &[u8]) -> Option<Self> {
        let message = Json::parse(line)
            .ok()
            .filter(|message| message.is_object())?;
        let params = message.sole_member("params").unwrap_or(Json::NULL);
        let meta = params.sole_member("_meta").unwrap_or(Json::NULL);
        let method = message.member("method").filter(|method| !method.is_null());
        let method = method
            .map(|method| method.as_str().ok_or(()))
            .transpose()
            .ok()?
            .map(Cow::into_owned);
        let name = match method.as_deref() {
            Some("tools/call" | "prompts/get") => params.sole_member("name"),
            Some("resources/read" | "resources/subscribe" | "resources/unsubscribe") => {
                params.sole_member("uri")
            }
            Some("tasks/get" | "tasks/update" | "tasks/cancel") => params.sole_member("taskId"),
            _ => None,
        };
        let cancels = (method.as_deref() == Some("notifications/cancelled"))
            .then(|| params.sole_member("requestId"));
        let id = message.member("id").and_then(Id::of);
        let (id, responds) = match method {
            Some(_) => (id, None),
            None => (None, id),
        };
        Some(Self {
            body: Bytes::copy_from_slice(line),
            id,
            responds,
            modern: meta
                .sole_member("io.modelcontextprotocol/protocolVersion")
                .and_then(text)
                .filter(|version| version.as_str() >= FIRST_MODERN),
            name: name.and_then(text).map(|name| in_header(&name)),
            cancels: cancels.flatten().and_then(Id::of),
            method,
        })
    }

    pub fn is(&self, method: &str) -> bool {
        self.method.as_deref() == Some(method)
    }

    pub fn is_repeatable(&self) -> bool {
        self.method
            .as_deref()
            .is_some_and(|method| REPEATABLE.contains(&method))
    }
}

fn text(json: Json<'_>) -> Option<String> {
    json.as_str().map(Cow::into_owned)
}

/// Encodes a text for a header of MCP 2026-07-28: unchanged, or in base64 if it is not
/// representable or looks encoded.
pub fn in_header(text: &str) -> String {
    let visible = text
        .bytes()
        .all(|byte| byte == b' ' || byte.is_ascii_graphic());
    let plain =
        visible && !text.starts_with(' ') && !text.ends_with(' ') && !text.starts_with("=?base64?");
    if plain {
        text.to_owned()
    } else {
        format!("=?base64?{}?=", STANDARD.encode(text))
    }
}

/// Converts a server's message to one line of JSON, and tells whether it responds to `request`.
/// `None` if it is not a message.
pub fn line_of(text: &str, request: Option<&Id>) -> Option<(String, bool)> {
    let message = Json::parse(text.as_bytes())
        .ok()
        .filter(|message| message.is_object())?;
    let id = message.member("id").and_then(Id::of);
    let answers = message.member("method").is_none() && id.is_some() && id.as_ref() == request;
    // JSON strings cannot contain unescaped line breaks, so only whitespace between tokens can.
    let is_one_line = !message.get().contains(['\n', '\r']);
    let line = if is_one_line {
        message.get().into()
    } else {
        message.to_compact()
    };
    Some((line.into_owned(), answers))
}

/// The id of a message that is a request.
pub fn request_id(line: &str) -> Option<Id> {
    let message = Json::parse(line.as_bytes()).ok()?;
    message.member("method")?;
    Id::of(message.member("id")?)
}

/// Whether a message is a response to any request.
pub fn is_answer(line: &str) -> bool {
    Json::parse(line.as_bytes())
        .is_ok_and(|message| message.is_object() && message.member("method").is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Message {
        Message::read(line.as_bytes()).unwrap()
    }

    #[test]
    fn headers_are_derived_from_the_message() {
        let modern = r#"{"jsonrpc":"2.0","id":"a\u0062","method":"tools/call",
            "params":{"name":"get_note","arguments":{"name":1},
            "_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;
        let message = read(modern);
        assert_eq!(message.modern.as_deref(), Some("2026-07-28"));
        assert_eq!(message.name.as_deref(), Some("get_note"));
        assert_eq!(message.id.as_ref().map(Id::as_json), Some("\"ab\""));
        assert!(!message.is_repeatable());

        let legacy = read(concat!(
            r#"{"jsonrpc":"2.0","id":7,"method":"tools/list","#,
            r#""params":{"_meta":{"progressToken":1}}}"#
        ));
        assert_eq!(
            (legacy.modern.as_deref(), legacy.name.as_deref()),
            (None, None)
        );
        assert!(legacy.is_repeatable());
        let old = concat!(
            r#"{"id":1,"method":"ping","params":{"_meta":"#,
            r#"{"io.modelcontextprotocol/protocolVersion":"2025-11-25"}}}"#
        );
        assert_eq!(read(old).modern, None);

        let resource =
            read(r#"{"id":1,"method":"resources/read","params":{"uri":"file:///x","name":"y"}}"#);
        assert_eq!(resource.name.as_deref(), Some("file:///x"));
        let cancel =
            read(r#"{"method":"notifications/cancelled","params":{"requestId":"\u0061"}}"#);
        assert_eq!(cancel.cancels, Id::of(Json::trusted("\"a\"")));
        assert_eq!(cancel.id, None);
        let response = read(r#"{"id":1,"result":{}}"#);
        assert_eq!(
            (response.id, response.method),
            (None, None),
            "it is not answered"
        );
        // The server rejects unreadable parameters itself.
        assert_eq!(
            read(r#"{"id":1,"method":"tools/call","params":{"name":7}}"#).name,
            None
        );
        assert_eq!(
            read(r#"{"id":1,"method":"tools/call","params":{"name":"a","name":"b"}}"#).name,
            None
        );
    }

    #[test]
    fn encodes_names_for_headers() {
        for (name, header) in [
            ("get_note", "get_note"),
            ("two words", "two words"),
            ("Grüße", "=?base64?R3LDvMOfZQ==?="),
            (" x", "=?base64?IHg=?="),
            ("=?base64?eA==?=", "=?base64?PT9iYXNlNjQ/ZUE9PT89?="),
        ] {
            assert_eq!(in_header(name), header);
        }
    }

    #[test]
    fn a_response_becomes_one_line_with_exact_numbers() {
        let id = Id::of(Json::trusted("1"));
        let pretty = "{\n  \"jsonrpc\": \"2.0\",\n  \"id\": 1,\n  \"result\": { \"x\": 1.10, \
            \"y\": \"a\\nb\" }\n}";
        let (line, answers) = line_of(pretty, id.as_ref()).unwrap();
        assert_eq!(
            line,
            r#"{"jsonrpc":"2.0","id":1,"result":{"x":1.10,"y":"a\nb"}}"#
        );
        assert!(answers);
        for (text, answers) in [
            (r#"{"id":2,"result":{}}"#, Some(false)),
            (r#"{"id":1,"method":"sampling/createMessage"}"#, Some(false)),
            (r#"{"method":"notifications/progress"}"#, Some(false)),
            (r#"{"id":1,"error":{}}"#, Some(true)),
            ("[]", None),
            ("<html>", None),
            ("{", None),
        ] {
            assert_eq!(
                line_of(text, id.as_ref()).map(|(_, answers)| answers),
                answers,
                "{text}"
            );
        }
    }
}
