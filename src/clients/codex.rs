//! Codex CLI: configured by one command, or by a TOML file that names a variable for the token.

use super::entry::shell;
use super::{Abilities, Client, Entry, File, KEEP_TOKEN, Recipe, Step, Way};

pub static CODEX: Client = Client {
    key: "codex",
    name: "Codex CLI",
    recipes: [
        Recipe {
            way: Way::Token,
            cannot: None,
            steps: &[
                Step::Run {
                    say: "Run this; the file of Codex then has the name of the variable, not the \
                        token.",
                    line: |entry| {
                        format!(
                            "codex mcp add {} --url {} --bearer-token-env-var TOOLBRIDGE_TOKEN",
                            entry.name,
                            shell(&entry.url)
                        )
                    },
                },
                Step::PasteToml {
                    say: "Or add this to the file.",
                    files: FILES,
                    toml: |entry| {
                        table(
                            entry,
                            &[
                                ("url", quoted(&entry.url)),
                                ("bearer_token_env_var", quoted("TOOLBRIDGE_TOKEN")),
                            ],
                        )
                    },
                },
                Step::Say("Start `codex` from a shell in which `TOOLBRIDGE_TOKEN` is set."),
            ],
        },
        Recipe {
            way: Way::OAuth,
            cannot: None,
            steps: &[
                Step::Run {
                    say: "Run this:",
                    line: |entry| {
                        format!("codex mcp add {} --url {}", entry.name, shell(&entry.url))
                    },
                },
                Step::Run {
                    say: "Then sign in, if the command has not asked you to already:",
                    line: |entry| format!("codex mcp login {}", entry.name),
                },
                Step::PasteToml {
                    say: "Instead of the first command, you can add this to the file.",
                    files: FILES,
                    toml: |entry| table(entry, &[("url", quoted(&entry.url))]),
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
                        format!("codex mcp add {} -- {}", entry.name, entry.command_line())
                    },
                },
                Step::PasteToml {
                    say: "Or add this to the file.",
                    files: FILES,
                    toml: |entry| {
                        let arguments = entry.arguments();
                        let arguments: Vec<_> = arguments.iter().map(|word| quoted(word)).collect();
                        table(
                            entry,
                            &[
                                ("command", quoted(&entry.command)),
                                ("args", format!("[{}]", arguments.join(", "))),
                            ],
                        )
                    },
                },
            ],
        },
    ],
    abilities: Some(Abilities {
        headers: "yes",
        oauth: "yes",
        sse: "no",
        stdio: "yes",
        eras: "legacy",
        source: "tried with 0.171.0, 27 November 2026",
    }),
};

const FILES: &[File] = &[
    File {
        r#for: "macOS, Linux",
        path: "~/.codex/config.toml",
    },
    File {
        r#for: "Windows",
        path: r"%USERPROFILE%\.codex\config.toml",
    },
];

/// The names of entries need no quotes as TOML keys.
fn table(entry: &Entry, lines: &[(&str, String)]) -> String {
    let mut text = format!("[mcp_servers.{}]", entry.name);
    for (key, value) in lines {
        text += &format!("\n{key} = {value}");
    }
    text
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}
