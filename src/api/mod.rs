//! Client of the Go API. Each tool call gets a session of its own, which is opened with the first
//! request and closed after the call. Every request is signed.
//!
//! `tools` uses only the types of [`request`]. A session is opened only after its slot in
//! `session_closer` is reserved, so neither a slow API nor a flood of calls can accumulate
//! sessions, and closing a session never blocks its call.

mod answer_limits;
mod breaker;
mod classify;
pub mod client;
mod concurrency_limit;
mod connection_pool;
mod features;
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
pub use features::Features;
use features::KnownFeatures;
#[cfg(any(test, feature = "pieces"))]
pub use http_client::target;
pub use readiness::{NotReadyError, has_no_readyz};
use retry::Retries;
pub use session::Session;
pub use session_closer::Counts;
use session_closer::SessionClosers;
pub use signature::Versions;

/// Address and signing identity of the API, limits and time-outs.
#[derive(Debug, Clone)]
pub struct Settings {
    pub base_url: String,
    pub tenant_id: String,
    pub tenant_secret: Secret,
    pub signature: Versions,
    /// Covers one whole tool call: opening and reopening sessions, requests and retries.
    pub call_deadline: Duration,
    pub connect_timeout: Duration,
    /// The longest pause between two reads of an answer.
    pub read_timeout: Duration,
    /// Shorter than the API's own idle timeout of 120 s, so that no connection is used while the
    /// API closes it.
    pub idle_timeout: Duration,
    /// Maximum number of idle connections.
    pub max_idle: usize,
    pub max_answer_bytes: usize,
    /// Maximum number of sessions that exist at a time, those waiting to be closed included.
    pub max_sessions: usize,
    /// Maximum number of sessions being closed at a time.
    pub session_closers: usize,
    /// Timeout of one attempt to close a session.
    pub end_timeout: Duration,
    pub ready_timeout: Duration,
    pub breaker: Breaking,
    /// Maximum number of attempts for a request that may be repeated, the first included.
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
            session_closers: 16,
            end_timeout: Duration::from_secs(5),
            ready_timeout: Duration::from_secs(2),
            breaker: Breaking {
                failures: 10,
                pause: Duration::from_secs(1),
            },
            max_attempts: 3,
            calls: Calls {
                max_concurrent: 256,
                queue: 1024,
                wait: Duration::from_secs(5),
            },
        }
    }
}

/// Context of a call, besides its token. `server` has validated both texts, which are sent
/// unchanged.
#[derive(Debug, Clone)]
pub struct CallContext {
    pub correlation_id: Arc<str>,
    pub traceparent: Option<Arc<str>>,
    pub deadline: Deadline,
    pub cancel: CancellationToken,
    /// Position in the trace, if the call is traced. Its requests then carry their own spans in
    /// place of `traceparent`.
    pub trace_context: TraceContext,
    /// Time spent per stage.
    pub spent: Arc<Spent>,
    /// Memory of the call; grows for the answers of the API.
    pub memory: Reservation,
}

/// Client of the API. Cheap to clone: clones share connections, closers and counters.
#[derive(Debug, Clone)]
pub struct ApiClient(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: Client,
    closers: SessionClosers,
    breaker: Arc<Breaker>,
    retries: Retries,
    concurrency: ConcurrencyLimit,
    features: KnownFeatures,
    settings: Settings,
}

impl ApiClient {
    /// Must run inside a tokio runtime: starts the session closers on every worker.
    pub fn new(settings: Settings, clock: Clock, loops: &Workers) -> Result<Self, ClientError> {
        let client = Client::new(&settings, clock, loops)?;
        let closers = SessionClosers::start(&client, &settings, loops);
        Ok(Self(Arc::new(Inner {
            client,
            closers,
            breaker: Arc::new(Breaker::new(settings.breaker)),
            retries: Retries::new(settings.max_attempts, settings.calls.max_concurrent),
            concurrency: ConcurrencyLimit::new(settings.calls),
            features: KnownFeatures::default(),
            settings,
        })))
    }

    /// The tenant in whose name requests are signed.
    pub fn tenant(&self) -> &str {
        &self.0.settings.tenant_id
    }

    /// The deadline of a call that starts now.
    pub fn deadline(&self) -> Deadline {
        Deadline::after(self.0.settings.call_deadline)
    }

    /// Creates the session handle of one tool call. Sends nothing until its first request.
    pub fn call(&self, credential: impl Into<Credential>, context: CallContext) -> Session {
        Session::new(self.clone(), credential.into(), context)
    }

    /// Whether the API would serve a call now.
    pub async fn ready(&self) -> Result<(), NotReadyError> {
        readiness::check(&self.0.client, self.0.settings.ready_timeout).await?;
        self.ask_for_features().await;
        Ok(())
    }

    /// The features that the API is known to have: none before it has been asked.
    pub fn features(&self) -> Features {
        self.0.features.get().unwrap_or_default()
    }

    /// Like [`features`](Self::features), but asks the API if that has not happened yet. An API
    /// that does not answer is not asked again for a second, and has no features meanwhile.
    pub async fn known_features(&self) -> Features {
        if self.0.features.get().is_none() {
            self.ask_for_features().await;
        }
        self.features()
    }

    async fn ask_for_features(&self) {
        let Inner {
            client,
            features,
            settings,
            ..
        } = &*self.0;
        // Without this, a list of tools that is asked for during the first request would lack some.
        let _asking = features.asking.lock().await;
        if features.is_due()
            && let Some(known) = readiness::features(client, settings.ready_timeout).await
        {
            features.set(known);
        }
    }

    #[cfg(test)]
    pub fn sessions(&self) -> Counts {
        self.0.closers.counts()
    }

    /// Stops opening sessions and waits for the open ones to be closed, at most `within`.
    pub async fn drain(&self, within: Duration) -> Counts {
        self.0.closers.drain(within).await
    }
}
