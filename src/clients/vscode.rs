//! VS Code: it asks for the token once and keeps it in its own secret storage.

use serde_json::{Value, json};

use super::entry::query;
use super::{Abilities, Client, Entry, File, KEEP_TOKEN, Recipe, Step, Way};

pub static VSCODE: Client = Client {
    key: "vscode",
    name: "VS Code",
    recipes: [
        Recipe {
            way: Way::Token,
            cannot: None,
            steps: &[
                Step::Install {
                    say: "Install it in VS Code, which asks for the token and keeps it in its \
                        secret storage.",
                    link: |entry| native(entry, with_token(entry), Some(inputs())),
                    redirect: |entry| redirect(entry, &with_token(entry), Some(inputs())),
                },
                Step::Paste {
                    say: "Or add this to its file, which the command “MCP: Open User \
                        Configuration” opens.",
                    files: FILES,
                    json: |entry| {
                        json!({
                            "inputs": inputs(),
                            "servers": { (&entry.name): with_token(entry) },
                        })
                    },
                },
            ],
        },
        Recipe {
            way: Way::OAuth,
            cannot: None,
            steps: &[
                Step::Install {
                    say: "Install it in VS Code, which opens a browser to sign in.",
                    link: |entry| native(entry, by_url(entry), None),
                    redirect: |entry| redirect(entry, &by_url(entry), None),
                },
                Step::Paste {
                    say: "Or add this to its file, which the command “MCP: Open User \
                        Configuration” opens.",
                    files: FILES,
                    json: |entry| json!({ "servers": { (&entry.name): by_url(entry) } }),
                },
            ],
        },
        Recipe {
            way: Way::Process,
            cannot: None,
            steps: &[
                KEEP_TOKEN,
                Step::Install {
                    say: "Then install it in VS Code:",
                    link: |entry| native(entry, process(entry), None),
                    redirect: |entry| redirect(entry, &process(entry), None),
                },
                Step::Paste {
                    say: "Or add this to its file, which the command “MCP: Open User \
                        Configuration” opens.",
                    files: FILES,
                    json: |entry| json!({ "servers": { (&entry.name): process(entry) } }),
                },
            ],
        },
    ],
    abilities: Some(Abilities {
        headers: "yes",
        oauth: "yes",
        sse: "yes, when HTTP is refused",
        stdio: "yes",
        eras: "legacy",
        source: "its documentation, November 2026",
    }),
};

const FILES: &[File] = &[
    File {
        r#for: "one project",
        path: ".vscode/mcp.json",
    },
    File {
        r#for: "macOS",
        path: "~/Library/Application Support/Code/User/mcp.json",
    },
    File {
        r#for: "Linux",
        path: "~/.config/Code/User/mcp.json",
    },
    File {
        r#for: "Windows",
        path: r"%APPDATA%\Code\User\mcp.json",
    },
];

/// VS Code asks for it once; `password` masks the input.
fn inputs() -> Value {
    json!([{
        "type": "promptString",
        "id": "toolbridge-token",
        "description": "ToolBridge token",
        "password": true,
    }])
}

fn by_url(entry: &Entry) -> Value {
    json!({ "type": "http", "url": entry.url })
}

fn process(entry: &Entry) -> Value {
    json!({ "type": "stdio", "command": entry.command, "args": entry.arguments() })
}

fn with_token(entry: &Entry) -> Value {
    json!({
        "type": "http",
        "url": entry.url,
        "headers": { "Authorization": "Bearer ${input:toolbridge-token}" },
    })
}

/// The whole query is one JSON object: the server's settings, its name, and the inputs.
fn native(entry: &Entry, mut server: Value, inputs: Option<Value>) -> String {
    if let Some(settings) = server.as_object_mut() {
        settings.insert("name".to_owned(), json!(entry.name));
        settings.extend(inputs.map(|inputs| ("inputs".to_owned(), inputs)));
    }
    format!("vscode:mcp/install?{}", query(&server.to_string()))
}

fn redirect(entry: &Entry, server: &Value, inputs: Option<Value>) -> String {
    let inputs = inputs.map_or_else(String::new, |inputs| {
        format!("&inputs={}", query(&inputs.to_string()))
    });
    let config = query(&server.to_string());
    format!(
        "https://vscode.dev/redirect/mcp/install?name={}{inputs}&config={config}",
        entry.name
    )
}
