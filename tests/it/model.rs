//! Any sequence of creations, changes, deletions, restores and batches ends where a simple model of
//! the notes says. What is called and with what is chance that is the same in every run.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Api, CallResult, Client, Era, Rng, Server, SseClient, ToolClient, shared};

crate::tests![
    a_sequence_ends_where_the_model_says,
    a_sequence_on_a_stream_ends_where_the_model_says,
    a_sequence_on_postgresql_ends_where_the_model_says,
];

/// Fewer than the versions that are kept of an item.
const MAX_VERSIONS: u64 = 45;

#[derive(Clone, Debug, PartialEq)]
struct State {
    title: String,
    content: String,
    deleted: bool,
}

/// A note: all that it has ever been. The last state is the current one.
type Note = Vec<State>;

#[derive(Clone, Debug)]
enum Write {
    Create {
        uid: String,
        title: String,
    },
    Patch {
        uid: String,
        title: String,
        version: Option<u64>,
    },
    Append {
        uid: String,
        text: String,
    },
    Delete {
        uid: String,
    },
    Restore {
        uid: String,
        to: Option<u64>,
    },
}

#[derive(Clone, Default)]
struct Model(BTreeMap<String, Note>);

impl Model {
    fn version(&self, uid: &str) -> u64 {
        self.0.get(uid).map_or(0, |note| note.len() as u64)
    }

    /// Makes a write, unless it is to be refused.
    fn make(&mut self, write: &Write) -> bool {
        let (uid, next) = match write {
            Write::Create { uid, title } => {
                let content = "text".to_owned();
                let state = State {
                    title: title.clone(),
                    content,
                    deleted: false,
                };
                (uid, Some(state).filter(|_| self.version(uid) == 0))
            }
            Write::Patch {
                uid,
                title,
                version,
            } => {
                let expected = version.is_none_or(|version| version == self.version(uid));
                let live = self.live(uid).filter(|_| expected);
                let title = title.clone();
                (uid, live.map(|state| State { title, ..state }))
            }
            Write::Append { uid, text } => {
                let append = |state: State| State {
                    content: format!("{}\n{text}", state.content),
                    ..state
                };
                (uid, self.live(uid).map(append))
            }
            Write::Delete { uid } => {
                let live = self.live(uid);
                (
                    uid,
                    live.map(|state| State {
                        deleted: true,
                        ..state
                    }),
                )
            }
            Write::Restore { uid, to } => (uid, self.restored(uid, *to)),
        };
        let Some(next) = next else {
            return false;
        };
        self.0.entry(uid.clone()).or_default().push(next);
        true
    }

    fn live(&self, uid: &str) -> Option<State> {
        self.0
            .get(uid)?
            .last()
            .filter(|state| !state.deleted)
            .cloned()
    }

    fn restored(&self, uid: &str, to: Option<u64>) -> Option<State> {
        let note = self.0.get(uid)?;
        let last = note.last()?;
        let wanted = match to {
            None => Some(last).filter(|state| state.deleted)?,
            Some(version) => {
                let index = usize::try_from(version).unwrap().checked_sub(1)?;
                note.get(index).filter(|state| !state.deleted)?
            }
        };
        Some(State {
            deleted: false,
            ..wanted.clone()
        })
    }
}

impl Write {
    /// A write that comes by chance: of a note that there is, mostly.
    fn by_chance(rng: &mut Rng, model: &Model) -> Self {
        let count = model.0.len();
        let known = model.0.keys().nth(rng.roll(count + 1)).cloned();
        let uid = known.unwrap_or_else(|| Uuid::now_v7().to_string());
        let version = model.version(&uid);
        let word = format!("word {}", rng.roll(1000));
        if version >= MAX_VERSIONS {
            return Self::Create { uid, title: word };
        }
        match rng.roll(10) {
            0 => Self::Create { uid, title: word },
            1 | 2 => Self::Patch {
                uid,
                title: word,
                version: None,
            },
            // At times the version before.
            3 => {
                let version = version.saturating_sub(rng.roll(2) as u64).max(1);
                Self::Patch {
                    uid,
                    title: word,
                    version: Some(version),
                }
            }
            4 | 5 => Self::Append { uid, text: word },
            6 => Self::Delete { uid },
            7 | 8 => Self::Restore { uid, to: None },
            _ => {
                let to = rng.roll(usize::try_from(version).unwrap() + 2) as u64;
                Self::Restore {
                    uid,
                    to: Some(to.max(1)),
                }
            }
        }
    }

    fn uid(&self) -> &str {
        match self {
            Self::Create { uid, .. }
            | Self::Patch { uid, .. }
            | Self::Append { uid, .. }
            | Self::Delete { uid }
            | Self::Restore { uid, .. } => uid,
        }
    }

    /// As a call of its own tool. New items get their UIDs from the server.
    fn call(&self) -> Option<(&'static str, Value)> {
        Some(match self {
            Self::Create { .. } => return None,
            Self::Patch {
                uid,
                title,
                version,
            } => {
                let mut patch = json!({"uid": uid, "updates": {"title": title}});
                if let Some(version) = version {
                    patch["if_match"] = json!(version);
                }
                ("patch_note", patch)
            }
            Self::Append { uid, text } => (
                "edit_text",
                json!({"kind": "note", "uid": uid, "operation": "append", "text": text}),
            ),
            Self::Delete { uid } => ("delete_note", json!({"uid": uid})),
            Self::Restore { uid, to } => {
                let mut item = json!({"kind": "note", "uid": uid});
                if let Some(version) = to {
                    item["to_version"] = json!(version);
                }
                ("restore", item)
            }
        })
    }

    /// As an operation of a batch.
    fn operation(&self) -> Value {
        let mut operation = json!({"kind": "note", "uid": self.uid()});
        let mut put = |members: Value| {
            for (name, value) in members.as_object().unwrap() {
                operation[name] = value.clone();
            }
        };
        match self {
            Self::Create { title, .. } => {
                put(json!({"op": "create", "fields": {"title": title, "content": "text"}}));
            }
            Self::Patch { title, version, .. } => {
                put(json!({"op": "patch", "updates": {"title": title}}));
                if let Some(version) = version {
                    put(json!({"if_match": version}));
                }
            }
            Self::Append { text, .. } => {
                put(json!({"op": "edit", "operation": "append", "text": text}));
            }
            Self::Delete { .. } => put(json!({"op": "delete"})),
            Self::Restore { to: None, .. } => put(json!({"op": "restore"})),
            Self::Restore { to, .. } => put(json!({"op": "restore", "to_version": to})),
        }
        operation
    }
}

async fn single(client: &impl ToolClient, model: &mut Model, write: &Write) {
    let Some((tool, arguments)) = write.call() else {
        let Write::Create { title, .. } = write else {
            return;
        };
        let note = json!({"title": title, "content": "text"});
        let made = client.call("create_note", note).await.ok();
        let uid = made["uid"].as_str().unwrap().to_owned();
        assert!(model.make(&Write::Create {
            uid,
            title: title.clone()
        }));
        return;
    };
    let made = model.make(write);
    let called = client.call(tool, arguments).await;
    assert_eq!(!called.is_error(), made, "{write:?}: {called}");
    if made {
        let version = called.ok()["version"].clone();
        assert_eq!(version, model.version(write.uid()), "{write:?}: {called}");
    }
}

async fn several(client: &impl ToolClient, model: &mut Model, writes: &[Write], atomic: bool) {
    let operations: Vec<_> = writes.iter().map(Write::operation).collect();
    let arguments = json!({"operations": operations, "atomic": atomic});
    let called: CallResult = client.call("batch", arguments).await;
    let mut next = model.clone();
    let made: Vec<_> = writes.iter().map(|write| next.make(write)).collect();
    if atomic && let Some(refused) = made.iter().position(|made| !made) {
        let argument = called.error()["details"]["argument"].clone();
        let argument = argument.as_str().unwrap();
        let named = format!("operations[{refused}]");
        assert!(argument.starts_with(&named), "{writes:?}: {called}");
        return;
    }
    let result = called.ok();
    let done = made.iter().filter(|made| **made).count();
    assert_eq!(result["done"], done, "{writes:?}: {called}");
    for (made, one) in made.iter().zip(result["results"].as_array().unwrap()) {
        let status = one["status"].as_u64().unwrap();
        assert_eq!(status < 300, *made, "{writes:?}: {called}");
    }
    *model = next;
}

/// Holds all that there is against the model.
async fn compare(client: &impl ToolClient, model: &Model) {
    for (uid, note) in &model.0 {
        let read = json!({"uid": uid, "include_deleted": true});
        let read = client.call("get_note", read).await.ok();
        let stored = State {
            title: read["payload"]["title"].as_str().unwrap().to_owned(),
            content: read["payload"]["content"].as_str().unwrap().to_owned(),
            deleted: read["deleted_at"].is_string(),
        };
        assert_eq!(Some(&stored), note.last(), "{uid}");
        assert_eq!(read["version"], note.len(), "{uid}");
        let versions = json!({"kind": "note", "uid": uid, "limit": 50});
        let versions = client.call("history", versions).await.ok();
        assert_eq!(
            versions["versions"].as_array().unwrap().len(),
            note.len(),
            "{versions}"
        );
    }
    let live = model
        .0
        .values()
        .filter(|note| note.last().is_some_and(|last| !last.deleted));
    let count = json!({"kinds": ["note"], "limit": 0});
    let count = client.call("search", count).await.ok();
    assert_eq!(count["total"], live.count(), "{count}");
}

async fn run(client: &impl ToolClient, seed: u64, steps: usize) {
    let (mut rng, mut model) = (Rng::new(seed), Model::default());
    let mut refused = 0;
    for step in 0..steps {
        let before = model.0.values().map(Vec::len).sum::<usize>();
        if rng.roll(3) == 0 {
            let mut sketch = model.clone();
            let count = 1 + rng.roll(5);
            // Each is chosen for what those before it have made of the notes.
            let writes: Vec<_> = (0..count)
                .map(|_| {
                    let write = Write::by_chance(&mut rng, &sketch);
                    sketch.make(&write);
                    write
                })
                .collect();
            let atomic = rng.roll(2) == 0;
            several(client, &mut model, &writes, atomic).await;
        } else {
            let write = Write::by_chance(&mut rng, &model);
            single(client, &mut model, &write).await;
        }
        let after = model.0.values().map(Vec::len).sum::<usize>();
        refused += usize::from(before == after);
        if step % 40 == 39 {
            compare(client, &model).await;
        }
    }
    // The sequence is worth something: much is made, and some of it is refused.
    assert!(
        refused > steps / 10 && refused < steps * 9 / 10,
        "{refused} of {steps}"
    );
    assert!(model.0.len() > 3, "{} notes", model.0.len());
    compare(client, &model).await;
}

async fn a_sequence_ends_where_the_model_says() {
    for (seed, era) in [
        (1, Era::Modern),
        (2, Era::Modern),
        (3, Era::Legacy("2025-11-25")),
    ] {
        let client = Client::new(&shared().acme, era);
        run(&client, seed, 120).await;
        client.traffic().await;
    }
}

async fn a_sequence_on_a_stream_ends_where_the_model_says() {
    let client = SseClient::start(&shared().acme, "2024-11-05").await;
    run(&client, 4, 120).await;
    client.traffic().await;
}

/// Where there is one: `scripts/postgres cargo test --test it model`.
async fn a_sequence_on_postgresql_ends_where_the_model_says() {
    let Ok(url) = std::env::var("TEST_POSTGRES_URL") else {
        return;
    };
    let api = Api::with(&[("DATABASE_URL", &url)]).await;
    let server = Server::start("acme", &api).await;
    let client = Client::modern(&server);
    run(&client, 5, 120).await;
    client.traffic().await;
    server.stop().await;
    api.stop().await;
}
