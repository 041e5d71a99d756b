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

pub mod headers;
pub mod http;
pub mod jsonrpc;
pub mod sessions;
pub mod settings;
pub mod sse;
pub mod stdio;

#[cfg(any(test, feature = "internals"))]
#[path = "../../fuzz/targets/headers.rs"]
pub mod hostile_headers;
#[cfg(any(test, feature = "internals"))]
#[path = "../../fuzz/targets/messages.rs"]
pub mod hostile_messages;
#[cfg(test)]
mod tests;

pub use http::listener::{Drain, serve};
pub use http::middleware::correlation::new_id as new_correlation_id;
pub use http::response::{INVALID_REQUEST, PARSE_ERROR};
pub use http::routes::metrics_server::serve_metrics;
pub use http::routes::router::App;
#[cfg(feature = "conformance")]
pub use http::routes::router::Handler;
pub use jsonrpc::validate::{id_in_prefix, validate};
pub use settings::Settings;
pub use stdio::bounded_lines::{Line, LineReader};
pub use stdio::serve_stdio;
