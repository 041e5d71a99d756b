//! How to connect a client: what to paste and where, for each client and each way. Data, one file
//! per client.
//!
//! The command `client-config`, the page at `/` and docs/CLIENTS.md use the same data, so they are
//! always consistent. A [`Client`] holds what is known of a client; the values of a server come
//! from an [`Entry`]. No token is ever included: each way keeps the token in the client's secret
//! storage or environment, or in a separate file.

mod chatgpt;
mod claude_code;
mod claude_desktop;
mod codex;
mod cursor;
mod entry;
mod gemini;
mod generic;
mod vscode;
mod zed;

#[cfg(test)]
mod server_json_tests;
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
    &codex::CODEX,
    &gemini::GEMINI,
    &chatgpt::CHATGPT,
    &generic::GENERIC,
];

/// An MCP client program.
#[derive(Debug)]
pub struct Client {
    /// Its key on the command line and in the page's URL fragment, such as `claude-code`.
    pub key: &'static str,
    pub name: &'static str,
    /// One recipe for each way.
    pub recipes: [Recipe; 3],
    /// `None` for the generic entry, which is no single client.
    pub abilities: Option<Abilities>,
}

/// The capabilities of a client, in a few words each.
#[derive(Debug)]
pub struct Abilities {
    pub headers: &'static str,
    pub oauth: &'static str,
    pub sse: &'static str,
    pub stdio: &'static str,
    pub eras: &'static str,
    /// Where this is known from, and of when.
    pub source: &'static str,
}

/// How a client connects to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Over HTTP, with a token that the user was given.
    Token,
    /// Over HTTP; the client asks the user to sign in.
    OAuth,
    /// As a process that the client starts.
    Process,
}

/// The instructions for one client and one way.
#[derive(Debug)]
pub struct Recipe {
    pub way: Way,
    /// If the client does not support this way: why, and what the steps do instead, in one
    /// sentence.
    pub cannot: Option<&'static str>,
    pub steps: &'static [Step],
}

/// One step. Sentences are plain text with `code` in backticks.
#[derive(Debug)]
pub enum Step {
    Say(&'static str),
    /// A command for a terminal.
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
    /// TOML for a file.
    PasteToml {
        say: &'static str,
        files: &'static [File],
        toml: fn(&Entry) -> String,
    },
    /// Texts for the fields of a form.
    Enter {
        say: &'static str,
        fields: &'static [Field],
    },
    /// A link that opens the client and installs the entry.
    Install {
        say: &'static str,
        /// A link with the client's own URL scheme.
        link: fn(&Entry) -> String,
        /// The same through a web page of the client's maker, where only `https` links are allowed.
        redirect: fn(&Entry) -> String,
    },
}

/// What a client's file has to contain.
#[derive(Debug, Clone, PartialEq)]
pub enum Snippet {
    Json(Value),
    Toml(String),
}

/// The location of a file.
#[derive(Debug)]
pub struct File {
    /// An operating system, or the purpose of the file.
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
    /// The abilities with their headings.
    pub fn rows(&self) -> [(&'static str, &'static str); 6] {
        [
            ("HTTP with a header", self.headers),
            ("OAuth", self.oauth),
            ("HTTP+SSE", self.sse),
            ("stdio", self.stdio),
            ("eras", self.eras),
            ("known from", self.source),
        ]
    }
}

impl Recipe {
    /// The first snippet for a file, which is printed to a pipe.
    pub fn snippet(&self, entry: &Entry) -> Option<Snippet> {
        self.steps.iter().find_map(|step| match step {
            Step::Paste { json, .. } => Some(Snippet::Json(json(entry))),
            Step::PasteToml { toml, .. } => Some(Snippet::Toml(toml(entry))),
            _ => None,
        })
    }
}

impl Way {
    /// The heading of this way.
    pub fn title(self) -> &'static str {
        match self {
            Way::Token => "With a token",
            Way::OAuth => "By signing in (OAuth)",
            Way::Process => "As a process on your machine",
        }
    }
}

/// Splits a sentence into pieces, each with whether it is code.
pub fn pieces(sentence: &str) -> impl Iterator<Item = (bool, &str)> {
    let numbered = sentence.split('`').enumerate();
    numbered
        .map(|(index, piece)| (index % 2 == 1, piece))
        .filter(|(_, piece)| !piece.is_empty())
}

/// Precedes a process: stores its token in the file that the entry names.
const KEEP_TOKEN: Step = Step::Run {
    say: "Store the token in a file that only you can read: run this, paste the token, then press \
        Enter and Ctrl-D.",
    line: |entry| {
        let file = entry::shell(&entry.token_file);
        format!("(umask 077; cat > {file})")
    },
};
