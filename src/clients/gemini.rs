//! Gemini CLI: configured by one command, or by its settings, which expand environment variables.

use serde_json::{Value, json};

use super::entry::shell;
use super::{Abilities, Client, Entry, File, KEEP_TOKEN, Recipe, Step, Way};

pub static GEMINI: Client = Client {
    key: "gemini",
    name: "Gemini CLI",
    recipes: [
        Recipe {
            way: Way::Token,
            cannot: None,
            steps: &[
                Step::Run {
                    say: "Run this. Because of the single quotes, the settings have the name of \
                        the variable, not the token.",
                    line: |entry| {
                        format!(
                            "gemini mcp add --scope user --transport http --header \
                             'Authorization: Bearer ${{TOOLBRIDGE_TOKEN}}' {} {}",
                            entry.name,
                            shell(&entry.url)
                        )
                    },
                },
                Step::Paste {
                    say: "Or add this to the settings.",
                    files: FILES,
                    json: |entry| {
                        file(
                            entry,
                            json!({
                                "type": "http",
                                "url": entry.url,
                                "headers": { "Authorization": "Bearer ${TOOLBRIDGE_TOKEN}" },
                            }),
                        )
                    },
                },
                Step::Say("Start `gemini` from a shell in which `TOOLBRIDGE_TOKEN` is set."),
                TRUST,
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
                            "gemini mcp add --scope user --transport http {} {}",
                            entry.name,
                            shell(&entry.url)
                        )
                    },
                },
                Step::Paste {
                    say: "Or add this to the settings.",
                    files: FILES,
                    json: |entry| file(entry, json!({ "type": "http", "url": entry.url })),
                },
                Step::Say(
                    "Then type `/mcp auth` and the name of the server in Gemini CLI, and sign in. \
                     It registers itself, so the authorization server must let clients register \
                     dynamically.",
                ),
                TRUST,
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
                        format!(
                            "gemini mcp add --scope user {} {}",
                            entry.name,
                            entry.command_line()
                        )
                    },
                },
                Step::Paste {
                    say: "Or add this to the settings.",
                    files: FILES,
                    json: |entry| {
                        file(
                            entry,
                            json!({ "command": entry.command, "args": entry.arguments() }),
                        )
                    },
                },
                TRUST,
            ],
        },
    ],
    abilities: Some(Abilities {
        headers: "yes",
        oauth: "yes, with dynamic registration",
        sse: "yes",
        stdio: "yes",
        eras: "legacy",
        source: "tried with 0.61.0, 27 November 2026",
    }),
};

const TRUST: Step = Step::Say(
    "Gemini CLI connects to servers only in folders that you trust, which it asks about when it \
     starts. `gemini mcp list` shows whether it works.",
);

const FILES: &[File] = &[
    File {
        r#for: "one project",
        path: ".gemini/settings.json",
    },
    File {
        r#for: "macOS, Linux",
        path: "~/.gemini/settings.json",
    },
    File {
        r#for: "Windows",
        path: r"%USERPROFILE%\.gemini\settings.json",
    },
];

fn file(entry: &Entry, server: Value) -> Value {
    json!({ "mcpServers": { (&entry.name): server } })
}
