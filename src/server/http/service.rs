//! Where every request comes in: the paths of MCP, each with the checks that stand before it, and behind them the
//! [`router`] for all that is not MCP.
//!
//! The checks are functions that call each other, not layers around a router: each layer would be a boxed future and a copy
//! of the request, for every call, and what stands before what is read here from top to bottom.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use http::Method;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};

use super::middleware::authenticate;
use super::middleware::authenticate::Authentication;
use super::middleware::host_origin;
use super::middleware::host_origin::HostOriginPolicy;
use super::middleware::{correlation, cors, http_span};
use super::request_body::Limits;
use super::routes::mcp_post;
use super::routes::mcp_post::Endpoint;
use super::routes::router::{App, Handler, method_not_allowed, router};
use crate::server::sessions;
use crate::server::sessions::Sessions;
use crate::server::sse;
use crate::server::sse::Sse;

/// What answers requests.
pub struct HttpService<H> {
    guard: Arc<HostOriginPolicy>,
    door: Arc<Authentication>,
    endpoint: Endpoint<H>,
    /// The transport of 2024-11-05, where it is on.
    sse: Option<Sse<H>>,
    router: Router,
}

/// The paths of MCP.
#[derive(Clone, Copy)]
enum At {
    Mcp,
    Stream,
    Messages,
}

impl<H: Handler> HttpService<H> {
    pub fn new(app: &App<H>) -> Self {
        let guard = Arc::new(HostOriginPolicy::from_settings(&app.settings));
        Self {
            router: router(app, &guard),
            guard,
            door: Arc::clone(&app.door),
            endpoint: endpoint(app),
            sse: app.settings.legacy_sse.then(|| Sse {
                streams: Arc::clone(&app.streams),
                handler: app.handler.clone(),
                limits: Limits::from_settings(&app.settings),
                keep_alive: app.settings.sse_keep_alive,
            }),
        }
    }

    pub async fn answer(&self, request: Request) -> Response {
        correlation::assign(request, |request| self.lead(request)).await
    }

    async fn lead(&self, request: Request) -> Response {
        let at = match (request.uri().path(), &self.sse) {
            ("/mcp", _) => At::Mcp,
            ("/sse", Some(_)) => At::Stream,
            ("/messages", Some(_)) => At::Messages,
            _ => {
                return match TowerToHyperService::new(self.router.clone())
                    .call(request)
                    .await
                {
                    Ok(response) => response,
                    Err(never) => match never {},
                };
            }
        };
        // Boxed once, so that the checks around it move little when they are made.
        let known = |request| Box::pin(self.known(at, request));
        let checked = |request| cors::listed_origins(&self.guard, request, known);
        http_span::request(request, |request| {
            host_origin::check(&self.guard, request, checked)
        })
        .await
    }

    /// The token comes before the body: nobody fills our memory without being somebody.
    async fn known(&self, at: At, request: Request) -> Response {
        let (door, endpoint) = (&self.door, &self.endpoint);
        match (at, request.method(), &self.sse) {
            (At::Mcp, &Method::POST, _) => {
                authenticate::check(door, request, |request| mcp_post::post(endpoint, request))
                    .await
            }
            // The others are rare, and boxed, so that a call need not carry their state along.
            (At::Mcp, &Method::GET | &Method::HEAD | &Method::DELETE, _)
                if endpoint.sessions.is_some() =>
            {
                let listening = |request| sessions::listen_or_end(endpoint, request);
                Box::pin(authenticate::check(door, request, listening)).await
            }
            // A HEAD would open a stream that nobody reads.
            (At::Stream, &Method::GET, Some(sse)) => {
                Box::pin(authenticate::check(door, request, |request| {
                    sse::open(sse, request)
                }))
                .await
            }
            (At::Messages, &Method::POST, Some(sse)) => {
                Box::pin(authenticate::check(door, request, |request| {
                    sse::post(sse, request)
                }))
                .await
            }
            (At::Stream, ..) => method_not_allowed(&request, "GET"),
            (At::Mcp | At::Messages, ..) => only_post(&request),
        }
    }
}

/// rmcp's service. Its own checks of `Host`, `Origin` and size are off or out of reach: ours come first, and answer in
/// JSON.
pub(crate) fn endpoint<H: Handler>(app: &App<H>) -> Endpoint<H> {
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

/// Without a session there is no stream to GET and nothing to DELETE.
pub fn only_post(request: &Request) -> Response {
    method_not_allowed(request, "POST")
}
