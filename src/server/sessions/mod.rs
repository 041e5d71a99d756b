//! Sessions for the legacy revisions, for clients that may have to be sent requests. Off by
//! default.
//!
//! A session begins with an `initialize` from a client that accepts event streams, and covers the
//! requests that carry its id. All other requests are served statelessly: those of the modern
//! revision, those of clients that accept only JSON, and those without a session id. The token is
//! verified on each request; the session must also belong to the caller ([`registry`]). rmcp does
//! the rest ([`manager`]).

mod manager;
mod registry;

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::response::Response;
use http::header::{ACCEPT, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body_util::combinators::BoxBody;
use rmcp::model::ProtocolVersion;
use rmcp::transport::streamable_http_server::session::{SessionId, SessionManager};
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};

use self::manager::Manager;
use self::registry::SessionRegistry;
use super::headers::{PROTOCOL_VERSION, SESSION_ID};
use super::http::middleware::correlation::CorrelationId;
use super::http::response;
use super::http::response::{INTERNAL_ERROR, INVALID_REQUEST};
use super::http::routes::mcp_post::{Endpoint, plain_text_error};
use super::http::routes::router::Handler;
use super::http::service::only_post;
use super::jsonrpc::structured_content;
use super::jsonrpc::validate::{Kind, MessageError};
use crate::foundation::memory_budget::Reservation;
use crate::mcp::Caller;
use crate::telemetry::tasks;

/// `Retry-After` when a limit is reached, in seconds.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("30");

/// Limits on the number and the idle time of sessions.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub max_concurrent: usize,
    /// Idle time after which a session expires.
    pub idle: Duration,
}

/// How a message is served when sessions are enabled.
#[derive(Debug, PartialEq, Eq)]
pub enum SessionMode {
    Stateless,
    /// Begins a session.
    Opening,
    Existing,
}

pub struct Sessions<H> {
    service: StreamableHttpService<H, Manager>,
    manager: Arc<Manager>,
    registry: Arc<SessionRegistry>,
}

impl<H> Clone for Sessions<H> {
    fn clone(&self) -> Self {
        Self {
            service: self.service.clone(),
            manager: Arc::clone(&self.manager),
            registry: Arc::clone(&self.registry),
        }
    }
}

/// rmcp's response type.
pub type RmcpResponse = http::Response<BoxBody<Bytes, std::convert::Infallible>>;

impl<H: Handler> Sessions<H> {
    pub fn new(handler: H, limits: Limits, config: StreamableHttpServerConfig) -> Self {
        let registry = Arc::new(SessionRegistry::new(limits.max_concurrent));
        let manager = Arc::new(Manager::new(Arc::clone(&registry), limits.idle));
        let config = config.with_legacy_session_mode(true);
        Self {
            service: StreamableHttpService::new(
                move || Ok(handler.clone()),
                Arc::clone(&manager),
                config,
            ),
            manager,
            registry,
        }
    }

    pub fn mode(
        &self,
        headers: &HeaderMap,
        caller: &Caller,
        kind: Kind,
        streams: bool,
    ) -> Result<SessionMode, MessageError> {
        if is_modern(headers) {
            return Ok(SessionMode::Stateless);
        }
        match session_of(headers)? {
            Some(_) if !streams => {
                let message = "within a session, Accept must include text/event-stream";
                Err(MessageError::new(
                    StatusCode::NOT_ACCEPTABLE,
                    INVALID_REQUEST,
                    message,
                ))
            }
            Some(id) => self.enter(id, caller).map(|()| SessionMode::Existing),
            None if kind == Kind::Initialize && streams => Ok(SessionMode::Opening),
            None => Ok(SessionMode::Stateless),
        }
    }

    /// Checks that the session belongs to the caller. A session of another principal gets the same
    /// error as an unknown one.
    fn enter(&self, id: &str, caller: &Caller) -> Result<(), MessageError> {
        if self.registry.enter(id, &caller.principal.subject) {
            return Ok(());
        }
        Err(no_such_session())
    }

    /// Runs in its own task, so that a session is registered even if the client disconnects midway.
    pub async fn open(
        &self,
        request: Request,
        caller: &Caller,
    ) -> Result<RmcpResponse, MessageError> {
        let Ok(reservation) = self.registry.reserve(&caller.principal.subject) else {
            let message = "too many sessions are open; try again later";
            return Err(MessageError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                INTERNAL_ERROR,
                message,
            ));
        };
        let (sessions, owner) = (self.clone(), Arc::clone(&caller.principal.subject));
        let opening = tasks::spawn("session", async move {
            sessions.close(reservation.evicted.clone()).await;
            let answer = sessions.service.handle(request).await;
            let id = answer
                .headers()
                .get(SESSION_ID)
                .and_then(|id| id.to_str().ok());
            if let Some(id) = id.map(SessionId::from) {
                sessions
                    .close(reservation.register(Arc::clone(&id), owner))
                    .await;
                // The session may have ended before it was registered.
                if !sessions.manager.has_session(&id).await.unwrap_or(false) {
                    sessions.registry.forget(&id);
                }
            }
            answer
        });
        opening.await.ok().flatten().ok_or_else(|| {
            let message = "the session could not be opened";
            MessageError::new(StatusCode::INTERNAL_SERVER_ERROR, INTERNAL_ERROR, message)
        })
    }

    /// Serves a request whose session belongs to the caller.
    pub async fn handle(&self, request: Request) -> Result<RmcpResponse, MessageError> {
        let id = session_of(request.headers())
            .ok()
            .flatten()
            .map(SessionId::from);
        let answer = self.service.handle(request).await;
        // A failed call is answered by the call itself; rmcp answers 500 only for a session that
        // has just ended.
        if answer.status() == StatusCode::INTERNAL_SERVER_ERROR {
            self.close(id).await;
            return Err(no_such_session());
        }
        Ok(answer)
    }

    async fn close(&self, id: Option<SessionId>) {
        if let Some(id) = id {
            // An error means that the session has already ended.
            let _ = self.manager.close_session(&id).await;
        }
    }
}

fn no_such_session() -> MessageError {
    let message = "there is no such session; begin a new one with initialize";
    MessageError::new(StatusCode::NOT_FOUND, INVALID_REQUEST, message)
}

/// Serves `GET`, which reads the event stream of a session, and `DELETE`, which ends it. Both need
/// a session.
pub async fn listen_or_end<H: Handler>(endpoint: &Endpoint<H>, mut request: Request) -> Response {
    let correlation_id = CorrelationId::of(&request);
    let refused = |error: &MessageError| {
        let mut response = response::rpc_error(
            error.status,
            error.code,
            &error.message,
            None,
            &correlation_id,
            None,
        );
        retry_later(&mut response);
        response
    };
    let Some(sessions) = &endpoint.sessions else {
        return only_post(&request);
    };
    let entered = match session_of(request.headers()) {
        Ok(Some(id)) if !is_modern(request.headers()) => match request.extensions().get::<Caller>()
        {
            Some(caller) => sessions.enter(id, caller),
            None => return only_post(&request),
        },
        Ok(_) => return only_post(&request),
        Err(error) => Err(error),
    };
    if let Err(error) = entered {
        return refused(&error);
    }
    if request.method() == Method::GET {
        // rmcp requires the exact value; a missing `Accept` accepts anything.
        request
            .headers_mut()
            .entry(ACCEPT)
            .or_insert(HeaderValue::from_static("text/event-stream"));
    }
    let served = match sessions.handle(request).await {
        Ok(served) => plain_text_error(served, b"").await,
        Err(error) => Err(error),
    };
    let served = match served {
        Ok(served) => Ok(structured_content::fill_response(served, Reservation::default()).await),
        Err(error) => Err(error),
    };
    served.unwrap_or_else(|error| refused(&error))
}

/// Adds `Retry-After` to a response that reports a reached limit.
pub fn retry_later(response: &mut http::Response<Body>) {
    if [
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::TOO_MANY_REQUESTS,
    ]
    .contains(&response.status())
    {
        response
            .headers_mut()
            .insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
    }
}

fn session_of(headers: &HeaderMap) -> Result<Option<&str>, MessageError> {
    let mut values = headers.get_all(SESSION_ID).iter();
    let id = values.next();
    if values.next().is_some() {
        return Err(MessageError::invalid(
            "the header mcp-session-id is given more than once",
        ));
    }
    // Ids are ASCII, so any other value matches no session.
    Ok(id.map(|id| id.to_str().unwrap_or_default()))
}

/// Whether the headers name a revision without sessions. rmcp checks that the body agrees.
fn is_modern(headers: &HeaderMap) -> bool {
    headers
        .get(PROTOCOL_VERSION)
        .and_then(|version| version.to_str().ok())
        // ISO dates sort as text.
        .is_some_and(|version| version >= ProtocolVersion::V_2026_07_28.as_str())
}
