//! The page at `/`, for users who open the server's address in a browser.
//!
//! It explains the server, shows its readiness, how to connect a client, and the tools. The
//! response is self-contained: style and script are embedded and allowed by their hashes, see
//! [`policy`], and nothing else may load. [`html`] escapes by construction. The page works without
//! its script, which only adds tabs and copy buttons.
//!
//! The page needs no token, so it reveals nothing about the tenant beyond the address of the
//! request.

mod html;
mod policy;
#[cfg(test)]
mod tests;

pub use self::policy::{HEADERS, SVG as ICON};

/// The parts that are the same for every request.
pub struct Page {
    /// The tools that there are now: they depend on the features of the API.
    toolsets: Box<dyn Fn() -> Vec<Toolset> + Send + Sync>,
    signs_in: bool,
    /// The content security policy.
    pub policy: String,
}

/// A group of tools.
#[derive(Debug)]
pub struct Toolset {
    /// In lower case, such as `chat messages`.
    pub label: String,
    pub tools: Vec<Tool>,
}

#[derive(Debug)]
pub struct Tool {
    pub name: String,
    pub description: String,
    pub writes: bool,
}

/// The parts that may differ per request.
#[derive(Debug)]
pub struct Visit<'a> {
    /// The URL of `/mcp`, as clients reach it.
    pub url: &'a str,
    pub ready: bool,
}

impl Page {
    /// `signs_in` means that clients can discover an authorization server.
    pub fn new(
        toolsets: impl Fn() -> Vec<Toolset> + Send + Sync + 'static,
        signs_in: bool,
    ) -> Self {
        Self {
            toolsets: Box::new(toolsets),
            signs_in,
            policy: policy::content(),
        }
    }

    pub fn render(&self, visit: &Visit<'_>) -> String {
        html::document(self, visit).into_string()
    }
}

impl Tool {
    /// The description is written for models; a user needs its first sentence only.
    fn first_sentence(&self) -> &str {
        let first = self.description.split_inclusive(". ").next();
        first.unwrap_or_default().trim_end()
    }
}
