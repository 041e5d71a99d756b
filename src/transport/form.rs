//! The form of a request that carries a JSON-RPC message: what its headers may say, and how its body is read.

use std::time::Duration;

use axum::body::{Body, Bytes};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body::Body as _;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::Settings;
use super::answer::INVALID_REQUEST;
use super::outline::Objection;
use crate::telemetry::metrics;

/// Headers that two readers could each believe another value of, were they given twice.
const SINGLE: [&str; 5] = [
    "content-type",
    "content-encoding",
    "mcp-protocol-version",
    "mcp-method",
    "mcp-name",
];

pub fn check(headers: &HeaderMap) -> Result<(), Objection> {
    if let Some(twice) = SINGLE.iter().find(|name| headers.get_all(**name).iter().count() > 1) {
        return Err(Objection::invalid(format!(
            "the header {twice} is given more than once"
        )));
    }
    let text = |name| {
        headers
            .get(name)
            .map(|value: &HeaderValue| value.to_str().unwrap_or("?"))
    };
    let unsupported =
        |message: &'static str| Objection::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, INVALID_REQUEST, message);
    let media_type = text(CONTENT_TYPE)
        .and_then(|value| value.split(';').next())
        .unwrap_or_default()
        .trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        return Err(unsupported("Content-Type must be application/json"));
    }
    if text(CONTENT_ENCODING).is_some_and(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
        return Err(unsupported("Content-Encoding is not supported"));
    }
    Ok(())
}

/// How large a message may be, and how long it may take to arrive.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub max_body_bytes: usize,
    pub body_timeout: Duration,
}

impl Limits {
    pub fn from_settings(settings: &Settings) -> Self {
        Self {
            max_body_bytes: settings.max_body_bytes,
            body_timeout: settings.body_timeout,
        }
    }

    pub async fn read(self, body: Body) -> Result<Bytes, Objection> {
        let too_large = || {
            metrics::limited("request_bytes");
            let message = format!("the message is larger than {} bytes", self.max_body_bytes);
            Objection::new(StatusCode::PAYLOAD_TOO_LARGE, INVALID_REQUEST, message)
        };
        // Declared, it need not be waited for.
        if body.size_hint().lower() > u64::try_from(self.max_body_bytes).unwrap_or(u64::MAX) {
            return Err(too_large());
        }
        let collected = Limited::new(body, self.max_body_bytes).collect();
        match tokio::time::timeout(self.body_timeout, collected).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
            Ok(Err(_)) => Err(Objection::invalid("the message did not arrive in full")),
            Err(_) => {
                let message = "the message did not arrive in time";
                Err(Objection::new(StatusCode::REQUEST_TIMEOUT, INVALID_REQUEST, message))
            }
        }
    }
}
