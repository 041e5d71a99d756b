//! All tools: the product of entities and operations, built once and shared.

use std::collections::HashMap;

use uuid::Uuid;

use super::argument::{Argument, arguments};
use super::argument_error::{ArgumentError, nearest};
use super::coerce::Arguments;
use super::error::ToolError;
use super::operation::Operation;
use super::plan::Plan;
use super::spec::ToolSpec;
use crate::entities::{self, Entity};
use crate::foundation::json::Json;

/// The tools over ToolBridge's entities, in a stable order.
pub struct Catalogue {
    tools: Vec<Tool>,
    /// Where each name stands in `tools`.
    places: HashMap<String, usize>,
    /// UIDs for new items. Given from outside, so that tests know them.
    new_uid: Box<dyn Fn() -> Uuid + Send + Sync>,
}

/// One tool.
#[derive(Debug)]
pub struct Tool {
    pub spec: ToolSpec,
    pub(super) entity: &'static Entity,
    pub(super) operation: Operation,
    arguments: Vec<Argument>,
}

impl Catalogue {
    /// `new_uid` names new items; in earnest that is [`Uuid::now_v7`], whose order is that of creation.
    pub fn new(new_uid: impl Fn() -> Uuid + Send + Sync + 'static) -> Self {
        let tools: Vec<_> = entities::ALL
            .iter()
            .flat_map(|entity| Operation::ALL.map(|operation| Tool::new(entity, operation)))
            .collect();
        let places = tools
            .iter()
            .enumerate()
            .map(|(place, tool)| (tool.spec.name.clone(), place))
            .collect();
        Self {
            tools,
            places,
            new_uid: Box::new(new_uid),
        }
    }

    /// What each tool says about itself, in the order of `tools/list`.
    pub fn specs(&self) -> impl ExactSizeIterator<Item = &ToolSpec> {
        self.tools.iter().map(|tool| &tool.spec)
    }

    /// The tool of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Tool> {
        self.tools.get(*self.places.get(name)?)
    }

    /// Checks the arguments and says what is to be sent. Nothing is sent yet, and nothing at all if this refuses.
    pub fn prepare(&self, name: &str, arguments: Json<'_>) -> Result<Plan, ToolError> {
        let Some(tool) = self.get(name) else {
            let names: Vec<_> = self.specs().map(|spec| spec.name.as_str()).collect();
            return Err(ToolError::unknown_tool(name, nearest(name, &names)));
        };
        tool.plan(arguments, &self.new_uid)
            .map_err(|refusal| ToolError::refused(name, refusal))
    }
}

impl std::fmt::Debug for Catalogue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Catalogue")
            .field("tools", &self.tools.len())
            .finish_non_exhaustive()
    }
}

impl Tool {
    fn new(entity: &'static Entity, operation: Operation) -> Self {
        let arguments = arguments(entity, operation);
        Self {
            spec: ToolSpec::new(entity, operation, &arguments),
            entity,
            operation,
            arguments,
        }
    }

    fn plan(&self, given: Json<'_>, new_uid: &dyn Fn() -> Uuid) -> Result<Plan, ArgumentError> {
        Plan::new(self, &Arguments::read(&self.arguments, given)?, new_uid)
    }
}
