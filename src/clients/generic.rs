//! Any other client: the settings it needs, in the most common terms and format.

use serde_json::json;

use super::{Client, Field, KEEP_TOKEN, Recipe, Step, Way};

pub static GENERIC: Client = Client {
    key: "generic",
    name: "Any other client",
    recipes: [
        Recipe {
            way: Way::Token,
            cannot: None,
            steps: &[
                Step::Enter {
                    say: "The client needs:",
                    fields: &[
                        TRANSPORT,
                        URL,
                        Field {
                            label: "Header",
                            text: |_| "Authorization: Bearer …".to_owned(),
                        },
                    ],
                },
                Step::Say(
                    "For a client that only supports HTTP+SSE, the transport of 2024-11-05, use \
                     `/sse` instead of `/mcp`.",
                ),
                Step::Paste {
                    say: "Many clients read this format from a file. If yours does not expand \
                        `${…}`, use its own storage for secrets, or start a process instead.",
                    files: &[],
                    json: |entry| {
                        json!({ "mcpServers": { (&entry.name): {
                            "type": "http",
                            "url": entry.url,
                            "headers": { "Authorization": "Bearer ${TOOLBRIDGE_TOKEN}" },
                        } } })
                    },
                },
            ],
        },
        Recipe {
            way: Way::OAuth,
            cannot: None,
            steps: &[
                Step::Enter {
                    say: "The client needs the URL, and discovers the rest:",
                    fields: &[TRANSPORT, URL],
                },
                Step::Paste {
                    say: "Many clients read this format from a file.",
                    files: &[],
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
                    say: "The client starts this command, and speaks MCP over its standard input \
                        and output:",
                    line: super::Entry::command_line,
                },
                Step::Paste {
                    say: "Many clients read this format from a file.",
                    files: &[],
                    json: |entry| {
                        json!({ "mcpServers": { (&entry.name): {
                            "command": entry.command,
                            "args": entry.arguments(),
                        } } })
                    },
                },
            ],
        },
    ],
    abilities: None,
};

const TRANSPORT: Field = Field {
    label: "Transport",
    text: |_| "Streamable HTTP".to_owned(),
};

const URL: Field = Field {
    label: "URL",
    text: |entry| entry.url.clone(),
};
