//! Arguments and schemas that several operations have.

use serde_json::{Map, Value, json};

use crate::entities::{Entity, Kind};
use crate::tools::argument::{Argument, optional, required};
use crate::tools::schema::object;

pub fn uid() -> Argument {
    required("uid", Kind::Uid, "Its UID.")
}

pub fn if_match() -> Argument {
    let kind = Kind::Integer { min: 1, max: None };
    optional("if_match", kind, "Version it must still have.")
}

pub fn additional_fields() -> Argument {
    let description = "Fields of your own.";
    optional("additional_fields", Kind::Object, description)
}

pub fn include_deleted(description: &str) -> Argument {
    optional("include_deleted", Kind::Flag, description)
}

/// The entity's fields as arguments. With `may_keep_parent`, those that identify the parent are
/// optional.
pub fn fields(entity: &Entity, may_keep_parent: bool) -> impl Iterator<Item = Argument> {
    entity.fields.iter().map(move |field| Argument {
        name: field.name,
        kind: field.kind,
        required: field.required && !(may_keep_parent && entity.is_parent_field(field)),
        default: None,
        description: field.description.to_owned(),
    })
}

/// The schema of an item that a tool reads. The schemas of items allow additional keys, so that the
/// API can add some.
pub fn item_schema() -> Map<String, Value> {
    item([
        ("uid", json!({"type": "string"})),
        ("version", json!({"type": "integer"})),
        ("updated_at", json!({"type": "string"})),
        ("deleted_at", json!({"type": "string"})),
        ("payload", json!({"type": "object"})),
    ])
}

/// The schema of a page of items whose long texts may be cut.
pub fn page_schema() -> Map<String, Value> {
    let item = item([
        ("uid", json!({"type": "string"})),
        ("version", json!({"type": "integer"})),
        ("payload", json!({"type": "object"})),
        (
            "truncated",
            json!({"type": "array", "items": {"type": "string"}}),
        ),
    ]);
    object([
        ("type", json!("object")),
        (
            "properties",
            json!({"items": {"type": "array", "items": item}, "next_cursor": {"type": "string"}}),
        ),
        ("required", json!(["items"])),
    ])
}

fn item<const N: usize>(known: [(&str, Value); N]) -> Map<String, Value> {
    object([
        ("type", json!("object")),
        ("properties", Value::Object(object(known))),
        ("required", json!(["uid", "version", "payload"])),
    ])
}
