//! Tools that are not operations on one kind of items: each has a name and arguments of its own.

use std::future::Future;

use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use http::Method;
use serde_json::{Map, Value};

use super::api_error_body::ApiErrorBody;
use super::api_outage;
use super::api_outage::answered;
use super::argument::Argument;
use super::coerce::Arguments;
use super::compact;
use super::error::ToolError;
use super::schema;
use super::spec::{Hints, ToolSpec};
use super::toolset::{ListedTool, Outcome, ToolCall};
use crate::api::Features;
use crate::api::request::{Repeat, Reply, Request};

/// One tool, with the rows of its arguments.
#[derive(Debug)]
pub(super) struct Tool {
    pub spec: ToolSpec,
    pub arguments: Vec<Argument>,
    /// The features of the API that it needs.
    pub needs: Features,
    also_in: Option<&'static str>,
    only_if_named: bool,
}

/// What a model reads of a tool, besides its arguments.
pub(super) struct About {
    pub name: &'static str,
    pub title: &'static str,
    pub description: &'static str,
}

impl Tool {
    pub fn new(
        toolset: &'static str,
        hints: Hints,
        about: About,
        arguments: Vec<Argument>,
        output_schema: Map<String, Value>,
        needs: Features,
    ) -> Self {
        Self {
            spec: ToolSpec {
                name: about.name.to_owned(),
                title: about.title.to_owned(),
                description: about.description.to_owned(),
                input_schema: schema::input(&arguments),
                output_schema,
                hints,
                toolset,
                access: hints.access(),
            },
            arguments,
            needs,
            also_in: None,
            only_if_named: false,
        }
    }

    /// Makes the tool a part of the toolset `compact` too.
    pub fn in_compact(mut self) -> Self {
        self.also_in = Some(compact::NAME);
        self
    }

    /// Makes the tool one that is offered only where a filter names its toolset.
    pub fn only_if_named(mut self) -> Self {
        self.only_if_named = true;
        self
    }
}

/// The tools that are there with these features of the API.
pub(super) fn list(tools: &[Tool], features: Features) -> Vec<ListedTool> {
    let offered = tools.iter().filter(|tool| features.has(tool.needs));
    let listed = offered.map(|tool| ListedTool {
        also_in: tool.also_in,
        only_if_named: tool.only_if_named,
        ..ListedTool::from(&tool.spec)
    });
    listed.collect()
}

/// Begins a call of one of the tools: validates the arguments, and then calls `run` with the name
/// of the tool.
pub(super) fn call<'a, F>(
    tools: &'a [Tool],
    call: ToolCall<'a>,
    run: impl FnOnce(&'a str, Arguments<'a>, ToolCall<'a>) -> F + Send + 'a,
) -> BoxFuture<'a, Outcome>
where
    F: Future<Output = Result<String, ToolError>> + Send + 'a,
{
    let correlation_id = call.correlation_id;
    delegate(tools, call, move |name, arguments, call| {
        let failed = move |error| Outcome::failure(&error, correlation_id);
        run(name, arguments, call).map(move |result| result.map_or_else(failed, Outcome::success))
    })
}

/// Like [`call`], for tools that another toolset executes.
pub(super) fn delegate<'a, F>(
    tools: &'a [Tool],
    call: ToolCall<'a>,
    run: impl FnOnce(&'a str, Arguments<'a>, ToolCall<'a>) -> F + Send + 'a,
) -> BoxFuture<'a, Outcome>
where
    F: Future<Output = Outcome> + Send + 'a,
{
    let failed = |error| Outcome::failure(&error, call.correlation_id);
    let Some(tool) = tools.iter().find(|tool| tool.spec.name == call.name) else {
        return ready(failed(ToolError::internal("a tool of another toolset"))).boxed();
    };
    match Arguments::read(&tool.arguments, call.arguments) {
        Ok(arguments) => run(&tool.spec.name, arguments, call).boxed(),
        Err(error) => ready(failed(ToolError::invalid_argument(call.name, error))).boxed(),
    }
}

/// A request that only reads.
pub(super) fn read_request(
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
) -> Request {
    Request {
        method,
        path,
        query,
        body: None,
        if_match: None,
        idempotency_key: None,
        repeat: Repeat::Idempotent,
    }
}

/// The error for a response with an error status that does not depend on the request.
pub(super) fn refused(reply: &Reply, tool: &str) -> ToolError {
    let body = ApiErrorBody::of(reply);
    let error = api_outage::refused(reply.status, &body)
        .unwrap_or_else(|| api_outage::unexpected(reply.status, tool));
    answered(error, reply)
}

/// The error for a successful response that violates the contract.
pub(super) fn malformed(tool: &str, why: &str) -> ToolError {
    let mut error = api_outage::unexpected(200, tool);
    error.log_only = Some(why.into());
    error
}
