//! The arguments that each tool takes.
//!
//! Each argument is one row. [`schema`](super::schema) advertises it and [`coerce`](super::coerce)
//! validates values against it, so the two cannot drift apart.

use super::operation::Operation;
use crate::entities::{Entity, Kind};

/// The default page size. It is always sent, because the defaults of compatible APIs differ.
pub(super) const DEFAULT_LIMIT: u64 = 50;
pub(super) const MAX_LIMIT: u64 = 1000;
/// The longest cursor that is accepted, which bounds the length of the URL.
const MAX_CURSOR: usize = 2048;

/// One argument of a tool.
#[derive(Debug)]
pub(super) struct Argument {
    pub name: &'static str,
    pub kind: Kind,
    pub required: bool,
    pub default: Option<u64>,
    pub description: String,
}

/// The arguments of an operation on an entity, in the order of the schema.
pub(super) fn arguments(entity: &Entity, operation: Operation) -> Vec<Argument> {
    let uid = || required("uid", Kind::Uid, "Its UID.".to_owned());
    let if_match = || {
        optional(
            "if_match",
            Kind::Integer { min: 1, max: None },
            "Version that it must still have.",
        )
    };
    let additional = || {
        optional(
            "additional_fields",
            Kind::Object,
            "Further fields, of your own naming.",
        )
    };
    match operation {
        Operation::List => vec![
            Argument {
                default: Some(DEFAULT_LIMIT),
                ..optional(
                    "limit",
                    Kind::Integer {
                        min: 1,
                        max: Some(MAX_LIMIT),
                    },
                    "Most items to return.",
                )
            },
            optional(
                "cursor",
                Kind::Token { max: MAX_CURSOR },
                "nextCursor of the page before.",
            ),
            optional("include_deleted", Kind::Flag, "Also list deleted ones."),
            optional("full", Kind::Flag, "Do not cut long texts."),
        ],
        Operation::Get => vec![
            uid(),
            optional("include_deleted", Kind::Flag, "Read it even if deleted."),
        ],
        Operation::Create => fields(entity, false).chain([additional()]).collect(),
        Operation::Update => [uid()]
            .into_iter()
            .chain(fields(entity, true))
            .chain([additional(), if_match()])
            .collect(),
        Operation::Patch => {
            let names: Vec<_> = entity.fields.iter().map(|field| field.name).collect();
            let updates = format!("New values of {} or fields of your own.", names.join(", "));
            vec![
                uid(),
                required("updates", Kind::Object, updates),
                if_match(),
            ]
        }
        Operation::Delete | Operation::Archive => vec![uid()],
        Operation::Process => {
            vec![
                uid(),
                required(
                    "action",
                    Kind::Action(entity.actions),
                    "What to do.".to_owned(),
                ),
                optional("metadata", Kind::Object, "Sent along, not stored."),
            ]
        }
    }
}

/// The entity's fields as arguments. With `may_keep_parent`, those that identify the parent are
/// optional.
fn fields(entity: &Entity, may_keep_parent: bool) -> impl Iterator<Item = Argument> {
    entity.fields.iter().map(move |field| Argument {
        name: field.name,
        kind: field.kind,
        required: field.required && !(may_keep_parent && entity.is_parent_field(field)),
        default: None,
        description: field.description.to_owned(),
    })
}

fn required(name: &'static str, kind: Kind, description: String) -> Argument {
    Argument {
        name,
        kind,
        required: true,
        default: None,
        description,
    }
}

fn optional(name: &'static str, kind: Kind, description: &str) -> Argument {
    Argument {
        name,
        kind,
        required: false,
        default: None,
        description: description.to_owned(),
    }
}
