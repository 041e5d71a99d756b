//! A toolset: a group of tools that lists them and executes their calls.
//!
//! [`tools::all`](super::all) has every toolset. The MCP layer, the command line and the page ask
//! that list, so adding a toolset takes no change there.

use std::sync::{Arc, OnceLock};

use futures::future::BoxFuture;
use rmcp::model::{MetaObject, Tool, ToolAnnotations};
use serde_json::{Value, json};
use uuid::Uuid;

use super::destruction::Destruction;
use super::error::ToolError;
use super::result::value_of;
use super::schema::object;
use super::spec::{Access, ToolSpec};
use crate::api::{Features, Session};
use crate::foundation::json::Json;

/// The key in a tool's `_meta` that tells Claude Code how long a result the model should get as it
/// is. A longer one is put into a file.
const MAX_RESULT_KEY: &str = "anthropic/maxResultSizeChars";

/// The largest value that Claude Code honours, so that an item that is read arrives as a whole.
const MAX_RESULT_CHARS: u64 = 500_000;

/// A source of tools.
pub trait Toolset: Send + Sync + 'static {
    /// The tools that it has with these features of the API, in the order in which clients see
    /// them. Called when the features become known, not for each request.
    fn list(&self, features: Features) -> Vec<ListedTool>;

    /// Begins a call of one of its tools. An implementation must send nothing if the arguments are
    /// invalid.
    fn call<'a>(&'a self, call: ToolCall<'a>) -> BoxFuture<'a, Outcome>;

    /// What a call of one of its tools would destroy. `None` if that is nothing, or if the
    /// arguments are invalid, so that the call is refused anyway.
    fn destruction(
        &self,
        _name: &str,
        _arguments: Json<'_>,
        _features: Features,
    ) -> Option<Destruction> {
        None
    }
}

/// A tool, and what is needed to decide who may use it.
#[derive(Debug, Clone)]
pub struct ListedTool {
    pub tool: Tool,
    /// The name by which filters and scopes select the tool: `chat_messages`.
    pub toolset: &'static str,
    pub access: Access,
    /// Another toolset whose name selects the tool too.
    pub also_in: Option<&'static str>,
    /// Whether the tool is offered only where a filter names its toolset.
    pub only_if_named: bool,
}

/// One call of one tool.
pub struct ToolCall<'a> {
    pub name: &'a str,
    pub arguments: Json<'a>,
    /// The features with which the tool was listed.
    pub features: Features,
    /// A connection to the API on behalf of the caller, for this call only.
    ///
    /// The type is concrete because the trait `Api` has generic futures and is not object-safe.
    /// Tests of toolsets use a scripted API on a socket instead.
    pub api: &'a Session,
    pub correlation_id: &'a str,
    /// Set by the toolset to the item that the call is about, before anything is sent.
    pub item: &'a OnceLock<Uuid>,
    /// Set by the toolset to the number of operations of a call that makes several.
    pub operations: &'a OnceLock<usize>,
    /// Set if a person has confirmed the call.
    pub confirmed: Option<Confirmed>,
    /// Called before each step of a call that takes several.
    pub progress: &'a (dyn Fn(Progress) + Send + Sync),
}

/// What makes a confirmed call harmless to repeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confirmed {
    /// The idempotency key of a batch.
    pub key: Uuid,
    /// The version of the item that the person was asked about, if the call is about one item.
    pub version: Option<u64>,
}

/// The progress of a call that takes several steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub done: u32,
    pub total: u32,
    /// The step that begins now.
    pub message: &'static str,
}

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
    /// The outcome of a successful call. `text` is compact JSON.
    pub fn success(text: String) -> Self {
        Self { text, failed: None }
    }

    /// The outcome of a failed call.
    pub fn failure(error: &ToolError, correlation_id: &str) -> Self {
        let body = error.body(correlation_id);
        let category = body.pointer("/error/category").and_then(Value::as_str);
        Self {
            text: body.to_string(),
            failed: Some(Failed {
                code: error.code.clone().into_owned(),
                category: category.unwrap_or_default().to_owned(),
                status: error.details.status,
                log_only: error.log_only.as_deref().map(str::to_owned),
            }),
        }
    }

    /// The parsed text.
    pub fn value(&self) -> Value {
        value_of(&self.text)
    }
}

impl From<&ToolSpec> for ListedTool {
    fn from(spec: &ToolSpec) -> Self {
        let hints = spec.hints;
        // Some clients and directories read the title of the annotations only.
        let annotations = ToolAnnotations::from_raw(
            Some(spec.title.clone()),
            Some(hints.read_only),
            Some(hints.destructive),
            Some(hints.idempotent),
            Some(hints.open_world),
        );
        let tool = Tool::new(
            spec.name.clone(),
            spec.description.clone(),
            Arc::new(spec.input_schema.clone()),
        );
        let mut tool = tool
            .with_title(spec.title.clone())
            .with_raw_output_schema(Arc::new(spec.output_schema.clone()))
            .with_annotations(annotations);
        if hints.read_only {
            let meta = object([(MAX_RESULT_KEY, json!(MAX_RESULT_CHARS))]);
            tool = tool.with_meta(MetaObject(meta));
        }
        Self {
            tool,
            toolset: spec.toolset,
            access: spec.access,
            also_in: None,
            only_if_named: false,
        }
    }
}
