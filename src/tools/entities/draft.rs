//! The parts of a request while it is being planned.

use uuid::Uuid;

use super::payload::Payload;
use crate::api::Features;
use crate::entities::Entity;
use crate::foundation::json::Json;
use crate::tools::argument::DEFAULT_LIMIT;
use crate::tools::coerce::Arguments;
use crate::tools::result::PageRequest;

/// A request in preparation, to which the [operation](super::operation::Operation) adds its parts.
pub struct Draft<'a> {
    pub entity: &'static Entity,
    pub features: Features,
    pub arguments: &'a Arguments<'a>,
    pub new_uid: &'a dyn Fn() -> Uuid,
    /// The item that the call is about; on create, the new item.
    pub uid: Option<Uuid>,
    pub page: PageRequest,
    pub query: Vec<(&'static str, String)>,
    pub payload: Payload,
    /// Whether the arguments omit the parent, which is then read from the item and kept.
    pub keeps_parent: bool,
}

impl<'a> Draft<'a> {
    /// A draft with what all operations share.
    pub fn new(
        entity: &'static Entity,
        features: Features,
        arguments: &'a Arguments<'a>,
        new_uid: &'a dyn Fn() -> Uuid,
    ) -> Self {
        let flag = |name| arguments.get(name).and_then(Json::as_bool).unwrap_or(false);
        let uid = arguments.get("uid").and_then(Json::as_str);
        let limit = arguments.get("limit").and_then(Json::as_u64);
        Self {
            entity,
            features,
            arguments,
            new_uid,
            uid: uid.and_then(|uid| uid.parse().ok()),
            page: PageRequest {
                limit: limit.unwrap_or(DEFAULT_LIMIT),
                full: flag("full"),
            },
            query: Vec::new(),
            payload: Payload::default(),
            keeps_parent: false,
        }
    }
}

/// The query parameter that makes the API return deleted items.
pub fn include_deleted() -> (&'static str, String) {
    ("includeDeleted", "true".to_owned())
}
