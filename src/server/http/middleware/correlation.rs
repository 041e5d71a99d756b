//! One id per request, found in the logs of both servers: the caller's own when it is sane, else a new one. Every
//! answer carries it.

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

/// The id of the request at hand, in its extensions.
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

/// A new id; its order is that of time, which helps whoever greps.
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
    let sane = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'-');
    let text = the_only(headers, &HEADER)?;
    ((1..=MAX_BYTES).contains(&text.len()) && text.bytes().all(sane)).then(|| Arc::from(text))
}

/// The caller's trace context, when it is one (W3C Trace Context, version 00).
pub fn traceparent(headers: &HeaderMap) -> Option<Arc<str>> {
    let text = the_only(headers, &HeaderName::from_static("traceparent"))?;
    is_traceparent(text).then(|| Arc::from(text))
}

fn the_only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
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
    fn only_sane_ids_are_taken_over() {
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
    fn only_valid_trace_contexts_are_passed_on() {
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
