//! Bytes to JSON-RPC and back: the HTTP router with its checks, the server loop, and stdio.
//!
//! A request to `/mcp` passes one concern per file, each of which may end it: [`correlation`] names it, [`guard`] looks
//! at `Host` and `Origin`, [`authenticate`] at the token, [`envelope`] at the JSON-RPC message, and then rmcp's
//! Streamable HTTP service takes it to [`mcp`](crate::mcp). The service runs stateless and answers in JSON, so nothing
//! is kept between requests; only a call that reports progress is answered as an event stream. Where it is configured
//! so, clients of the legacy revisions get [`sessions`].

mod answer;
mod authenticate;
mod correlation;
mod envelope;
mod guard;
mod health;
mod impatient;
mod lines;
mod outline;
mod router;
mod running;
mod serve;
mod sessions;
mod stdio;

#[cfg(test)]
mod tests;

use std::time::Duration;

pub use correlation::new_id as new_correlation_id;
pub use router::App;
pub use serve::{Drain, serve};
pub use sessions::Limits as SessionLimits;
pub use stdio::serve_stdio;

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
    /// For the head of a request, which includes the quiet time before it: idle connections are closed after this.
    pub header_timeout: Duration,
    /// For the body of a request.
    pub body_timeout: Duration,
    /// How long a client may leave what is written to it unread.
    pub write_timeout: Duration,
    /// How long a readiness verdict is good for.
    pub readiness_ttl: Duration,
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
            header_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(60),
            readiness_ttl: Duration::from_secs(1),
            sessions: None,
        }
    }
}
