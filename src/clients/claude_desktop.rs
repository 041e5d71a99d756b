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
                "Claude Desktop sends no header of your own, so a token has to travel by a process on your machine.",
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
                    "Then choose Connect, and sign in. In a team, an owner adds the connector first.",
                ),
                Step::Say(
                    "The connection comes from Anthropic's servers and not from your machine, so the URL has to be \
                     reachable from the internet over `https`. The connector is there in Claude on the web as well.",
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
    }),
};

const FILE: Step = Step::Paste {
    say: "Put this into Claude Desktop's file; Settings, Developer, “Edit Config” opens it.",
    files: &[File {
        r#for: "macOS",
        path: "~/Library/Application Support/Claude/claude_desktop_config.json",
    }],
    json: |entry| json!({ "mcpServers": { (&entry.name): { "command": entry.command, "args": entry.arguments() } } }),
};

const RESTART: Step = Step::Say("Quit Claude Desktop and start it again.");
