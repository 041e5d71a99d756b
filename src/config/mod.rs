//! The typed configuration, which is read and validated once, at start.
//!
//! Four layers are merged, each overriding the one before: the embedded `default.toml`, a file, the
//! environment, and flags. [`Sources`] passes them in as values, so tests do not depend on the
//! process environment. The table in [`keys`] defines all settings: the names of variables, the
//! parsing of values, redaction and the documentation are derived from it.
//!
//! An invalid configuration stops the start with one sentence, see [`error`]. No other module reads
//! files or variables for its settings: each defines the struct of its section, and receives it.

mod check;
#[cfg(any(test, feature = "internals", feature = "conformance"))]
mod defaults;
pub mod error;
pub mod keys;
pub mod layers;
pub mod origin;
#[cfg(test)]
mod tests;

use figment::Figment;
use figment::value::Value;
use serde::Deserialize;

pub use self::check::warnings;
pub use self::error::ConfigError;
use self::keys::{KEYS, Key};
pub use self::layers::{Flag, Sources};
pub use self::origin::Origin;
pub use crate::foundation::secret::Secret;
use crate::telemetry::settings::{Audit, Log, Metrics};
use crate::{api, auth, server, tools};

/// Every setting, with a value. `default.toml` documents each of them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub env: Mode,
    pub tenant: Tenant,
    pub server: server::Settings,
    pub api: api::Settings,
    pub auth: auth::Settings,
    pub tools: tools::Settings,
    pub metrics: Metrics,
    pub audit: Audit,
    pub log: Log,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    Production,
    /// For a developer's own machine: accepts weak secrets, and keys over plain http.
    Dev,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tenant {
    pub id: Option<String>,
    /// Without it, the server stays off.
    pub header_secret: Option<Secret>,
    /// The versions of the tenant signature that are sent.
    pub signature: api::Versions,
}

impl Tenant {
    /// Whether requests to the API can be signed.
    pub fn has_identity(&self) -> bool {
        self.id.is_some() && self.header_secret.is_some()
    }

    /// What signs requests to the API.
    pub fn identity(&self) -> Result<api::TenantIdentity, ConfigError> {
        let because = ", so requests to the API cannot be signed";
        match (&self.id, &self.header_secret) {
            (Some(id), Some(secret)) => Ok(api::TenantIdentity {
                id: id.clone(),
                secret: secret.clone(),
                signature: self.signature,
            }),
            (_, None) => Err(check::missing("tenant.header_secret", because)),
            (None, _) => Err(check::missing("tenant.id", because)),
        }
    }
}

/// A valid configuration, and the layers from which it was merged.
#[derive(Debug)]
pub struct Loaded {
    pub config: Config,
    layers: Figment,
}

/// One line of `config show`. It never contains the value of a secret.
#[derive(Debug, Clone, PartialEq)]
pub struct Effective {
    pub key: &'static Key,
    pub value: Shown,
    pub origin: Origin,
}

/// The value of a setting, as it may be printed.
#[derive(Debug, Clone, PartialEq)]
pub enum Shown {
    Unset,
    Redacted,
    Plain(serde_json::Value),
}

/// Merges the layers, and parses and validates the result.
pub fn load(sources: &Sources) -> Result<Loaded, ConfigError> {
    let layers = sources.merge()?;
    let config: Config = layers
        .extract()
        .map_err(|why| ConfigError::Inconsistent(describe(&why)))?;
    check::check(&config, &|path| origin_of(&layers, path))?;
    Ok(Loaded { config, layers })
}

impl Loaded {
    /// Every key with its value and origin, in the order of the table.
    pub fn effective(&self) -> impl Iterator<Item = Effective> + '_ {
        KEYS.iter().map(|key| {
            let value = match self.layers.find_value(key.path) {
                Err(_) => Shown::Unset,
                Ok(_) if key.is_secret() => Shown::Redacted,
                Ok(value) => Shown::Plain(plain(&value)),
            };
            Effective {
                key,
                value,
                origin: origin_of(&self.layers, key.path),
            }
        })
    }
}

fn origin_of(layers: &Figment, path: &str) -> Origin {
    layers
        .find_metadata(path)
        .map_or(Origin::Default, Origin::from)
}

fn plain(value: &Value) -> serde_json::Value {
    serde_json::to_value(value).unwrap_or_default()
}

/// Formats figment's error without the value, which could be a secret.
fn describe(error: &figment::Error) -> String {
    format!("at {}", error.path.join("."))
}
