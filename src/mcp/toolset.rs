//! Where tools come from. The entity catalogue is the first toolset; search, batches or another server's tools may be
//! others.

use std::sync::OnceLock;
use std::time::Duration;

use futures::future::BoxFuture;
use rmcp::model::Tool;
use serde_json::Value;
use uuid::Uuid;

use crate::api::Session;
use crate::auth::AuthError;
use crate::foundation::json::Json;
use crate::tools::{self, Access, Progress};

/// Lists tools and answers calls.
pub trait Toolset: Send + Sync + 'static {
    /// All tools, in the order in which they are shown. Asked once.
    fn list(&self) -> Vec<Listed>;

    /// Begins a call. Nothing may be sent for a call whose arguments are refused.
    fn call<'a>(&'a self, call: ToolCall<'a>) -> Result<BoxFuture<'a, Outcome>, UnknownToolError>;

    /// The outcome for a caller whose token does not do, in the form of the toolset's own errors.
    fn refuse(&self, refusal: AuthError, correlation_id: &str) -> Outcome;

    /// The same for one whose token does not have the scope that the tool needs.
    fn out_of_scope(&self, tool: &str, scope: &str, correlation_id: &str) -> Outcome;

    /// The same for one who has made more calls than they may, and may make the next one in so long.
    fn over_rate(&self, retry_in: Duration, correlation_id: &str) -> Outcome;
}

/// A tool, and what it belongs to.
#[derive(Debug, Clone)]
pub struct Listed {
    pub tool: Tool,
    /// The group by which it can be left out and allowed: `notes`.
    pub toolset: &'static str,
    pub access: Access,
}

/// One call of one tool.
pub struct ToolCall<'a> {
    pub name: &'a str,
    pub arguments: Json<'a>,
    /// The API on behalf of the caller, for this call only. The concrete type, since `Api` has generic futures and so
    /// cannot be made into an object; toolsets are tested against a scripted API on a socket instead.
    pub api: &'a Session,
    pub correlation_id: &'a str,
    /// To be told which item the call is about, before anything is sent.
    pub item: &'a OnceLock<Uuid>,
    /// To be told of each step when there are several.
    pub progress: &'a (dyn Fn(Progress) + Send + Sync),
}

/// There is no tool of that name; what to do instead, in a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownToolError(pub String);

/// What the caller reads, and what only the log reads.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Compact JSON.
    pub text: String,
    /// For a call that has failed.
    pub failed: Option<Failed>,
}

#[derive(Debug, Clone)]
pub struct Failed {
    /// The error's stable code.
    pub code: String,
    pub category: String,
    /// What the API answered, if that was it.
    pub status: Option<u16>,
    /// What the caller is not told.
    pub log_only: Option<String>,
}

impl Outcome {
    /// The text, read.
    pub fn value(&self) -> Value {
        tools::value_of(&self.text)
    }
}
