//! Errors between the bridge and the server, worded for the user who has to fix them.

use std::fmt;

use serde_json::{Value, json};

/// Outside the codes that JSON-RPC and MCP reserve, -32768 to -32000.
pub const CODE: i32 = -31011;

/// Limit of text quoted from a server.
const MAX_QUOTE_CHARS: usize = 300;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectError {
    NoToken {
        location: String,
        why: String,
    },
    /// No connection was established, so nothing was sent.
    Unreachable {
        url: String,
        how: Unreachable,
    },
    /// The connection was lost before the response was complete.
    AnswerLost {
        url: String,
    },
    TimedOut {
        url: String,
    },
    Unauthorized {
        location: String,
        remedy: &'static str,
        detail: String,
    },
    Forbidden {
        detail: String,
    },
    NotFound {
        url: String,
    },
    /// The server has lost the session, and opening a new one failed.
    SessionLost,
    Redirected {
        to: Option<String>,
    },
    /// A rate limit, or a server that is starting or shutting down.
    Busy {
        status: u16,
        retry_after: Option<u64>,
        detail: String,
    },
    Failed {
        status: u16,
        detail: String,
    },
    /// The response is not MCP.
    NotMcp {
        url: String,
        what: String,
    },
    AnswerTooLarge {
        limit: usize,
    },
    /// The bridge's own limit of concurrent requests.
    TooManyRequests {
        limit: usize,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unreachable {
    Name,
    Tls(String),
    Connection(String),
}

impl ConnectError {
    /// Whether the request may have had an effect.
    pub fn may_have_been_done(&self) -> bool {
        match self {
            Self::AnswerLost { .. } | Self::TimedOut { .. } | Self::AnswerTooLarge { .. } => true,
            Self::NotMcp { .. } => true,
            Self::Failed { status, .. } | Self::Busy { status, .. } => *status >= 500,
            _ => false,
        }
    }

    /// Whether the error may be transient.
    pub fn may_pass(&self) -> bool {
        match self {
            // A wrong certificate does not fix itself in seconds. Names may: a machine that has
            // just woken up cannot resolve any for a moment.
            Self::Unreachable { how, .. } => !matches!(how, Unreachable::Tls(_)),
            Self::AnswerLost { .. } | Self::Busy { .. } => true,
            Self::Failed { status, .. } => matches!(status, 502 | 504),
            _ => false,
        }
    }

    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoToken { .. } => "no_token",
            Self::Unreachable {
                how: Unreachable::Name,
                ..
            } => "name_unknown",
            Self::Unreachable {
                how: Unreachable::Tls(_),
                ..
            } => "tls",
            Self::Unreachable { .. } => "unreachable",
            Self::AnswerLost { .. } => "answer_lost",
            Self::TimedOut { .. } => "timeout",
            Self::Unauthorized { .. } => "unauthorized",
            Self::Forbidden { .. } => "forbidden",
            Self::NotFound { .. } => "not_found",
            Self::SessionLost => "session_lost",
            Self::Redirected { .. } => "redirected",
            Self::Busy { .. } => "busy",
            Self::Failed { .. } => "failed",
            Self::NotMcp { .. } => "not_mcp",
            Self::AnswerTooLarge { .. } => "answer_too_large",
            Self::TooManyRequests { .. } => "too_many_requests",
        }
    }

    /// Formats the JSON-RPC error response for the request `id`, which is JSON.
    pub fn answer(&self, id: &str) -> String {
        let mut data =
            json!({ "reason": self.reason(), "may_have_been_done": self.may_have_been_done() });
        if let (
            Self::Busy {
                retry_after: Some(seconds),
                ..
            },
            Some(data),
        ) = (self, data.as_object_mut())
        {
            data.insert("retry_after_s".to_owned(), Value::from(*seconds));
        }
        let error = json!({ "code": CODE, "message": self.to_string(), "data": data });
        format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#)
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoToken { location, why } => {
                write!(
                    f,
                    "{location} cannot be read ({why}). A token belongs there."
                )
            }
            Self::Unreachable { url, how } => match how {
                Unreachable::Name => write!(
                    f,
                    "{url} cannot be reached: there is no such host name, or this machine is \
                     offline. Check the URL and the connection. Nothing was sent."
                ),
                Unreachable::Tls(why) => write!(
                    f,
                    "{url} cannot be reached: no secure connection comes about ({why}). Check that \
                     it is an https address, its certificate, and the clock of this machine. \
                     Nothing was sent."
                ),
                Unreachable::Connection(why) => write!(
                    f,
                    "{url} cannot be reached ({why}). Is the server running, and is this its \
                     address? Nothing was sent."
                ),
            },
            Self::AnswerLost { url } => write!(
                f,
                "The connection to {url} was lost before the answer was complete. What was asked \
                 for may have been done: look before you ask again."
            ),
            Self::TimedOut { url } => write!(
                f,
                "{url} did not answer in time. What was asked for may have been done: look before \
                 you ask again."
            ),
            Self::Unauthorized {
                location,
                remedy,
                detail,
            } => {
                write!(
                    f,
                    "The server did not accept the token from {location}{detail}. {remedy}."
                )
            }
            Self::Forbidden { detail } => write!(
                f,
                "The server does not allow this with this token{detail}. It may be that of another \
                 tenant or place."
            ),
            Self::NotFound { url } => {
                write!(f, "There is nothing at {url}: is it the URL of /mcp?")
            }
            Self::SessionLost => {
                f.write_str("The server has forgotten this conversation. Start this client again.")
            }
            Self::Redirected { to: None } => f.write_str(
                "The server sends us on, but does not say where to: give its right URL.",
            ),
            Self::Redirected { to: Some(to) } => write!(
                f,
                "The server sends us on to {to}. A token is not sent to an address that was \
                 not given: if that is the right one, give its URL."
            ),
            Self::Busy {
                status,
                retry_after,
                detail,
            } => {
                write!(f, "The server is busy ({status}){detail}. Try again ")?;
                match retry_after {
                    Some(seconds) => write!(f, "in {seconds} s."),
                    None => f.write_str("later."),
                }
            }
            Self::Failed { status, detail } => write!(f, "The server failed ({status}){detail}."),
            Self::NotMcp { url, what } => {
                write!(
                    f,
                    "What answers at {url} is no MCP server ({what}): is it the URL of /mcp?"
                )
            }
            Self::AnswerTooLarge { limit } => {
                write!(
                    f,
                    "The answer is larger than {limit} bytes. What was asked for may have been \
                     done."
                )
            }
            Self::TooManyRequests { limit } => {
                write!(
                    f,
                    "{limit} requests are waiting for their answers already. Wait for some of them."
                )
            }
        }
    }
}

/// Extracts the message of an error body, to be appended to a sentence: empty, or `: "…"`.
pub fn error_detail(body: &[u8]) -> String {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let pointers = ["/error_description", "/message", "/error/message", "/error"];
    let mut texts = pointers
        .iter()
        .filter_map(|pointer| value.pointer(pointer)?.as_str());
    let Some(text) = texts.next() else {
        return String::new();
    };
    let visible = text.chars().filter(|letter| !letter.is_control());
    let text: String = visible.take(MAX_QUOTE_CHARS).collect();
    if text.is_empty() {
        String::new()
    } else {
        format!(": \"{text}\"")
    }
}

impl Unreachable {
    /// The HTTP client exposes these causes only in its messages.
    pub fn of(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut chain = vec![error.to_string()];
        let mut source = error.source();
        while let Some(error) = source {
            chain.push(error.to_string());
            source = error.source();
        }
        let has = |needles: &[&str]| {
            let all = chain.join(" ").to_lowercase();
            needles.iter().any(|word| all.contains(word))
        };
        let why = || {
            let last = chain.last().map(String::as_str).unwrap_or_default();
            last.chars()
                .filter(|letter| !letter.is_control())
                .take(MAX_QUOTE_CHARS)
                .collect()
        };
        if has(&["dns error", "failed to lookup"]) {
            Self::Name
        } else if has(&["certificate", "tls", "handshake", "corrupt message"]) {
            Self::Tls(why())
        } else {
            Self::Connection(why())
        }
    }
}
