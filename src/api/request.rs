//! The interface between tools and the Go API: one request, and one reply or the reason why there
//! is none.
//!
//! `tools` depends on no other module of `api`. A request has no host, token, session or signature;
//! implementations of [`Api`] add them. The body of a reply is not interpreted here.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use uuid::Uuid;

/// One request to the API, before authentication and signing.
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
    /// The key by which the API recognizes a repetition of the request.
    pub idempotency_key: Option<Uuid>,
    pub repeat: Repeat,
}

/// Whether a request may be repeated when the API did not receive it, could not serve it or did not
/// answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// Idempotent: repeating it changes nothing more, and its sender recognizes its own earlier
    /// effect.
    Idempotent,
    /// Sent once. Repeated only after a lost session, in which case the API did nothing.
    Never,
}

/// The answer of the API. Its meaning depends on the request, so the tool interprets it.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub body: Bytes,
    /// `Retry-After`, if it is valid.
    pub retry_after: Option<Duration>,
    /// `Link: rel="next"` announced another page.
    pub has_next: bool,
    /// An earlier attempt of the request may have been carried out; this is the answer to the last
    /// one.
    pub maybe_applied: bool,
}

/// Why there is no reply. The variants differ in what the caller may conclude about the API's
/// state.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ApiError {
    /// No connection was established: nothing was sent and nothing has changed.
    #[error("the API cannot be reached")]
    Unreachable,
    /// The time limit was reached. If `sent`, the API may have carried out the request.
    #[error("the API did not answer in time")]
    TimedOut { sent: bool },
    /// The request was sent, perhaps several times, but no complete answer arrived: the outcome is
    /// unknown.
    #[error("the connection to the API broke before it answered")]
    AnswerLost,
    /// The answer exceeds the size limit.
    #[error("the API's answer is larger than {limit} bytes")]
    AnswerTooLarge { limit: usize },
    /// The answer arrived but did not fit the memory budget: the request may have been carried out.
    #[error("there is no memory for the API's answer")]
    NoMemoryForAnswer,
    /// The API refused to open a session, with this reply.
    #[error("the API refused to open a session (status {})", .0.status)]
    SessionRefused(Reply),
    /// No token for the API could be obtained in the name of the caller, so nothing was sent.
    #[error("the caller has no access to the API")]
    NoAccess(NoAccessError),
    /// The circuit breaker is open, so nothing was sent. A retry may succeed after `retry_in`.
    #[error("the API is left alone for {retry_in:?}")]
    CircuitOpen { retry_in: Duration },
    /// The limit on concurrent calls or on memory was reached, so nothing was sent.
    #[error("too many calls are under way")]
    Overloaded,
    /// The caller cancelled the call.
    #[error("the call was cancelled")]
    Cancelled,
}

impl ApiError {
    /// Whether the API cannot have changed anything, because no request was sent.
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

/// Why an authenticated caller has no access to the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoAccessError {
    /// The token was refused: signing in again may help.
    Refused,
    /// The caller has no access: signing in again does not help.
    Denied,
    /// The authorization server is temporarily unavailable.
    Unavailable,
    /// The servers are misconfigured.
    Faulty,
}

/// The API during one tool call. All requests share one session, one principal and one deadline.
pub trait Api: Send + Sync {
    fn send(&self, request: Request) -> impl Future<Output = Result<Reply, ApiError>> + Send;
}
