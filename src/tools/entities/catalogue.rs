//! The catalogue of all tools: the product of entities and operations, built once and shared.

use std::collections::HashMap;

use uuid::Uuid;

use super::operation::{self, Operation};
use super::plan::Plan;
use crate::api::Features;
use crate::entities::{self, Entity};
use crate::foundation::json::Json;
use crate::tools::argument::Argument;
use crate::tools::argument_error::ArgumentError;
use crate::tools::coerce::Arguments;
use crate::tools::error::ToolError;
use crate::tools::schema;
use crate::tools::spec::ToolSpec;

/// All tools, in a stable order.
pub struct Catalogue {
    tools: Vec<Tool>,
    /// The index of each tool in `tools`, by name.
    positions: HashMap<String, usize>,
    /// Generates the UIDs of new items. Tests inject a predictable one.
    new_uid: Box<dyn Fn() -> Uuid + Send + Sync>,
}

/// One tool.
#[derive(Debug)]
pub struct Tool {
    pub spec: ToolSpec,
    pub(in crate::tools) entity: &'static Entity,
    pub(super) operation: &'static dyn Operation,
    pub(super) features: Features,
    arguments: Vec<Argument>,
}

impl Catalogue {
    /// Builds the catalogue for an API with these features. `new_uid` generates the UIDs of new
    /// items; in production it is [`Uuid::now_v7`], which sorts by creation time.
    pub fn new(new_uid: impl Fn() -> Uuid + Send + Sync + 'static, features: Features) -> Self {
        let tools: Vec<_> = entities::ALL
            .iter()
            .flat_map(|entity| {
                operation::ALL.map(|operation| Tool::new(entity, operation, features))
            })
            .collect();
        let positions = tools
            .iter()
            .enumerate()
            .map(|(position, tool)| (tool.spec.name.clone(), position))
            .collect();
        Self {
            tools,
            positions,
            new_uid: Box::new(new_uid),
        }
    }

    /// The specifications of all tools, in the order of `tools/list`.
    pub fn specs(&self) -> impl ExactSizeIterator<Item = &ToolSpec> {
        self.tools.iter().map(|tool| &tool.spec)
    }

    /// Finds a tool by its name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Tool> {
        self.tools.get(*self.positions.get(name)?)
    }

    /// Validates the arguments and plans the request. Sends nothing.
    pub fn prepare(&self, name: &str, arguments: Json<'_>) -> Result<Plan, ToolError> {
        let Some(tool) = self.get(name) else {
            let names: Vec<_> = self.specs().map(|spec| spec.name.as_str()).collect();
            return Err(ToolError::unknown_tool(name, &names));
        };
        tool.plan(arguments, &self.new_uid)
            .map_err(|error| ToolError::invalid_argument(name, error))
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
    fn new(entity: &'static Entity, operation: &'static dyn Operation, features: Features) -> Self {
        let arguments = operation.arguments(entity, features);
        let hints = operation.hints();
        Self {
            spec: ToolSpec {
                name: operation.tool_name(entity),
                title: operation.tool_title(entity),
                description: operation.describe(entity, features),
                input_schema: schema::input(&arguments),
                output_schema: operation.output_schema(),
                hints,
                toolset: entity.plural,
                access: hints.access(),
            },
            entity,
            operation,
            features,
            arguments,
        }
    }

    fn plan(&self, given: Json<'_>, new_uid: &dyn Fn() -> Uuid) -> Result<Plan, ArgumentError> {
        Plan::new(self, &Arguments::read(&self.arguments, given)?, new_uid)
    }
}
