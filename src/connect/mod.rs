//! A bridge from a pipe to a remote `/mcp`, for clients that only start processes.
//!
//! A client of the house, not a part of the server: it takes JSON-RPC messages from standard input ([`message`]), sends
//! each as one POST ([`remote`]), and writes what comes back as lines ([`output`]). It understands as little of them as
//! it can: which headers a message needs, which answer belongs to which request, what may be sent twice. So tools,
//! results and revisions pass through as they are.
//!
//! Its one rule is in [`exchange`]: a request is repeated only when it certainly was not sent, or does no harm a second
//! time. Whatever remains is answered with a sentence that says what to do ([`trouble`]), and the bridge goes on: a server
//! that comes back is used again.

mod bridge;
mod conversation;
mod delivery;
mod error;
mod events;
mod message;
mod output;
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
pub use error::{ConnectError, Unreachable, said};
pub use events::EventReader;
pub use message::Message;
pub use target::{BadTarget, is_loopback, target};
pub use token::{TokenSource, authorization};

/// The code of the error in which a server of the house refuses a token.
const TOKEN_REFUSED: i32 = -32012;

/// Where to, as whom, and how patient.
#[derive(Debug)]
pub struct Settings {
    /// From [`target`].
    pub url: Url,
    pub token: TokenSource,
    /// Sent with every message.
    pub headers: HeaderMap,
    /// How long a request that may be repeated is repeated while the server cannot be reached.
    pub patience: Duration,
    /// The longest silence while an answer is waited for.
    pub silence: Duration,
    pub connect_timeout: Duration,
    /// How long the answers to what was asked last are waited for once the input has ended.
    pub linger: Duration,
    pub max_message_bytes: usize,
    pub max_answer_bytes: usize,
}

impl Settings {
    pub fn new(url: Url, token: TokenSource) -> Self {
        Self {
            url,
            token,
            headers: HeaderMap::new(),
            patience: Duration::from_secs(15),
            silence: Duration::from_secs(300),
            connect_timeout: Duration::from_secs(10),
            linger: Duration::from_secs(30),
            max_message_bytes: 16 << 20,
            max_answer_bytes: 64 << 20,
        }
    }
}

/// A header that the user may add. The others are the protocol's, or carry secrets, which a command line shows to others.
pub fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), String> {
    const OURS: [&str; 10] = [
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
    if OURS.contains(&parsed.as_str()) || parsed.as_str().starts_with("mcp-") {
        return Err(format!("the header {parsed} is not for the command line"));
    }
    let value = HeaderValue::from_str(value)
        .map_err(|_| format!("the value of {parsed} cannot stand in a header"))?;
    Ok((parsed, value))
}
