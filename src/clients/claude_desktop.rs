//! Claude Desktop: OAuth through connectors, local processes through its file; it sends no custom
//! headers.

use serde_json::json;

use super::{Abilities, Client, Field, File, KEEP_TOKEN, Recipe, Step, Way};

/// The bundle asks for what it needs, so it comes before the file.
const BUNDLE: Step = Step::Enter {
    say: "Open the bundle in Claude Desktop: the file of a release whose name ends in `.mcpb`, for \
        your system. It keeps the token in the secret storage of the system. Enter:",
    fields: &[
        Field {
            label: "Server address",
            text: |entry| entry.url.clone(),
        },
        Field {
            label: "Token",
            text: |_| "your token".to_owned(),
        },
    ],
};

const OR: Step = Step::Say("Or, without the bundle:");

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
            steps: &[BUNDLE, OR, KEEP_TOKEN, FILE, RESTART],
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
            steps: &[BUNDLE, OR, KEEP_TOKEN, FILE, RESTART],
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
    files: &[
        File {
            r#for: "macOS",
            path: "~/Library/Application Support/Claude/claude_desktop_config.json",
        },
        File {
            r#for: "Windows",
            path: r"%APPDATA%\Claude\claude_desktop_config.json",
        },
    ],
    json: |entry| {
        json!({
            "mcpServers": { (&entry.name): { "command": entry.command,
                "args": entry.arguments() } },
        })
    },
};

const RESTART: Step = Step::Say("Quit and restart Claude Desktop.");
