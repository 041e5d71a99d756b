//! The item that a call of these tools is about, by its kind and UID.

use crate::api::request::Reply;
use crate::entities::{self, Entity, Kind};
use crate::foundation::json::Json;
use crate::tools::api_outage::answered;
use crate::tools::argument::{Argument, required};
use crate::tools::coerce::Arguments;
use crate::tools::error::{Category, ToolError};
use crate::tools::write_errors::WriteErrors;

/// A version of an item.
pub const VERSION: Kind = Kind::Integer { min: 1, max: None };

/// The arguments that name the item.
pub fn arguments() -> [Argument; 2] {
    [
        required("kind", Kind::Choice(entities::keys()), "Its kind."),
        required("uid", Kind::Uid, "Its UID."),
    ]
}

pub struct Item {
    pub entity: &'static Entity,
    pub uid: String,
}

impl Item {
    /// The arguments `kind` and `uid`, which have been validated.
    pub fn of(given: &Arguments<'_>) -> Result<Self, ToolError> {
        let text_of = |name| given.get(name).and_then(Json::as_str).unwrap_or_default();
        let entity = Entity::by_key(&text_of("kind"));
        Ok(Self {
            entity: entity.ok_or_else(|| ToolError::internal("a kind without entity"))?,
            uid: text_of("uid").into_owned(),
        })
    }

    pub fn path(&self, below: &str) -> String {
        format!("/v1/{}/{}/{below}", self.entity.plural, self.uid)
    }

    /// The errors of a call that changes the item.
    pub fn write(&self, tool: &'static str) -> WriteErrors<'static> {
        WriteErrors {
            tool,
            check: format!("history (kind {}, uid {})", self.entity.key, self.uid),
            uid: Some(self.uid.clone()),
        }
    }

    /// The error for a refused request about versions of the item, or about this one, if it depends
    /// on the item.
    pub fn refused(&self, reply: &Reply, tool: &str, version: Option<u64>) -> Option<ToolError> {
        let Self { entity, uid } = self;
        let error = match (reply.status, version) {
            (404, Some(version)) => ToolError::new(
                Category::NotFound,
                "version_not_found",
                format!(
                    "There is no version {version} of a {} with the UID {uid}.",
                    entity.label
                ),
                "See with history which versions are kept.",
            ),
            (404, None) => ToolError::new(
                Category::NotFound,
                format!("{}_not_found", entity.key),
                format!("There is no {} with the UID {uid}.", entity.label),
                "Find the right UID with search, with deleted if it may be deleted.",
            ),
            (400, Some(version)) => ToolError::new(
                Category::Validation,
                "invalid_argument",
                format!("Version {version} is a deletion, which has nothing to go back to."),
                format!("Call {tool} again with another version; history lists them."),
            ),
            (400, None) => ToolError::new(
                Category::Conflict,
                "not_deleted",
                format!(
                    "The {} is not deleted, and no version is named.",
                    entity.label
                ),
                format!("Call {tool} again with to_version; history lists the versions."),
            ),
            // The version that the user was asked about.
            (412, _) => ToolError::new(
                Category::Conflict,
                "version_mismatch",
                format!(
                    "The {} has been changed since the user was asked about it.",
                    entity.label
                ),
                format!("See what has changed with history, then call {tool} again if it helps."),
            ),
            (422, _) => ToolError::new(
                Category::NotFound,
                "parent_not_found",
                format!(
                    "What this {} belongs to does not exist or is deleted.",
                    entity.label
                ),
                format!("Call {tool} for the parent first."),
            ),
            _ => return None,
        };
        let error = error.details(|details| details.uid = Some(uid.clone()));
        Some(answered(error, reply))
    }
}
