//! The section `[api]`, the limits that are not configurable, and the identity that signs requests.

use std::time::Duration;

use serde::Deserialize;
use url::Url;

use super::signature::Versions;
use crate::foundation::parse;
use crate::foundation::secret::Secret;

/// `default.toml` documents each setting and holds its default.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    #[serde(deserialize_with = "parse::url")]
    pub base_url: Url,
    #[serde(deserialize_with = "parse::duration")]
    pub startup_timeout: Duration,
    #[serde(deserialize_with = "parse::duration")]
    pub connect_timeout: Duration,
    /// The longest pause between two reads of an answer.
    #[serde(deserialize_with = "parse::duration")]
    pub read_timeout: Duration,
    /// Covers one whole tool call: opening and reopening sessions, requests and retries.
    #[serde(deserialize_with = "parse::duration")]
    pub call_deadline: Duration,
    pub max_attempts: u32,
    pub breaker_failures: u32,
    #[serde(deserialize_with = "parse::duration")]
    pub breaker_pause: Duration,
    #[serde(deserialize_with = "parse::size")]
    pub max_answer_bytes: usize,
    pub max_idle: usize,
    #[serde(deserialize_with = "parse::duration")]
    pub idle_timeout: Duration,
    pub max_calls: usize,
    pub queue_length: usize,
    #[serde(deserialize_with = "parse::duration")]
    pub queue_wait: Duration,
    /// Sessions that are waiting to be closed count too.
    pub max_sessions: usize,
    #[serde(skip)]
    pub limits: Limits,
}

#[derive(Debug, Clone)]
pub struct Limits {
    /// Maximum number of sessions being closed at a time.
    pub session_closers: usize,
    /// Timeout of one attempt to close a session.
    pub end_timeout: Duration,
    pub ready_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            session_closers: 16,
            end_timeout: Duration::from_secs(5),
            ready_timeout: Duration::from_secs(2),
        }
    }
}

/// The tenant in whose name requests are signed.
#[derive(Debug, Clone)]
pub struct TenantIdentity {
    pub id: String,
    pub secret: Secret,
    pub signature: Versions,
}
