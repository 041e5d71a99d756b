//! `/`: the page for people, behind the same `Host` check as all paths. [`page`](crate::page)
//! renders its content.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::header::CONTENT_SECURITY_POLICY;
use http::{HeaderName, HeaderValue, StatusCode};

use super::health::Readiness;
use crate::page::{HEADERS, Page, Visit};
use crate::server::http::middleware::correlation::CorrelationId;
use crate::server::http::middleware::host_origin;
use crate::server::http::response;

pub struct Landing {
    pub page: Arc<Page>,
    pub readiness: Arc<Readiness>,
    /// The configured URL of `/mcp`.
    pub public_url: Option<String>,
}

pub async fn page(State(landing): State<Arc<Landing>>, request: Request) -> Response {
    // The host has passed the check, so it is one of this server's names or an address of it.
    let url = landing
        .public_url
        .clone()
        .or_else(|| host_origin::own_url(request.uri(), request.headers(), "/mcp"));
    let (Some(url), Ok(policy)) = (url, HeaderValue::from_str(&landing.page.policy)) else {
        let message = "the page cannot be shown";
        let about = CorrelationId::of(&request);
        return response::error(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            message,
            &about,
        );
    };
    let visit = Visit {
        url: &url,
        ready: landing.readiness.check().await.is_ok(),
    };
    let mut response = Response::new(Body::from(landing.page.render(&visit)));
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    response
}
