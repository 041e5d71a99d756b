//! Cursor: headers from the environment, and install links that contain the entry.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::entry::query;
use super::{Abilities, Client, Entry, File, KEEP_TOKEN, Recipe, Step, Way};

pub static CURSOR: Client = Client {
    key: "cursor",
    name: "Cursor",
    recipes: [
        Recipe {
            way: Way::Token,
            cannot: None,
            steps: &[
                Step::Install {
                    say: "Install it in Cursor:",
                    link: |entry| native(entry, &with_token(entry)),
                    redirect: |entry| redirect(entry, &with_token(entry)),
                },
                Step::Paste {
                    say: "Or add this to its file.",
                    files: FILES,
                    json: |entry| file(entry, with_token(entry)),
                },
                Step::Say(
                    "Cursor reads `TOOLBRIDGE_TOKEN` from its environment: start it from a shell \
                     in which the variable is set.",
                ),
                Step::Say(
                    "If a server also offers sign-in, Cursor signs in and does not send the \
                     header.",
                ),
            ],
        },
        Recipe {
            way: Way::OAuth,
            cannot: None,
            steps: &[
                Step::Install {
                    say: "Install it in Cursor:",
                    link: |entry| native(entry, &by_url(entry)),
                    redirect: |entry| redirect(entry, &by_url(entry)),
                },
                Step::Paste {
                    say: "Or add this to its file.",
                    files: FILES,
                    json: |entry| file(entry, by_url(entry)),
                },
                Step::Say("Then sign in, in Cursor's MCP settings."),
            ],
        },
        Recipe {
            way: Way::Process,
            cannot: None,
            steps: &[
                KEEP_TOKEN,
                Step::Install {
                    say: "Then install it in Cursor:",
                    link: |entry| native(entry, &process(entry)),
                    redirect: |entry| redirect(entry, &process(entry)),
                },
                Step::Paste {
                    say: "Or add this to its file.",
                    files: FILES,
                    json: |entry| file(entry, process(entry)),
                },
            ],
        },
    ],
    abilities: Some(Abilities {
        headers: "yes, unless OAuth is offered",
        oauth: "yes",
        sse: "yes",
        stdio: "yes",
        eras: "legacy",
        source: "its documentation, November 2026",
    }),
};

const FILES: &[File] = &[
    File {
        r#for: "one project",
        path: ".cursor/mcp.json",
    },
    File {
        r#for: "macOS, Linux",
        path: "~/.cursor/mcp.json",
    },
    File {
        r#for: "Windows",
        path: r"%USERPROFILE%\.cursor\mcp.json",
    },
];

fn by_url(entry: &Entry) -> Value {
    json!({ "url": entry.url })
}

fn with_token(entry: &Entry) -> Value {
    json!({ "url": entry.url, "headers": { "Authorization": "Bearer ${env:TOOLBRIDGE_TOKEN}" } })
}

fn process(entry: &Entry) -> Value {
    json!({ "command": entry.command, "args": entry.arguments() })
}

fn file(entry: &Entry, server: Value) -> Value {
    json!({ "mcpServers": { (&entry.name): server } })
}

/// Base64 has characters with a meaning in a query, so it is percent-encoded as well.
fn parameters(entry: &Entry, server: &Value) -> String {
    let config = query(&STANDARD.encode(server.to_string()));
    format!("name={}&config={config}", entry.name)
}

fn native(entry: &Entry, server: &Value) -> String {
    format!(
        "cursor://anysphere.cursor-deeplink/mcp/install?{}",
        parameters(entry, server)
    )
}

fn redirect(entry: &Entry, server: &Value) -> String {
    format!(
        "https://cursor.com/en/install-mcp?{}",
        parameters(entry, server)
    )
}
