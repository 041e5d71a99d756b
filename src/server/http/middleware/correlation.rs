//! Assigns each request an id that appears in the logs of both servers: the caller's if it is
//! valid, else a new one. Every response carries it.

use std::future::Future;
use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

use crate::telemetry::metrics;
use crate::telemetry::traces::is_traceparent;

const HEADER: HeaderName = HeaderName::from_static("x-correlation-id");
const MAX_BYTES: usize = 128;

/// The correlation id of a request, in its extensions.
#[derive(Debug, Clone)]
pub struct CorrelationId(pub Arc<str>);

impl CorrelationId {
    /// The id that [`assign`] gave to this request.
    pub fn of(request: &Request) -> Self {
        request
            .extensions()
            .get::<Self>()
            .cloned()
            .unwrap_or_else(|| Self(Arc::from("")))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A new id. It is a UUIDv7, so ids sort by time in logs.
pub fn new_id() -> Arc<str> {
    Arc::from(Uuid::now_v7().to_string())
}

pub async fn assign<F>(mut request: Request, next: impl FnOnce(Request) -> F) -> Response
where
    F: Future<Output = Response>,
{
    let id = CorrelationId(taken_over(request.headers()).unwrap_or_else(new_id));
    request.extensions_mut().insert(id.clone());
    let transport = metrics::transport_of(request.uri().path());
    let mut response = next(request).await;
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        response.headers_mut().insert(HEADER, value);
    }
    metrics::answered(transport, response.status().as_u16());
    response
}

pub(crate) fn taken_over(headers: &HeaderMap) -> Option<Arc<str>> {
    let is_allowed =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'-');
    let text = single_header(headers, &HEADER)?;
    ((1..=MAX_BYTES).contains(&text.len()) && text.bytes().all(is_allowed)).then(|| Arc::from(text))
}

/// The caller's trace context, if it is valid (W3C Trace Context, version 00).
pub fn traceparent(headers: &HeaderMap) -> Option<Arc<str>> {
    let text = single_header(headers, &HeaderName::from_static("traceparent"))?;
    is_traceparent(text).then(|| Arc::from(text))
}

fn single_header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    value.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, values: &[&str]) -> HeaderMap {
        let name = HeaderName::from_static(name);
        values
            .iter()
            .map(|value| (name.clone(), HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    #[test]
    fn accepts_only_valid_ids() {
        let taken = |values: &[&str]| {
            taken_over(&headers("x-correlation-id", values)).map(|id| id.to_string())
        };
        assert_eq!(taken(&["aZ9._:-"]).as_deref(), Some("aZ9._:-"));
        assert_eq!(taken(&[&"x".repeat(128)]).map(|id| id.len()), Some(128));
        for values in [
            &[][..],
            &[""],
            &["a b"],
            &["a/b"],
            &["é"],
            &[&"x".repeat(129)],
            &["a", "b"],
        ] {
            assert_eq!(taken(values), None, "{values:?}");
        }
        assert_ne!(new_id(), new_id());
    }

    #[test]
    fn accepts_only_valid_trace_contexts() {
        let valid = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(
            traceparent(&headers("traceparent", &[valid])).as_deref(),
            Some(valid)
        );
        for wrong in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        ] {
            assert_eq!(
                traceparent(&headers("traceparent", &[wrong])),
                None,
                "{wrong}"
            );
        }
        assert_eq!(traceparent(&headers("traceparent", &[valid, valid])), None);
    }
}
