//! The titles and descriptions by which a model chooses a tool.
//!
//! A description assumes no knowledge of ToolBridge. In at most three sentences, it states what the
//! tool does, when to use it, and which related tool to use instead. It does not repeat the schema.

use super::operation::Operation;
use crate::entities::{Entity, Undo};

pub(super) fn title(entity: &Entity, operation: Operation) -> String {
    let (verb, noun) = match operation {
        Operation::List => ("List", entity.label_plural),
        Operation::Get => ("Read", entity.label),
        Operation::Create => ("Create", entity.label),
        Operation::Update => ("Replace", entity.label),
        Operation::Patch => ("Change", entity.label),
        Operation::Delete => ("Delete", entity.label),
        Operation::Archive => ("Archive", entity.label),
        Operation::Process => ("Act on", entity.label),
    };
    format!("{verb} {noun}")
}

pub(super) fn describe(entity: &Entity, operation: Operation) -> String {
    let Entity {
        label,
        label_plural,
        plural,
        key,
        about,
        ..
    } = entity;
    match operation {
        Operation::List => format!(
            "Lists {label_plural}, oldest change first, long texts cut short. A {label} is {about}. \
             Use it to find a {label} and its UID; to read it in full, use get_{key}."
        ),
        Operation::Get => format!("Reads one {label} in full. To find its UID, use list_{plural}."),
        Operation::Create => {
            format!("Creates a {label}: {about}. To change one that exists, use patch_{key}.")
        }
        Operation::Update => {
            let keep = keep_parent(entity);
            format!(
                "Replaces a {label} as a whole: fields that are left out are lost{keep}. \
                 To change only some fields, use patch_{key}."
            )
        }
        Operation::Patch => format!(
            "Changes the named fields of a {label} and keeps the rest. To replace it as a whole, use update_{key}; \
             to {}, use process_{key}.",
            either(entity.actions.iter().map(|action| action.name))
        ),
        Operation::Delete => format!(
            "Deletes a {label}; it cannot be restored, only read with include_deleted. \
             To put it away instead, use archive_{key}."
        ),
        Operation::Archive => {
            let undo = match entity.archive.undo {
                Undo::Action(action) => format!("process_{key} with {action}"),
                Undo::Patch(updates) => format!("patch_{key} with {updates}"),
            };
            format!(
                "Archives a {label} ({}); it stays listed and readable. To undo, use {undo}; \
                 to remove it, use delete_{key}.",
                entity.archive.effect
            )
        }
        Operation::Process => {
            let actions: Vec<_> = entity
                .actions
                .iter()
                .map(|action| format!("{} ({})", action.name, action.effect))
                .collect();
            format!(
                "Acts on a {label}: {}. For any other change, use patch_{key}.",
                actions.join(", ")
            )
        }
    }
}

/// Names the fields that `update_…` keeps when they are omitted.
fn keep_parent(entity: &Entity) -> String {
    let fields: Vec<_> = entity.parent_fields().map(|field| field.name).collect();
    if fields.is_empty() {
        String::new()
    } else {
        format!(", except {}", fields.join(" and "))
    }
}

/// Joins names to a phrase: `pin, unpin or archive`.
fn either<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.collect();
    match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}
