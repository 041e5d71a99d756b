//! The interface between the MCP methods and the tools.
//!
//! The entity catalogue is the first implementation; search, batches or the tools of another
//! server can be added as others.

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

/// A source of tools that lists them and executes calls.
pub trait Toolset: Send + Sync + 'static {
    /// All tools, in the order in which clients see them. Called at start only.
    fn list(&self) -> Vec<Listed>;

    /// Begins a call. An implementation must send nothing if the arguments are invalid.
    fn call<'a>(&'a self, call: ToolCall<'a>) -> Result<BoxFuture<'a, Outcome>, UnknownToolError>;

    /// The outcome of a call that failed authentication, in the format of the toolset's errors.
    fn refuse(&self, refusal: AuthError, correlation_id: &str) -> Outcome;

    /// The outcome of a call whose token lacks the scope that the tool requires.
    fn out_of_scope(&self, tool: &str, scope: &str, correlation_id: &str) -> Outcome;

    /// The outcome of a call above the rate limit. The caller may make the next one after
    /// `retry_in`.
    fn over_rate(&self, retry_in: Duration, correlation_id: &str) -> Outcome;
}

/// A tool, and what is needed to decide who may use it.
#[derive(Debug, Clone)]
pub struct Listed {
    pub tool: Tool,
    /// The group by which filters and scopes name the tool: `notes`.
    pub toolset: &'static str,
    pub access: Access,
}

/// One call of one tool.
pub struct ToolCall<'a> {
    pub name: &'a str,
    pub arguments: Json<'a>,
    /// A connection to the API on behalf of the caller, for this call only.
    ///
    /// The type is concrete because the trait `Api` has generic futures and is not object-safe.
    /// Tests of toolsets use a scripted API on a socket instead.
    pub api: &'a Session,
    pub correlation_id: &'a str,
    /// Set by the toolset to the item that the call is about, before anything is sent.
    pub item: &'a OnceLock<Uuid>,
    /// Called before each step of a call that takes several.
    pub progress: &'a (dyn Fn(Progress) + Send + Sync),
}

/// No tool has the name that was called. The text advises what to do instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownToolError(pub String);

/// The result of a call: the text for the caller, and details of a failure for the records.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The result or the error, as compact JSON.
    pub text: String,
    /// Set if the call failed.
    pub failed: Option<Failed>,
}

/// The details of a failed call, for logs, metrics and the audit trail.
#[derive(Debug, Clone)]
pub struct Failed {
    /// The error's stable code.
    pub code: String,
    pub category: String,
    /// The status of the API's response, if that caused the failure.
    pub status: Option<u16>,
    /// Details that are logged but never sent to the caller.
    pub log_only: Option<String>,
}

impl Outcome {
    /// The parsed text.
    pub fn value(&self) -> Value {
        tools::value_of(&self.text)
    }
}
