//! `/healthz`: the process runs. `/readyz`: a call would be served now.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::answer;
use crate::auth::Verifier;
use crate::upstream::{NotReady, Upstream};

/// A probe waits this long for keys that were never fetched; the fetch goes on without it.
const KEYS_WAIT: Duration = Duration::from_secs(1);

/// Knows whether calls would be served. The API is asked at most once per `ttl`, however often anybody asks here:
/// these routes need no token, so they may not be a way to make work.
#[derive(Debug)]
pub struct Readiness {
    verifier: Arc<Verifier>,
    upstream: Upstream,
    ttl: Duration,
    draining: AtomicBool,
    /// The lock is held while the API is asked, so that others wait for the same answer.
    last: Mutex<Option<(Instant, Result<(), NotReady>)>>,
}

impl Readiness {
    pub fn new(verifier: Arc<Verifier>, upstream: Upstream, ttl: Duration) -> Self {
        Self {
            verifier,
            upstream,
            ttl,
            draining: AtomicBool::new(false),
            last: Mutex::new(None),
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
        let mut last = self.last.lock().await;
        let verdict = match &*last {
            Some((at, verdict)) if at.elapsed() < self.ttl => verdict.clone(),
            _ => {
                let verdict = self.upstream.ready().await;
                *last = Some((Instant::now(), verdict.clone()));
                verdict
            }
        };
        verdict.map_err(|not_ready| (not_ready.reason(), not_ready.to_string()))
    }
}

pub async fn healthz() -> Response {
    answer::json(StatusCode::OK, &json!({ "status": "ok" }))
}

pub async fn readyz(State(readiness): State<Arc<Readiness>>) -> Response {
    match readiness.check().await {
        Ok(()) => answer::json(StatusCode::OK, &json!({ "status": "ready" })),
        Err((reason, message)) => {
            let body = json!({ "status": "not_ready", "reason": reason, "message": message });
            answer::json(StatusCode::SERVICE_UNAVAILABLE, &body)
        }
    }
}
