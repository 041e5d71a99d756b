//! The words that a tool and the Go API exchange: one request, one reply, or one reason why there is none.
//!
//! These types are the wall between `tools` and the rest of `upstream`. A request has no host, no token, no session
//! and no signature; whoever implements [`Api`] adds those. A reply is what the API said, unread.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use http::Method;

/// One request to the API, as a tool means it.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: Method,
    /// Absolute path, made only of catalogue names and canonical UUIDs, so it needs no escaping.
    pub path: String,
    pub query: Vec<(&'static str, String)>,
    /// JSON text.
    pub body: Option<Bytes>,
    /// The version that the item must still have.
    pub if_match: Option<u64>,
    pub repeat: Repeat,
}

/// Whether a request may be sent again when the API did not get it, was not able to serve it, or said nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// Carried out twice it does no more than once, and whoever sent it knows its own work when it meets it.
    Harmless,
    /// It is sent once. Only a session that the API has lost, by which nothing was done, is a reason to send it again.
    Never,
}

/// What the API answered. Its meaning depends on what was asked, so it is left to the tool.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub body: Bytes,
    /// `Retry-After`, when the API sent a usable one.
    pub retry_after: Option<Duration>,
    /// The API said with `Link: rel="next"` that another page follows.
    pub has_next: bool,
    /// The request was sent before, and may have been carried out then; the answer is to the last sending.
    pub doubtful: bool,
}

/// Why there is no reply. The variants differ in what a caller may conclude about the API's state.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ApiError {
    /// No connection came about: nothing was sent, nothing can have changed.
    #[error("the API cannot be reached")]
    Unreachable,
    /// Time ran out. With `sent`, the API may have done what was asked.
    #[error("the API did not answer in time")]
    TimedOut { sent: bool },
    /// The request was sent, perhaps several times, and no connection held until the whole answer had come: the outcome
    /// is unknown.
    #[error("the connection to the API broke before it answered")]
    AnswerLost,
    /// The answer was larger than the sidecar is willing to hold.
    #[error("the API's answer is larger than {limit} bytes")]
    AnswerTooLarge { limit: usize },
    /// There was no memory for the answer, which has come: the request may have been carried out.
    #[error("there is no memory for the API's answer")]
    NoMemoryForAnswer,
    /// The API refused to open a session, with this reply.
    #[error("the API refused to open a session (status {})", .0.status)]
    SessionRefused(Reply),
    /// There is nothing to show to the API in the caller's name, so it was not asked.
    #[error("the caller has no access to the API")]
    NoAccess(NoAccess),
    /// The API has failed too often in a row, so it was not asked. Somebody will try it again in so long.
    #[error("the API is left alone for {retry_in:?}")]
    CircuitOpen { retry_in: Duration },
    /// There were too many calls before this one, or they took too long.
    #[error("too many calls are under way")]
    Overloaded,
    /// The caller went away.
    #[error("the call was cancelled")]
    Cancelled,
}

impl ApiError {
    /// Nothing can have changed.
    #[must_use]
    pub fn nothing_was_sent(&self) -> bool {
        match self {
            Self::Unreachable
            | Self::TimedOut { sent: false }
            | Self::SessionRefused(_)
            | Self::NoAccess(_)
            | Self::CircuitOpen { .. }
            | Self::Overloaded => true,
            Self::TimedOut { sent: true }
            | Self::AnswerLost
            | Self::AnswerTooLarge { .. }
            | Self::NoMemoryForAnswer
            | Self::Cancelled => false,
        }
    }
}

/// Whose business it is that a caller who may come in here has no access to the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoAccess {
    /// The caller's: another login may help.
    Refused,
    /// The caller's, and no login will help.
    Denied,
    /// Nobody's; it passes.
    Unavailable,
    /// Whoever runs the servers'.
    Faulty,
}

/// The API during one tool call: all requests sent through it share one session, one principal, one deadline.
pub trait Api: Send + Sync {
    fn send(&self, request: Request) -> impl Future<Output = Result<Reply, ApiError>> + Send;
}
