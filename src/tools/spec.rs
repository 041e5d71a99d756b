//! The specification of a tool: what its MCP `tools/list` entry is made of.

use serde_json::{Map, Value};

/// One entry of `tools/list`, with the toolset and the access that the tool needs.
#[derive(Debug, Clone)]
pub struct ToolSpec {
    pub name: String,
    pub title: String,
    pub description: String,
    pub input_schema: Map<String, Value>,
    pub output_schema: Map<String, Value>,
    pub hints: Hints,
    /// The toolset that the tool belongs to.
    pub toolset: &'static str,
    pub access: Access,
}

/// MCP's tool annotations, which tell clients what a call can do. Every tool states all of them:
/// the default of a missing `destructiveHint` is true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hints {
    pub read_only: bool,
    /// Whether a call can replace or remove content, instead of only adding to it.
    pub destructive: bool,
    pub idempotent: bool,
    pub open_world: bool,
}

/// The access that a tool needs: reading, or writing if it can change anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    Read,
    Write,
}

impl Hints {
    /// The hints of a tool that changes nothing.
    pub const READS: Self = Self {
        read_only: true,
        destructive: false,
        idempotent: true,
        open_world: false,
    };

    /// The hints of a tool that changes something.
    #[must_use]
    pub const fn writes(destructive: bool, idempotent: bool) -> Self {
        Self {
            read_only: false,
            destructive,
            idempotent,
            open_world: false,
        }
    }

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
