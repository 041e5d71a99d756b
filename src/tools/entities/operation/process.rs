use http::Method;

use super::Operation;
use super::shared::uid;
use crate::api::Features;
use crate::entities::{Entity, Kind};
use crate::foundation::json::Json;
use crate::tools::api_error_body::ApiErrorBody;
use crate::tools::argument::{Argument, optional, required};
use crate::tools::argument_error::ArgumentError;
use crate::tools::entities::draft::Draft;
use crate::tools::entities::payload;
use crate::tools::entities::plan::Plan;
use crate::tools::error::{Category, ToolError};
use crate::tools::spec::Hints;

/// Applies one of the entity's actions to an item.
#[derive(Debug)]
pub struct Process;

impl Operation for Process {
    fn verb(&self) -> &'static str {
        "process"
    }

    fn title(&self) -> &'static str {
        "Act on"
    }

    fn describe(&self, entity: &Entity, _features: Features) -> String {
        let Entity { label, key, .. } = entity;
        let actions: Vec<_> = entity
            .actions
            .iter()
            .map(|action| format!("{} ({})", action.name, action.effect))
            .collect();
        format!(
            "Acts on a {label}: {}. For any other change, use patch_{key}.",
            actions.join(", ")
        )
    }

    fn hints(&self) -> Hints {
        Hints::writes(false, true)
    }

    fn arguments(&self, entity: &Entity, _features: Features) -> Vec<Argument> {
        vec![
            uid(),
            required("action", Kind::Action(entity.actions), "What to do."),
            optional("metadata", Kind::Object, "Not stored."),
        ]
    }

    fn method(&self) -> Method {
        Method::POST
    }

    fn suffix(&self) -> &'static str {
        "/process"
    }

    /// Never repeated, because the API defines the effect of an action.
    fn is_repeatable(&self, _if_match: Option<u64>) -> bool {
        false
    }

    fn fill(&self, draft: &mut Draft<'_>) -> Result<(), ArgumentError> {
        for (name, value) in draft.arguments.iter().filter(|(name, _)| *name != "uid") {
            if name == "metadata" {
                payload::refuse_deep(name, value)?;
            }
            draft.payload.push(name, value);
        }
        Ok(())
    }

    fn largest_argument(&self, _entity: &Entity, _payload: Json<'_>) -> &'static str {
        "metadata"
    }

    fn rejected(&self, plan: &Plan, body: &ApiErrorBody) -> Option<ToolError> {
        body.reason.starts_with("invalid action").then(|| {
            let Entity { label, key, .. } = plan.entity;
            ToolError::new(
                Category::Validation,
                "invalid_argument",
                "The API does not know this `action`.",
                format!("Choose another action, or change the {label} with patch_{key}."),
            )
            .details(|details| details.argument = Some("action".to_owned()))
        })
    }
}
