//! The span of an HTTP request, if tracing is enabled; all spans of the request are its children.

use std::future::Future;

use axum::extract::Request;
use axum::response::Response;
use http::Method;

use super::correlation::{CorrelationId, traceparent};
use crate::telemetry::traces;
use crate::telemetry::traces::{Side, Span, names};

pub async fn request<F>(mut request: Request, next: impl FnOnce(Request) -> F) -> Response
where
    F: Future<Output = Response>,
{
    if !traces::are_on() {
        return next(request).await;
    }
    let carried = traceparent(request.headers());
    let parent = traces::remote_context(carried.as_deref());
    let (method, route) = (method_name(request.method()), route(request.uri().path()));
    let mut span = Span::begin(Side::Server, &parent, || format!("{method} {route}").into());
    if span.is_on() {
        span.set(names::HTTP_METHOD, method);
        span.set(names::HTTP_ROUTE, route);
        span.set(
            names::CORRELATION_ID,
            CorrelationId::of(&request).as_str().to_owned(),
        );
    }
    request.extensions_mut().insert(span.context());
    let response = next(request).await;
    let status = response.status();
    span.set(names::HTTP_STATUS, i64::from(status.as_u16()));
    if status.is_server_error() {
        span.failed(status.as_str().to_owned());
    }
    response
}

/// A fixed set, as methods are caller-controlled.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "_OTHER",
    }
}

/// The route label of a traced path.
fn route(path: &str) -> &'static str {
    match path {
        "/sse" => "/sse",
        "/messages" => "/messages",
        _ => "/mcp",
    }
}
