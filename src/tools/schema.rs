//! The JSON Schemas (2020-12) of arguments and results. They contain no references, alternatives or
//! type lists, which some clients do not support.

use serde_json::{Map, Value, json};

use super::argument::Argument;
use crate::entities::Kind;

/// The schema of a tool's arguments.
pub(super) fn input(arguments: &[Argument]) -> Map<String, Value> {
    let properties: Map<_, _> = arguments
        .iter()
        .map(|argument| (argument.name.to_owned(), Value::Object(property(argument))))
        .collect();
    let required: Vec<_> = arguments
        .iter()
        .filter(|argument| argument.required)
        .map(|argument| argument.name)
        .collect();
    let mut schema = object([
        ("type", json!("object")),
        ("properties", Value::Object(properties)),
    ]);
    if !required.is_empty() {
        schema.insert("required".to_owned(), json!(required));
    }
    schema.insert("additionalProperties".to_owned(), json!(false));
    schema
}

fn property(argument: &Argument) -> Map<String, Value> {
    let mut schema = match argument.kind {
        // The description states the format of a UID or a time: some clients reject `format`, and a
        // pattern would exclude notations that are accepted.
        Kind::Text | Kind::Uid | Kind::DateTime => object([("type", json!("string"))]),
        // A longer one is refused too, but no model needs to be told.
        Kind::Token { .. } => object([("type", json!("string")), ("minLength", json!(1))]),
        Kind::Choice(_) | Kind::Action(_) => object([
            ("type", json!("string")),
            ("enum", json!(argument.kind.choices())),
        ]),
        Kind::Choices(words) => object([
            ("type", json!("array")),
            ("items", json!({"type": "string", "enum": words})),
        ]),
        Kind::Flag => object([("type", json!("boolean"))]),
        Kind::Integer { min, max } => {
            let mut schema = object([("type", json!("integer")), ("minimum", json!(min))]);
            schema.extend(max.map(|max| ("maximum".to_owned(), json!(max))));
            schema
        }
        Kind::Texts => object([
            ("type", json!("array")),
            ("items", json!({"type": "string"})),
        ]),
        Kind::Object => object([("type", json!("object"))]),
        Kind::Objects => object([
            ("type", json!("array")),
            ("items", json!({"type": "object"})),
        ]),
    };
    if argument.required && argument.kind == Kind::Object {
        schema.insert("minProperties".to_owned(), json!(1));
    }
    schema.extend(
        argument
            .default
            .map(|default| ("default".to_owned(), json!(default))),
    );
    schema.insert("description".to_owned(), json!(argument.description));
    schema
}

/// The schema of an item that a tool has written: what the next call needs.
pub(super) fn written() -> Map<String, Value> {
    object([
        ("type", json!("object")),
        (
            "properties",
            json!({"uid": {"type": "string"}, "version": {"type": "integer"}}),
        ),
        ("required", json!(["uid", "version"])),
    ])
}

/// A JSON object of these members.
pub(super) fn object<const N: usize>(members: [(&str, Value); N]) -> Map<String, Value> {
    members
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}
