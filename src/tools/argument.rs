//! The arguments that each tool takes.
//!
//! Each argument is one row. [`schema`](super::schema) advertises it and [`coerce`](super::coerce)
//! validates values against it, so the two cannot drift apart.

use crate::entities::Kind;

/// The default page size. It is always sent, because the defaults of compatible APIs differ.
pub(super) const DEFAULT_LIMIT: u64 = 50;
pub(super) const MAX_LIMIT: u64 = 1000;

/// One argument of a tool.
#[derive(Debug)]
pub(super) struct Argument {
    pub name: &'static str,
    pub kind: Kind,
    pub required: bool,
    pub default: Option<u64>,
    pub description: String,
}

impl Argument {
    pub fn with_default(mut self, default: u64) -> Self {
        self.default = Some(default);
        self
    }
}

/// An argument that every call has.
pub(super) fn required(name: &'static str, kind: Kind, description: &str) -> Argument {
    Argument {
        required: true,
        ..optional(name, kind, description)
    }
}

/// An argument that a call may omit.
pub(super) fn optional(name: &'static str, kind: Kind, description: &str) -> Argument {
    Argument {
        name,
        kind,
        required: false,
        default: None,
        description: description.to_owned(),
    }
}
