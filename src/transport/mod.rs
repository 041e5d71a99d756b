//! Bytes to JSON-RPC and back: the entrance with its checks, the server loop, and stdio.
//!
//! A request to `/mcp` passes one concern per file, each of which may end it: [`correlation`] names it, [`guard`] looks
//! at `Host` and `Origin`, [`cors`] tells browsers what they may read, [`authenticate`] looks at the token, [`envelope`]
//! at the JSON-RPC message with [`narrowing`] and [`scope`] at which tools it may see, and then rmcp's Streamable HTTP
//! service takes it to [`mcp`](crate::mcp). The service runs stateless and answers in JSON, so nothing is kept between
//! requests; only a call that reports progress is answered as an event stream. Where it is configured so, clients of the
//! legacy revisions get [`sessions`]. Beside it stands [`sse`], the transport of 2024-11-05, behind the same checks.

mod answer;
mod authenticate;
mod correlation;
mod cors;
mod entrance;
mod envelope;
mod form;
mod guard;
mod health;
mod holders;
mod impatient;
mod landing;
mod leftover;
mod line;
mod lines;
mod narrowing;
mod outline;
mod router;
mod running;
mod scope;
mod scrape;
mod serve;
mod sessions;
mod sse;
mod stdio;
mod straight;
mod strangers;
mod structured_content;
mod traced;

#[cfg(any(test, feature = "pieces"))]
#[path = "../../fuzz/targets/headers.rs"]
pub mod hostile_headers;
#[cfg(any(test, feature = "pieces"))]
#[path = "../../fuzz/targets/messages.rs"]
pub mod hostile_messages;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use answer::{INVALID_REQUEST, PARSE_ERROR};
pub use correlation::new_id as new_correlation_id;
pub use line::{Line, LineReader};
pub use outline::{id_in_beginning, outline};
pub use router::App;
#[cfg(feature = "conformance")]
pub use router::Handler;
pub use scrape::serve_metrics;
pub use serve::{Drain, serve};
pub use sessions::Limits as SessionLimits;
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
    pub strangers_time: Duration,
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
            strangers_time: Duration::from_secs(5),
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
