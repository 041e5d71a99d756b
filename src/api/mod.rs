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
mod settings;
pub mod signature;

#[cfg(any(test, feature = "internals"))]
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
use crate::telemetry::timings::Spent;
use crate::telemetry::traces::TraceContext;
use crate::workers::Workers;
use breaker::Breaker;
use client::{Client, ClientError};
use concurrency_limit::ConcurrencyLimit;
pub use features::Features;
use features::KnownFeatures;
#[cfg(any(test, feature = "internals"))]
pub use http_client::target;
pub use readiness::{NotReadyError, has_no_readyz};
use retry::Retries;
pub use session::Session;
pub use session_closer::Counts;
use session_closer::SessionClosers;
pub use settings::{Settings, TenantIdentity};
pub use signature::Versions;

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
    tenant_id: String,
}

impl ApiClient {
    /// Must run inside a tokio runtime: starts the session closers on every worker.
    pub fn new(
        settings: Settings,
        identity: TenantIdentity,
        clock: Clock,
        loops: &Workers,
    ) -> Result<Self, ClientError> {
        let client = Client::new(&settings, &identity, clock, loops)?;
        let closers = SessionClosers::start(&client, &settings, loops);
        Ok(Self(Arc::new(Inner {
            client,
            closers,
            breaker: Arc::new(Breaker::new(
                settings.breaker_failures,
                settings.breaker_pause,
            )),
            retries: Retries::new(settings.max_attempts, settings.max_calls),
            concurrency: ConcurrencyLimit::new(&settings),
            features: KnownFeatures::default(),
            settings,
            tenant_id: identity.id,
        })))
    }

    /// The tenant in whose name requests are signed.
    pub fn tenant(&self) -> &str {
        &self.0.tenant_id
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
        readiness::check(&self.0.client, self.0.settings.limits.ready_timeout).await?;
        self.ask_for_features().await;
        Ok(())
    }

    /// The features that the API is known to have: none before it has been asked.
    pub fn features(&self) -> Features {
        self.0.features.get().unwrap_or_default()
    }

    /// Whether the API has named its features since the start.
    pub fn has_known_features(&self) -> bool {
        self.0.features.get().is_some()
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
            && let Some(known) = readiness::features(client, settings.limits.ready_timeout).await
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
