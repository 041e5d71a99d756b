//! From bytes to JSON-RPC messages and back: HTTP, event streams, sessions and stdio.
//!
//! A request to `/mcp` passes one concern per file, and each may end it:
//! [`correlation`](http::middleware::correlation) gives it an id, [`host_origin`](http::middleware::host_origin) checks `Host` and
//! `Origin`, [`cors`](http::middleware::cors) tells browsers what they may read,
//! [`authenticate`](http::middleware::authenticate) verifies the token, [`mcp_post`](http::routes::mcp_post) the JSON-RPC message.
//! [`tool_filter`](http::middleware::tool_filter) and [`scope_challenge`](http::middleware::scope_challenge) decide which tools it may see.
//! Then [`fast_path`](http::fast_path) answers it, or rmcp's Streamable HTTP service does.
//!
//! Nothing is kept between requests, except in [`sse`], the transport of 2024-11-05, and in [`sessions`] where the
//! configuration turns them on for the legacy revisions.

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
pub use jsonrpc::validate::{id_in_beginning, validate};
pub use sessions::Limits as SessionLimits;
pub use stdio::bounded_lines::{Line, LineReader};
pub use stdio::serve_stdio;

use crate::foundation::memory_budget;

/// How the HTTP side behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Host names that requests may be addressed to, with or without a port. Loopback names, IP addresses and the host
    /// of the public URL always are; `*` lifts the check.
    pub allowed_hosts: Vec<String>,
    /// Browser origins that may call besides the server's own, as `scheme://host[:port]`; `*` lifts the check.
    pub allowed_origins: Vec<String>,
    /// The public URL of `/mcp`.
    pub public_url: Option<String>,
    pub max_body_bytes: usize,
    /// Connections served at once; more wait in the listener's backlog.
    pub max_connections: usize,
    /// Of these, one caller's.
    pub connections_per_principal: usize,
    /// For requests and answers while they are read, built and written.
    pub memory: memory_budget::Limits,
    /// For showing a token, before a connection can lose its place to another when there are no more.
    pub unauthenticated_grace: Duration,
    /// For the head of a request, which includes the quiet time before it: idle connections are closed after this.
    pub header_timeout: Duration,
    /// For the body of a request.
    pub body_timeout: Duration,
    /// How long a client may leave what is written to it unread.
    pub write_timeout: Duration,
    /// How long a readiness verdict is good for.
    pub readiness_ttl: Duration,
    /// Whether HTTP+SSE of 2024-11-05 is served.
    pub legacy_sse: bool,
    /// Its streams, all callers together.
    pub sse_streams: usize,
    pub sse_streams_per_principal: usize,
    /// A stream is never silent for longer: proxies cut what is.
    pub sse_keep_alive: Duration,
    /// Sessions for the legacy revisions; without it every request is served on its own.
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
            unauthenticated_grace: Duration::from_secs(5),
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
