//! Exports spans to a collector over OTLP/HTTP, with the same HTTP client as the rest of the
//! program.
//!
//! The export thread has no runtime, so its requests run on the server's. A failure is logged once,
//! and again when the export recovers: a long outage of the collector makes two lines.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{
    ExporterBuildError, Protocol, SpanExporter, WithExportConfig, WithHttpConfig,
};
use tokio::runtime::Handle;

use crate::foundation::bounded_body::{self, BodyError};
use crate::foundation::http_client;
use crate::telemetry::tasks;

/// Bounds the export of one batch. [`finish`](super::finish) may allow less.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Responses of collectors have a few bytes.
const MAX_RESPONSE_BYTES: usize = 64 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("the exporter cannot be set up")]
    Exporter(#[from] ExporterBuildError),
    #[error("the HTTP client cannot be built")]
    Client(#[from] reqwest::Error),
}

/// Builds the exporter. Endpoint, headers and other options come from the standard `OTEL_*`
/// variables.
pub fn otlp() -> Result<SpanExporter, SetupError> {
    let http = http_client::builder().timeout(TIMEOUT).build()?;
    let client = Client {
        http,
        runtime: Handle::current(),
        failing: AtomicBool::new(false),
    };
    Ok(SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_http_client(client)
        .build()?)
}

#[derive(Debug)]
struct Client {
    http: reqwest::Client,
    runtime: Handle,
    failing: AtomicBool,
}

impl HttpClient for Client {
    fn send_bytes<'life0, 'async_trait>(
        &'life0 self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        let sending = tasks::spawn_on(&self.runtime, "traces", send(self.http.clone(), request));
        Box::pin(async move {
            let answer = match sending.await {
                Ok(Some(answer)) => answer,
                Ok(None) => Err("the request panicked".into()),
                Err(gone) => Err(gone.into()),
            };
            self.log_transition(&answer);
            answer
        })
    }
}

impl Client {
    fn log_transition(&self, answer: &Result<Response<Bytes>, HttpError>) {
        let why = match answer {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(format!("status {}", answer.status().as_u16())),
            Err(error) => Some(error.to_string()),
        };
        let failed_before = self.failing.swap(why.is_some(), Ordering::AcqRel);
        match why {
            Some(why) if !failed_before => {
                tracing::warn!(
                    "spans cannot be exported and are lost until the collector takes them: {why}"
                );
            }
            None if failed_before => tracing::info!("the collector takes spans again"),
            _ => {}
        }
    }
}

async fn send(
    http: reqwest::Client,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, HttpError> {
    let request = reqwest::Request::try_from(request.map(reqwest::Body::from))?;
    // Strips the URL from errors, since it may contain a credential.
    let mut answer = http
        .execute(request)
        .await
        .map_err(reqwest::Error::without_url)?;
    let body = bounded_body::read(&mut answer, MAX_RESPONSE_BYTES).await;
    let body = body.map_err(|error| -> HttpError {
        match error {
            BodyError::TooLarge { .. } => "the collector's answer is too large".into(),
            BodyError::Broken(error) => error.without_url().into(),
        }
    })?;
    let mut response = Response::new(body);
    *response.status_mut() = answer.status();
    *response.headers_mut() = std::mem::take(answer.headers_mut());
    Ok(response)
}
