//! Where the command line meets the rooms of the house: the only file of `cli` that knows them.

use serde_json::{Map, Value};

use super::exit::{Exit, Stop};
use crate::config::{Config, Secret};

/// A tool as clients see it.
pub struct Entry {
    pub entity: String,
    /// Its entry in `tools/list`.
    pub listed: Value,
}

impl Entry {
    pub fn name(&self) -> &str {
        self.text("name")
    }

    pub fn text(&self, key: &str) -> &str {
        self.listed.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    /// Its arguments' schemas.
    pub fn properties(&self) -> Option<&Map<String, Value>> {
        self.listed
            .pointer("/inputSchema/properties")
            .and_then(Value::as_object)
    }
}

/// What came of a call.
pub enum Answer {
    Result(Value),
    /// `{"error": {…}}`
    Error(Value),
}

// WIRING: everything below is filled in when the rooms are there.

fn not_yet<T>() -> Result<T, Stop> {
    Err(Stop::because(Exit::Software, "this part is not built yet."))
}

pub fn entries() -> Result<Vec<Entry>, Stop> {
    not_yet()
}

pub async fn serve(_config: &Config) -> Result<(), Stop> {
    not_yet()
}

pub async fn stdio(_config: &Config, _token: Secret) -> Result<(), Stop> {
    not_yet()
}

pub async fn call(
    _config: &Config,
    _token: Secret,
    _name: &str,
    _arguments: Map<String, Value>,
) -> Result<Answer, Stop> {
    not_yet()
}
