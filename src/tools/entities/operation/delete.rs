use http::Method;

use super::Operation;
use super::shared::uid;
use crate::api::Features;
use crate::api::request::Reply;
use crate::entities::Entity;
use crate::tools::argument::Argument;
use crate::tools::entities::execute::Effect;
use crate::tools::spec::Hints;

/// Deletes an item.
#[derive(Debug)]
pub struct Delete;

impl Operation for Delete {
    fn verb(&self) -> &'static str {
        "delete"
    }

    fn title(&self) -> &'static str {
        "Delete"
    }

    fn describe(&self, entity: &Entity, features: Features) -> String {
        let Entity { label, key, .. } = entity;
        let undo = if features.has(Features::VERSIONS) {
            "restore brings it back"
        } else {
            "it cannot be restored, only read with include_deleted"
        };
        format!("Deletes a {label}; {undo}. To put it away instead, use archive_{key}.")
    }

    fn hints(&self) -> Hints {
        Hints::writes(true, true)
    }

    fn arguments(&self, _entity: &Entity, _features: Features) -> Vec<Argument> {
        vec![uid()]
    }

    fn method(&self) -> Method {
        Method::DELETE
    }

    fn is_repeatable(&self, _if_match: Option<u64>) -> bool {
        true
    }

    fn deletes(&self) -> bool {
        true
    }

    fn own_effect(&self, reply: &Reply, _if_match: Option<u64>) -> Option<Effect> {
        (reply.status == 410 && reply.maybe_applied).then_some(Effect::Tombstone)
    }
}
