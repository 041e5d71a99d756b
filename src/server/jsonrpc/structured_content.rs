//! Inserts a tool's result into the messages that rmcp encodes.
//!
//! rmcp's model holds structured content as a parsed document, which takes many times the memory of
//! the text and loses digits of numbers. `mcp` therefore leaves it an empty object, and the text
//! content replaces that after encoding: the structured content and the text of a successful result
//! are the same JSON. `null` would not do, because rmcp turns what is no object into another text
//! content for legacy clients.

use std::borrow::Cow;

use axum::body::{Body, Bytes};
use axum::response::Response;
use http::header::CONTENT_TYPE;
use http_body_util::BodyExt;

use crate::foundation::json::Json;
use crate::foundation::memory_budget::Reservation;

const PLACEHOLDER: &str = r#""structuredContent":{}"#;

/// Inserts the structured content into an encoded JSON-RPC message, if it has a placeholder.
pub fn fill(message: &str) -> Cow<'_, str> {
    filled(message).map_or(Cow::Borrowed(message), Cow::Owned)
}

fn filled(message: &str) -> Option<String> {
    // A cheap test that rules out nearly all other messages.
    if !message.contains(PLACEHOLDER) {
        return None;
    }
    let message = Json::trusted(message);
    let result = message.member("result")?;
    let structured = result
        .member("structuredContent")
        .filter(|content| content.get() == "{}")?;
    let text = result
        .member("content")?
        .elements()
        .next()?
        .member("text")?
        .as_str()?;
    let (head, tail) = message.around(structured)?;
    Some([head, &text, tail].concat())
}

/// Applies [`fill`] to rmcp's response, which is one message or an event stream. The response holds
/// `memory` until it is written.
pub async fn fill_response(response: Response, memory: Reservation) -> Response {
    let kind = response.headers().get(CONTENT_TYPE);
    let kind = kind.map(|value| value.as_bytes()).unwrap_or_default();
    if kind.starts_with(b"application/json") {
        let (parts, body) = response.into_parts();
        // rmcp has the whole message in memory, so collecting it does not wait.
        let body = body
            .collect()
            .await
            .map(|body| body.to_bytes())
            .unwrap_or_default();
        return Response::from_parts(parts, Body::from(memory.attach(fill_bytes(body))));
    }
    if kind.starts_with(b"text/event-stream") {
        return response.map(|body| {
            Body::new(
                body.map_frame(move |frame| {
                    frame.map_data(|data| memory.attach(fill_events(data)))
                }),
            )
        });
    }
    response
}

fn fill_bytes(message: Bytes) -> Bytes {
    let text = std::str::from_utf8(&message).unwrap_or_default();
    filled(text).map_or(message.clone(), Bytes::from)
}

/// rmcp writes each event as one frame, with its data on one line.
fn fill_events(events: Bytes) -> Bytes {
    const DATA: &str = "data: ";
    let Some(text) = std::str::from_utf8(&events)
        .ok()
        .filter(|text| text.contains(PLACEHOLDER))
    else {
        return events;
    };
    let lines = text
        .split_inclusive('\n')
        .map(|line| match line.strip_prefix(DATA) {
            Some(message) => Cow::Owned(format!("{DATA}{}", fill(message))),
            None => Cow::Borrowed(line),
        });
    lines.collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENCODED: &str = concat!(
        r#"{"jsonrpc":"2.0","id":1,"result":{"content":["#,
        r#"{"type":"text","text":"{\"a\":1.10,\"structuredContent\":{}}"}],"#,
        r#""structuredContent":{},"isError":false}}"#
    );
    const FILLED: &str = concat!(
        r#"{"jsonrpc":"2.0","id":1,"result":{"content":["#,
        r#"{"type":"text","text":"{\"a\":1.10,\"structuredContent\":{}}"}],"#,
        r#""structuredContent":{"a":1.10,"structuredContent":{}},"isError":false}}"#
    );

    #[test]
    fn replaces_the_placeholder_with_the_text() {
        assert_eq!(fill(ENCODED), FILLED);
        assert_eq!(fill(FILLED), FILLED);
        let events = format!("id: 7\ndata: {ENCODED}\n\n");
        assert_eq!(
            fill_events(events.into()),
            format!("id: 7\ndata: {FILLED}\n\n")
        );
    }

    #[test]
    fn leaves_other_messages_unchanged() {
        for message in [
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"\"structuredContent\":{}"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{"x":{"structuredContent":{}}}}"#,
            concat!(
                r#"{"jsonrpc":"2.0","method":"notifications/progress","#,
                r#""params":{"structuredContent":{}}}"#
            ),
        ] {
            assert_eq!(fill(message), message);
        }
    }
}
