//! ChatGPT: it signs in to servers that OpenAI's servers can reach, and connects in no other way.

use super::{Abilities, Client, Field, Recipe, Step, Way};

pub static CHATGPT: Client = Client {
    key: "chatgpt",
    name: "ChatGPT",
    recipes: [
        Recipe {
            way: Way::Token,
            cannot: Some("ChatGPT takes no token that you were given: it has to sign in."),
            steps: SIGN_IN,
        },
        Recipe {
            way: Way::OAuth,
            cannot: None,
            steps: SIGN_IN,
        },
        Recipe {
            way: Way::Process,
            cannot: Some("ChatGPT starts no process on your machine: it has to sign in."),
            steps: SIGN_IN,
        },
    ],
    abilities: Some(Abilities {
        headers: "no",
        oauth: "yes, from OpenAI's servers",
        sse: "not known",
        stdio: "no",
        eras: "not known",
        source: "its documentation, November 2026",
    }),
};

const SIGN_IN: &[Step] = &[
    Step::Say(
        "In ChatGPT on the web, open the settings for apps and connectors, and turn on developer \
         mode in their advanced settings.",
    ),
    Step::Enter {
        say: "Then create a connector there, and enter:",
        fields: &[
            Field {
                label: "Name",
                text: |entry| entry.name.clone(),
            },
            Field {
                label: "MCP server URL",
                text: |entry| entry.url.clone(),
            },
            Field {
                label: "Authentication",
                text: |_| "OAuth".to_owned(),
            },
        ],
    },
    Step::Say("Then sign in, and choose the connector in a chat."),
    Step::Say(
        "OpenAI's servers connect to the URL, not your machine, so it must be reachable from the \
         internet over `https`.",
    ),
];
