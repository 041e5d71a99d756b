use super::{Action, Archive, Entity, Field, Kind, Parent, ParentEntity, Undo};

pub(super) static COMMENT: Entity = Entity {
    plural: "comments",
    key: "comment",
    label: "comment",
    label_plural: "comments",
    about: "a remark on one note or one task, its parent",
    fields: &[
        Field {
            name: "content",
            wire: "content",
            kind: Kind::Text,
            required: true,
            description: "The remark, in Markdown.",
        },
        Field {
            name: "parent_type",
            wire: "parentType",
            kind: Kind::Choice(&["note", "task"]),
            required: true,
            description: "What it remarks on.",
        },
        Field {
            name: "parent_uid",
            wire: "parentUid",
            kind: Kind::Uid,
            required: true,
            description: "UID of that note or task.",
        },
        Field {
            name: "author",
            wire: "author",
            kind: Kind::Text,
            required: false,
            description: "Who wrote it.",
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
            effect: "status: open",
        },
    ],
    parent: Some(Parent {
        uid: "parent_uid",
        entity: ParentEntity::NamedBy("parent_type"),
    }),
    archive: Archive {
        effect: "status: archived",
        undo: Undo::Action("reopen"),
    },
};
