//! Which path is what, and which checks stand before it.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use http::header::ALLOW;
use http::{HeaderValue, StatusCode};
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};

use super::authenticate::{self, Door};
use super::correlation::{self, CorrelationId};
use super::envelope::{self, Endpoint};
use super::guard::{self, Guard};
use super::health::{self, Readiness};
use super::sessions::{self, Sessions};
use super::{Settings, answer};
use crate::auth::Verifier;
use crate::auth::challenge::Challenge;
use crate::upstream::Upstream;

/// Everything that the HTTP side is made of.
pub struct App<H> {
    pub settings: Settings,
    pub upstream: Upstream,
    pub readiness: Arc<Readiness>,
    door: Arc<Door>,
    handler: H,
}

/// What answers MCP's methods: [`mcp::Server`](crate::mcp::Server), which takes its callers from the request. Another one
/// stands in its place where the transport itself is tested.
pub trait Handler: rmcp::ServerHandler + Clone {}

impl<H: rmcp::ServerHandler + Clone> Handler for H {}

impl<H: Handler> App<H> {
    pub fn new(
        settings: Settings,
        verifier: Arc<Verifier>,
        challenge: Challenge,
        upstream: Upstream,
        handler: H,
    ) -> Self {
        let readiness = Arc::new(Readiness::new(
            Arc::clone(&verifier),
            upstream.clone(),
            settings.readiness_ttl,
        ));
        Self {
            settings,
            upstream,
            readiness,
            door: Arc::new(Door { verifier, challenge }),
            handler,
        }
    }
}

pub fn router<H: Handler>(app: &App<H>) -> Router {
    let guard = Arc::new(Guard::from_settings(&app.settings));
    // The token comes before the body: nobody fills our memory without being somebody.
    let methods = match app.settings.sessions {
        None => post(envelope::post::<H>),
        Some(_) => post(envelope::post::<H>)
            .get(sessions::listen_or_end::<H>)
            .delete(sessions::listen_or_end::<H>),
    };
    let mcp = methods
        .with_state(endpoint(app))
        .layer(from_fn_with_state(Arc::clone(&app.door), authenticate::check))
        .fallback(only_post);
    let guarded = Router::new()
        .route("/mcp", mcp)
        .route(
            "/.well-known/oauth-protected-resource",
            get(metadata).fallback(only_get),
        )
        .route(
            "/.well-known/oauth-protected-resource/mcp",
            get(metadata).fallback(only_get),
        )
        .with_state(Arc::clone(&app.door))
        .layer(from_fn_with_state(guard, guard::check));
    Router::new()
        .route("/healthz", get(health::healthz).fallback(only_get))
        .route("/readyz", get(health::readyz).fallback(only_get))
        .with_state(Arc::clone(&app.readiness))
        .merge(guarded)
        .fallback(not_found)
        .layer(from_fn(correlation::assign))
}

/// rmcp's service. Its own checks of `Host`, `Origin` and size are off or out of reach: ours come first, and answer in
/// JSON.
fn endpoint<H: Handler>(app: &App<H>) -> Endpoint<H> {
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .disable_allowed_hosts()
        .disable_allowed_origins()
        .with_max_request_body_bytes(app.settings.max_body_bytes);
    let handler = app.handler.clone();
    let no_sessions = Arc::new(NeverSessionManager::default());
    Endpoint {
        alone: StreamableHttpService::new(move || Ok(handler.clone()), no_sessions, config.clone()),
        sessions: app
            .settings
            .sessions
            .map(|limits| Sessions::new(app.handler.clone(), limits, config)),
        max_body_bytes: app.settings.max_body_bytes,
        body_timeout: app.settings.body_timeout,
    }
}

async fn metadata(State(door): State<Arc<Door>>, request: Request) -> Response {
    match door.challenge.metadata() {
        Some(metadata) => answer::json(StatusCode::OK, metadata),
        None => not_found(request).await,
    }
}

async fn not_found(request: Request) -> Response {
    answer::error(
        StatusCode::NOT_FOUND,
        "not_found",
        "there is nothing at this path",
        &CorrelationId::of(&request),
    )
}

/// Without a session there is no stream to GET and nothing to DELETE.
pub async fn only_post(request: Request) -> Response {
    method_not_allowed(&request, "POST")
}

async fn only_get(request: Request) -> Response {
    method_not_allowed(&request, "GET, HEAD")
}

fn method_not_allowed(request: &Request, allowed: &'static str) -> Response {
    let message = "this path does not take this method";
    let mut response = answer::error(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        message,
        &CorrelationId::of(request),
    );
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}
