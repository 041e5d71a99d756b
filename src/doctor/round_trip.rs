//! A note that is created, read and deleted: the round trip through the tools, over any transport.
//!
//! The note is deleted whatever happens in between; if that fails, the finding names it.

use std::time::Duration;

use futures::future::LocalBoxFuture;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::check::{Examined, Finding, Found};
use super::words::quote;

/// Cleanup has its own time limit, so that it runs even when the time is up.
const CLEANUP_TIMEOUT: Duration = Duration::from_secs(5);

/// The result of a tool call.
pub type CallResult = Result<Value, CallError>;

/// Why a call has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallError {
    /// The tool error as a model sees it.
    Error {
        category: String,
        code: String,
        message: String,
        correlation_id: String,
    },
    /// The call was not made because this caller does not have the tool.
    LeftOut(String),
    /// No readable response.
    Lost(String),
}

impl CallError {
    /// Parses `{"error": {…}}`.
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

    fn has_code(&self, expected: &str) -> bool {
        matches!(self, Self::Error { code, .. } if code == expected)
    }

    /// Whether the API has just reported that it cannot serve, so that nothing was done.
    pub fn is_out_of_service(&self) -> bool {
        self.has_code("api_unavailable") || self.has_code("circuit_open")
    }

    /// Whether the call may have been executed despite the error.
    fn may_have_been_done(&self) -> bool {
        matches!(self, Self::Lost(_)) || self.has_code("unknown_outcome")
    }

    pub fn into_finding(self, tool: &str) -> Finding {
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

/// A transport for tool calls.
pub trait Tools {
    fn call<'a>(
        &'a self,
        tool: &'a str,
        arguments: Map<String, Value>,
    ) -> LocalBoxFuture<'a, CallResult>;

    /// Whether the API reports itself ready.
    fn is_ready(&self) -> LocalBoxFuture<'_, bool>;
}

/// The note of one examination.
#[derive(Debug)]
pub struct Note {
    title: String,
    uid: Option<String>,
    /// A create was sent, and its outcome is not known to be a failure.
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

    /// Creates the note, which shows whether the database is writable.
    pub async fn write(&mut self, tools: &dyn Tools) -> Found {
        let arguments = json!({ "title": self.title, "content": "Made by toolbridge-mcp doctor, \
            and deleted again." });
        self.maybe = true;
        let why = match tools.call("create_note", object(arguments)).await {
            Ok(note) => {
                self.maybe = false;
                self.uid = note.get("uid").and_then(Value::as_str).map(str::to_owned);
                let made = self.uid.as_ref().map(|_| "a note was written".to_owned());
                return made.ok_or_else(|| {
                    CallError::Lost("the answer has no UID".to_owned()).into_finding("create_note")
                });
            }
            Err(why) => why,
        };
        self.maybe = why.may_have_been_done();
        // The API's readiness covers reading the database, so the failure is in writing.
        if why.is_out_of_service() && tools.is_ready().await {
            return Err(Finding::failed(
                "the database cannot be written: the API is ready, and still takes no note",
                "see the API's log. SQLite: is the disk full (\"df -h /data\"), is the volume \
                 mounted read-only, may user 10001 write to it (\"chown -R 10001:10001 \
                 /data/api\")? With Fly, \"flyctl volumes extend\" makes it larger. PostgreSQL: is \
                 it a standby, or set to default_transaction_read_only?",
            ));
        }
        Err(why.into_finding("create_note"))
    }

    /// Reads and deletes the note, and checks that it is gone.
    pub async fn round_trip(&mut self, tools: &dyn Tools) -> Found {
        let Some(uid) = self.uid.clone() else {
            return Err(Finding::skipped("there is no note"));
        };
        let uid = object(json!({ "uid": uid }));
        let read = tools
            .call("get_note", uid.clone())
            .await
            .map_err(|why| why.into_finding("get_note"))?;
        if read.pointer("/payload/title").and_then(Value::as_str) != Some(&self.title) {
            return Err(not_as_it_was(
                "get_note gives another note than create_note has made",
            ));
        }
        tools
            .call("delete_note", uid.clone())
            .await
            .map_err(|why| why.into_finding("delete_note"))?;
        self.uid = None;
        match tools.call("get_note", uid).await {
            Err(why) if why.has_code("note_deleted") => {
                Ok("the note was read, deleted, and is gone".to_owned())
            }
            Err(why) => Err(why.into_finding("get_note")),
            Ok(_) => Err(not_as_it_was(
                "the note is still there after it was deleted",
            )),
        }
    }

    /// Deletes the note if it may still exist, and reports that.
    pub async fn clear(&mut self, tools: &dyn Tools) -> Option<Examined> {
        let Some(uid) = self.uid.take() else {
            let maybe = self
                .maybe
                .then(|| format!("a note titled \"{}\" may have been made", self.title));
            return maybe.map(|why| left_behind(&why));
        };
        let deleting = tools.call("delete_note", object(json!({ "uid": uid })));
        Some(
            match tokio::time::timeout(CLEANUP_TIMEOUT, deleting).await {
                Ok(Ok(_)) => cleared(Ok(format!(
                    "the note {uid}, made for this check, has been deleted"
                ))),
                _ => left_behind(&format!("the note {uid} could not be deleted")),
            },
        )
    }
}

/// The result of the cleanup.
fn cleared(found: Found) -> Examined {
    Examined::new("left_behind", "What is left behind", found)
}

fn left_behind(why: &str) -> Examined {
    let fix = "list_notes of the same user shows what there is, and delete_note deletes it";
    cleared(Err(Finding::warning(why, fix)))
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
