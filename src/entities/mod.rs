//! The entities of ToolBridge: notes, tasks, comments, chats and chat messages, described as data.
//!
//! An [`Entity`] holds everything that differs between entities; no other code distinguishes them.
//! `tools` derives schemas, requests and descriptions from it. Adding an entity takes one new file
//! and one line in [`ALL`].

mod chat;
mod chat_message;
mod comment;
mod note;
mod task;

use std::sync::LazyLock;

/// Every entity, in the order in which its tools are listed.
pub static ALL: &[&Entity] = &[
    &note::NOTE,
    &task::TASK,
    &comment::COMMENT,
    &chat::CHAT,
    &chat_message::CHAT_MESSAGE,
];

/// The key of every entity, in the same order.
pub fn keys() -> &'static [&'static str] {
    static KEYS: LazyLock<Vec<&'static str>> =
        LazyLock::new(|| ALL.iter().map(|entity| entity.key).collect());
    &KEYS
}

/// One kind of item that the API stores.
#[derive(Debug)]
pub struct Entity {
    /// The name in the API's routes and in `list_…`: `chat_messages`.
    pub plural: &'static str,
    /// The name in tool names and error codes: `chat_message`.
    pub key: &'static str,
    /// The singular in sentences: `chat message`.
    pub label: &'static str,
    /// The plural in sentences: `chat messages`.
    pub label_plural: &'static str,
    /// Completes "A note is …", for models that do not know ToolBridge.
    pub about: &'static str,
    pub fields: &'static [Field],
    pub actions: &'static [Action],
    pub parent: Option<Parent>,
    pub archive: Archive,
}

/// One field of an entity's payload.
#[derive(Debug)]
pub struct Field {
    /// The name as a tool argument: `due_date`.
    pub name: &'static str,
    /// The name in the payload: `dueDate`.
    pub wire: &'static str,
    pub kind: Kind,
    /// Whether the field is required to create or replace an item.
    pub required: bool,
    pub description: &'static str,
}

/// The type of a value. Schemas and validation are both derived from it, so they cannot disagree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    /// An opaque text that was received before and is passed back unchanged, such as a cursor. It
    /// is not empty and at most `max` characters long.
    Token {
        max: usize,
    },
    Choice(&'static [&'static str]),
    /// A list of these words.
    Choices(&'static [&'static str]),
    /// The name of one of the actions.
    Action(&'static [Action]),
    Flag,
    Integer {
        min: u64,
        max: Option<u64>,
    },
    /// An RFC 3339 time or a calendar date.
    DateTime,
    Uid,
    /// A list of strings.
    Texts,
    /// A JSON object with arbitrary keys.
    Object,
    /// A list of such objects.
    Objects,
}

/// A state change that `process_…` offers.
#[derive(Debug, PartialEq, Eq)]
pub struct Action {
    pub name: &'static str,
    /// The change to the payload, as shown to models: `status: open`.
    pub effect: &'static str,
}

/// The reference to an item of another entity, which must exist and not be deleted.
#[derive(Debug)]
pub struct Parent {
    /// The field that holds the parent's UID.
    pub uid: &'static str,
    pub entity: ParentEntity,
}

/// Which entity the parent belongs to.
#[derive(Debug)]
pub enum ParentEntity {
    /// Always the entity with this key.
    Always(&'static str),
    /// The entity whose key is the value of this field.
    NamedBy(&'static str),
}

/// The effect of archiving an item, and how to undo it.
#[derive(Debug)]
pub struct Archive {
    /// The change to the payload, in the format of [`Action::effect`].
    pub effect: &'static str,
    pub undo: Undo,
}

/// The tool call that undoes archiving.
#[derive(Debug)]
pub enum Undo {
    /// A call of `process_…` with this action.
    Action(&'static str),
    /// A call of `patch_…` with these updates.
    Patch(&'static str),
}

impl Entity {
    /// Finds an entity by its key.
    #[must_use]
    pub fn by_key(key: &str) -> Option<&'static Self> {
        ALL.iter().copied().find(|entity| entity.key == key)
    }

    /// Finds a field by its argument name or its payload name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields
            .iter()
            .find(|field| field.name == name || field.wire == name)
    }

    /// The fields that identify the parent. Empty for an entity without a parent.
    pub fn parent_fields(&self) -> impl Iterator<Item = &'static Field> {
        self.fields
            .iter()
            .filter(|field| self.is_parent_field(field))
    }

    /// Whether the field identifies the parent.
    #[must_use]
    pub fn is_parent_field(&self, field: &Field) -> bool {
        self.parent.as_ref().is_some_and(|parent| {
            field.name == parent.uid
                || matches!(parent.entity, ParentEntity::NamedBy(name) if name == field.name)
        })
    }

    /// The parent in sentences: `note or task`.
    #[must_use]
    pub fn parent_label(&self) -> String {
        let labels = self.parent_keys().into_iter().map(|key| {
            let entity = Self::by_key(key);
            entity.map_or(key, |entity| entity.label)
        });
        labels.collect::<Vec<_>>().join(" or ")
    }

    /// The keys of the entities that the parent can belong to.
    #[must_use]
    pub fn parent_keys(&self) -> Vec<&'static str> {
        match self.parent.as_ref().map(|parent| &parent.entity) {
            Some(ParentEntity::Always(key)) => vec![key],
            Some(ParentEntity::NamedBy(name)) => self
                .field(name)
                .and_then(|field| field.kind.choices())
                .unwrap_or_default(),
            None => Vec::new(),
        }
    }
}

impl Kind {
    /// The allowed values, for types that enumerate them.
    #[must_use]
    pub fn choices(self) -> Option<Vec<&'static str>> {
        match self {
            Self::Choice(words) | Self::Choices(words) => Some(words.to_vec()),
            Self::Action(actions) => Some(actions.iter().map(|action| action.name).collect()),
            _ => None,
        }
    }
}

impl Field {
    /// The labels of an item, which every entity has.
    const TAGS: Self = Self {
        name: "tags",
        wire: "tags",
        kind: Kind::Texts,
        required: false,
        description: "Labels.",
    };
}

#[cfg(test)]
mod tests;
