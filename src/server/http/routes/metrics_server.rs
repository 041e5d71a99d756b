//! Serves `/metrics` on a port of its own, which clients are not meant to reach. It serves until
//! the process ends, so that a drain can be observed to its end.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::get;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::health::Readiness;
use crate::server::http::listener::MAX_HEAD_BYTES;
use crate::server::http::middleware::host_origin::{HostOriginPolicy, check_host};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::tasks;

/// The Prometheus text format.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Limit on connections; scrapers need few.
const CONNECTIONS: usize = 16;

/// Time limit for a request head, including the idle time before it.
const HEADER_TIMEOUT: Duration = Duration::from_secs(75);

/// Pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

struct MetricsState {
    metrics: &'static Metrics,
    readiness: Arc<Readiness>,
}

/// Never returns. Requests must name a loopback name, an IP address or one of `hosts`, which
/// prevents DNS rebinding.
pub async fn serve_metrics(
    listener: Arc<TcpListener>,
    metrics: &'static Metrics,
    readiness: Arc<Readiness>,
    hosts: Arc<[String]>,
) {
    let policy = Arc::new(HostOriginPolicy::of_hosts(&hosts));
    let router = Router::new()
        .route("/metrics", get(scrape))
        .with_state(Arc::new(MetricsState { metrics, readiness }))
        .layer(from_fn_with_state(policy, check_host));
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let slot = Arc::clone(&slots).acquire_owned().await;
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(MAX_HEAD_BYTES)
            .serve_connection(
                TokioIo::new(stream),
                TowerToHyperService::new(router.clone()),
            );
        tasks::spawn("metrics", async move {
            // A connection error concerns only the client.
            let _ = connection.await;
            drop(slot);
        });
    }
}

async fn scrape(State(state): State<Arc<MetricsState>>) -> Response {
    let readiness = match state.readiness.check().await {
        Ok(()) => "ready",
        Err((reason, _)) => reason,
    };
    state.metrics.state_is(readiness);
    let mut response = match state.metrics.text() {
        Ok(text) => Response::new(Body::from(text)),
        Err(error) => {
            tracing::warn!(%error, "the metrics could not be written");
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            response
        }
    };
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(TEXT));
    response
}
