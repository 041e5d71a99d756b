//! The section `[tools]`.

use serde::Deserialize;

use super::Limits;
use crate::foundation::parse;

/// `default.toml` documents each setting and holds its default.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// `None` serves all toolsets.
    pub toolsets: Option<Vec<String>>,
    pub read_only: bool,
    #[serde(deserialize_with = "parse::size")]
    pub max_result_bytes: usize,
    #[serde(deserialize_with = "parse::size")]
    pub max_page_bytes: usize,
}

impl Settings {
    pub fn limits(&self) -> Limits {
        Limits {
            max_result_bytes: self.max_result_bytes,
            max_page_bytes: self.max_page_bytes,
        }
    }
}
