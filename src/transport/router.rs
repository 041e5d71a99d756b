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
use super::cors;
use super::envelope::{self, Endpoint};
use super::form::Limits;
use super::guard::{self, Guard};
use super::health::{self, Readiness};
use super::sse::{self, Sse};
use super::{Settings, answer};
use crate::auth::Verifier;
use crate::auth::challenge::Challenge;
use crate::mcp;
use crate::upstream::Upstream;

/// Everything that the HTTP side is made of.
pub struct App {
    pub settings: Settings,
    pub upstream: Upstream,
    pub readiness: Arc<Readiness>,
    /// The streams of the transport of 2024-11-05.
    pub streams: Arc<sse::Streams>,
    door: Arc<Door>,
    server: mcp::Server,
}

impl App {
    /// `server` takes its callers from the request.
    pub fn new(
        settings: Settings,
        verifier: Arc<Verifier>,
        challenge: Challenge,
        upstream: Upstream,
        server: mcp::Server,
    ) -> Self {
        let readiness = Arc::new(Readiness::new(
            Arc::clone(&verifier),
            upstream.clone(),
            settings.readiness_ttl,
        ));
        Self {
            streams: Arc::new(sse::Streams::new(&settings)),
            settings,
            upstream,
            readiness,
            door: Arc::new(Door { verifier, challenge }),
            server,
        }
    }
}

pub fn router(app: &App) -> Router {
    let guard = Arc::new(Guard::from_settings(&app.settings));
    // The token comes before the body: nobody fills our memory without being somebody.
    let mcp = post(envelope::post)
        .with_state(endpoint(app))
        .layer(from_fn_with_state(Arc::clone(&app.door), authenticate::check))
        .fallback(only_post);
    let mcp = Router::new()
        .route("/mcp", mcp)
        .merge(legacy(app))
        .layer(from_fn_with_state(Arc::clone(&guard), cors::listed_origins))
        .layer(from_fn_with_state(Arc::clone(&guard), guard::check));
    let metadata = Router::new()
        .route(
            "/.well-known/oauth-protected-resource",
            get(metadata).fallback(only_get),
        )
        .route(
            "/.well-known/oauth-protected-resource/mcp",
            get(metadata).fallback(only_get),
        )
        .with_state(Arc::clone(&app.door))
        .layer(from_fn(cors::any_origin))
        .layer(from_fn_with_state(guard, guard::check_host));
    Router::new()
        .route("/healthz", get(health::healthz).fallback(only_get))
        .route("/readyz", get(health::readyz).fallback(only_get))
        .with_state(Arc::clone(&app.readiness))
        .merge(mcp)
        .merge(metadata)
        .fallback(not_found)
        .layer(from_fn(correlation::assign))
}

/// rmcp's service, stateless. Its own checks of `Host`, `Origin` and size are off or out of reach: ours come first, and
/// answer in JSON.
fn endpoint(app: &App) -> Endpoint {
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .disable_allowed_hosts()
        .disable_allowed_origins()
        .with_max_request_body_bytes(app.settings.max_body_bytes);
    let server = app.server.clone();
    let sessions = Arc::new(NeverSessionManager::default());
    Endpoint {
        service: StreamableHttpService::new(move || Ok(server.clone()), sessions, config),
        limits: Limits::from_settings(&app.settings),
        server: app.server.clone(),
        door: Arc::clone(&app.door),
    }
}

/// The transport of 2024-11-05, where it is on.
fn legacy(app: &App) -> Router {
    if !app.settings.legacy_sse {
        return Router::new();
    }
    let sse = Arc::new(Sse {
        streams: Arc::clone(&app.streams),
        server: app.server.clone(),
        limits: Limits::from_settings(&app.settings),
        keep_alive: app.settings.sse_keep_alive,
    });
    let door = || from_fn_with_state(Arc::clone(&app.door), authenticate::check);
    // A HEAD would open a stream that nobody reads.
    let stream = get(sse::open)
        .with_state(Arc::clone(&sse))
        .layer(door())
        .head(only_get_stream)
        .fallback(only_get_stream);
    let messages = post(sse::post).with_state(sse).layer(door()).fallback(only_post);
    Router::new().route("/sse", stream).route("/messages", messages)
}

async fn metadata(State(door): State<Arc<Door>>, request: Request) -> Response {
    match door.challenge.metadata() {
        Some(metadata) => answer::json(StatusCode::OK, metadata),
        None => not_found(request).await,
    }
}

async fn not_found(request: Request) -> Response {
    // Where clients of 2025-03-26 look when nothing is to be discovered; they show their user what it says.
    let message = match request.uri().path() {
        "/register" | "/authorize" | "/token" => {
            "this server registers no clients and issues no tokens: connect with the header \"Authorization: Bearer TOKEN\""
        }
        _ => "there is nothing at this path",
    };
    answer::error(
        StatusCode::NOT_FOUND,
        "not_found",
        message,
        &CorrelationId::of(&request),
    )
}

/// Without sessions there is no stream to GET and nothing to DELETE.
async fn only_post(request: Request) -> Response {
    method_not_allowed(&request, "POST")
}

async fn only_get_stream(request: Request) -> Response {
    method_not_allowed(&request, "GET")
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
