//! How to connect a client: what to paste and where, for each client and each way in. Data, one file per client.
//!
//! The command `client-config`, the page at `/` and docs/CLIENTS.md are three readers of the same rows, so they cannot
//! say three things. A row says what is known of a client; what it takes is made from an [`Entry`]. No token is ever
//! part of it: each way keeps the token where that client reads it without writing it down, or in a file of its own.

mod claude_code;
mod claude_desktop;
mod cursor;
mod entry;
mod generic;
mod vscode;
mod zed;

#[cfg(test)]
mod registry;
#[cfg(test)]
mod tests;

use serde_json::Value;

pub use self::entry::{Entry, is_name};

/// Every client, in the order in which they are shown.
pub static ALL: &[&Client] = &[
    &claude_desktop::CLAUDE_DESKTOP,
    &claude_code::CLAUDE_CODE,
    &vscode::VSCODE,
    &cursor::CURSOR,
    &zed::ZED,
    &generic::GENERIC,
];

/// One program that speaks MCP.
#[derive(Debug)]
pub struct Client {
    /// On the command line and in the page's address: `claude-code`.
    pub key: &'static str,
    pub name: &'static str,
    /// One for each way in.
    pub recipes: [Recipe; 3],
    /// `None`: it is not one client, so nothing can be said of it.
    pub abilities: Option<Abilities>,
}

/// What is known of a client, in a few words each.
#[derive(Debug)]
pub struct Abilities {
    pub headers: &'static str,
    pub oauth: &'static str,
    pub sse: &'static str,
    pub stdio: &'static str,
    pub eras: &'static str,
}

/// How a client gets to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Over HTTP with a token that somebody was given.
    Token,
    /// Over HTTP; the client asks the user to sign in.
    OAuth,
    /// As a process that the client starts.
    Process,
}

/// One client, one way.
#[derive(Debug)]
pub struct Recipe {
    pub way: Way,
    /// Where the client cannot go this way: why, and what follows instead. In one sentence.
    pub cannot: Option<&'static str>,
    pub steps: &'static [Step],
}

/// One thing to do. Sentences are plain text with `code` in backticks.
#[derive(Debug)]
pub enum Step {
    Say(&'static str),
    /// A line for a terminal.
    Run {
        say: &'static str,
        line: fn(&Entry) -> String,
    },
    /// JSON for a file.
    Paste {
        say: &'static str,
        files: &'static [File],
        json: fn(&Entry) -> Value,
    },
    /// Texts for the fields of a form.
    Enter {
        say: &'static str,
        fields: &'static [Field],
    },
    /// A link that opens the client and installs the entry.
    Install {
        say: &'static str,
        /// What the client itself answers to.
        link: fn(&Entry) -> String,
        /// The same through a page of the client's maker, for places that let only `https` through.
        redirect: fn(&Entry) -> String,
    },
}

/// Where a file is.
#[derive(Debug)]
pub struct File {
    /// An operating system, or what the file is good for.
    pub r#for: &'static str,
    pub path: &'static str,
}

/// A field of a form.
#[derive(Debug)]
pub struct Field {
    pub label: &'static str,
    pub text: fn(&Entry) -> String,
}

impl Client {
    pub fn find(key: &str) -> Option<&'static Client> {
        ALL.iter().copied().find(|client| client.key == key)
    }

    pub fn recipe(&self, way: Way) -> Option<&Recipe> {
        self.recipes.iter().find(|recipe| recipe.way == way)
    }
}

impl Abilities {
    /// With their headings.
    pub fn rows(&self) -> [(&'static str, &'static str); 5] {
        [
            ("HTTP with a header", self.headers),
            ("OAuth", self.oauth),
            ("HTTP+SSE", self.sse),
            ("stdio", self.stdio),
            ("eras", self.eras),
        ]
    }
}

impl Recipe {
    /// What a pipe gets: the first snippet for a file.
    pub fn snippet(&self, entry: &Entry) -> Option<Value> {
        self.steps.iter().find_map(|step| match step {
            Step::Paste { json, .. } => Some(json(entry)),
            _ => None,
        })
    }
}

impl Way {
    /// A heading.
    pub fn title(self) -> &'static str {
        match self {
            Way::Token => "With a token",
            Way::OAuth => "By signing in (OAuth)",
            Way::Process => "As a process on your machine",
        }
    }
}

/// A sentence in pieces: text, and whether it is code.
pub fn pieces(sentence: &str) -> impl Iterator<Item = (bool, &str)> {
    let numbered = sentence.split('`').enumerate();
    numbered
        .map(|(place, piece)| (place % 2 == 1, piece))
        .filter(|(_, piece)| !piece.is_empty())
}

/// Before a process: where its token is. The path is that of the entry.
const KEEP_TOKEN: Step = Step::Run {
    say: "Put the token into a file that only you can read: run this, paste the token, then Enter and Ctrl-D.",
    line: |entry| {
        let file = entry::shell(&entry.token_file);
        format!("(umask 077; cat > {file})")
    },
};
