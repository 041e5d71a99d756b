//! A bridge from stdio to a remote `/mcp`, for clients that only start processes.
//!
//! The bridge is a client of the server. It reads JSON-RPC messages from standard input
//! ([`message`]), sends each as one POST ([`remote`]), and writes the responses as lines
//! ([`output`]). It interprets as little as possible: which headers a message needs, which response
//! belongs to which request, and what may be retried. Tools, results and protocol revisions pass
//! through unchanged.
//!
//! [`delivery`] enforces the central rule: a request is retried only if it certainly was not sent
//! or has no side effects. Any other failure is answered with an error that says what to do
//! ([`error`]), and the bridge keeps running, so that a server that recovers is used again.

mod bridge;
mod conversation;
mod delivery;
mod error;
mod events;
mod message;
mod output;
mod parameters;
mod remote;
mod target;
#[cfg(test)]
mod tests;
mod token;

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

pub use bridge::{Ended, run};
pub use conversation::Conversation;
pub use error::{ConnectError, Unreachable, error_detail};
pub use events::EventReader;
pub use message::Message;
pub use target::{TargetError, is_loopback, target};
pub use token::{TokenSource, authorization};

/// The error code with which a ToolBridge server rejects a token.
const TOKEN_REFUSED: i32 = -31012;

/// Configuration of a bridge.
#[derive(Debug)]
pub struct Settings {
    /// Validated by [`target`].
    pub url: Url,
    pub token: TokenSource,
    /// Added to every message.
    pub headers: HeaderMap,
    /// How long a retriable request is retried while the server is unreachable.
    pub retry_for: Duration,
    /// The longest wait for the next bytes of a response.
    pub silence: Duration,
    pub connect_timeout: Duration,
    /// How long outstanding responses are awaited after the input has ended.
    pub drain_timeout: Duration,
    pub max_message_bytes: usize,
    pub max_answer_bytes: usize,
}

impl Settings {
    pub fn new(url: Url, token: TokenSource) -> Self {
        Self {
            url,
            token,
            headers: HeaderMap::new(),
            retry_for: Duration::from_secs(15),
            silence: Duration::from_secs(300),
            connect_timeout: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(30),
            max_message_bytes: 16 << 20,
            max_answer_bytes: 64 << 20,
        }
    }
}

/// Validates a header that the user adds. Headers of the protocol are not allowed, and neither are
/// those that carry secrets, because other users can read the command line.
pub fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), String> {
    const RESERVED: [&str; 10] = [
        "accept",
        "authorization",
        "connection",
        "content-length",
        "content-type",
        "cookie",
        "host",
        "last-event-id",
        "proxy-authorization",
        "transfer-encoding",
    ];
    let parsed =
        HeaderName::try_from(name).map_err(|_| format!("\"{name}\" is no name of a header"))?;
    if RESERVED.contains(&parsed.as_str()) || parsed.as_str().starts_with("mcp-") {
        return Err(format!("the header {parsed} is not for the command line"));
    }
    let value = HeaderValue::from_str(value)
        .map_err(|_| format!("the value of {parsed} cannot stand in a header"))?;
    Ok((parsed, value))
}
