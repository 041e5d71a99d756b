use http::Method;
use serde_json::{Map, Value};

use super::shared::{include_deleted, page_schema};
use super::{Operation, Target};
use crate::api::Features;
use crate::entities::{Entity, Field, Kind};
use crate::foundation::json::Json;
use crate::tools::api_error_body::ApiErrorBody;
use crate::tools::argument::{Argument, DEFAULT_LIMIT, MAX_LIMIT, optional};
use crate::tools::argument_error::ArgumentError;
use crate::tools::entities::draft::Draft;
use crate::tools::entities::plan::Plan;
use crate::tools::error::{Category, ToolError};
use crate::tools::spec::Hints;

/// The longest cursor that is accepted, which bounds the length of the URL.
const MAX_CURSOR: usize = 2048;

/// The order of a list that names none.
const NEWEST: &str = "newest";

/// Reads a page of items.
#[derive(Debug)]
pub struct List;

impl Operation for List {
    fn verb(&self) -> &'static str {
        "list"
    }

    fn title(&self) -> &'static str {
        "List"
    }

    fn describe(&self, entity: &Entity, features: Features) -> String {
        let Entity {
            label,
            label_plural,
            key,
            about,
            ..
        } = entity;
        let order = if features.has(Features::ORDER) {
            "latest"
        } else {
            "oldest"
        };
        format!(
            "Lists {label_plural}, {order} change first, long texts cut short. A {label} is \
             {about}. To read one in full, use get_{key}."
        )
    }

    fn hints(&self) -> Hints {
        Hints::READS
    }

    fn arguments(&self, entity: &Entity, features: Features) -> Vec<Argument> {
        let limit = Kind::Integer {
            min: 1,
            max: Some(MAX_LIMIT),
        };
        let cursor = Kind::Token { max: MAX_CURSOR };
        let mut arguments = vec![
            optional("limit", limit, "Most items.").with_default(DEFAULT_LIMIT),
            optional("cursor", cursor, "next_cursor of the page before."),
            include_deleted("Also deleted ones."),
            optional("full", Kind::Flag, "Uncut texts."),
        ];
        if features.has(Features::ORDER) {
            let order = Kind::Choice(&[NEWEST, "oldest"]);
            let description = "Default newest.";
            arguments.push(optional("order", order, description));
            arguments.extend(parent(entity).map(|field| {
                let description = format!("Only those of this {}.", entity.parent_label());
                optional(field.name, Kind::Uid, &description)
            }));
        }
        arguments
    }

    fn output_schema(&self) -> Map<String, Value> {
        page_schema()
    }

    fn target(&self) -> Target {
        Target::Collection
    }

    fn method(&self) -> Method {
        Method::GET
    }

    fn is_repeatable(&self, _if_match: Option<u64>) -> bool {
        true
    }

    fn fill(&self, draft: &mut Draft<'_>) -> Result<(), ArgumentError> {
        let cursor = draft.arguments.get("cursor").and_then(Json::as_str);
        draft.query.push(("limit", draft.page.limit.to_string()));
        draft
            .query
            .extend(cursor.map(|cursor| ("cursor", cursor.into_owned())));
        if draft.features.has(Features::ORDER) {
            let order = draft.arguments.get("order").and_then(Json::as_str);
            let order = order.unwrap_or(NEWEST.into()).into_owned();
            draft.query.push(("order", order));
        }
        if let Some(field) = parent(draft.entity) {
            let parent = draft.arguments.get(field.name).and_then(Json::as_str);
            let parent = parent.map(|uid| (field.wire, uid.into_owned()));
            draft.query.extend(parent);
        }
        Ok(())
    }

    fn rejected(&self, plan: &Plan, _body: &ApiErrorBody) -> Option<ToolError> {
        // Everything else in the request was validated before it was sent.
        let mut query = plan.request.query.iter();
        query.any(|(name, _)| *name == "cursor").then(|| {
            ToolError::new(
                Category::Validation,
                "invalid_argument",
                "The API does not accept this `cursor`.",
                format!(
                    "Call {} without cursor, to start from the first page.",
                    plan.tool
                ),
            )
            .details(|details| details.argument = Some("cursor".to_owned()))
        })
    }

    fn result_too_large(&self, plan: &Plan) -> String {
        if plan.page.full {
            format!("Call {} again without full.", plan.tool)
        } else {
            "Tell the user that an item is too large to list.".to_owned()
        }
    }
}

/// The field that holds the UID of the parent.
fn parent(entity: &Entity) -> Option<&'static Field> {
    entity.field(entity.parent.as_ref()?.uid)
}
