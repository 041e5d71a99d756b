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
use super::holders::Holders;
use super::landing::{self, Landing};
use super::sessions::{self, Sessions};
use super::sse::{self, Sse};
use super::{Settings, answer, traced};
use crate::auth::Verifier;
use crate::auth::challenge::Challenge;
use crate::mcp::{Caller, Narrowing, NoSuchToolset, Outcome, Reach, Server};
use crate::page::Page;
use crate::upstream::Upstream;

/// Everything that the HTTP side is made of.
pub struct App<H> {
    pub settings: Settings,
    pub upstream: Upstream,
    pub readiness: Arc<Readiness>,
    /// The streams of the transport of 2024-11-05.
    pub streams: Arc<sse::Streams>,
    page: Option<Arc<Page>>,
    door: Arc<Door>,
    handler: H,
}

/// What answers MCP's methods, and knows which tools a request may see: [`Server`], which takes its callers from the
/// request. Another one stands in its place where the transport itself is tested.
pub trait Handler: rmcp::ServerHandler + Clone {
    /// What a narrowing leaves of the tools.
    fn narrowed(&self, narrowing: &Narrowing) -> Result<Reach, NoSuchToolset>;

    /// Whether the caller's token limits nothing.
    fn is_unlimited(&self, caller: &Caller) -> bool;

    /// The scope that a call would need beyond the caller's, and how that is said.
    fn lacks_scope(&self, tool: &str, caller: &Caller) -> Option<(String, Outcome)>;

    /// Who answers what needs nothing of rmcp's; see [`straight`](super::straight).
    fn straight(&self) -> Option<&Server> {
        None
    }
}

impl Handler for Server {
    fn narrowed(&self, narrowing: &Narrowing) -> Result<Reach, NoSuchToolset> {
        self.surface().narrowed(narrowing)
    }

    fn is_unlimited(&self, caller: &Caller) -> bool {
        self.surface().is_unlimited(&caller.principal.scopes)
    }

    fn lacks_scope(&self, tool: &str, caller: &Caller) -> Option<(String, Outcome)> {
        Server::lacks_scope(self, tool, caller)
    }

    fn straight(&self) -> Option<&Server> {
        Some(self)
    }
}

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
        let holders = Arc::new(Holders::new(settings.connections_per_principal));
        Self {
            streams: Arc::new(sse::Streams::new(&settings)),
            settings,
            upstream,
            readiness,
            page: None,
            door: Arc::new(Door {
                verifier,
                challenge,
                holders,
            }),
            handler,
        }
    }

    /// The same with a page at `/`.
    pub fn with_page(mut self, page: Page) -> Self {
        self.page = Some(Arc::new(page));
        self
    }
}

pub fn router<H: Handler>(app: &App<H>) -> Router {
    let guard = Arc::new(Guard::from_settings(&app.settings));
    let page = page(app).layer(from_fn_with_state(Arc::clone(&guard), guard::check));
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
    let mcp = Router::new()
        .route("/mcp", mcp)
        .merge(legacy(app))
        .layer(from_fn_with_state(Arc::clone(&guard), cors::listed_origins))
        .layer(from_fn_with_state(Arc::clone(&guard), guard::check))
        .layer(from_fn(traced::request));
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
        .merge(page)
        .fallback(not_found)
        .layer(from_fn(correlation::assign))
}

/// rmcp's service. Its own checks of `Host`, `Origin` and size are off or out of reach: ours come first, and answer in
/// JSON.
pub(super) fn endpoint<H: Handler>(app: &App<H>) -> Endpoint<H> {
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
        limits: Limits::from_settings(&app.settings),
        handler: app.handler.clone(),
        door: Arc::clone(&app.door),
    }
}

/// The transport of 2024-11-05, where it is on.
fn legacy<H: Handler>(app: &App<H>) -> Router {
    if !app.settings.legacy_sse {
        return Router::new();
    }
    let sse = Arc::new(Sse {
        streams: Arc::clone(&app.streams),
        handler: app.handler.clone(),
        limits: Limits::from_settings(&app.settings),
        keep_alive: app.settings.sse_keep_alive,
    });
    let door = || from_fn_with_state(Arc::clone(&app.door), authenticate::check);
    // A HEAD would open a stream that nobody reads.
    let stream = get(sse::open::<H>)
        .with_state(Arc::clone(&sse))
        .layer(door())
        .head(only_get_stream)
        .fallback(only_get_stream);
    let messages = post(sse::post::<H>).with_state(sse).layer(door()).fallback(only_post);
    Router::new().route("/sse", stream).route("/messages", messages)
}

/// The page for people, where it is on.
fn page<H: Handler>(app: &App<H>) -> Router {
    let Some(page) = &app.page else {
        return Router::new();
    };
    let landing = Landing {
        page: Arc::clone(page),
        readiness: Arc::clone(&app.readiness),
        public_url: app.settings.public_url.clone(),
    };
    Router::new()
        .route("/", get(landing::page).fallback(only_get))
        .with_state(Arc::new(landing))
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

/// Without a session there is no stream to GET and nothing to DELETE.
pub async fn only_post(request: Request) -> Response {
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
