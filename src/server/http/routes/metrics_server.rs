//! The listener for figures: `/metrics`, on a port of its own that no caller is meant to reach. It serves until the process
//! ends, so that a drain can be watched to its end.

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
use crate::server::http::middleware::host_origin::{HostOriginPolicy, check_host};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::tasks;

/// The text format of Prometheus.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Nobody needs more of them to read figures.
const CONNECTIONS: usize = 16;

/// For the head of a request, the quiet time before it included.
const HEADER_TIMEOUT: Duration = Duration::from_secs(75);

/// After a connection that could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

struct Scraped {
    metrics: &'static Metrics,
    readiness: Arc<Readiness>,
}

/// Never ends by itself. Requests have to name a loopback name, an IP address or one of `hosts`, so that a web page that
/// has its own name point here reads nothing.
pub async fn serve_metrics(
    listener: Arc<TcpListener>,
    metrics: &'static Metrics,
    readiness: Arc<Readiness>,
    hosts: Arc<[String]>,
) {
    let guard = Arc::new(HostOriginPolicy::of_hosts(&hosts));
    let router = Router::new()
        .route("/metrics", get(scrape))
        .with_state(Arc::new(Scraped { metrics, readiness }))
        .layer(from_fn_with_state(guard, check_host));
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .serve_connection(
                TokioIo::new(stream),
                TowerToHyperService::new(router.clone()),
            );
        tasks::spawn("figures", async move {
            // How a connection ends is the reader's business.
            let _ = connection.await;
            drop(place);
        });
    }
}

async fn scrape(State(scraped): State<Arc<Scraped>>) -> Response {
    let state = match scraped.readiness.check().await {
        Ok(()) => "ready",
        Err((reason, _)) => reason,
    };
    scraped.metrics.state_is(state);
    let mut response = match scraped.metrics.text() {
        Ok(text) => Response::new(Body::from(text)),
        Err(error) => {
            tracing::warn!(%error, "the figures could not be written");
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
