//! CORS headers (Fetch standard), which let a browser page of another origin read a response.
//!
//! At `/mcp` only configured origins get them; [`host_origin`](super::host_origin) has refused all
//! others before. Credentials are never allowed: the page itself sets the token header, so neither
//! a cookie nor a stored login grants access. The resource metadata is public, and any page may
//! read it.

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

/// Request headers that MCP and this server use. `Authorization` must be listed, as no wildcard
/// covers it.
const REQUEST_HEADERS: HeaderValue = HeaderValue::from_static(
    "Authorization, Content-Type, Accept, MCP-Protocol-Version, Mcp-Method, Mcp-Name, \
     Mcp-Session-Id, Last-Event-ID, X-MCP-Toolsets, X-MCP-Readonly, X-Correlation-ID, traceparent",
);

/// `GET` is for streams and, like `DELETE`, for sessions. Where those are disabled, the request
/// itself is refused.
const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, DELETE");

/// Response headers that a page may read.
const RESPONSE_HEADERS: HeaderValue =
    HeaderValue::from_static("WWW-Authenticate, X-Correlation-ID, Retry-After, Mcp-Session-Id");

/// Seconds for which a browser caches a preflight. Short, so that a new configuration takes effect
/// soon.
const MAX_AGE_SECONDS: HeaderValue = HeaderValue::from_static("600");

/// Middleware for the MCP paths, inside [`host_origin::check`](super::host_origin::check).
pub async fn listed_origins<F>(
    policy: &HostOriginPolicy,
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response
where
    F: Future<Output = Response>,
{
    if !policy.lists_origins() {
        return next(request).await;
    }
    let origin = policy.listed_origin(request.headers());
    let mut response = match &origin {
        Some(_) if is_preflight(&request) => preflight(METHODS),
        _ => next(request).await,
    };
    // Added even without an `Origin`: a cache must not serve that response to a page.
    response
        .headers_mut()
        .append(VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = origin {
        expose_to(response.headers_mut(), origin);
    }
    response
}

/// Middleware for public paths.
pub async fn any_origin(request: Request, next: Next) -> Response {
    let mut response = if is_preflight(&request) {
        preflight(HeaderValue::from_static("GET, HEAD"))
    } else {
        next.run(request).await
    };
    expose_to(response.headers_mut(), HeaderValue::from_static("*"));
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
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS);
    headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE_SECONDS);
    response
}

fn expose_to(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, RESPONSE_HEADERS);
}
