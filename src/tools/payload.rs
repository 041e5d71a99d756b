//! Builds what is stored: the known fields under the names that the API uses, and the caller's own beside them.

use serde_json::{Map, Value};

use super::reading::read;
use super::refusal::{Refusal, Remedy};
use crate::entities::{Entity, Field};

/// What the server writes into every payload. Sent by a caller it would be dropped in silence, so it is refused.
pub(super) const SERVER_KEYS: [&str; 3] = ["uid", "updatedTs", "sync"];

/// As deep as the API lets a body nest; the body itself is the first level.
const MAX_DEPTH: usize = 64;

/// The payload that `create_…` and `update_…` send. Takes the entity's fields out of `arguments`.
pub(super) fn whole(entity: &Entity, arguments: &mut Map<String, Value>) -> Result<Map<String, Value>, Refusal> {
    let mut payload = Map::new();
    for field in entity.fields {
        if let Some(value) = arguments.shift_remove(field.name) {
            payload.insert(field.wire.to_owned(), value);
        }
    }
    if let Some(Value::Object(additional)) = arguments.shift_remove("additional_fields") {
        for (key, value) in additional {
            let place = format!("additional_fields.{key}");
            refuse_server_key(&place, &key)?;
            if let Some(Field { name, .. }) = entity.field(&key) {
                let refusal = Refusal::new(place, "belongs among the arguments");
                return Err(refusal.remedy(Remedy::Rename((*name).to_owned())));
            }
            refuse_deep(&place, &value)?;
            payload.insert(key, value);
        }
    }
    Ok(payload)
}

/// The changes that `patch_…` sends. Known fields may come in either spelling and are checked; others pass.
pub(super) fn changes(entity: &Entity, updates: Map<String, Value>) -> Result<Map<String, Value>, Refusal> {
    if updates.is_empty() {
        return Err(Refusal::new("updates", "must name at least one field to change"));
    }
    let mut changes = Map::new();
    for (key, value) in updates {
        let place = format!("updates.{key}");
        refuse_server_key(&place, &key)?;
        let Some(field) = entity.field(&key) else {
            refuse_deep(&place, &value)?;
            changes.insert(key, value);
            continue;
        };
        if changes.contains_key(field.wire) {
            let problem = format!("comes twice, as `{}` and as `{}`", field.name, field.wire);
            return Err(Refusal::new(place, problem).remedy(Remedy::Drop));
        }
        // To the API `null` is a value like any other: it empties a field, which a required one cannot be.
        let value = match value {
            Value::Null if field.required => {
                let problem = format!("cannot be null: a {} needs it", entity.label);
                return Err(Refusal::new(place, problem).received(&Value::Null));
            }
            Value::Null => Value::Null,
            value => read(&place, field.kind, value)?,
        };
        changes.insert(field.wire.to_owned(), value);
    }
    Ok(changes)
}

fn refuse_server_key(place: &str, key: &str) -> Result<(), Refusal> {
    if SERVER_KEYS.contains(&key) {
        return Err(Refusal::new(place, "is written by the server and cannot be set").remedy(Remedy::Drop));
    }
    Ok(())
}

/// Refuses a member of the body that would take it past the depth that the API accepts.
pub(super) fn refuse_deep(place: &str, value: &Value) -> Result<(), Refusal> {
    if deeper_than(value, MAX_DEPTH - 1) {
        return Err(Refusal::new(
            place,
            format!("nests too deeply: a body may have at most {MAX_DEPTH} levels"),
        ));
    }
    Ok(())
}

fn deeper_than(value: &Value, levels: usize) -> bool {
    let Some(within) = levels.checked_sub(1) else {
        return value.is_array() || value.is_object();
    };
    match value {
        Value::Array(items) => items.iter().any(|item| deeper_than(item, within)),
        Value::Object(members) => members.values().any(|value| deeper_than(value, within)),
        _ => false,
    }
}
