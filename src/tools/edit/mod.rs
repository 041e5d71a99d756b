//! The toolset `edit`: tools that change items of every kind.

mod apply_edit;
mod batch;
mod edit_text;
mod headings;
mod history;
mod item;
mod restore;
#[cfg(test)]
mod tests;

use futures::future::BoxFuture;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::argument::Argument;
use super::coerce::Arguments;
use super::destruction::Destruction;
use super::entities::Catalogue;
use super::error::ToolError;
use super::result::Limits;
use super::spec::Hints;
use super::standalone_tool::{self, About, Tool};
use super::toolset::{Confirmed, ListedTool, Outcome, Progress, ToolCall, Toolset};
use crate::api::Features;
use crate::api::request::Api;
use crate::foundation::json::Json;

/// The name of the toolset, in filters and scopes.
const NAME: &str = "edit";

/// The toolset.
#[derive(Debug)]
pub struct EditTools {
    tools: [Tool; 4],
    limits: Limits,
    /// Plans the requests about single items.
    catalogue: Catalogue,
}

impl EditTools {
    pub fn new(limits: Limits) -> Self {
        Self {
            tools: [
                edit_text::tool(),
                history::tool(),
                restore::tool(),
                batch::tool(),
            ],
            limits,
            // The UIDs are those of new items, which these tools do not create.
            catalogue: Catalogue::new(Uuid::now_v7, Features::NONE),
        }
    }

    async fn run<A: Api>(
        &self,
        name: &str,
        arguments: &Arguments<'_>,
        api: &A,
        progress: impl Fn(Progress) + Send + Sync,
        confirmed: Option<Confirmed>,
    ) -> Result<String, ToolError> {
        match name {
            edit_text::NAME => edit_text::run(arguments, &self.catalogue, api, progress).await,
            history::NAME => history::run(arguments, api, &self.limits).await,
            batch::NAME => batch::run(arguments, api, confirmed).await,
            restore::NAME => restore::run(arguments, api, &self.limits, confirmed).await,
            _ => Err(ToolError::internal("a tool that cannot be run")),
        }
    }
}

impl Toolset for EditTools {
    fn list(&self, features: Features) -> Vec<ListedTool> {
        standalone_tool::list(&self.tools, features)
    }

    fn call<'a>(&'a self, call: ToolCall<'a>) -> BoxFuture<'a, Outcome> {
        standalone_tool::call(&self.tools, call, move |name, arguments, call| async move {
            let uid = arguments.get("uid").and_then(Json::as_str);
            if let Some(Ok(uid)) = uid.map(|uid| Uuid::try_parse(&uid)) {
                let _ = call.item.set(uid);
            }
            if let Some(count) = (name == batch::NAME).then(|| batch::count(&arguments)) {
                let _ = call.operations.set(count);
            }
            self.run(name, &arguments, call.api, call.progress, call.confirmed)
                .await
        })
    }

    fn destruction(&self, name: &str, arguments: Json<'_>, _: Features) -> Option<Destruction> {
        let tool = self.tools.iter().find(|tool| tool.spec.name == name)?;
        let destruction = match name {
            batch::NAME => batch::destruction,
            restore::NAME => restore::destruction,
            _ => return None,
        };
        destruction(&Arguments::read(&tool.arguments, arguments).ok()?)
    }
}

/// A tool of this toolset that changes items.
fn changing_tool(
    about: About,
    arguments: Vec<Argument>,
    output_schema: Map<String, Value>,
    needs: Features,
) -> Tool {
    let hints = Hints::writes(true, false);
    Tool::new(NAME, hints, about, arguments, output_schema, needs)
}
