//! MCP transports: HTTP, event streams, sessions and stdio.
//!
//! A request to `/mcp` passes these stages in order, and each may end it:
//! [`correlation`](http::middleware::correlation) assigns an id,
//! [`host_origin`](http::middleware::host_origin) checks `Host` and `Origin`,
//! [`cors`](http::middleware::cors) adds the CORS headers,
//! [`authenticate`](http::middleware::authenticate) verifies the token and
//! [`mcp_post`](http::routes::mcp_post) validates the JSON-RPC message.
//! [`tool_filter`](http::middleware::tool_filter) and
//! [`scope_challenge`](http::middleware::scope_challenge) decide which tools it may use.
//! [`fast_path`](http::fast_path) answers it if it can; otherwise rmcp's Streamable HTTP service
//! does.
//!
//! HTTP is stateless except for [`sse`], the transport of 2024-11-05, and for [`sessions`], which
//! the configuration can enable for the legacy revisions.

pub mod http;
pub mod jsonrpc;
pub mod sessions;
pub mod sse;
pub mod stdio;

#[cfg(any(test, feature = "pieces"))]
#[path = "../../fuzz/targets/headers.rs"]
pub mod hostile_headers;
#[cfg(any(test, feature = "pieces"))]
#[path = "../../fuzz/targets/messages.rs"]
pub mod hostile_messages;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use http::listener::{Drain, serve};
pub use http::middleware::correlation::new_id as new_correlation_id;
pub use http::response::{INVALID_REQUEST, PARSE_ERROR};
pub use http::routes::metrics_server::serve_metrics;
pub use http::routes::router::App;
#[cfg(feature = "conformance")]
pub use http::routes::router::Handler;
pub use jsonrpc::validate::{id_in_prefix, validate};
pub use sessions::Limits as SessionLimits;
pub use stdio::bounded_lines::{Line, LineReader};
pub use stdio::serve_stdio;

use crate::foundation::memory_budget;

/// Settings of the HTTP server.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Accepted `Host` names, with or without a port. Loopback names, IP addresses and the host of
    /// the public URL are always accepted; `*` disables the check.
    pub allowed_hosts: Vec<String>,
    /// Accepted browser origins besides the server's own, as `scheme://host[:port]`; `*` disables
    /// the check.
    pub allowed_origins: Vec<String>,
    /// The public URL of `/mcp`.
    pub public_url: Option<String>,
    pub max_body_bytes: usize,
    /// Limit on open connections. Further ones wait in the listener's backlog.
    pub max_connections: usize,
    /// Limit on the open connections of one principal.
    pub connections_per_principal: usize,
    /// Memory budget for requests and responses while they are read, built and written.
    pub memory: memory_budget::Limits,
    /// Limit on the open connections without a valid token.
    pub unauthenticated_connections: usize,
    /// Grace period before an unauthenticated connection may be evicted. Connections are evicted
    /// only when one of the two limits is reached.
    pub unauthenticated_grace: Duration,
    /// Time limit for a request head, including the idle time before it; it also closes idle
    /// connections.
    pub header_timeout: Duration,
    /// Time limit for a request body.
    pub body_timeout: Duration,
    /// Time limit for a write that makes no progress because the client does not read.
    pub write_timeout: Duration,
    /// How long a readiness result is cached.
    pub readiness_ttl: Duration,
    /// Whether the HTTP+SSE transport of 2024-11-05 is served.
    pub legacy_sse: bool,
    /// Limit on open SSE streams, across all principals.
    pub sse_streams: usize,
    /// Limit on the open SSE streams of one principal.
    pub sse_streams_per_principal: usize,
    /// Interval after which a silent stream gets a keep-alive comment; proxies close idle
    /// connections.
    pub sse_keep_alive: Duration,
    /// Sessions for the legacy revisions. With `None`, every request is served without a session.
    pub sessions: Option<SessionLimits>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            public_url: None,
            max_body_bytes: 2 << 20,
            max_connections: 4096,
            connections_per_principal: 512,
            memory: memory_budget::Limits::default(),
            unauthenticated_connections: 1024,
            unauthenticated_grace: Duration::from_secs(1),
            header_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(60),
            readiness_ttl: Duration::from_secs(1),
            legacy_sse: true,
            sse_streams: 512,
            sse_streams_per_principal: 32,
            sse_keep_alive: Duration::from_secs(15),
            sessions: None,
        }
    }
}
