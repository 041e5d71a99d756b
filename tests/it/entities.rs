//! What ToolBridge keeps, as the suite knows it: one row per entity, written down without looking
//! at the code.
//!
//! `"PARENT"` in a row stands for the UID of a living parent.

use serde_json::{Value, json};

use crate::harness::{CONTENT, CallResult, ToolClient};

pub struct Entity {
    pub key: &'static str,
    pub plural: &'static str,
    /// The entity that a parent is of.
    pub parent: Option<&'static str>,
    /// Arguments that make an item, all of them, and what is then stored.
    pub create: Value,
    pub created: Value,
    /// Arguments that replace one, and what is then stored.
    pub update: Value,
    pub updated: Value,
    /// The arguments that say where the parent is.
    pub parent_arguments: &'static [&'static str],
    /// Each action with the key and the value that it stores.
    pub actions: Vec<(&'static str, &'static str, Value)>,
    /// The key and the value that archiving stores.
    pub archived: (&'static str, Value),
}

pub const OPERATIONS: [&str; 8] = [
    "list", "get", "create", "update", "patch", "delete", "archive", "process",
];

pub fn all() -> Vec<Entity> {
    let title = format!("{CONTENT} title");
    let content = format!("# {CONTENT}\n\nText with \"quotes\", a \\ and an é 🌍.");
    let other = format!("other {CONTENT}");
    vec![
        Entity {
            key: "note",
            plural: "notes",
            parent: None,
            create: json!({
                "title": title,
                "content": content,
                "tags": ["a", "b"],
                "additional_fields": {"stars": 5},
            }),
            created: json!({"title": title, "content": content, "tags": ["a", "b"], "stars": 5}),
            update: json!({"title": other, "content": other}),
            updated: json!({"title": other, "content": other}),
            parent_arguments: &[],
            actions: vec![
                ("pin", "pinned", json!(true)),
                ("unpin", "pinned", json!(false)),
                ("archive", "status", json!("archived")),
                ("unarchive", "status", json!("active")),
            ],
            archived: ("status", json!("archived")),
        },
        Entity {
            key: "task",
            plural: "tasks",
            parent: None,
            create: json!({"title": title, "description": content, "status": "open",
                "priority": "high",
                "due_date": "2027-03-01", "tags": [],
                "additional_fields": {"estimate": {"hours": 1.5}}}),
            created: json!({"title": title, "description": content, "status": "open",
                "priority": "high",
                "dueDate": "2027-03-01", "tags": [], "estimate": {"hours": 1.5}}),
            update: json!({"title": other, "due_date": "2027-03-01T09:00:00+01:00"}),
            updated: json!({"title": other, "dueDate": "2027-03-01T09:00:00+01:00"}),
            parent_arguments: &[],
            actions: vec![
                ("start", "status", json!("in_progress")),
                ("complete", "status", json!("completed")),
                ("reopen", "status", json!("open")),
            ],
            archived: ("status", json!("archived")),
        },
        Entity {
            key: "comment",
            plural: "comments",
            parent: Some("note"),
            create: json!({
                "content": content,
                "parent_type": "note",
                "parent_uid": "PARENT",
                "author": "Ada",
                "tags": ["x"],
            }),
            created: json!({
                "content": content,
                "parentType": "note",
                "parentUid": "PARENT",
                "author": "Ada",
                "tags": ["x"],
            }),
            update: json!({"content": other, "parent_type": "note", "parent_uid": "PARENT"}),
            updated: json!({"content": other, "parentType": "note", "parentUid": "PARENT"}),
            parent_arguments: &["parent_type", "parent_uid"],
            actions: vec![
                ("resolve", "status", json!("resolved")),
                ("reopen", "status", json!("open")),
            ],
            archived: ("status", json!("archived")),
        },
        Entity {
            key: "chat",
            plural: "chats",
            parent: None,
            create: json!({
                "title": title,
                "description": content,
                "participants": ["Ada", "Bob"],
                "archived": false,
                "tags": ["x"],
            }),
            created: json!({
                "title": title,
                "description": content,
                "participants": ["Ada", "Bob"],
                "archived": false,
                "tags": ["x"],
            }),
            update: json!({"title": other, "participants": []}),
            updated: json!({"title": other, "participants": []}),
            parent_arguments: &[],
            actions: vec![
                ("resolve", "status", json!("resolved")),
                ("reopen", "status", json!("active")),
            ],
            archived: ("archived", json!(true)),
        },
        Entity {
            key: "chat_message",
            plural: "chat_messages",
            parent: Some("chat"),
            create: json!({
                "chat_uid": "PARENT",
                "content": content,
                "sender": "Ada",
                "message_type": "text",
                "tags": [],
            }),
            created: json!({
                "chatUid": "PARENT",
                "content": content,
                "sender": "Ada",
                "messageType": "text",
                "tags": [],
            }),
            update: json!({"chat_uid": "PARENT", "content": other}),
            updated: json!({"chatUid": "PARENT", "content": other}),
            parent_arguments: &["chat_uid"],
            actions: vec![
                ("mark_read", "read", json!(true)),
                ("mark_delivered", "delivered", json!(true)),
            ],
            archived: ("archived", json!(true)),
        },
    ]
}

pub fn by_key(key: &str) -> Entity {
    all().into_iter().find(|entity| entity.key == key).unwrap()
}

impl Entity {
    /// The tool that does this with the entity.
    pub fn tool(&self, operation: &str) -> String {
        match operation {
            "list" => format!("list_{}", self.plural),
            _ => format!("{operation}_{}", self.key),
        }
    }

    pub fn path(&self, uid: &str) -> String {
        format!("/v1/{}/{uid}", self.plural)
    }

    /// The least that the operation takes, for an item that is there.
    pub fn minimal_arguments(&self, operation: &str, uid: &str, parent: &str) -> Value {
        match operation {
            "list" => json!({}),
            "create" => with_parent(&self.update, parent),
            "update" => with(&with_parent(&self.update, parent), &json!({ "uid": uid })),
            "patch" => json!({ "uid": uid, "updates": { "mark": 1 } }),
            "process" => json!({ "uid": uid, "action": self.actions[0].0 }),
            _ => json!({ "uid": uid }),
        }
    }

    /// Makes the parent that an item of this entity needs; its UID, or nothing where none is
    /// needed.
    pub async fn make_parent(&self, caller: &impl ToolClient) -> String {
        match self.parent {
            Some(key) => uid_of(&by_key(key).make(caller, "").await.ok()),
            None => String::new(),
        }
    }

    /// Makes an item.
    pub async fn make(&self, caller: &impl ToolClient, parent: &str) -> CallResult {
        caller
            .call(&self.tool("create"), with_parent(&self.create, parent))
            .await
    }
}

pub fn uid_of(item: &Value) -> String {
    item["uid"].as_str().unwrap().to_owned()
}

/// The row's value with the parent's UID in its place.
pub fn with_parent(row: &Value, parent: &str) -> Value {
    let text = row.to_string().replace("PARENT", parent);
    serde_json::from_str(&text).unwrap()
}

/// One object with the members of another over its own.
pub fn with(object: &Value, more: &Value) -> Value {
    let mut object = object.clone();
    for (key, value) in more.as_object().unwrap() {
        object[key] = value.clone();
    }
    object
}

/// One object without some of its members.
pub fn without(object: &Value, keys: &[&str]) -> Value {
    let mut object = object.clone();
    for key in keys {
        object.as_object_mut().unwrap().remove(*key);
    }
    object
}

/// What a caller stored, without what the server writes beside it.
pub fn stored(item: &Value) -> Value {
    let mut payload = without(&item["payload"], &["uid", "updatedTs", "sync"]);
    for (name, wire) in FIELD_NAMES {
        if let Some(value) = payload.as_object_mut().unwrap().remove(name) {
            payload[wire] = value;
        }
    }
    payload
}

/// The names of fields that differ between the tools and the API.
const FIELD_NAMES: [(&str, &str); 5] = [
    ("due_date", "dueDate"),
    ("parent_type", "parentType"),
    ("parent_uid", "parentUid"),
    ("chat_uid", "chatUid"),
    ("message_type", "messageType"),
];

/// An item of the API as tools return it.
pub fn as_result(item: &Value) -> Value {
    let mut result = item.clone();
    let members = result.as_object_mut().unwrap();
    for (wire, name) in [
        ("createdAt", "created_at"),
        ("updatedAt", "updated_at"),
        ("deletedAt", "deleted_at"),
    ] {
        if let Some(value) = members.remove(wire) {
            members.insert(name.to_owned(), value);
        }
    }
    let mut payload = without(&item["payload"], &["uid", "updatedTs", "sync"]);
    for (name, wire) in FIELD_NAMES {
        if let Some(value) = payload.as_object_mut().unwrap().remove(wire) {
            payload[name] = value;
        }
    }
    result["payload"] = payload;
    result
}
