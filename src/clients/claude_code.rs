//! Claude Code: configured by one command, or by `.mcp.json`, which expands environment variables.

use serde_json::json;

use super::entry::shell;
use super::{Abilities, Client, File, KEEP_TOKEN, Recipe, Step, Way};

pub static CLAUDE_CODE: Client = Client {
    key: "claude-code",
    name: "Claude Code",
    recipes: [
        Recipe {
            way: Way::Token,
            cannot: None,
            steps: &[
                Step::Run {
                    say: "Run this in your project's folder. Because of the single quotes, \
                        `.mcp.json` has the name of the variable, not the token.",
                    line: |entry| {
                        format!(
                            "claude mcp add --transport http --scope project {} {} --header \
                             'Authorization: Bearer ${{TOOLBRIDGE_TOKEN}}'",
                            entry.name,
                            shell(&entry.url)
                        )
                    },
                },
                Step::Paste {
                    say: "Or add this to the file.",
                    files: PROJECT,
                    json: |entry| {
                        json!({ "mcpServers": { (&entry.name): {
                            "type": "http",
                            "url": entry.url,
                            "headers": { "Authorization": "Bearer ${TOOLBRIDGE_TOKEN}" },
                        } } })
                    },
                },
                Step::Say(
                    "Start `claude` from a shell in which `TOOLBRIDGE_TOKEN` is set; `/mcp` shows \
                     whether it works.",
                ),
            ],
        },
        Recipe {
            way: Way::OAuth,
            cannot: None,
            steps: &[
                Step::Run {
                    say: "Run this:",
                    line: |entry| {
                        format!(
                            "claude mcp add --transport http {} {}",
                            entry.name,
                            shell(&entry.url)
                        )
                    },
                },
                Step::Say("Then type `/mcp` in Claude Code, choose the server, and sign in."),
                Step::Paste {
                    say: "Or, for everyone who works on the project:",
                    files: PROJECT,
                    json: |entry| {
                        json!({
                            "mcpServers": { (&entry.name): { "type": "http", "url": entry.url } },
                        })
                    },
                },
            ],
        },
        Recipe {
            way: Way::Process,
            cannot: None,
            steps: &[
                KEEP_TOKEN,
                Step::Run {
                    say: "Then run this:",
                    line: |entry| {
                        format!("claude mcp add {} -- {}", entry.name, entry.command_line())
                    },
                },
                Step::Paste {
                    say: "Or add this to the project's file:",
                    files: PROJECT,
                    json: |entry| {
                        json!({ "mcpServers": { (&entry.name): {
                            "type": "stdio",
                            "command": entry.command,
                            "args": entry.arguments(),
                        } } })
                    },
                },
            ],
        },
    ],
    abilities: Some(Abilities {
        headers: "yes",
        oauth: "yes",
        sse: "yes, deprecated",
        stdio: "yes",
        eras: "legacy",
        source: "tried with 2.1.332, 27 November 2026",
    }),
};

const PROJECT: &[File] = &[File {
    r#for: "all systems",
    path: ".mcp.json",
}];
