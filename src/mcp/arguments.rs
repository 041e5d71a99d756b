//! The arguments of a tool call, as unparsed JSON text.

use axum::body::Bytes;

use crate::foundation::json::Json;

/// The text of a JSON object that has been validated.
///
/// Transports pass it in the extensions of the request instead of in rmcp's message, because rmcp
/// would parse it into a document that the tools do not need.
#[derive(Debug, Clone, Default)]
pub struct Arguments(Bytes);

impl Arguments {
    /// Wraps JSON text that has been validated and is within the size and depth limits. A value
    /// that is not an object counts as an empty object.
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
