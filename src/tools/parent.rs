//! Where an item's parent is: read from a payload, or kept from the item as it stands.

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::entities::{Entity, ParentEntity};

/// The parent that a payload names, in the API's spelling of its keys, if it names one completely.
pub(super) fn named_in(entity: &Entity, payload: &Map<String, Value>) -> Option<(&'static Entity, Uuid)> {
    let parent = entity.parent.as_ref()?;
    let text = |name: &str| payload.get(entity.field(name)?.wire)?.as_str();
    let key = match parent.entity {
        ParentEntity::Always(key) => key,
        ParentEntity::NamedBy(field) => text(field)?,
    };
    Some((Entity::by_key(key)?, text(parent.uid)?.parse().ok()?))
}

/// Copies the parent of `stored`, an item's payload, into `payload`. Tells whether there was one.
pub(super) fn keep(entity: &Entity, stored: &Map<String, Value>, payload: &mut Map<String, Value>) -> bool {
    for field in entity.parent_fields() {
        let Some(value) = stored.get(field.wire) else {
            return false;
        };
        payload.insert(field.wire.to_owned(), value.clone());
    }
    true
}
