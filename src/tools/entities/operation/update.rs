use http::Method;

use super::Operation;
use super::shared::{additional_fields, fields, if_match, uid};
use crate::api::Features;
use crate::api::request::Reply;
use crate::entities::Entity;
use crate::tools::argument::Argument;
use crate::tools::argument_error::{ArgumentError, Remedy};
use crate::tools::coerce::Arguments;
use crate::tools::entities::draft::Draft;
use crate::tools::entities::execute::Effect;
use crate::tools::entities::payload;
use crate::tools::spec::Hints;

/// Replaces an item as a whole.
#[derive(Debug)]
pub struct Update;

impl Operation for Update {
    fn verb(&self) -> &'static str {
        "update"
    }

    fn title(&self) -> &'static str {
        "Replace"
    }

    fn describe(&self, entity: &Entity, _features: Features) -> String {
        let Entity { label, key, .. } = entity;
        let parent: Vec<_> = entity.parent_fields().map(|field| field.name).collect();
        let keep = if parent.is_empty() {
            String::new()
        } else {
            format!(", except {}", parent.join(" and "))
        };
        format!(
            "Replaces a {label} as a whole: fields that are left out are lost{keep}. \
             To change only some fields, use patch_{key}."
        )
    }

    fn hints(&self) -> Hints {
        Hints::writes(true, true)
    }

    fn arguments(&self, entity: &Entity, _features: Features) -> Vec<Argument> {
        [uid()]
            .into_iter()
            .chain(fields(entity, true))
            .chain([additional_fields(), if_match()])
            .collect()
    }

    fn method(&self) -> Method {
        Method::PUT
    }

    fn is_repeatable(&self, if_match: Option<u64>) -> bool {
        if_match.is_some()
    }

    fn fill(&self, draft: &mut Draft<'_>) -> Result<(), ArgumentError> {
        draft.keeps_parent = omits_parent(draft.entity, draft.arguments)?;
        payload::whole(draft.entity, draft.arguments, &mut draft.payload)
    }

    fn own_effect(&self, reply: &Reply, if_match: Option<u64>) -> Option<Effect> {
        let next = if_match.map(|version| version.saturating_add(1));
        let refused = reply.status == 412 && reply.maybe_applied;
        next.filter(|_| refused).map(Effect::Replaced)
    }
}

/// Whether the arguments omit the parent. Arguments that identify it only partly are refused,
/// because that is probably a mistake.
fn omits_parent(entity: &Entity, arguments: &Arguments<'_>) -> Result<bool, ArgumentError> {
    let (given, missing): (Vec<_>, Vec<_>) = entity
        .parent_fields()
        .map(|field| field.name)
        .partition(|name| arguments.has(name));
    match (given.as_slice(), missing.as_slice()) {
        (_, []) => Ok(false),
        ([], _) => Ok(true),
        ([given, ..], [missing, ..]) => {
            let problem =
                format!("is required beside `{given}`; leave out both to keep the parent");
            let field = entity.field(missing);
            let allowed = field
                .and_then(|field| field.kind.choices())
                .unwrap_or_default();
            Err(ArgumentError::new(missing, problem)
                .allowed(allowed)
                .remedy(Remedy::Add))
        }
    }
}
