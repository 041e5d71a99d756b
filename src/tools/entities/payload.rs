//! Builds payloads: the known fields under the API's names, and the caller's additional fields.

use std::borrow::Cow;
use std::collections::HashSet;

use bytes::Bytes;

use crate::entities::{Entity, Field};
use crate::foundation::json::Json;
use crate::tools::argument_error::{ArgumentError, Remedy};
use crate::tools::coerce::{Arguments, read};
use crate::tools::json_text::{compact, push_string};

/// The keys that the API writes into every payload. They are refused in arguments, because the API
/// would silently drop them.
pub const SERVER_KEYS: [&str; 3] = ["uid", "updatedTs", "sync"];

/// The nesting depth that the API accepts. The body itself is the first level.
const MAX_DEPTH: usize = 64;

/// A JSON object that is written member by member. Values are copied unchanged, except for white
/// space.
#[derive(Debug, Default)]
pub struct Payload {
    text: String,
}

impl Payload {
    /// Appends a member.
    pub fn push(&mut self, key: &str, value: Json<'_>) {
        self.text.push(if self.text.is_empty() { '{' } else { ',' });
        push_string(key, &mut self.text);
        self.text.push(':');
        // The depth of arguments and of API responses has been validated, so this cannot fail.
        let _ = compact(value.get(), &mut self.text);
    }

    /// The text of the object. `None` if it has no members.
    pub fn finish(mut self) -> Option<Bytes> {
        if self.text.is_empty() {
            return None;
        }
        self.text.push('}');
        Some(self.text.into())
    }

    /// Parses a body that [`Payload::finish`] has written.
    pub fn of(body: Option<&Bytes>) -> Json<'_> {
        let text = body.and_then(|body| std::str::from_utf8(body).ok());
        text.map_or(Json::EMPTY_OBJECT, Json::trusted)
    }
}

/// Writes the payload of `create_…` and `update_…`: the entity's fields, and `additional_fields`.
pub(super) fn whole(
    entity: &Entity,
    arguments: &Arguments<'_>,
    payload: &mut Payload,
) -> Result<(), ArgumentError> {
    for field in entity.fields {
        if let Some(value) = arguments.get(field.name) {
            payload.push(field.wire, value);
        }
    }
    let Some(additional) = arguments.get("additional_fields") else {
        return Ok(());
    };
    let mut keys = Keys::default();
    for (key, value) in additional.members() {
        let path = format!("additional_fields.{key}");
        refuse_server_key(&path, &key)?;
        if let Some(Field { name, .. }) = entity.field(&key) {
            let error = ArgumentError::new(path, "belongs among the arguments");
            return Err(error.remedy(Remedy::Rename((*name).to_owned())));
        }
        refuse_deep(&path, value)?;
        payload.push(&key, value);
        keys.add(&path, key)?;
    }
    Ok(())
}

/// Writes the changes of `patch_…`. Known fields are accepted under both names and validated; all
/// others are copied unchanged.
pub(super) fn changes(
    entity: &Entity,
    updates: Json<'_>,
    changes: &mut Payload,
) -> Result<(), ArgumentError> {
    if updates.members().next().is_none() {
        return Err(ArgumentError::new(
            "updates",
            "must name at least one field to change",
        ));
    }
    let mut keys = Keys::default();
    for (key, value) in updates.members() {
        let path = format!("updates.{key}");
        refuse_server_key(&path, &key)?;
        let Some(field) = entity.field(&key) else {
            refuse_deep(&path, value)?;
            changes.push(&key, value);
            keys.add(&path, key)?;
            continue;
        };
        let other = if key == field.name {
            field.wire
        } else {
            field.name
        };
        if other != key && keys.0.contains(other) {
            let problem = format!("comes twice, as `{}` and as `{}`", field.name, field.wire);
            return Err(ArgumentError::new(path, problem).remedy(Remedy::Drop));
        }
        // The API stores `null` like any other value, which would clear the field.
        if value.is_null() && field.required {
            let problem = format!("cannot be null: a {} needs it", entity.label);
            return Err(ArgumentError::new(path, problem).received(value));
        }
        if value.is_null() {
            changes.push(field.wire, value);
        } else {
            changes.push(field.wire, Json::trusted(&read(&path, field.kind, value)?));
        }
        keys.add(&path, key)?;
    }
    Ok(())
}

/// The keys of an object so far. A duplicate is refused, because parsers disagree on which value
/// counts.
#[derive(Default)]
struct Keys<'a>(HashSet<Cow<'a, str>>);

impl<'a> Keys<'a> {
    fn add(&mut self, path: &str, key: Cow<'a, str>) -> Result<(), ArgumentError> {
        if self.0.insert(key) {
            Ok(())
        } else {
            Err(ArgumentError::new(path, "is given twice"))
        }
    }
}

fn refuse_server_key(path: &str, key: &str) -> Result<(), ArgumentError> {
    if SERVER_KEYS.contains(&key) {
        return Err(
            ArgumentError::new(path, "is written by the server and cannot be set")
                .remedy(Remedy::Drop),
        );
    }
    Ok(())
}

/// Refuses a member that would exceed the nesting depth that the API accepts.
pub(super) fn refuse_deep(path: &str, value: Json<'_>) -> Result<(), ArgumentError> {
    if value.depth() > MAX_DEPTH - 1 {
        return Err(ArgumentError::new(
            path,
            format!("nests too deeply: a body may have at most {MAX_DEPTH} levels"),
        ));
    }
    Ok(())
}
