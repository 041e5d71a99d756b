//! Answers of the API: a tool's name, a status, and a body. A result is JSON that says what the
//! body said, by serde_json's reading; an error is a proper one; and no answer whatever is too
//! strange.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a fuzz target reports a finding by a panic"
)]

use std::cell::LazyCell;

use bytes::Bytes;
use futures::FutureExt;
use serde_json::{Map, Value, json};

use super::{Catalogue, Limits, ToolError};
use crate::api::Features;
use crate::api::request::{Api, ApiError, Reply, Request};
use crate::entities::Entity;
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
    let entity = plan.entity;
    // An answer that is there is never waited for.
    let ended = plan
        .run(&Says(reply), &LIMITS, |_| {})
        .now_or_never()
        .unwrap();
    match ended {
        Ok(success) if name.starts_with("list_") => is_that_page(entity, &success.text, body),
        Ok(success) => is_that_item(entity, &success.text, body),
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

fn is_that_item(entity: &Entity, text: &str, body: &[u8]) {
    let Some(read) = readable(text) else { return };
    for (name, is) in [
        ("uid", Value::is_string as fn(&Value) -> bool),
        ("payload", Value::is_object),
    ] {
        assert!(read.get(name).is_some_and(is), "{name}");
    }
    let said = said(body).map(|item| as_result(entity, &item));
    says_the_same(read, said, |item| {
        // Nothing is as good as null there, and better for a client that looks closely.
        drop(item.as_object_mut().unwrap().remove("deleted_at"));
    });
}

fn is_that_page(entity: &Entity, text: &str, body: &[u8]) {
    let Some(read) = readable(text) else { return };
    let items = read.get("items").and_then(Value::as_array).unwrap();
    for item in items {
        longest_of(item.get("payload").unwrap());
    }
    let cursor = read.get("next_cursor");
    assert!(cursor.is_none_or(|cursor| cursor.as_str().is_some_and(|cursor| !cursor.is_empty())));
    let said = said(body).map(|page| page_as_result(entity, &page));
    says_the_same(read, said, |page| {
        let page = page.as_object_mut().unwrap();
        drop(page.remove("next_cursor"));
        for item in page
            .get_mut("items")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            let item = item.as_object_mut().unwrap();
            for name in ["deleted_at", "truncated"] {
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

fn says_the_same(mut read: Value, said: Option<Value>, leave_out: impl Fn(&mut Value)) {
    let Some(mut said) = said else { return };
    leave_out(&mut read);
    leave_out(&mut said);
    assert_eq!(read, said);
}

/// The answer by serde_json's reading. What that cannot read, half of a surrogate pair, is accepted
/// all the same.
fn said(body: &[u8]) -> Option<Value> {
    serde_json::from_slice(body).ok()
}

/// An item of the API as tools return it: with the names that arguments have, and without what its
/// payload repeats.
pub fn as_result(entity: &Entity, item: &Value) -> Value {
    let Value::Object(item) = item else {
        return item.clone();
    };
    let mut result = Map::new();
    for (key, value) in item {
        let (name, value) = match (key.as_str(), value) {
            ("createdAt", _) => ("created_at", value.clone()),
            ("updatedAt", _) => ("updated_at", value.clone()),
            ("deletedAt", _) => ("deleted_at", value.clone()),
            ("payload", Value::Object(payload)) => {
                let mut fields = Map::new();
                for (key, value) in payload {
                    if !["uid", "updatedTs", "sync"].contains(&key.as_str()) {
                        let known = entity.fields.iter().find(|field| field.wire == key);
                        let name = known.map_or(key.as_str(), |field| field.name);
                        fields.insert(name.to_owned(), value.clone());
                    }
                }
                ("payload", Value::Object(fields))
            }
            (name, _) => (name, value.clone()),
        };
        result.insert(name.to_owned(), value);
    }
    Value::Object(result)
}

/// The same for a page.
pub fn page_as_result(entity: &Entity, page: &Value) -> Value {
    let mut page = page.clone();
    if let Some(items) = page.get_mut("items").and_then(Value::as_array_mut) {
        for item in items {
            *item = as_result(entity, item);
        }
    }
    if let Some(page) = page.as_object_mut()
        && let Some(cursor) = page.shift_remove("nextCursor")
    {
        page.insert("next_cursor".to_owned(), cursor);
    }
    page
}

fn is_proper(error: &ToolError) {
    assert!(!error.code.is_empty() && !error.suggested_action.is_empty());
    assert!(
        error.message.len() < 400 && !error.message.contains(char::is_control),
        "{}",
        error.message
    );
}
