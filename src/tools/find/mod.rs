//! The toolset `find`: tools that look through all kinds of items at once. They only read.

mod fetch;
mod item_text;
mod overview;
mod search;
#[cfg(test)]
mod tests;

use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use http::Method;
use serde_json::{Map, Value, json};

use super::api_error_body::ApiErrorBody;
use super::api_outage;
use super::api_outage::answered;
use super::argument::Argument;
use super::coerce::Arguments;
use super::error::{Category, ToolError};
use super::result::Limits;
use super::schema;
use super::spec::{Access, Hints, ToolSpec};
use super::toolset::{ListedTool, Outcome, ToolCall, Toolset};
use crate::api::Features;
use crate::api::request::{Api, Repeat, Reply, Request};
use crate::foundation::json::Json;

/// The name of the toolset, in filters and scopes.
const NAME: &str = "find";

/// The toolset.
#[derive(Debug)]
pub struct FindTools {
    tools: [Tool; 3],
    limits: Limits,
}

/// One tool, with the rows of its arguments.
#[derive(Debug)]
struct Tool {
    spec: ToolSpec,
    arguments: Vec<Argument>,
    /// The features of the API that it needs.
    needs: Features,
}

impl FindTools {
    pub fn new(limits: Limits) -> Self {
        Self {
            tools: [search::tool(), fetch::tool(), overview::tool()],
            limits,
        }
    }

    async fn run<A: Api>(
        &self,
        tool: &Tool,
        arguments: &Arguments<'_>,
        api: &A,
    ) -> Result<String, ToolError> {
        let text = match tool.spec.name.as_str() {
            search::NAME => search::run(arguments, api).await,
            fetch::NAME => fetch::run(arguments, api).await,
            overview::NAME => overview::run(arguments, api).await,
            _ => Err(ToolError::internal("a tool that cannot be run")),
        }?;
        let max = self.limits.max_result_bytes;
        if text.len() > max {
            let size = Some(text.len());
            return Err(api_outage::too_large(size, max, &tool.spec.name));
        }
        Ok(text)
    }
}

impl Toolset for FindTools {
    fn list(&self, features: Features) -> Vec<ListedTool> {
        let offered = self.tools.iter();
        let offered = offered.filter(|tool| features.has(tool.needs));
        offered.map(|tool| ListedTool::from(&tool.spec)).collect()
    }

    fn call<'a>(&'a self, call: ToolCall<'a>) -> BoxFuture<'a, Outcome> {
        let mut tools = self.tools.iter();
        let Some(tool) = tools.find(|tool| tool.spec.name == call.name) else {
            let error = ToolError::internal("a call of a tool of another toolset");
            return ready(Outcome::failure(&error, call.correlation_id)).boxed();
        };
        let work = async move {
            let arguments = Arguments::read(&tool.arguments, call.arguments)
                .map_err(|error| ToolError::invalid_argument(call.name, error));
            let result = match arguments {
                Ok(arguments) => self.run(tool, &arguments, call.api).await,
                Err(error) => Err(error),
            };
            match result {
                Ok(text) => Outcome::success(text),
                Err(error) => Outcome::failure(&error, call.correlation_id),
            }
        };
        work.boxed()
    }
}

impl Tool {
    fn new(
        name: &str,
        title: &str,
        description: &str,
        arguments: Vec<Argument>,
        output_schema: Map<String, Value>,
        needs: Features,
    ) -> Self {
        Self {
            spec: ToolSpec {
                name: name.to_owned(),
                title: title.to_owned(),
                description: description.to_owned(),
                input_schema: schema::input(&arguments),
                output_schema,
                hints: Hints::READS,
                toolset: NAME,
                access: Access::Read,
            },
            arguments,
            needs,
        }
    }
}

/// A request that only reads.
fn read_request(method: Method, path: String, query: Vec<(&'static str, String)>) -> Request {
    Request {
        method,
        path,
        query,
        body: None,
        if_match: None,
        repeat: Repeat::Idempotent,
    }
}

/// The error for a response with an error status that does not depend on the request.
fn refused(reply: &Reply, tool: &str) -> ToolError {
    let body = ApiErrorBody::of(reply);
    let error = api_outage::refused(reply.status, &body)
        .unwrap_or_else(|| api_outage::unexpected(reply.status, tool));
    answered(error, reply)
}

/// The error for a successful response that violates the contract.
fn malformed(tool: &str, why: &str) -> ToolError {
    let mut error = api_outage::unexpected(200, tool);
    error.log_only = Some(why.into());
    error
}

/// Parses a response.
fn parse<'a>(reply: &'a Reply, tool: &str) -> Result<Json<'a>, ToolError> {
    Json::parse(&reply.body).map_err(|error| malformed(tool, &error.to_string()))
}

/// The schema of a list of objects of which only some members are described.
fn objects(known: Value) -> Value {
    json!({"type": "array", "items": {"type": "object", "properties": known}})
}

/// An error about one argument.
fn argument_error(argument: &str, message: String, remedy: String) -> ToolError {
    ToolError::new(Category::Validation, "invalid_argument", message, remedy)
        .details(|details| details.argument = Some(argument.to_owned()))
}
