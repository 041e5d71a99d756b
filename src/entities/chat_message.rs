use super::{Action, Archive, Entity, Field, Kind, Parent, ParentEntity, Undo};

pub(super) static CHAT_MESSAGE: Entity = Entity {
    plural: "chat_messages",
    key: "chat_message",
    label: "chat message",
    label_plural: "chat messages",
    about: "one message in a chat",
    fields: &[
        Field {
            name: "chat_uid",
            wire: "chatUid",
            kind: Kind::Uid,
            required: true,
            description: "UID of the chat it belongs to.",
        },
        Field {
            name: "content",
            wire: "content",
            kind: Kind::Text,
            required: true,
            description: "The message's text.",
        },
        Field {
            name: "sender",
            wire: "sender",
            kind: Kind::Text,
            required: false,
            description: "Who says it.",
        },
        Field {
            name: "message_type",
            wire: "messageType",
            kind: Kind::Text,
            required: false,
            description: "Your own kind, e.g. text or system.",
        },
        Field::TAGS,
    ],
    actions: &[
        Action {
            name: "mark_read",
            effect: "read: true",
        },
        Action {
            name: "mark_delivered",
            effect: "delivered: true",
        },
    ],
    parent: Some(Parent {
        uid: "chat_uid",
        entity: ParentEntity::Always("chat"),
    }),
    archive: Archive {
        effect: "archived: true",
        undo: Undo::Patch("archived: false"),
    },
};
