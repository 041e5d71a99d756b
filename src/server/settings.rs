//! The section `[server]`, and the timeouts that are not configurable.

use std::time::Duration;

use serde::Deserialize;
use url::Url;

use super::sessions::Limits as SessionLimits;
use crate::foundation::{memory_budget, parse};
use crate::mcp::Confirm;

/// `default.toml` documents each setting and holds its default.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub host: String,
    pub port: u16,
    /// Without the path `/mcp`.
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
    #[serde(skip)]
    pub timeouts: Timeouts,
}

/// How clients of protocol revisions up to 2025-11-25 are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sessions {
    Stateless,
    Stateful,
}

#[derive(Debug, Clone)]
pub struct Timeouts {
    /// Grace period before an unauthenticated connection may be evicted. Connections are evicted
    /// only when one of the two limits is reached.
    pub unauthenticated_grace: Duration,
    /// For a request head, including the idle time before it; it also closes idle connections.
    pub header: Duration,
    /// For a request body.
    pub body: Duration,
    /// For a write that makes no progress because the client does not read.
    pub write: Duration,
    /// For a request that waits for memory.
    pub memory: Duration,
    /// How long a readiness result is cached.
    pub readiness_ttl: Duration,
    /// Interval after which a silent stream gets a keep-alive comment; proxies close idle
    /// connections.
    pub sse_keep_alive: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            unauthenticated_grace: Duration::from_secs(1),
            header: Duration::from_secs(75),
            body: Duration::from_secs(30),
            write: Duration::from_secs(60),
            memory: Duration::from_secs(2),
            readiness_ttl: Duration::from_secs(1),
            sse_keep_alive: Duration::from_secs(15),
        }
    }
}

impl Settings {
    /// The URL of `/mcp`, which identifies the server to clients.
    pub fn mcp_url(&self) -> Option<Url> {
        self.public_url.as_ref()?.join("mcp").ok()
    }

    /// The memory budget for requests and responses while they are read, built and written.
    pub fn memory(&self) -> memory_budget::Limits {
        memory_budget::Limits {
            total: self.request_memory,
            per_principal: self.request_memory_per_principal,
            wait: self.timeouts.memory,
        }
    }

    /// `None` if every request is served without a session.
    pub fn session_limits(&self) -> Option<SessionLimits> {
        (self.sessions == Sessions::Stateful).then_some(SessionLimits {
            max_concurrent: self.max_sessions,
            idle: self.session_idle,
        })
    }
}
