//! The page at `/`, for the person who opens the server's address in a browser.
//!
//! It says what this is, whether it is ready, how to connect a client and which tools there are. Everything it needs is in
//! the one answer: style and script are embedded and allowed by their hashes, see [`policy`], and nothing else may load.
//! [`html`] escapes by construction. It works without the script, which adds tabs and copy buttons to what is there.
//!
//! It needs no token, so it tells nothing about the tenant beyond the address that the visitor came by.

mod html;
mod policy;
#[cfg(test)]
mod tests;

pub use self::policy::HEADERS;

/// What stays the same between two visits.
#[derive(Debug)]
pub struct Page {
    toolsets: Vec<Toolset>,
    signs_in: bool,
    /// The content security policy.
    pub policy: String,
}

/// Tools that belong together.
#[derive(Debug)]
pub struct Toolset {
    /// In lower case: `chat messages`.
    pub label: &'static str,
    pub tools: Vec<Tool>,
}

#[derive(Debug)]
pub struct Tool {
    pub name: String,
    pub description: String,
    pub writes: bool,
}

/// What may differ with each visit.
#[derive(Debug)]
pub struct Visit<'a> {
    /// The URL of `/mcp`, as clients reach it.
    pub url: &'a str,
    pub ready: bool,
}

impl Page {
    /// `signs_in`: clients can find an authorization server.
    pub fn new(toolsets: Vec<Toolset>, signs_in: bool) -> Self {
        Self {
            toolsets,
            signs_in,
            policy: policy::content(),
        }
    }

    pub fn render(&self, visit: &Visit<'_>) -> String {
        html::document(self, visit).into_string()
    }
}

impl Tool {
    /// The description is written for models; a person gets its first sentence.
    fn first_sentence(&self) -> &str {
        let first = self.description.split_inclusive(". ").next();
        first.unwrap_or_default().trim_end()
    }
}
