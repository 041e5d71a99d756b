//! The sections `[metrics]`, `[audit]` and `[log]`. `default.toml` documents each setting and holds
//! its default.

use std::net::{AddrParseError, SocketAddr};
use std::path::Path;

use serde::Deserialize;

use crate::foundation::parse;

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
