use super::{Action, Archive, Entity, Field, Kind, Undo};

pub(super) static TASK: Entity = Entity {
    plural: "tasks",
    key: "task",
    label: "task",
    label_plural: "tasks",
    about: "something to be done, with a status, a priority and a due date",
    fields: &[
        Field {
            name: "title",
            wire: "title",
            kind: Kind::Text,
            required: true,
            description: "What is to be done.",
        },
        Field {
            name: "description",
            wire: "description",
            kind: Kind::Text,
            required: false,
            description: "Details, in Markdown.",
        },
        Field {
            name: "status",
            wire: "status",
            kind: Kind::Text,
            required: false,
            description: "Usually open, in_progress or completed.",
        },
        Field {
            name: "priority",
            wire: "priority",
            kind: Kind::Choice(&["low", "medium", "high"]),
            required: false,
            description: "How urgent it is.",
        },
        Field {
            name: "due_date",
            wire: "dueDate",
            kind: Kind::DateTime,
            required: false,
            description: "2026-03-01 or 2026-03-01T09:00:00Z.",
        },
        Field::TAGS,
    ],
    actions: &[
        Action {
            name: "start",
            effect: "status: in_progress",
        },
        Action {
            name: "complete",
            effect: "status: completed",
        },
        Action {
            name: "reopen",
            effect: "status: open",
        },
    ],
    parent: None,
    archive: Archive {
        effect: "status: archived",
        undo: Undo::Action("reopen"),
    },
};
