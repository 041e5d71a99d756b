//! Sessions of the legacy revisions, for clients that the server may have to ask something. Off unless configured.
//!
//! A session begins with an `initialize` from a client that takes event streams, and holds for the requests that carry
//! its id. Everything else is served on its own, as if there were no sessions: the modern revision, which has none,
//! clients that take JSON only, and requests without an id. The token is verified for each request as ever; beyond that
//! the session must be the caller's own ([`ledger`]). rmcp does the rest ([`manager`]).

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
use self::registry::Ledger;
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

pub const SESSION_ID: &str = "mcp-session-id";
const PROTOCOL_VERSION: &str = "mcp-protocol-version";

/// How long a client that found no room may wait before it tries again.
const TRY_AGAIN: HeaderValue = HeaderValue::from_static("30");

/// How many sessions there may be, and how long.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub at_once: usize,
    /// A session in which nothing is said for so long is over.
    pub idle: Duration,
}

/// How a message is served where there are sessions.
#[derive(Debug, PartialEq, Eq)]
pub enum Way {
    Alone,
    /// It begins a session.
    Opens,
    Within,
}

pub struct Sessions<H> {
    service: StreamableHttpService<H, Manager>,
    manager: Arc<Manager>,
    ledger: Arc<Ledger>,
}

impl<H> Clone for Sessions<H> {
    fn clone(&self) -> Self {
        Self {
            service: self.service.clone(),
            manager: Arc::clone(&self.manager),
            ledger: Arc::clone(&self.ledger),
        }
    }
}

/// What rmcp answers with.
pub type Answer = http::Response<BoxBody<Bytes, std::convert::Infallible>>;

impl<H: Handler> Sessions<H> {
    pub fn new(handler: H, limits: Limits, config: StreamableHttpServerConfig) -> Self {
        let ledger = Arc::new(Ledger::new(limits.at_once));
        let manager = Arc::new(Manager::new(Arc::clone(&ledger), limits.idle));
        let config = config.with_legacy_session_mode(true);
        Self {
            service: StreamableHttpService::new(
                move || Ok(handler.clone()),
                Arc::clone(&manager),
                config,
            ),
            manager,
            ledger,
        }
    }

    pub fn way(
        &self,
        headers: &HeaderMap,
        caller: &Caller,
        kind: Kind,
        streams: bool,
    ) -> Result<Way, MessageError> {
        if is_modern(headers) {
            return Ok(Way::Alone);
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
            Some(id) => self.enter(id, caller).map(|()| Way::Within),
            None if kind == Kind::Initialize && streams => Ok(Way::Opens),
            None => Ok(Way::Alone),
        }
    }

    /// Whoever asks for somebody else's session hears the same as one who asks for none that exists.
    fn enter(&self, id: &str, caller: &Caller) -> Result<(), MessageError> {
        if self.ledger.enter(id, &caller.principal.subject) {
            return Ok(());
        }
        Err(no_such_session())
    }

    /// Finished even when the client leaves in the middle, so that no session exists that is nobody's.
    pub async fn open(&self, request: Request, caller: &Caller) -> Result<Answer, MessageError> {
        let Ok(room) = self.ledger.make_room(&caller.principal.subject) else {
            let message = "too many sessions are open; try again later";
            return Err(MessageError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                INTERNAL_ERROR,
                message,
            ));
        };
        let (sessions, owner) = (self.clone(), Arc::clone(&caller.principal.subject));
        let opening = tasks::spawn("session", async move {
            sessions.close(room.makes_way.clone()).await;
            let answer = sessions.service.handle(request).await;
            let id = answer
                .headers()
                .get(SESSION_ID)
                .and_then(|id| id.to_str().ok());
            if let Some(id) = id.map(SessionId::from) {
                sessions.close(room.taken_by(Arc::clone(&id), owner)).await;
                // It may have ended before it was entered.
                if !sessions.manager.has_session(&id).await.unwrap_or(false) {
                    sessions.ledger.forget(&id);
                }
            }
            answer
        });
        opening.await.ok().flatten().ok_or_else(|| {
            let message = "the session could not be opened";
            MessageError::new(StatusCode::INTERNAL_SERVER_ERROR, INTERNAL_ERROR, message)
        })
    }

    /// For a request that may enter.
    pub async fn handle(&self, request: Request) -> Result<Answer, MessageError> {
        let id = session_of(request.headers())
            .ok()
            .flatten()
            .map(SessionId::from);
        let answer = self.service.handle(request).await;
        // What goes wrong in a call is answered by the call. This is rmcp's word for a session that ended a moment ago.
        if answer.status() == StatusCode::INTERNAL_SERVER_ERROR {
            self.close(id).await;
            return Err(no_such_session());
        }
        Ok(answer)
    }

    async fn close(&self, id: Option<SessionId>) {
        if let Some(id) = id {
            // An error means that it is over already.
            let _ = self.manager.close_session(&id).await;
        }
    }
}

fn no_such_session() -> MessageError {
    let message = "there is no such session; begin a new one with initialize";
    MessageError::new(StatusCode::NOT_FOUND, INVALID_REQUEST, message)
}

/// `GET` listens to a session, `DELETE` ends it. Without one there is nothing to listen to and nothing to end.
pub async fn listen_or_end<H: Handler>(endpoint: &Endpoint<H>, mut request: Request) -> Response {
    let correlation_id = CorrelationId::of(&request);
    let refused = |objection: &MessageError| {
        let mut response = response::rpc_error(
            objection.status,
            objection.code,
            &objection.message,
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
        Err(objection) => Err(objection),
    };
    if let Err(objection) = entered {
        return refused(&objection);
    }
    if request.method() == Method::GET {
        // rmcp compares it letter by letter; whoever sends none takes anything.
        request
            .headers_mut()
            .entry(ACCEPT)
            .or_insert(HeaderValue::from_static("text/event-stream"));
    }
    let served = match sessions.handle(request).await {
        Ok(served) => plain_text_error(served, b"").await,
        Err(objection) => Err(objection),
    };
    let served = match served {
        Ok(served) => Ok(structured_content::fill_response(served, Reservation::default()).await),
        Err(objection) => Err(objection),
    };
    served.unwrap_or_else(|objection| refused(&objection))
}

/// Says when to come back, where an answer says that there is no room.
pub fn retry_later(response: &mut http::Response<Body>) {
    if [
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::TOO_MANY_REQUESTS,
    ]
    .contains(&response.status())
    {
        response.headers_mut().insert(RETRY_AFTER, TRY_AGAIN);
    }
}

fn session_of(headers: &HeaderMap) -> Result<Option<&str>, MessageError> {
    let mut given = headers.get_all(SESSION_ID).iter();
    let id = given.next();
    if given.next().is_some() {
        return Err(MessageError::invalid(
            "the header mcp-session-id is given more than once",
        ));
    }
    // What is no text is no id of ours.
    Ok(id.map(|id| id.to_str().unwrap_or_default()))
}

/// Whether the request says that it is of a revision without sessions. What it says must agree with its body, which rmcp
/// sees to.
fn is_modern(headers: &HeaderMap) -> bool {
    headers
        .get(PROTOCOL_VERSION)
        .and_then(|version| version.to_str().ok())
        // Dates as text sort as dates.
        .is_some_and(|version| version >= ProtocolVersion::V_2026_07_28.as_str())
}
