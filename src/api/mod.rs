//! The Go API as seen from here: signed requests inside a session that is opened for one tool call and ended after it.
//!
//! `tools` speaks to it in the words of [`exchange`] and sees nothing else. The one trick is in [`ending`]: a session may
//! be opened only when there is room to end it, so neither a slow API nor a flood of calls can pile sessions up, and
//! ending never waits for anybody.

mod answer_limits;
mod breaker;
mod classify;
pub mod client;
mod concurrency_limit;
mod connection_pool;
pub mod headers;
mod http1;
mod http_client;
mod instrument;
mod readiness;
pub mod request;
mod retry;
mod session;
mod session_closer;
pub mod signature;

#[cfg(any(test, feature = "pieces"))]
#[path = "../../fuzz/targets/signatures.rs"]
pub mod hostile_signatures;
#[cfg(test)]
#[path = "../../tests/support/scripted_api.rs"]
pub mod scripted_api;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::auth::Credential;
use crate::foundation::clock::Clock;
pub use crate::foundation::deadline::Deadline;
use crate::foundation::memory_budget::Reservation;
use crate::foundation::token_secret::Secret;
use crate::telemetry::timings::Spent;
use crate::telemetry::traces::TraceContext;
use crate::workers::Workers;
use breaker::Breaker;
pub use breaker::Settings as Breaking;
use client::{Client, ClientError};
use concurrency_limit::ConcurrencyLimit;
pub use concurrency_limit::Settings as Calls;
#[cfg(any(test, feature = "pieces"))]
pub use http_client::target;
pub use readiness::{NotReadyError, has_no_readyz};
use retry::Retries;
pub use session::Session;
pub use session_closer::Counts;
use session_closer::SessionClosers;
pub use signature::Versions;

/// Where the API is, as whom to sign, and how patient to be.
#[derive(Debug, Clone)]
pub struct Settings {
    pub base_url: String,
    pub tenant_id: String,
    pub tenant_secret: Secret,
    pub signature: Versions,
    /// Covers everything that one tool call does: opening, the operation, mending, sending again.
    pub call_deadline: Duration,
    pub connect_timeout: Duration,
    /// The longest silence in the middle of an answer.
    pub read_timeout: Duration,
    /// Idle connections are let go before the API's own 120 s, so that none is used while the API closes it.
    pub idle_timeout: Duration,
    /// Connections kept for the next call.
    pub max_idle: usize,
    pub max_answer_bytes: usize,
    /// Sessions that may exist at once, those waiting to be ended included.
    pub max_sessions: usize,
    /// Sessions that are being ended at once.
    pub enders: usize,
    /// For one attempt to end a session.
    pub end_timeout: Duration,
    pub ready_timeout: Duration,
    pub breaker: Breaking,
    /// How often a request is sent that may be sent again.
    pub max_attempts: u32,
    pub calls: Calls,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            base_url: "http://127.0.0.1:8081".to_owned(),
            tenant_id: String::new(),
            tenant_secret: Secret::new(""),
            signature: Versions::Both,
            call_deadline: Duration::from_secs(25),
            connect_timeout: Duration::from_secs(2),
            read_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(90),
            max_idle: 64,
            max_answer_bytes: 16 << 20,
            max_sessions: 1024,
            enders: 16,
            end_timeout: Duration::from_secs(5),
            ready_timeout: Duration::from_secs(2),
            breaker: Breaking {
                failures: 10,
                pause: Duration::from_secs(1),
            },
            max_attempts: 3,
            calls: Calls {
                at_once: 256,
                queue: 1024,
                wait: Duration::from_secs(5),
            },
        }
    }
}

/// What a call brings along besides the token. Both texts have been checked by `transport` and are sent as they are.
#[derive(Debug, Clone)]
pub struct CallContext {
    pub correlation_id: Arc<str>,
    pub traceparent: Option<Arc<str>>,
    pub deadline: Deadline,
    pub cancel: CancellationToken,
    /// Where in a trace it is, when it is traced; its requests then say so in place of `traceparent`.
    pub place: TraceContext,
    /// Where its time goes.
    pub spent: Arc<Spent>,
    /// What the call has reserved, and may reserve for the API's answers.
    pub memory: Reservation,
}

/// The API. Cheap to clone; all clones share connections, enders and counters.
#[derive(Debug, Clone)]
pub struct ApiClient(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: Client,
    enders: SessionClosers,
    breaker: Arc<Breaker>,
    retries: Retries,
    turns: ConcurrencyLimit,
    settings: Settings,
}

impl ApiClient {
    /// Must run inside a tokio runtime: the enders start at once, on every loop.
    pub fn new(settings: Settings, clock: Clock, loops: &Workers) -> Result<Self, ClientError> {
        let client = Client::new(&settings, clock, loops)?;
        let enders = SessionClosers::start(&client, &settings, loops);
        Ok(Self(Arc::new(Inner {
            client,
            enders,
            breaker: Arc::new(Breaker::new(settings.breaker)),
            retries: Retries::new(settings.max_attempts),
            turns: ConcurrencyLimit::new(settings.calls),
            settings,
        })))
    }

    /// In whose name everything is signed.
    pub fn tenant(&self) -> &str {
        &self.0.settings.tenant_id
    }

    /// A deadline for a call that begins now.
    pub fn deadline(&self) -> Deadline {
        Deadline::after(self.0.settings.call_deadline)
    }

    /// The API for one tool call. Nothing is sent before the first request of the call.
    pub fn call(&self, credential: impl Into<Credential>, context: CallContext) -> Session {
        Session::new(self.clone(), credential.into(), context)
    }

    /// Would the API serve a call now?
    pub async fn ready(&self) -> Result<(), NotReadyError> {
        readiness::check(&self.0.client, self.0.settings.ready_timeout).await
    }

    #[cfg(test)]
    pub fn sessions(&self) -> Counts {
        self.0.enders.counts()
    }

    /// Opens no more sessions and waits until the open ones are ended, but not longer than `within`.
    pub async fn drain(&self, within: Duration) -> Counts {
        self.0.enders.drain(within).await
    }
}
