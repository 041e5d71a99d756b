//! The arguments of a tool call, as they came.

use axum::body::Bytes;

use crate::foundation::json::Json;

/// The text of a JSON object that has been checked. It travels beside rmcp's message, in the extensions of the request:
/// rmcp would build a document of it, and the tools need none.
#[derive(Debug, Clone, Default)]
pub struct Arguments(Bytes);

impl Arguments {
    /// `text` is JSON and within its limits. What is no object counts as an empty one.
    pub fn from_object(text: Bytes) -> Self {
        Self(text)
    }

    pub fn json(&self) -> Json<'_> {
        let text = std::str::from_utf8(&self.0).unwrap_or_default();
        let json = Json::trusted(text);
        if json.is_object() {
            json
        } else {
            Json::EMPTY_OBJECT
        }
    }
}
