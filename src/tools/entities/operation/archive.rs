use http::Method;

use super::Operation;
use super::shared::uid;
use crate::api::Features;
use crate::entities::{Entity, Undo};
use crate::tools::argument::Argument;
use crate::tools::spec::Hints;

/// Archives an item.
#[derive(Debug)]
pub struct Archive;

impl Operation for Archive {
    fn verb(&self) -> &'static str {
        "archive"
    }

    fn title(&self) -> &'static str {
        "Archive"
    }

    fn describe(&self, entity: &Entity, _features: Features) -> String {
        let Entity { label, key, .. } = entity;
        let undo = match entity.archive.undo {
            Undo::Action(action) => format!("process_{key} with {action}"),
            Undo::Patch(updates) => format!("patch_{key} with {updates}"),
        };
        format!(
            "Archives a {label} ({}); it stays readable. To undo, use {undo}; \
             to remove it, use delete_{key}.",
            entity.archive.effect
        )
    }

    fn hints(&self) -> Hints {
        Hints::writes(false, true)
    }

    fn arguments(&self, _entity: &Entity, _features: Features) -> Vec<Argument> {
        vec![uid()]
    }

    fn method(&self) -> Method {
        Method::POST
    }

    fn suffix(&self) -> &'static str {
        "/archive"
    }

    fn is_repeatable(&self, _if_match: Option<u64>) -> bool {
        true
    }
}
