//! Answers of the API: a tool's name, a status, and a body. A result is JSON that says what the
//! body said, by serde_json's reading; an error is a proper one; and no answer whatever is too
//! strange.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "whoever feeds this wants to hear of it loudly"
)]

use std::cell::LazyCell;

use bytes::Bytes;
use futures::FutureExt;
use serde_json::{Map, Value, json};

use super::{Catalogue, Limits, ToolError};
use crate::api::Features;
use crate::api::request::{Api, ApiError, Reply, Request};
use crate::foundation::json::Json;

const UID: &str = "0192f0c8-7b1a-7cc0-8a1e-3f2b6f0d9a11";
const LIMITS: Limits = Limits {
    max_result_bytes: 64 << 10,
};
/// Of a text in a page, the ellipsis included.
const MAX_TEXT_CHARS: usize = 281;

thread_local! {
    static CATALOGUE: LazyCell<Catalogue> = LazyCell::new(|| Catalogue::new(uuid::Uuid::now_v7,
        Features::NONE));
}

struct Says(Reply);

impl Api for Says {
    async fn send(&self, _request: Request) -> Result<Reply, ApiError> {
        Ok(self.0.clone())
    }
}

pub fn feed(input: &[u8]) {
    let mut parts = input.splitn(3, |byte| *byte == b'\n');
    let mut next = || String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let (name, status) = (next(), next());
    let body = parts.next().unwrap_or_default();
    let reply = Reply {
        status: status.trim_matches('?').parse().unwrap_or(200),
        body: Bytes::copy_from_slice(body),
        retry_after: None,
        has_next: status.starts_with('?'),
        maybe_applied: status.ends_with('?'),
    };
    let plan = CATALOGUE.with(|catalogue| {
        let required = Value::Object(least(catalogue, &name)).to_string();
        catalogue.prepare(&name, Json::trusted(&required)).ok()
    });
    let Some(plan) = plan else { return };
    // An answer that is there is never waited for.
    let ended = plan
        .run(&Says(reply), &LIMITS, |_| {})
        .now_or_never()
        .unwrap();
    match ended {
        Ok(success) if name.starts_with("list_") => is_that_page(&success.text, body),
        Ok(success) => is_that_item(&success.text, body),
        Err(error) => is_proper(&error),
    }
}

/// No more arguments than the tool asks for.
fn least(catalogue: &Catalogue, name: &str) -> Map<String, Value> {
    let Some(tool) = catalogue.get(name) else {
        return Map::new();
    };
    let schema = &tool.spec.input_schema;
    let required = schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let value = |name: &str| match schema.get("properties").and_then(|all| all.get(name)) {
        _ if name.ends_with("uid") => json!(UID),
        Some(one) if one.get("enum").is_some() => one.pointer("/enum/0").cloned().unwrap(),
        Some(one) if one.get("type") == Some(&json!("object")) => json!({"x": 1}),
        _ => json!("x"),
    };
    required
        .map(|name| name.as_str().unwrap())
        .map(|name| (name.to_owned(), value(name)))
        .collect()
}

fn is_that_item(text: &str, body: &[u8]) {
    let Some(read) = readable(text) else { return };
    for (name, is) in [
        ("uid", Value::is_string as fn(&Value) -> bool),
        ("payload", Value::is_object),
    ] {
        assert!(read.get(name).is_some_and(is), "{name}");
    }
    says_the_same(read, body, |item| {
        // Nothing is as good as null there, and better for a client that looks closely.
        drop(item.as_object_mut().unwrap().remove("deletedAt"));
    });
}

fn is_that_page(text: &str, body: &[u8]) {
    let Some(read) = readable(text) else { return };
    let items = read.get("items").and_then(Value::as_array).unwrap();
    for item in items {
        longest_of(item.get("payload").unwrap());
    }
    let cursor = read.get("nextCursor");
    assert!(cursor.is_none_or(|cursor| cursor.as_str().is_some_and(|cursor| !cursor.is_empty())));
    says_the_same(read, body, |page| {
        let page = page.as_object_mut().unwrap();
        drop(page.remove("nextCursor"));
        for item in page
            .get_mut("items")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            let item = item.as_object_mut().unwrap();
            for name in ["deletedAt", "truncated"] {
                drop(item.remove(name));
            }
            shorten(item.get_mut("payload").unwrap());
        }
    });
}

fn longest_of(value: &Value) {
    match value {
        Value::String(text) => assert!(text.chars().count() <= MAX_TEXT_CHARS),
        Value::Array(items) => items.iter().for_each(longest_of),
        Value::Object(members) => members.values().for_each(longest_of),
        _ => {}
    }
}

fn shorten(value: &mut Value) {
    match value {
        Value::String(text) if text.chars().count() >= MAX_TEXT_CHARS => {
            let kept: String = text.chars().take(MAX_TEXT_CHARS - 1).collect();
            *text = kept + "…";
        }
        Value::Array(items) => items.iter_mut().for_each(shorten),
        Value::Object(members) => members.values_mut().for_each(shorten),
        _ => {}
    }
}

/// Held to one line of JSON within the limit, as the client will read it.
fn readable(text: &str) -> Option<Value> {
    assert!(text.len() <= LIMITS.max_result_bytes && !text.contains(['\n', '\r', '\t']));
    let json = Json::parse(text.as_bytes()).unwrap();
    assert!(json.is_object(), "{text}");
    // A number may be beyond what serde_json holds.
    json.to_value()
}

fn says_the_same(mut read: Value, body: &[u8], leave_out: impl Fn(&mut Value)) {
    // What serde_json cannot read (half of a surrogate pair), is read here all the same.
    let Ok(mut said) = serde_json::from_slice::<Value>(body) else {
        return;
    };
    leave_out(&mut read);
    leave_out(&mut said);
    assert_eq!(read, said);
}

fn is_proper(error: &ToolError) {
    assert!(!error.code.is_empty() && !error.suggested_action.is_empty());
    assert!(
        error.message.len() < 400 && !error.message.contains(char::is_control),
        "{}",
        error.message
    );
}
