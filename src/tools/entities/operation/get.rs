use http::Method;
use serde_json::{Map, Value};

use super::Operation;
use super::shared::{include_deleted, item_schema, uid};
use crate::api::Features;
use crate::entities::Entity;
use crate::tools::argument::Argument;
use crate::tools::entities::plan::Plan;
use crate::tools::spec::Hints;

/// Reads an item in full.
#[derive(Debug)]
pub struct Get;

impl Operation for Get {
    fn verb(&self) -> &'static str {
        "get"
    }

    fn title(&self) -> &'static str {
        "Read"
    }

    fn describe(&self, entity: &Entity, _features: Features) -> String {
        let Entity { label, plural, .. } = entity;
        format!("Reads one {label} in full. To find its UID, use list_{plural}.")
    }

    fn hints(&self) -> Hints {
        Hints::READS
    }

    fn arguments(&self, _entity: &Entity, _features: Features) -> Vec<Argument> {
        vec![uid(), include_deleted("Even if deleted.")]
    }

    fn output_schema(&self) -> Map<String, Value> {
        item_schema()
    }

    fn method(&self) -> Method {
        Method::GET
    }

    fn is_repeatable(&self, _if_match: Option<u64>) -> bool {
        true
    }

    fn result_too_large(&self, plan: &Plan) -> String {
        format!("See its beginning in list_{}.", plan.entity.plural)
    }
}
