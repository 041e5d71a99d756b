//! The toolset `find`: tools that look through all kinds of items at once. They only read.

mod fetch;
mod item_text;
mod overview;
mod search;
#[cfg(test)]
mod tests;

use futures::future::BoxFuture;
use serde_json::{Map, Value, json};

use super::api_outage;
use super::argument::Argument;
use super::coerce::Arguments;
use super::error::{Category, ToolError};
use super::result::Limits;
use super::spec::Hints;
use super::standalone_tool::{self, About, Tool, malformed, read_request, refused};
use super::toolset::{ListedTool, Outcome, ToolCall, Toolset};
use crate::api::Features;
use crate::api::request::{Api, Reply};
use crate::foundation::json::Json;

/// The name of the toolset, in filters and scopes.
const NAME: &str = "find";

/// The toolset.
#[derive(Debug)]
pub struct FindTools {
    tools: [Tool; 3],
    limits: Limits,
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
        name: &str,
        arguments: &Arguments<'_>,
        api: &A,
    ) -> Result<String, ToolError> {
        let text = match name {
            search::NAME => search::run(arguments, api, &self.limits).await,
            fetch::NAME => fetch::run(arguments, api).await,
            overview::NAME => overview::run(arguments, api).await,
            _ => Err(ToolError::internal("a tool that cannot be run")),
        }?;
        let max = self.limits.max_result_bytes;
        if text.len() > max {
            let size = Some(text.len());
            return Err(api_outage::too_large(size, max, name));
        }
        Ok(text)
    }
}

impl Toolset for FindTools {
    fn list(&self, features: Features) -> Vec<ListedTool> {
        standalone_tool::list(&self.tools, features)
    }

    fn call<'a>(&'a self, call: ToolCall<'a>) -> BoxFuture<'a, Outcome> {
        standalone_tool::call(&self.tools, call, move |name, arguments, call| async move {
            self.run(name, &arguments, call.api).await
        })
    }
}

/// A tool of this toolset.
fn reading_tool(
    about: About,
    arguments: Vec<Argument>,
    output_schema: Map<String, Value>,
    needs: Features,
) -> Tool {
    Tool::new(NAME, Hints::READS, about, arguments, output_schema, needs)
}

/// Parses a response.
fn parse<'a>(reply: &'a Reply, tool: &str) -> Result<Json<'a>, ToolError> {
    Json::parse(&reply.body).map_err(|error| malformed(tool, &error.to_string()))
}

/// The schema of a list of objects.
fn objects() -> Value {
    json!({"type": "array", "items": {"type": "object"}})
}

/// An error about one argument.
fn argument_error(argument: &str, message: String, remedy: String) -> ToolError {
    ToolError::new(Category::Validation, "invalid_argument", message, remedy)
        .details(|details| details.argument = Some(argument.to_owned()))
}
