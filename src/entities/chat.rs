use super::{Action, Archive, Entity, Field, Kind, Undo};

pub(super) static CHAT: Entity = Entity {
    plural: "chats",
    key: "chat",
    label: "chat",
    label_plural: "chats",
    about: "a conversation that chat messages belong to",
    fields: &[
        Field {
            name: "title",
            wire: "title",
            kind: Kind::Text,
            required: true,
            description: "What it is about.",
        },
        Field {
            name: "description",
            wire: "description",
            kind: Kind::Text,
            required: false,
            description: "More about it.",
        },
        Field {
            name: "participants",
            wire: "participants",
            kind: Kind::Texts,
            required: false,
            description: "Names of those who take part.",
        },
        Field {
            name: "archived",
            wire: "archived",
            kind: Kind::Flag,
            required: false,
            description: "Whether it is put away.",
        },
        Field::TAGS,
    ],
    actions: &[
        Action {
            name: "resolve",
            effect: "status: resolved",
        },
        Action {
            name: "reopen",
            effect: "status: active",
        },
    ],
    parent: None,
    archive: Archive {
        effect: "archived: true",
        undo: Undo::Patch("archived: false"),
    },
};
