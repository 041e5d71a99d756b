//! What ToolBridge keeps: notes, tasks, comments, chats and chat messages, one file each, as data.
//!
//! A row says everything the house has to know about an entity, so two entities never differ in code. `tools` turns
//! the rows into schemas, requests and descriptions. A sixth entity is one new file and one line in [`ALL`].

mod chat;
mod chat_message;
mod comment;
mod note;
mod task;

/// Every entity, in the order in which its tools are listed.
pub static ALL: &[&Entity] = &[
    &note::NOTE,
    &task::TASK,
    &comment::COMMENT,
    &chat::CHAT,
    &chat_message::CHAT_MESSAGE,
];

/// One kind of thing that the API keeps.
#[derive(Debug)]
pub struct Entity {
    /// In the API's routes and in `list_…`: `chat_messages`.
    pub plural: &'static str,
    /// In tool names and error codes: `chat_message`.
    pub key: &'static str,
    /// In sentences: `chat message`.
    pub label: &'static str,
    /// In sentences, several of them: `chat messages`.
    pub label_plural: &'static str,
    /// Follows "A note is": tells a model that has never seen ToolBridge what this is for.
    pub about: &'static str,
    pub fields: &'static [Field],
    pub actions: &'static [Action],
    pub parent: Option<Parent>,
    pub archive: Archive,
}

/// One field of an entity's payload.
#[derive(Debug)]
pub struct Field {
    /// As a tool's argument: `due_date`.
    pub name: &'static str,
    /// In the payload: `dueDate`.
    pub wire: &'static str,
    pub kind: Kind,
    /// Must be given to create an item and to replace one.
    pub required: bool,
    pub description: &'static str,
}

/// What a value may be. Schemas and checks are both derived from it, so they cannot disagree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    /// Text that somebody else made and that is handed back as it is: not empty, of bounded length.
    Token {
        max: usize,
    },
    Choice(&'static [&'static str]),
    /// The name of one of these actions.
    Action(&'static [Action]),
    Flag,
    Integer {
        min: u64,
        max: Option<u64>,
    },
    /// An RFC 3339 time or a calendar date.
    Moment,
    Uid,
    /// A list of strings.
    Texts,
    /// A JSON object whose keys nobody here knows.
    Object,
}

/// A state change that `process_…` offers.
#[derive(Debug, PartialEq, Eq)]
pub struct Action {
    pub name: &'static str,
    /// What it writes into the payload, as a model may read it: `status: open`.
    pub effect: &'static str,
}

/// The live item of another entity that this one hangs on.
#[derive(Debug)]
pub struct Parent {
    /// The field that holds the parent's UID.
    pub uid: &'static str,
    pub entity: ParentEntity,
}

/// How to tell which entity the parent belongs to.
#[derive(Debug)]
pub enum ParentEntity {
    /// Always this one, by key.
    Always(&'static str),
    /// The one whose key stands in this field.
    NamedBy(&'static str),
}

/// What archiving writes, and how to take it back.
#[derive(Debug)]
pub struct Archive {
    /// In the manner of [`Action::effect`].
    pub effect: &'static str,
    pub undo: Undo,
}

#[derive(Debug)]
pub enum Undo {
    /// `process_…` with this action.
    Action(&'static str),
    /// `patch_…` with these updates.
    Patch(&'static str),
}

impl Entity {
    /// The entity with this key.
    #[must_use]
    pub fn by_key(key: &str) -> Option<&'static Self> {
        ALL.iter().copied().find(|entity| entity.key == key)
    }

    /// The field with this name, in either spelling.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields
            .iter()
            .find(|field| field.name == name || field.wire == name)
    }

    /// The fields that say where the parent is; empty without a parent.
    pub fn parent_fields(&self) -> impl Iterator<Item = &'static Field> {
        self.fields
            .iter()
            .filter(|field| self.is_parent_field(field))
    }

    /// Whether this field says where the parent is.
    #[must_use]
    pub fn is_parent_field(&self, field: &Field) -> bool {
        self.parent.as_ref().is_some_and(|parent| {
            field.name == parent.uid
                || matches!(parent.entity, ParentEntity::NamedBy(name) if name == field.name)
        })
    }

    /// The entities that a parent can be of.
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
    /// The words to choose from, where there is a choice.
    #[must_use]
    pub fn choices(self) -> Option<Vec<&'static str>> {
        match self {
            Self::Choice(words) => Some(words.to_vec()),
            Self::Action(actions) => Some(actions.iter().map(|action| action.name).collect()),
            _ => None,
        }
    }
}

impl Field {
    /// Every entity has it.
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
