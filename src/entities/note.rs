use super::{Action, Archive, Entity, Field, Kind, Undo};

pub(super) static NOTE: Entity = Entity {
    plural: "notes",
    key: "note",
    label: "note",
    label_plural: "notes",
    about: "a titled Markdown text, for knowledge worth keeping",
    fields: &[
        Field {
            name: "title",
            wire: "title",
            kind: Kind::Text,
            required: true,
            description: "Short title.",
        },
        Field {
            name: "content",
            wire: "content",
            kind: Kind::Text,
            required: true,
            description: "The text, in Markdown.",
        },
        Field::TAGS,
    ],
    actions: &[
        Action {
            name: "pin",
            effect: "pinned: true",
        },
        Action {
            name: "unpin",
            effect: "pinned: false",
        },
        Action {
            name: "archive",
            effect: "status: archived",
        },
        Action {
            name: "unarchive",
            effect: "status: active",
        },
    ],
    parent: None,
    archive: Archive {
        effect: "status: archived",
        undo: Undo::Action("unarchive"),
    },
};
