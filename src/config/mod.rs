//! The typed configuration, which is read and validated once, at start.
//!
//! Four layers are merged, each overriding the one before: the embedded `default.toml`, a file, the
//! environment, and flags. [`Sources`] passes them in as values, so tests do not depend on the
//! process environment. The table in [`keys`] defines all settings: the names of variables, the
//! parsing of values, redaction and the documentation are derived from it.
//!
//! An invalid configuration stops the start with one sentence, see [`error`]. No other module reads
//! files or variables for its settings: each receives its part of [`Config`].

mod check;
pub mod error;
pub mod keys;
pub mod layers;
pub mod origin;
pub mod parse;
#[cfg(test)]
mod tests;

use std::net::{AddrParseError, SocketAddr};
use std::path::Path;
use std::time::Duration;

use figment::Figment;
use figment::value::Value;
use serde::Deserialize;
use url::Url;

pub use self::check::warnings;
pub use self::error::ConfigError;
use self::keys::{KEYS, Key};
pub use self::layers::{Flag, Sources};
pub use self::origin::Origin;
pub use crate::foundation::secret::Secret;

/// Every setting, with a value. `default.toml` documents each of them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub env: Mode,
    #[serde(default)]
    pub tenant: Tenant,
    pub server: Server,
    pub api: Api,
    pub auth: Auth,
    pub tools: Tools,
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

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tenant {
    pub id: Option<String>,
    /// Without it, the server stays off.
    pub header_secret: Option<Secret>,
    pub signature: Signature,
}

/// The versions of the tenant signature that are sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Signature {
    #[default]
    Both,
    V1,
    V2,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    pub host: String,
    pub port: u16,
    #[serde(default, deserialize_with = "parse::optional_url")]
    pub public_url: Option<Url>,
    pub allowed_hosts: Vec<String>,
    pub allowed_origins: Vec<String>,
    #[serde(deserialize_with = "parse::size")]
    pub max_body_bytes: usize,
    pub max_connections: usize,
    pub connections_per_principal: usize,
    pub unauthenticated_connections: usize,
    #[serde(deserialize_with = "parse::size")]
    pub request_memory: usize,
    #[serde(deserialize_with = "parse::size")]
    pub request_memory_per_principal: usize,
    pub calls_per_minute: u32,
    pub calls_burst: u32,
    pub confirm: Confirm,
    pub page: bool,
    pub sessions: Sessions,
    pub max_sessions: usize,
    #[serde(deserialize_with = "parse::duration")]
    pub session_idle: Duration,
    #[serde(deserialize_with = "parse::duration")]
    pub drain_notice: Duration,
    #[serde(deserialize_with = "parse::duration")]
    pub drain_timeout: Duration,
    pub legacy_sse: bool,
    pub sse_streams: usize,
    pub sse_streams_per_principal: usize,
}

/// When a person is asked before a call destroys something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Confirm {
    Off,
    Bulk,
    Destructive,
    Always,
}

/// How clients of protocol revisions up to 2025-11-25 are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sessions {
    Stateless,
    Stateful,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Api {
    #[serde(deserialize_with = "parse::url")]
    pub base_url: Url,
    #[serde(deserialize_with = "parse::duration")]
    pub startup_timeout: Duration,
    #[serde(deserialize_with = "parse::duration")]
    pub connect_timeout: Duration,
    #[serde(deserialize_with = "parse::duration")]
    pub read_timeout: Duration,
    #[serde(deserialize_with = "parse::duration")]
    pub call_deadline: Duration,
    pub max_attempts: u32,
    pub breaker_failures: u32,
    #[serde(deserialize_with = "parse::duration")]
    pub breaker_pause: Duration,
    #[serde(deserialize_with = "parse::size")]
    pub max_answer_bytes: usize,
    pub max_idle: usize,
    #[serde(deserialize_with = "parse::duration")]
    pub idle_timeout: Duration,
    pub max_calls: usize,
    pub queue_length: usize,
    #[serde(deserialize_with = "parse::duration")]
    pub queue_wait: Duration,
    pub max_sessions: usize,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    pub hs256_secret: Option<Secret>,
    #[serde(default, deserialize_with = "parse::optional_url")]
    pub jwks_url: Option<Url>,
    pub issuer: Option<String>,
    pub audience: Option<String>,
    pub tenant_claim: String,
    #[serde(deserialize_with = "parse::duration")]
    pub leeway: Duration,
    pub authorization_servers: Vec<String>,
    pub scopeless_tokens: Scopeless,
    pub mode: TokenMode,
    #[serde(default)]
    pub exchange: Exchange,
}

/// The token that the API receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenMode {
    /// The caller's token.
    Verify,
    /// A token that is issued for the API in exchange for the caller's.
    Exchange,
}

/// The settings of the token exchange, which only [`TokenMode::Exchange`] uses.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Exchange {
    #[serde(deserialize_with = "parse::optional_url")]
    pub token_url: Option<Url>,
    pub audience: Option<String>,
    pub client_id: Option<String>,
    pub client_secret: Option<Secret>,
    pub scope: Option<String>,
}

/// The permissions of a token without scope claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scopeless {
    All,
    None,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tools {
    /// `None` serves all toolsets.
    pub toolsets: Option<Vec<String>>,
    pub read_only: bool,
    #[serde(deserialize_with = "parse::size")]
    pub max_result_bytes: usize,
    #[serde(deserialize_with = "parse::size")]
    pub max_page_bytes: usize,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    pub addr: String,
}

impl Metrics {
    /// The address to listen on. `None` if metrics are disabled.
    pub fn address(&self) -> Result<Option<SocketAddr>, AddrParseError> {
        match self.addr.as_str() {
            "off" => Ok(None),
            address => address.parse().map(Some),
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Audit {
    pub to: String,
    pub durable: Durability,
    #[serde(deserialize_with = "parse::size")]
    pub max_file_bytes: usize,
    pub max_files: usize,
}

/// How durable the audit line of a call that may have changed something is before the call is
/// answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// No guarantee: the line stays in this process for up to 10 ms.
    Off,
    /// Written to the operating system, so that it survives the process.
    Written,
    /// Synced to disk, so that it survives a power failure.
    Synced,
}

/// The destination of the audit trail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditTo<'a> {
    Nowhere,
    Log,
    File(&'a Path),
}

impl Audit {
    /// The destination. `None` if the setting is invalid.
    pub fn destination(&self) -> Option<AuditTo<'_>> {
        match self.to.as_str() {
            "off" => Some(AuditTo::Nowhere),
            "stdout" => Some(AuditTo::Log),
            // A word without a slash is more likely a mistake than the name of a file.
            path if path.contains('/') && !path.ends_with('/') => {
                Some(AuditTo::File(Path::new(path)))
            }
            _ => None,
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    #[serde(deserialize_with = "parse::filter")]
    pub level: String,
    pub format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Auto,
    Json,
    Pretty,
}

impl Tenant {
    /// The id and the secret that sign requests. `None` if either is not set.
    pub fn identity(&self) -> Option<(&str, &Secret)> {
        self.id.as_deref().zip(self.header_secret.as_ref())
    }

    /// The id and the secret, for commands that require them.
    pub fn require_identity(&self) -> Result<(&str, &Secret), ConfigError> {
        let because = ", so requests to the API cannot be signed";
        match (&self.id, &self.header_secret) {
            (Some(id), Some(secret)) => Ok((id, secret)),
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
