//! The operations that every entity supports. Each file holds everything that distinguishes one
//! operation: its texts, its arguments, the request that it sends, and how its errors read.

use std::fmt::Debug;

use http::Method;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::draft::Draft;
use super::execute::Effect;
use super::plan::Plan;
use crate::api::Features;
use crate::api::request::Reply;
use crate::entities::Entity;
use crate::foundation::json::Json;
use crate::tools::api_error_body::ApiErrorBody;
use crate::tools::argument::Argument;
use crate::tools::argument_error::ArgumentError;
use crate::tools::error::ToolError;
use crate::tools::schema;
use crate::tools::spec::Hints;

mod archive;
mod create;
mod delete;
mod get;
mod list;
mod patch;
mod process;
mod shared;
mod update;

/// Every operation, in the order in which an entity's tools are listed.
pub static ALL: [&dyn Operation; 8] = [
    &list::List,
    &get::Get,
    &create::Create,
    &update::Update,
    &patch::Patch,
    &delete::Delete,
    &archive::Archive,
    &process::Process,
];

/// What a request addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The entity's items.
    Collection,
    /// An item that the request creates.
    NewItem,
    /// The item that the argument `uid` names.
    Item,
}

/// One operation on any entity.
pub trait Operation: Debug + Send + Sync {
    /// The verb in the tool's name: `list`.
    fn verb(&self) -> &'static str;

    /// The verb in the tool's title: `List`.
    fn title(&self) -> &'static str;

    /// The description by which a model chooses the tool.
    fn describe(&self, entity: &Entity, features: Features) -> String;

    fn hints(&self) -> Hints;

    /// The arguments that it has with these features of the API, in the order of the schema.
    fn arguments(&self, entity: &Entity, features: Features) -> Vec<Argument>;

    /// The schema of a successful result. Most operations return the item that they have written.
    fn output_schema(&self) -> Map<String, Value> {
        schema::written()
    }

    fn target(&self) -> Target {
        Target::Item
    }

    fn method(&self) -> Method;

    /// The suffix of the item's path.
    fn suffix(&self) -> &'static str {
        ""
    }

    /// Whether a request has the same effect if it is carried out twice, given the version that it
    /// expects.
    fn is_repeatable(&self, if_match: Option<u64>) -> bool;

    /// Whether it deletes the item.
    fn deletes(&self) -> bool {
        false
    }

    /// Adds the operation's own parts to the request.
    fn fill(&self, _draft: &mut Draft<'_>) -> Result<(), ArgumentError> {
        Ok(())
    }

    /// The argument that contributes the most to a body that is too large.
    fn largest_argument(&self, entity: &Entity, payload: Json<'_>) -> &'static str {
        let largest = payload.members().max_by_key(|(_, value)| value.get().len());
        let field = largest.and_then(|(key, _)| entity.field(&key));
        field.map_or("additional_fields", |field| field.name)
    }

    /// The effect of an earlier attempt that may have caused this refusal.
    fn own_effect(&self, _reply: &Reply, _if_match: Option<u64>) -> Option<Effect> {
        None
    }

    /// The error for a request that the API rejected, if the operation knows the cause.
    fn rejected(&self, _plan: &Plan, _body: &ApiErrorBody) -> Option<ToolError> {
        None
    }

    /// What to do about a result that is too large.
    fn result_too_large(&self, plan: &Plan) -> String {
        format!(
            "The change was made; see it in list_{}.",
            plan.entity.plural
        )
    }
}

impl dyn Operation {
    /// The name of the tool for this operation on `entity`: `list_notes`, `get_note`.
    pub fn tool_name(&self, entity: &Entity) -> String {
        let noun = match self.target() {
            Target::Collection => entity.plural,
            Target::NewItem | Target::Item => entity.key,
        };
        format!("{}_{noun}", self.verb())
    }

    /// The title of the tool: `List notes`, `Read note`.
    pub fn tool_title(&self, entity: &Entity) -> String {
        let noun = match self.target() {
            Target::Collection => entity.label_plural,
            Target::NewItem | Target::Item => entity.label,
        };
        format!("{} {noun}", self.title())
    }

    /// Whether the operation can change anything.
    pub fn writes(&self) -> bool {
        !self.hints().read_only
    }

    /// The path of a request for `item`.
    pub fn path(&self, entity: &Entity, item: Option<Uuid>) -> String {
        let mut path = ["/v1/", entity.plural].concat();
        if let Some(uid) = item.filter(|_| self.target() == Target::Item) {
            path.push('/');
            path.push_str(uid.hyphenated().encode_lower(&mut Uuid::encode_buffer()));
        }
        path.push_str(self.suffix());
        path
    }
}

/// The operation that reads one item.
pub fn get() -> &'static dyn Operation {
    &get::Get
}
