use http::Method;

use super::Operation;
use super::shared::{if_match, uid};
use crate::api::Features;
use crate::api::request::Reply;
use crate::entities::{Entity, Kind};
use crate::foundation::json::Json;
use crate::tools::argument::{Argument, required};
use crate::tools::argument_error::ArgumentError;
use crate::tools::entities::draft::Draft;
use crate::tools::entities::execute::Effect;
use crate::tools::entities::payload;
use crate::tools::spec::Hints;

/// Changes some fields of an item.
#[derive(Debug)]
pub struct Patch;

impl Operation for Patch {
    fn verb(&self) -> &'static str {
        "patch"
    }

    fn title(&self) -> &'static str {
        "Change"
    }

    fn describe(&self, entity: &Entity, _features: Features) -> String {
        let Entity { label, key, .. } = entity;
        let actions: Vec<_> = entity.actions.iter().map(|action| action.name).collect();
        let actions = match actions.split_last() {
            Some((last, others)) if !others.is_empty() => {
                format!("{} or {last}", others.join(", "))
            }
            _ => actions.concat(),
        };
        format!(
            "Changes the named fields of a {label} and keeps the rest. To replace it as a whole, \
             use update_{key}; to {actions}, use process_{key}."
        )
    }

    fn hints(&self) -> Hints {
        // The former values of the named fields are lost.
        Hints::writes(true, true)
    }

    fn arguments(&self, entity: &Entity, _features: Features) -> Vec<Argument> {
        let names: Vec<_> = entity.fields.iter().map(|field| field.name).collect();
        let updates = format!("New values of {} or fields of your own.", names.join(", "));
        vec![
            uid(),
            required("updates", Kind::Object, &updates),
            if_match(),
        ]
    }

    fn method(&self) -> Method {
        Method::PATCH
    }

    fn is_repeatable(&self, if_match: Option<u64>) -> bool {
        if_match.is_some()
    }

    fn fill(&self, draft: &mut Draft<'_>) -> Result<(), ArgumentError> {
        let updates = draft.arguments.get("updates");
        let updates = updates.unwrap_or(Json::EMPTY_OBJECT);
        payload::changes(draft.entity, updates, &mut draft.payload)
    }

    fn largest_argument(&self, _entity: &Entity, _payload: Json<'_>) -> &'static str {
        "updates"
    }

    fn own_effect(&self, reply: &Reply, if_match: Option<u64>) -> Option<Effect> {
        let next = if_match.map(|version| version.saturating_add(1));
        let refused = reply.status == 412 && reply.maybe_applied;
        next.filter(|_| refused).map(Effect::Merged)
    }
}
