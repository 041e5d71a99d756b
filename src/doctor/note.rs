//! A note that is written, read and deleted: the round trip of a tool, whichever way calls are made.
//!
//! Whatever happens in between, the note is deleted in the end, or it is said which one may have been left.

use std::time::Duration;

use futures::future::LocalBoxFuture;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::check::{Examined, Finding, Found};
use super::words::quote;

/// What was made is taken away again even when the time is up.
const CLEARING: Duration = Duration::from_secs(5);

/// What came of a call.
pub type Called = Result<Value, Uncalled>;

/// Why a call has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Uncalled {
    /// The error that a model would read.
    Error {
        category: String,
        code: String,
        message: String,
        correlation_id: String,
    },
    /// The call was not made: this caller does not have the tool.
    LeftOut(String),
    /// No answer that could be read.
    Lost(String),
}

impl Uncalled {
    /// From `{"error": {…}}`.
    pub fn error(body: &Value) -> Self {
        let text = |key: &str| {
            let text = body.pointer("/error").and_then(|error| error.get(key));
            text.and_then(Value::as_str).map(quote).unwrap_or_default()
        };
        if text("code") == "insufficient_scope" {
            return Self::LeftOut(text("message"));
        }
        Self::Error {
            category: text("category"),
            code: text("code"),
            message: text("message"),
            correlation_id: text("correlation_id"),
        }
    }

    fn has_code(&self, wanted: &str) -> bool {
        matches!(self, Self::Error { code, .. } if code == wanted)
    }

    /// Whether the API has said of late that it cannot serve, and nothing was done.
    pub fn is_out_of_service(&self) -> bool {
        self.has_code("api_unavailable") || self.has_code("circuit_open")
    }

    /// Whether what was asked for may have been done all the same.
    fn leaves_it_open(&self) -> bool {
        matches!(self, Self::Lost(_)) || self.has_code("unknown_outcome")
    }

    pub fn ill(self, tool: &str) -> Finding {
        match self {
            Self::LeftOut(why) => Finding::skipped(why),
            Self::Lost(why) => Finding::failed(format!("{tool}: {why}"), "see the server's log"),
            Self::Error {
                code,
                message,
                correlation_id,
                ..
            } => Finding::failed(
                format!("{tool}: {code}: {message}"),
                format!("see both programs' logs for correlation id {correlation_id}"),
            ),
        }
    }
}

/// A way to call tools.
pub trait Tools {
    fn call<'a>(
        &'a self,
        tool: &'a str,
        arguments: Map<String, Value>,
    ) -> LocalBoxFuture<'a, Called>;

    /// Whether the API would serve calls, by its own account.
    fn is_ready(&self) -> LocalBoxFuture<'_, bool>;
}

/// The note of one examination.
#[derive(Debug)]
pub struct Note {
    title: String,
    uid: Option<String>,
    /// It was asked for, and nobody has said that there is none.
    maybe: bool,
}

impl Note {
    pub fn new() -> Self {
        Self {
            title: format!("toolbridge-mcp doctor {}", Uuid::new_v4().simple()),
            uid: None,
            maybe: false,
        }
    }

    /// Creates it, which shows whether the database can be written.
    pub async fn write(&mut self, tools: &dyn Tools) -> Found {
        let arguments = json!({ "title": self.title, "content": "Made by toolbridge-mcp doctor, and deleted again." });
        self.maybe = true;
        let why = match tools.call("create_note", object(arguments)).await {
            Ok(note) => {
                self.maybe = false;
                self.uid = note.get("uid").and_then(Value::as_str).map(str::to_owned);
                let made = self.uid.as_ref().map(|_| "a note was written".to_owned());
                return made.ok_or_else(|| {
                    Uncalled::Lost("the answer has no UID".to_owned()).ill("create_note")
                });
            }
            Err(why) => why,
        };
        self.maybe = why.leaves_it_open();
        // What the API says of itself is that it can ask the database. So what it could not do was to change it.
        if why.is_out_of_service() && tools.is_ready().await {
            return Err(Finding::failed(
                "the database cannot be written: the API is ready, and still takes no note",
                "see the API's log. SQLite: is the disk full (\"df -h /data\"), is the volume mounted read-only, may user \
                 10001 write to it (\"chown -R 10001:10001 /data/api\")? With Fly, \"flyctl volumes extend\" makes it larger. \
                 PostgreSQL: is it a standby, or set to default_transaction_read_only?",
            ));
        }
        Err(why.ill("create_note"))
    }

    /// Reads it, deletes it, and looks whether it is gone.
    pub async fn there_and_back(&mut self, tools: &dyn Tools) -> Found {
        let Some(uid) = self.uid.clone() else {
            return Err(Finding::skipped("there is no note"));
        };
        let uid = object(json!({ "uid": uid }));
        let read = tools
            .call("get_note", uid.clone())
            .await
            .map_err(|why| why.ill("get_note"))?;
        if read.pointer("/payload/title").and_then(Value::as_str) != Some(&self.title) {
            return Err(not_as_it_was(
                "get_note gives another note than create_note has made",
            ));
        }
        tools
            .call("delete_note", uid.clone())
            .await
            .map_err(|why| why.ill("delete_note"))?;
        self.uid = None;
        match tools.call("get_note", uid).await {
            Err(why) if why.has_code("note_deleted") => {
                Ok("the note was read, deleted, and is gone".to_owned())
            }
            Err(why) => Err(why.ill("get_note")),
            Ok(_) => Err(not_as_it_was(
                "the note is still there after it was deleted",
            )),
        }
    }

    /// Deletes what is left of it, and says so.
    pub async fn clear(&mut self, tools: &dyn Tools) -> Option<Examined> {
        let Some(uid) = self.uid.take() else {
            let maybe = self
                .maybe
                .then(|| format!("a note titled \"{}\" may have been made", self.title));
            return maybe.map(|why| left_behind(&why));
        };
        let deleting = tools.call("delete_note", object(json!({ "uid": uid })));
        Some(match tokio::time::timeout(CLEARING, deleting).await {
            Ok(Ok(_)) => cleared(Ok(format!(
                "the note {uid}, made for this check, has been deleted"
            ))),
            _ => left_behind(&format!("the note {uid} could not be deleted")),
        })
    }
}

/// What becomes of a note that did not get all the way.
fn cleared(found: Found) -> Examined {
    Examined::new("left_behind", "What is left behind", found)
}

fn left_behind(why: &str) -> Examined {
    let mend = "list_notes of the same user shows what there is, and delete_note deletes it";
    cleared(Err(Finding::warning(why, mend)))
}

fn not_as_it_was(what: &str) -> Finding {
    Finding::failed(
        what,
        "see the API's log; do two APIs with a database each stand behind one address?",
    )
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
