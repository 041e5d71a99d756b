//! The eight operations on an entity, as rows of one table.

use http::Method;

use super::spec::{Access, Hints};
use crate::api::request::Repeat;
use crate::entities::Entity;

/// An operation that every entity supports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    List,
    Get,
    Create,
    Update,
    Patch,
    Delete,
    Archive,
    Process,
}

struct Row {
    verb: &'static str,
    method: Method,
    /// The suffix of the item's path.
    suffix: &'static str,
    access: Access,
    hints: Hints,
    repeats: Repeats,
}

/// When a request has the same effect if it is carried out twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repeats {
    Always,
    /// If it names the expected version, which the first execution replaces.
    WithVersion,
    Never,
}

/// The hints of a tool that changes something.
const fn writes(destructive: bool, idempotent: bool) -> Hints {
    Hints {
        read_only: false,
        destructive: Some(destructive),
        idempotent,
        open_world: false,
    }
}

/// The hints of a tool that changes nothing.
const READS: Hints = Hints {
    read_only: true,
    destructive: None,
    idempotent: true,
    open_world: false,
};

const fn row(
    verb: &'static str,
    method: Method,
    suffix: &'static str,
    hints: Hints,
    repeats: Repeats,
) -> Row {
    let access = if hints.read_only {
        Access::Read
    } else {
        Access::Write
    };
    Row {
        verb,
        method,
        suffix,
        access,
        hints,
        repeats,
    }
}

static LIST: Row = row("list", Method::GET, "", READS, Repeats::Always);
static GET: Row = row("get", Method::GET, "", READS, Repeats::Always);
// Repeatable because the request contains the UID of the new item, which the API accepts once.
static CREATE: Row = row(
    "create",
    Method::POST,
    "",
    writes(false, false),
    Repeats::Always,
);
static UPDATE: Row = row(
    "update",
    Method::PUT,
    "",
    writes(true, true),
    Repeats::WithVersion,
);
static PATCH: Row = row(
    "patch",
    Method::PATCH,
    "",
    writes(false, true),
    Repeats::WithVersion,
);
static DELETE: Row = row(
    "delete",
    Method::DELETE,
    "",
    writes(true, true),
    Repeats::Always,
);
static ARCHIVE: Row = row(
    "archive",
    Method::POST,
    "/archive",
    writes(false, true),
    Repeats::Always,
);
// Never repeated, because the API defines the effect of an action.
static PROCESS: Row = row(
    "process",
    Method::POST,
    "/process",
    writes(false, true),
    Repeats::Never,
);

impl Operation {
    /// Every operation, in the order in which an entity's tools are listed.
    pub const ALL: [Self; 8] = [
        Self::List,
        Self::Get,
        Self::Create,
        Self::Update,
        Self::Patch,
        Self::Delete,
        Self::Archive,
        Self::Process,
    ];

    const fn row(self) -> &'static Row {
        match self {
            Self::List => &LIST,
            Self::Get => &GET,
            Self::Create => &CREATE,
            Self::Update => &UPDATE,
            Self::Patch => &PATCH,
            Self::Delete => &DELETE,
            Self::Archive => &ARCHIVE,
            Self::Process => &PROCESS,
        }
    }

    /// The verb in tool names: `list`.
    #[must_use]
    pub fn verb(self) -> &'static str {
        self.row().verb
    }

    /// Whether the operation can change anything.
    #[must_use]
    pub fn access(self) -> Access {
        self.row().access
    }

    pub(super) fn method(self) -> Method {
        self.row().method.clone()
    }

    pub(super) fn suffix(self) -> &'static str {
        self.row().suffix
    }

    /// Whether a request may be sent again, given the version that it expects.
    pub(super) fn repeat(self, if_match: Option<u64>) -> Repeat {
        match self.row().repeats {
            Repeats::Always => Repeat::Harmless,
            Repeats::WithVersion if if_match.is_some() => Repeat::Harmless,
            Repeats::WithVersion | Repeats::Never => Repeat::Never,
        }
    }

    pub(super) fn hints(self) -> Hints {
        self.row().hints
    }

    /// The name of the tool for this operation on `entity`: `list_notes`, `get_note`.
    pub(super) fn tool_name(self, entity: &Entity) -> String {
        let noun = if self == Self::List {
            entity.plural
        } else {
            entity.key
        };
        format!("{}_{noun}", self.verb())
    }
}
