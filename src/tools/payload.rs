//! Builds what is stored: the known fields under the names that the API uses, and the caller's own beside them.

use std::borrow::Cow;
use std::collections::HashSet;

use bytes::Bytes;

use super::argument_error::{ArgumentError, Remedy};
use super::coerce::{Arguments, read};
use super::json_text::{compact, push_string};
use crate::entities::{Entity, Field};
use crate::foundation::json::Json;

/// What the server writes into every payload. Sent by a caller it would be dropped in silence, so it is refused.
pub(super) const SERVER_KEYS: [&str; 3] = ["uid", "updatedTs", "sync"];

/// As deep as the API lets a body nest; the body itself is the first level.
const MAX_DEPTH: usize = 64;

/// A JSON object, written member by member. Values are copied as they came, but for white space.
#[derive(Debug, Default)]
pub(super) struct Payload {
    text: String,
}

impl Payload {
    pub fn push(&mut self, key: &str, value: Json<'_>) {
        self.text.push(if self.text.is_empty() { '{' } else { ',' });
        push_string(key, &mut self.text);
        self.text.push(':');
        // Arguments have been held to the limit of depth already, and what the API says to another one.
        let _ = compact(value.get(), None, &mut self.text);
    }

    /// The text, if there are any members.
    pub fn finish(mut self) -> Option<Bytes> {
        if self.text.is_empty() {
            return None;
        }
        self.text.push('}');
        Some(self.text.into())
    }

    /// What [`Payload::finish`] has written, to be read again.
    pub fn of(body: Option<&Bytes>) -> Json<'_> {
        let text = body.and_then(|body| std::str::from_utf8(body).ok());
        text.map_or(Json::EMPTY_OBJECT, Json::trusted)
    }
}

/// The payload of `create_…` and `update_…`: the entity's fields, and the caller's own.
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
        let place = format!("additional_fields.{key}");
        refuse_server_key(&place, &key)?;
        if let Some(Field { name, .. }) = entity.field(&key) {
            let refusal = ArgumentError::new(place, "belongs among the arguments");
            return Err(refusal.remedy(Remedy::Rename((*name).to_owned())));
        }
        refuse_deep(&place, value)?;
        payload.push(&key, value);
        keys.add(&place, key)?;
    }
    Ok(())
}

/// The changes that `patch_…` sends. Known fields may come in either spelling and are checked; others pass.
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
        let place = format!("updates.{key}");
        refuse_server_key(&place, &key)?;
        let Some(field) = entity.field(&key) else {
            refuse_deep(&place, value)?;
            changes.push(&key, value);
            keys.add(&place, key)?;
            continue;
        };
        let other = if key == field.name {
            field.wire
        } else {
            field.name
        };
        if other != key && keys.0.contains(other) {
            let problem = format!("comes twice, as `{}` and as `{}`", field.name, field.wire);
            return Err(ArgumentError::new(place, problem).remedy(Remedy::Drop));
        }
        // To the API `null` is a value like any other: it empties a field, which a required one cannot be.
        if value.is_null() && field.required {
            let problem = format!("cannot be null: a {} needs it", entity.label);
            return Err(ArgumentError::new(place, problem).received(value));
        }
        if value.is_null() {
            changes.push(field.wire, value);
        } else {
            changes.push(field.wire, Json::trusted(&read(&place, field.kind, value)?));
        }
        keys.add(&place, key)?;
    }
    Ok(())
}

/// The keys that an object has had so far. Of a key that comes again, two readers could each believe another value.
#[derive(Default)]
struct Keys<'a>(HashSet<Cow<'a, str>>);

impl<'a> Keys<'a> {
    fn add(&mut self, place: &str, key: Cow<'a, str>) -> Result<(), ArgumentError> {
        if self.0.insert(key) {
            Ok(())
        } else {
            Err(ArgumentError::new(place, "is given twice"))
        }
    }
}

fn refuse_server_key(place: &str, key: &str) -> Result<(), ArgumentError> {
    if SERVER_KEYS.contains(&key) {
        return Err(
            ArgumentError::new(place, "is written by the server and cannot be set")
                .remedy(Remedy::Drop),
        );
    }
    Ok(())
}

/// Refuses a member of the body that would take it past the depth that the API accepts.
pub(super) fn refuse_deep(place: &str, value: Json<'_>) -> Result<(), ArgumentError> {
    if value.depth() > MAX_DEPTH - 1 {
        return Err(ArgumentError::new(
            place,
            format!("nests too deeply: a body may have at most {MAX_DEPTH} levels"),
        ));
    }
    Ok(())
}
