//! Zed: its settings store headers in plain text, so the token is better kept by a process.

use serde_json::json;

use super::{Abilities, Client, File, KEEP_TOKEN, Recipe, Step, Way};

pub static ZED: Client = Client {
    key: "zed",
    name: "Zed",
    recipes: [
        Recipe {
            way: Way::Token,
            cannot: Some(
                "Zed can send a header, but stores the token in its settings in plain text, so a \
                 process on your machine sends it.",
            ),
            steps: &[KEEP_TOKEN, PROCESS],
        },
        Recipe {
            way: Way::OAuth,
            cannot: None,
            steps: &[
                Step::Paste {
                    say: "Add this to Zed's settings, which the command `zed: open settings` \
                        opens.",
                    files: FILES,
                    json: |entry| {
                        json!({
                            "context_servers": { (&entry.name): { "url": entry.url } },
                        })
                    },
                },
                Step::Say(
                    "A recent Zed then asks you to sign in. If yours does not, start a process \
                     instead: `connect` uses a token.",
                ),
            ],
        },
        Recipe {
            way: Way::Process,
            cannot: None,
            steps: &[KEEP_TOKEN, PROCESS],
        },
    ],
    abilities: Some(Abilities {
        headers: "yes, kept in its settings",
        oauth: "recent versions",
        sse: "not known",
        stdio: "yes",
        eras: "legacy",
        source: "its documentation, November 2026",
    }),
};

const PROCESS: Step = Step::Paste {
    say: "Add this to Zed's settings, which the command `zed: open settings` opens.",
    files: FILES,
    json: |entry| {
        json!({ "context_servers": { (&entry.name): {
            "command": entry.command,
            "args": entry.arguments(),
            "env": {},
        } } })
    },
};

const FILES: &[File] = &[
    File {
        r#for: "macOS, Linux",
        path: "~/.config/zed/settings.json",
    },
    File {
        r#for: "Windows",
        path: r"%APPDATA%\Zed\settings.json",
    },
];
