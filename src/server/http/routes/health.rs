//! `/healthz`: the process runs. `/readyz`: a call would be served now.

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

/// A probe waits this long for keys that were never fetched; the fetch goes on without it.
const KEYS_WAIT: Duration = Duration::from_secs(1);

/// Knows whether calls would be served. The API is asked at most once per `ttl`, however often anybody asks here:
/// these routes need no token, so they may not be a way to make work.
#[derive(Debug)]
pub struct Readiness {
    verifier: Arc<Verifier>,
    upstream: ApiClient,
    ttl: Duration,
    draining: AtomicBool,
    known: watch::Sender<Known>,
}

/// What is known of the API.
#[derive(Debug, Default)]
struct Known {
    /// The last verdict, good or bad, and when it came.
    last: Option<(Instant, Result<(), NotReadyError>)>,
    /// It is being asked; all who come meanwhile wait for the same answer.
    asking: bool,
}

/// Ends the asking, also when it panics.
struct Asking(watch::Sender<Known>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.send_modify(|known| known.asking = false);
    }
}

impl Readiness {
    pub fn new(verifier: Arc<Verifier>, upstream: ApiClient, ttl: Duration) -> Self {
        Self {
            verifier,
            upstream,
            ttl,
            draining: AtomicBool::new(false),
            known: watch::Sender::default(),
        }
    }

    /// From now on: not ready.
    pub fn begin_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Why calls would not be served, in a word and in a sentence.
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
        let verdict = self.api().await;
        verdict.map_err(|not_ready| (not_ready.reason(), not_ready.to_string()))
    }
}

impl Readiness {
    /// The last verdict, or a new one where that is too old. Who hangs up ends no asking: the answer is kept for others.
    async fn api(&self) -> Result<(), NotReadyError> {
        let mut fresh = None;
        let begins = self.known.send_if_modified(|known| {
            let last = known
                .last
                .as_ref()
                .filter(|(at, _)| at.elapsed() < self.ttl);
            fresh = last.map(|(_, verdict)| verdict.clone());
            let begins = fresh.is_none() && !known.asking;
            known.asking |= begins;
            begins
        });
        if let Some(verdict) = fresh {
            return verdict;
        }
        let mut known = self.known.subscribe();
        if begins {
            let (upstream, asking) = (self.upstream.clone(), Asking(self.known.clone()));
            tasks::spawn("readiness", async move {
                let verdict = upstream.ready().await;
                asking
                    .0
                    .send_modify(|known| known.last = Some((Instant::now(), verdict)));
            });
        }
        let answered = known.wait_for(|known| !known.asking).await;
        let last = answered
            .ok()
            .and_then(|known| known.last.as_ref().map(|(_, verdict)| verdict.clone()));
        // Nothing is known only where the asking panicked.
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
