//! The entry point of all HTTP requests: the MCP paths, each behind its middleware, and the
//! [`router`] for all others.
//!
//! The middleware is plain functions that call each other. Tower layers would cost a boxed future
//! and a copy of the request each, on every call; plain calls also show the order from top to
//! bottom.

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

/// Answers HTTP requests.
pub struct HttpService<H> {
    policy: Arc<HostOriginPolicy>,
    authentication: Arc<Authentication>,
    endpoint: Endpoint<H>,
    /// The transport of 2024-11-05, if enabled.
    sse: Option<Sse<H>>,
    router: Router,
}

/// The MCP paths.
#[derive(Clone, Copy)]
enum At {
    Mcp,
    Stream,
    Messages,
}

impl<H: Handler> HttpService<H> {
    pub fn new(app: &App<H>) -> Self {
        let policy = Arc::new(HostOriginPolicy::from_settings(&app.settings));
        Self {
            router: router(app, &policy),
            policy,
            authentication: Arc::clone(&app.authentication),
            endpoint: endpoint(app),
            sse: app.settings.legacy_sse.then(|| Sse {
                streams: Arc::clone(&app.streams),
                handler: app.handler.clone(),
                limits: Limits::from_settings(&app.settings),
                keep_alive: app.settings.timeouts.sse_keep_alive,
            }),
        }
    }

    pub async fn answer(&self, request: Request) -> Response {
        correlation::assign(request, |request| self.route(request)).await
    }

    async fn route(&self, request: Request) -> Response {
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
        // Boxed once, so that the surrounding futures stay small.
        let authenticated = |request| Box::pin(self.authenticated(at, request));
        let with_cors = |request| cors::listed_origins(&self.policy, request, authenticated);
        http_span::request(request, |request| {
            host_origin::check(&self.policy, request, with_cors)
        })
        .await
    }

    /// Authenticates before the body is read, so that unauthenticated clients cannot fill memory.
    async fn authenticated(&self, at: At, request: Request) -> Response {
        let (authentication, endpoint) = (&self.authentication, &self.endpoint);
        match (at, request.method(), &self.sse) {
            (At::Mcp, &Method::POST, _) => {
                authenticate::check(authentication, request, |request| {
                    mcp_post::post(endpoint, request)
                })
                .await
            }
            // The rare paths are boxed, so that the future of a call stays small.
            (At::Mcp, &Method::GET | &Method::HEAD | &Method::DELETE, _)
                if endpoint.sessions.is_some() =>
            {
                let listening = |request| sessions::listen_or_end(endpoint, request);
                Box::pin(authenticate::check(authentication, request, listening)).await
            }
            // HEAD is excluded: it would open a stream without a reader.
            (At::Stream, &Method::GET, Some(sse)) => {
                Box::pin(authenticate::check(authentication, request, |request| {
                    sse::open(sse, request)
                }))
                .await
            }
            (At::Messages, &Method::POST, Some(sse)) => {
                Box::pin(authenticate::check(authentication, request, |request| {
                    sse::post(sse, request)
                }))
                .await
            }
            (At::Stream, ..) => method_not_allowed(&request, "GET"),
            (At::Mcp | At::Messages, ..) => only_post(&request),
        }
    }
}

/// Builds rmcp's services. rmcp's checks of `Host`, `Origin` and size are disabled or never
/// reached: the middleware checks first, and answers in JSON.
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
        stateless: StreamableHttpService::new(
            move || Ok(handler.clone()),
            no_sessions,
            config.clone(),
        ),
        sessions: app
            .settings
            .session_limits()
            .map(|limits| Sessions::new(app.handler.clone(), limits, config)),
        limits: Limits::from_settings(&app.settings),
        handler: app.handler.clone(),
        authentication: Arc::clone(&app.authentication),
    }
}

/// Refuses GET and DELETE, which need a session.
pub fn only_post(request: &Request) -> Response {
    method_not_allowed(request, "POST")
}
