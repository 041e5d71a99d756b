//! Builds the page at `/` from the configuration and the tools.

use crate::config::Config;
use crate::mcp::{Server, ToolRegistry};
use crate::page::{Page, Tool, Toolset};

pub fn page(config: &Config, server: &Server) -> Page {
    let server = server.clone();
    let signs_in = !config.auth.authorization_servers.is_empty();
    Page::new(move || toolsets(&server.tools()), signs_in)
}

/// The tools that this server offers, by toolset.
fn toolsets(registry: &ToolRegistry) -> Vec<Toolset> {
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
    toolsets
        .filter(|toolset| !toolset.tools.is_empty())
        .collect()
}
