//! The specification of a tool, in the format of an MCP `tools/list` entry.

use serde::Serialize;
use serde_json::{Map, Value};

/// One entry of `tools/list`, with the toolset and the access that the tool needs.
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
    /// The toolset that the tool belongs to.
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

impl Hints {
    /// The access that a tool with these hints needs.
    #[must_use]
    pub fn access(self) -> Access {
        if self.read_only {
            Access::Read
        } else {
            Access::Write
        }
    }
}
