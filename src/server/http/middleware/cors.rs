//! What a browser must be told before it lets a page of another origin read an answer (the Fetch standard's CORS).
//!
//! At `/mcp` only origins that are configured get to hear it; the check that refuses the others is [`guard`](super::host_origin)'s
//! and comes before. Nothing here allows credentials: tokens come in a header that the page itself writes, so a cookie or a
//! browser's stored login never opens this door. The metadata of the resource is public, and any page may read it.

use std::future::Future;

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
    VARY,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::host_origin::HostOriginPolicy;

/// What a client may send: what MCP and this server give a meaning to. `Authorization` has to be named; no wildcard
/// covers it.
const SENDS: HeaderValue = HeaderValue::from_static(
    "Authorization, Content-Type, Accept, MCP-Protocol-Version, Mcp-Method, Mcp-Name, Mcp-Session-Id, Last-Event-ID, \
     X-MCP-Toolsets, X-MCP-Readonly, X-Correlation-ID, traceparent",
);

/// `GET` for streams and, with `DELETE`, for sessions. Where those are not served, the request itself says so.
const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, DELETE");

/// What it may read beyond the body.
const READS: HeaderValue =
    HeaderValue::from_static("WWW-Authenticate, X-Correlation-ID, Retry-After, Mcp-Session-Id");

/// How long, in seconds, a browser need not ask again. Short, since a changed configuration should be felt.
const REMEMBERED: HeaderValue = HeaderValue::from_static("600");

/// Around the paths of MCP, behind the guard.
pub async fn listed_origins<F>(
    guard: &HostOriginPolicy,
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response
where
    F: Future<Output = Response>,
{
    if !guard.lists_origins() {
        return next(request).await;
    }
    let origin = guard.listed_origin(request.headers());
    let mut response = match &origin {
        Some(_) if is_preflight(&request) => preflight(METHODS),
        _ => next(request).await,
    };
    // Said even when no origin came: a cache must not hand that answer to a page.
    response
        .headers_mut()
        .append(VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = origin {
        readable_by(response.headers_mut(), origin);
    }
    response
}

/// Around what anybody may read.
pub async fn any_origin(request: Request, next: Next) -> Response {
    let mut response = if is_preflight(&request) {
        preflight(HeaderValue::from_static("GET, HEAD"))
    } else {
        next.run(request).await
    };
    readable_by(response.headers_mut(), HeaderValue::from_static("*"));
    response
}

fn is_preflight(request: &Request) -> bool {
    let headers = request.headers();
    request.method() == Method::OPTIONS
        && headers.contains_key(ORIGIN)
        && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

fn preflight(methods: HeaderValue) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, SENDS);
    headers.insert(ACCESS_CONTROL_MAX_AGE, REMEMBERED);
    response
}

fn readable_by(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, READS);
}
