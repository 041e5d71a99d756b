//! The specification of a tool, in the format of an MCP `tools/list` entry.

use serde::Serialize;
use serde_json::{Map, Value};

use super::argument::Argument;
use super::operation::Operation;
use super::{description, schema};
use crate::entities::Entity;

/// One entry of `tools/list`, with the entity and the access that the tool needs.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolSpec {
    pub name: String,
    pub title: String,
    pub description: String,
    pub input_schema: Map<String, Value>,
    pub output_schema: Map<String, Value>,
    #[serde(rename = "annotations")]
    pub hints: Hints,
    /// The entity's key.
    #[serde(skip)]
    pub entity: &'static str,
    /// The toolset that the tool belongs to: the entity's plural.
    #[serde(skip)]
    pub toolset: &'static str,
    #[serde(skip)]
    pub access: Access,
}

/// MCP's tool annotations, which tell clients what a call can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Hints {
    #[serde(rename = "readOnlyHint")]
    pub read_only: bool,
    /// `None` if the tool only reads.
    #[serde(rename = "destructiveHint", skip_serializing_if = "Option::is_none")]
    pub destructive: Option<bool>,
    #[serde(rename = "idempotentHint")]
    pub idempotent: bool,
    #[serde(rename = "openWorldHint")]
    pub open_world: bool,
}

/// The access that a tool needs: reading, or writing if it can change anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    Read,
    Write,
}

impl ToolSpec {
    pub(super) fn new(
        entity: &'static Entity,
        operation: Operation,
        arguments: &[Argument],
    ) -> Self {
        Self {
            name: operation.tool_name(entity),
            title: description::title(entity, operation),
            description: description::describe(entity, operation),
            input_schema: schema::input(arguments),
            output_schema: schema::output(operation),
            hints: operation.hints(),
            entity: entity.key,
            toolset: entity.plural,
            access: operation.access(),
        }
    }
}
