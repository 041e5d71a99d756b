//! Builds the page at `/` from the configuration and the tools.

use std::collections::HashSet;

use uuid::Uuid;

use crate::auth::Scopes;
use crate::config::Config;
use crate::entities;
use crate::mcp::{ToolAccess, ToolRegistry};
use crate::page::{Page, Tool, Toolset};
use crate::tools::{Catalogue, ToolSpec};

pub fn page(config: &Config, surface: &ToolRegistry) -> Page {
    // Tools that this server does not offer do not appear on the page either.
    let served: HashSet<String> = surface
        .tools(surface.reach(ToolAccess::ALL, &Scopes::All))
        .into_iter()
        .map(|tool| tool.name.into_owned())
        .collect();
    let catalogue = Catalogue::new(Uuid::now_v7);
    let tool = |spec: &ToolSpec| Tool {
        name: spec.name.clone(),
        description: spec.description.clone(),
        writes: !spec.hints.read_only,
    };
    let toolsets = entities::ALL.iter().map(|entity| Toolset {
        label: entity.label_plural,
        tools: catalogue
            .specs()
            .filter(|spec| spec.entity == entity.key && served.contains(&spec.name))
            .map(tool)
            .collect(),
    });
    Page::new(
        toolsets
            .filter(|toolset| !toolset.tools.is_empty())
            .collect(),
        !config.auth.authorization_servers.is_empty(),
    )
}
