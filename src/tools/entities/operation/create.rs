use http::Method;

use super::shared::{additional_fields, fields};
use super::{Operation, Target};
use crate::api::Features;
use crate::api::request::Reply;
use crate::entities::Entity;
use crate::foundation::json::Json;
use crate::tools::argument::Argument;
use crate::tools::argument_error::ArgumentError;
use crate::tools::entities::api_error::already_exists;
use crate::tools::entities::draft::Draft;
use crate::tools::entities::execute::Effect;
use crate::tools::entities::payload;
use crate::tools::json_text::to_json;
use crate::tools::spec::Hints;

/// Creates an item.
#[derive(Debug)]
pub struct Create;

impl Operation for Create {
    fn verb(&self) -> &'static str {
        "create"
    }

    fn title(&self) -> &'static str {
        "Create"
    }

    fn describe(&self, entity: &Entity, _features: Features) -> String {
        let Entity {
            label, about, key, ..
        } = entity;
        format!("Creates a {label}: {about}. To change one, use patch_{key}.")
    }

    fn hints(&self) -> Hints {
        Hints::writes(false, false)
    }

    fn arguments(&self, entity: &Entity, _features: Features) -> Vec<Argument> {
        fields(entity, false).chain([additional_fields()]).collect()
    }

    fn target(&self) -> Target {
        Target::NewItem
    }

    fn method(&self) -> Method {
        Method::POST
    }

    /// Repeatable because the request contains the UID of the new item, which the API accepts once.
    fn is_repeatable(&self, _if_match: Option<u64>) -> bool {
        true
    }

    fn fill(&self, draft: &mut Draft<'_>) -> Result<(), ArgumentError> {
        let generated = (draft.new_uid)();
        draft.uid = Some(generated);
        let uid = to_json(&generated.to_string());
        draft.payload.push("uid", Json::trusted(&uid));
        payload::whole(draft.entity, draft.arguments, &mut draft.payload)
    }

    fn own_effect(&self, reply: &Reply, _if_match: Option<u64>) -> Option<Effect> {
        // The UID was generated for this call, so the item is probably its own, even if the request
        // is not known to have been sent before.
        (reply.status == 409 && already_exists(reply)).then_some(Effect::New)
    }
}
