//! Everything that the HTTP side is made of, and what stands at the paths that are not MCP's: for
//! probes, for discovery, for people.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::get;
use http::header::ALLOW;
use http::{HeaderValue, StatusCode};

use super::health;
use super::health::Readiness;
use super::landing;
use super::landing::Landing;
use crate::api::ApiClient;
use crate::auth::Verifier;
use crate::auth::challenge::Challenge;
use crate::foundation::memory_budget::MemoryBudget;
use crate::mcp::{Caller, Server, ToolAccess, ToolFilter, UnknownToolsetError};
use crate::page::Page;
use crate::server::http::limits::principal_limit::PrincipalLimit;
use crate::server::http::middleware::authenticate::Authentication;
use crate::server::http::middleware::correlation::CorrelationId;
use crate::server::http::middleware::cors;
use crate::server::http::middleware::host_origin;
use crate::server::http::middleware::host_origin::HostOriginPolicy;
use crate::server::http::response;
use crate::server::{Settings, sse};
use crate::tools::Outcome;

/// Everything that the HTTP side is made of.
pub struct App<H> {
    pub settings: Settings,
    pub api_client: ApiClient,
    pub readiness: Arc<Readiness>,
    /// The streams of the transport of 2024-11-05.
    pub streams: Arc<sse::Streams>,
    pub authentication: Arc<Authentication>,
    pub handler: H,
    page: Option<Arc<Page>>,
}

/// Answers MCP's methods and decides which tools a request may use. [`Server`] does in the product;
/// the conformance suite has another implementation.
pub trait Handler: rmcp::ServerHandler + Clone {
    /// Whether a call's arguments come beside the message ([`Arguments`](crate::mcp::Arguments)) or
    /// in it, where rmcp builds a document of them.
    const ARGUMENTS_APART: bool = false;

    /// The access that a filter leaves.
    fn apply_filter(&self, filter: &ToolFilter) -> Result<ToolAccess, UnknownToolsetError>;

    /// Whether the caller's token limits nothing.
    fn is_unlimited(&self, caller: &Caller) -> bool;

    /// The scope that the caller lacks for a tool, and the error of a call.
    fn missing_scope(&self, tool: &str, caller: &Caller) -> Option<(String, Outcome)>;

    /// Called when the server begins to leave. Calls that wait for a person end.
    fn begin_draining(&self) {}

    /// The server of the [fast path](crate::server::http::fast_path), if it is used.
    fn fast_path_server(&self) -> Option<&Server> {
        None
    }
}

impl Handler for Server {
    const ARGUMENTS_APART: bool = true;

    fn apply_filter(&self, filter: &ToolFilter) -> Result<ToolAccess, UnknownToolsetError> {
        self.tools().apply_filter(filter)
    }

    fn is_unlimited(&self, caller: &Caller) -> bool {
        self.tools().is_unlimited(&caller.principal.scopes)
    }

    fn missing_scope(&self, tool: &str, caller: &Caller) -> Option<(String, Outcome)> {
        Server::missing_scope(self, tool, caller)
    }

    fn begin_draining(&self) {
        self.stop_asking();
    }

    fn fast_path_server(&self) -> Option<&Server> {
        Some(self)
    }
}

impl<H: Handler> App<H> {
    pub fn new(
        settings: Settings,
        verifier: Arc<Verifier>,
        challenge: Challenge,
        api_client: ApiClient,
        handler: H,
    ) -> Self {
        let readiness = Arc::new(Readiness::new(
            Arc::clone(&verifier),
            api_client.clone(),
            settings.timeouts.readiness_ttl,
        ));
        let memory = Arc::new(MemoryBudget::new(settings.memory()));
        let principal_limit = Arc::new(PrincipalLimit::new(settings.connections_per_principal));
        Self {
            streams: Arc::new(sse::Streams::new(&settings)),
            settings,
            api_client,
            readiness,
            page: None,
            authentication: Arc::new(Authentication {
                verifier,
                challenge,
                principal_limit,
                memory,
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

/// Behind [`entrance`](crate::server::http::service).
pub fn router<H>(app: &App<H>, policy: &Arc<HostOriginPolicy>) -> Router {
    let metadata = Router::new()
        .route(
            "/.well-known/oauth-protected-resource",
            get(metadata).fallback(only_get),
        )
        .route(
            "/.well-known/oauth-protected-resource/mcp",
            get(metadata).fallback(only_get),
        )
        .with_state(Arc::clone(&app.authentication))
        .layer(from_fn(cors::any_origin))
        .layer(from_fn_with_state(
            Arc::clone(policy),
            host_origin::check_host,
        ));
    Router::new()
        .route("/healthz", get(health::healthz).fallback(only_get))
        .route("/readyz", get(health::readyz).fallback(only_get))
        .with_state(Arc::clone(&app.readiness))
        .merge(metadata)
        .merge(page(app).layer(from_fn_with_state(
            Arc::clone(policy),
            host_origin::check_page,
        )))
        .fallback(not_found)
}

/// The page for people, where it is on.
fn page<H>(app: &App<H>) -> Router {
    let Some(page) = &app.page else {
        return Router::new();
    };
    let landing = Landing {
        page: Arc::clone(page),
        readiness: Arc::clone(&app.readiness),
        public_url: app.settings.mcp_url().map(String::from),
    };
    Router::new()
        .route("/", get(landing::page).fallback(only_get))
        .with_state(Arc::new(landing))
}

async fn metadata(State(authentication): State<Arc<Authentication>>, request: Request) -> Response {
    match authentication.challenge.metadata() {
        Some(metadata) => response::json(StatusCode::OK, metadata),
        None => not_found(request).await,
    }
}

async fn not_found(request: Request) -> Response {
    // Where clients of 2025-03-26 look when nothing is to be discovered; they show their user what
    // it says.
    let message = match request.uri().path() {
        "/register" | "/authorize" | "/token" => {
            "this server registers no clients and issues no tokens: connect with the header \
             \"Authorization: Bearer TOKEN\""
        }
        _ => "there is nothing at this path",
    };
    response::error(
        StatusCode::NOT_FOUND,
        "not_found",
        message,
        &CorrelationId::of(&request),
    )
}

async fn only_get(request: Request) -> Response {
    method_not_allowed(&request, "GET, HEAD")
}

pub fn method_not_allowed(request: &Request, allowed: &'static str) -> Response {
    let message = "this path does not take this method";
    let mut response = response::error(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        message,
        &CorrelationId::of(request),
    );
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(allowed));
    response
}
