//! Builds the page at `/` from the configuration and the tools.

use crate::config::Config;
use crate::mcp::ToolRegistry;
use crate::page::{Page, Tool, Toolset};

pub fn page(config: &Config, registry: &ToolRegistry) -> Page {
    // Tools that this server does not offer do not appear on the page either.
    let tools_of = |toolset: &str| {
        let own = registry.served().filter(|(_, of)| *of == toolset);
        own.map(|(tool, _)| Tool {
            name: tool.name.to_string(),
            description: tool.description.clone().unwrap_or_default().into_owned(),
            writes: registry.writes(&tool.name),
        })
        .collect()
    };
    let toolsets = registry.toolsets().iter().map(|name| Toolset {
        label: name.replace('_', " "),
        tools: tools_of(name),
    });
    Page::new(
        toolsets
            .filter(|toolset| !toolset.tools.is_empty())
            .collect(),
        !config.auth.authorization_servers.is_empty(),
    )
}
