//! The parent of an item: reads it from a payload, or copies it from the stored item.

use uuid::Uuid;

use super::payload::Payload;
use crate::entities::{Entity, ParentEntity};
use crate::foundation::json::Json;

/// The parent that a payload names under the API's field names. `None` if it names none, or only a
/// part of it.
pub(super) fn named_in(entity: &Entity, payload: Json<'_>) -> Option<(&'static Entity, Uuid)> {
    let parent = entity.parent.as_ref()?;
    let text = |name: &str| payload.member(entity.field(name)?.wire)?.as_str();
    let key = match parent.entity {
        ParentEntity::Always(key) => key.into(),
        ParentEntity::NamedBy(field) => text(field)?,
    };
    Some((Entity::by_key(&key)?, text(parent.uid)?.parse().ok()?))
}

/// Copies the parent from `stored`, the payload of an item, into `payload`. Returns whether
/// `stored` has one.
pub(super) fn keep(entity: &Entity, stored: Json<'_>, payload: &mut Payload) -> bool {
    for field in entity.parent_fields() {
        let Some(value) = stored.member(field.wire).filter(|value| value.is_string()) else {
            return false;
        };
        payload.push(field.wire, value);
    }
    true
}
