//! The tools: they turn a name and arguments into API requests, and the API's responses into a
//! result or an error.
//!
//! Tools come in [toolsets](Toolset), one directory each; [`all`] lists them. The other files are
//! what toolsets share: rows of arguments, from which both the schema and the validation are
//! derived, results, and errors. This module does not depend on HTTP clients, tokens or JSON-RPC.

mod api_error_body;
mod api_outage;
mod argument;
mod argument_error;
mod coerce;
mod compact;
mod destruction;
mod edit;
mod entities;
mod error;
mod find;
mod json_text;
mod key_case;
mod result;
mod rfc3339;
mod schema;
mod settings;
mod spec;
mod standalone_tool;
mod toolset;
mod write_errors;

use std::sync::Arc;

use uuid::Uuid;

use crate::api::Features;

#[cfg(test)]
pub use destruction::Act;
pub use destruction::{Destruction, Effect, Seen};
#[cfg(any(test, feature = "internals"))]
pub use entities::{Catalogue, EntityTools};
pub use error::ToolError;
pub use result::Limits;
#[cfg(feature = "internals")]
pub use result::{read_item, read_page};
pub use settings::Settings;
pub use spec::Access;
#[cfg(test)]
pub use spec::ToolSpec;
pub use toolset::{Confirmed, ListedTool, Outcome, Progress, ToolCall, Toolset};

/// Every toolset, in the order in which clients see their tools.
pub fn all(limits: Limits) -> Vec<Arc<dyn Toolset>> {
    // UIDs of version 7 sort by creation time.
    let entities = Arc::new(entities::EntityTools::new(Uuid::now_v7, limits));
    vec![
        Arc::clone(&entities) as Arc<dyn Toolset>,
        Arc::new(find::FindTools::new(limits)),
        Arc::new(edit::EditTools::new(limits)),
        Arc::new(compact::CompactTools::new(entities)),
    ]
}

/// The names of all toolsets, by which filters select tools.
pub fn toolset_names() -> Vec<&'static str> {
    let toolsets = all(Limits::UNLIMITED);
    let listed = toolsets
        .iter()
        .flat_map(|toolset| toolset.list(Features::ALL));
    let mut names: Vec<_> = listed.map(|listed| listed.toolset).collect();
    names.dedup();
    names
}

#[cfg(any(test, feature = "internals"))]
#[path = "../../fuzz/targets/answers.rs"]
pub mod hostile_answers;
#[cfg(any(test, feature = "internals"))]
#[path = "../../fuzz/targets/arguments.rs"]
pub mod hostile_arguments;
#[cfg(test)]
mod tests;
