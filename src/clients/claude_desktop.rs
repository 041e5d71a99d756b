//! Claude Desktop: OAuth through connectors, local processes through its file; it sends no custom
//! headers.

use serde_json::json;

use super::{Abilities, Client, Field, File, KEEP_TOKEN, Recipe, Step, Way};

pub static CLAUDE_DESKTOP: Client = Client {
    key: "claude-desktop",
    name: "Claude Desktop",
    recipes: [
        Recipe {
            way: Way::Token,
            cannot: Some(
                "Claude Desktop sends no custom header, so a process on your machine sends the \
                 token.",
            ),
            steps: &[KEEP_TOKEN, FILE, RESTART],
        },
        Recipe {
            way: Way::OAuth,
            cannot: None,
            steps: &[
                Step::Enter {
                    say: "In Settings, Connectors, choose “Add custom connector” and enter:",
                    fields: &[
                        Field {
                            label: "Name",
                            text: |entry| entry.name.clone(),
                        },
                        Field {
                            label: "URL",
                            text: |entry| entry.url.clone(),
                        },
                    ],
                },
                Step::Say(
                    "Then choose Connect, and sign in. In a team, an owner has to add the \
                     connector first.",
                ),
                Step::Say(
                    "Anthropic's servers connect to the URL, not your machine, so it must be \
                     reachable from the internet over `https`. The connector also works in Claude \
                     on the web.",
                ),
            ],
        },
        Recipe {
            way: Way::Process,
            cannot: None,
            steps: &[KEEP_TOKEN, FILE, RESTART],
        },
    ],
    abilities: Some(Abilities {
        headers: "no",
        oauth: "yes, from Anthropic's servers",
        sse: "through connectors",
        stdio: "yes",
        eras: "legacy",
        source: "its documentation, November 2026",
    }),
};

const FILE: Step = Step::Paste {
    say: "Add this to Claude Desktop's file, which Settings, Developer, “Edit Config” opens.",
    files: &[File {
        r#for: "macOS",
        path: "~/Library/Application Support/Claude/claude_desktop_config.json",
    }],
    json: |entry| {
        json!({
            "mcpServers": { (&entry.name): { "command": entry.command,
                "args": entry.arguments() } },
        })
    },
};

const RESTART: Step = Step::Say("Quit and restart Claude Desktop.");
