//! `/healthz` reports that the process runs; `/readyz`, that a call would be served.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::api::{ApiClient, NotReadyError};
use crate::auth::Verifier;
use crate::server::http::response;
use crate::telemetry::tasks;

/// Limit on the wait of a probe for the first fetch of the keys; the fetch itself goes on.
const KEYS_WAIT: Duration = Duration::from_secs(1);

/// Determines whether calls would be served. The API is asked at most once per `ttl`, whatever the
/// rate of probes: these routes need no token, so they must not cause load.
#[derive(Debug)]
pub struct Readiness {
    verifier: Arc<Verifier>,
    api_client: ApiClient,
    ttl: Duration,
    draining: AtomicBool,
    state: watch::Sender<ApiState>,
}

/// The cached readiness of the API.
#[derive(Debug, Default)]
struct ApiState {
    /// The last result and its time.
    last: Option<(Instant, Result<(), NotReadyError>)>,
    /// Whether a probe is running; concurrent requests wait for its result.
    probing: bool,
}

/// Marks the probe as ended when dropped, so also after a panic.
struct ProbeGuard(watch::Sender<ApiState>);

impl Drop for ProbeGuard {
    fn drop(&mut self) {
        self.0.send_modify(|state| state.probing = false);
    }
}

impl Readiness {
    pub fn new(verifier: Arc<Verifier>, api_client: ApiClient, ttl: Duration) -> Self {
        Self {
            verifier,
            api_client,
            ttl,
            draining: AtomicBool::new(false),
            state: watch::Sender::default(),
        }
    }

    /// Reports not ready from now on.
    pub fn begin_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// The error is a reason code and a message.
    pub async fn check(&self) -> Result<(), (&'static str, String)> {
        if self.draining.load(Ordering::Acquire) {
            return Err(("draining", "the server is shutting down".to_owned()));
        }
        if !tokio::time::timeout(KEYS_WAIT, self.verifier.ready())
            .await
            .unwrap_or(false)
        {
            let message = "the keys that tokens are verified with have never been fetched";
            return Err(("keys_unavailable", message.to_owned()));
        }
        let result = self.api().await;
        result.map_err(|not_ready| (not_ready.reason(), not_ready.to_string()))
    }
}

impl Readiness {
    /// The cached result, or a new one if that has expired. The probe runs in its own task, so it
    /// completes even if its client disconnects.
    async fn api(&self) -> Result<(), NotReadyError> {
        let mut fresh = None;
        let starts_probe = self.state.send_if_modified(|state| {
            let last = state
                .last
                .as_ref()
                .filter(|(at, _)| at.elapsed() < self.ttl);
            fresh = last.map(|(_, result)| result.clone());
            let starts_probe = fresh.is_none() && !state.probing;
            state.probing |= starts_probe;
            starts_probe
        });
        if let Some(result) = fresh {
            return result;
        }
        let mut state = self.state.subscribe();
        if starts_probe {
            let (api_client, guard) = (self.api_client.clone(), ProbeGuard(self.state.clone()));
            tasks::spawn("readiness", async move {
                let result = api_client.ready().await;
                guard
                    .0
                    .send_modify(|state| state.last = Some((Instant::now(), result)));
            });
        }
        let answered = state.wait_for(|state| !state.probing).await;
        let last = answered
            .ok()
            .and_then(|state| state.last.as_ref().map(|(_, result)| result.clone()));
        // Missing only if the probe panicked.
        last.unwrap_or(Err(NotReadyError::Silent))
    }
}

pub async fn healthz() -> Response {
    response::json(StatusCode::OK, &json!({ "status": "ok" }))
}

pub async fn readyz(State(readiness): State<Arc<Readiness>>) -> Response {
    match readiness.check().await {
        Ok(()) => response::json(StatusCode::OK, &json!({ "status": "ready" })),
        Err((reason, message)) => {
            let body = json!({ "status": "not_ready", "reason": reason, "message": message });
            response::json(StatusCode::SERVICE_UNAVAILABLE, &body)
        }
    }
}
