//! The HTTP+SSE transport of 2024-11-05.
//!
//! `GET /sse` opens a stream ([`events`]) whose first event names `/messages?sessionId=…`; messages
//! posted there are answered on the stream. This state outlives a request, so it is bounded: the
//! number of streams by [`streams`], the pending requests of each by [`pending`]. rmcp runs the MCP
//! session over the transport in [`transport`]; the [fast path](super::http::fast_path) answers
//! what needs no rmcp.
//!
//! A stream belongs to the principal that opened it; for all others it does not exist. It grants no
//! rights: each message carries its own token, is checked like a message to `/mcp` and calls the
//! API with that token, so the token that opened the stream may expire while the stream is open.

mod events;
mod message;
mod pending;
mod streams;
mod transport;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, StatusCode, Uri};
use rmcp::model::{
    ClientJsonRpcMessage, ClientNotification, GetExtensions, JsonRpcNotification, RequestId,
    ServerJsonRpcMessage,
};
use tokio_util::sync::CancellationToken;
use url::form_urlencoded;
use uuid::Uuid;

use self::events::{Event, Events};
use self::message::{Incoming, hear};
use self::pending::Claim;
use self::streams::Stream;
pub use self::streams::Streams;
use self::transport::SseTransport;
use super::http::fast_path::FastRequest;
use super::http::in_flight::{Count, InFlight};
use super::http::middleware::correlation::CorrelationId;
use super::http::middleware::tool_filter;
use super::http::request_body;
use super::http::request_body::Limits;
use super::http::response;
use super::http::routes::router::Handler;
use super::jsonrpc::validate::MessageError;
use crate::foundation::json::Json;
use crate::mcp::{Caller, Via};
use crate::telemetry::{fields, metrics, tasks};

/// State shared by both routes.
pub struct Sse<H> {
    pub streams: Arc<Streams>,
    pub handler: H,
    pub limits: Limits,
    pub keep_alive: Duration,
}

/// Why a request to `/sse` or `/messages` is refused, independent of its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    #[error("the path needs a sessionId: it is in the endpoint event of the stream")]
    NoSession,
    /// Ambiguous: two parsers could each pick a different value.
    #[error("the sessionId is given more than once")]
    TwoSessions,
    /// Covers streams of other principals, so that the response does not reveal which ids exist.
    #[error("there is no such stream; open one with GET /sse")]
    UnknownSession,
    #[error("the server is shutting down")]
    Draining,
    #[error("the server holds as many streams as it may")]
    TooManyStreams,
    #[error("this caller holds as many streams as one may; close one first")]
    TooManyOfYours,
    #[error("too many requests of this stream are waiting for their answers")]
    TooManyCalls,
    #[error("the id is that of a request that has not been answered yet")]
    IdInUse,
}

impl StreamError {
    /// The metric label of the limit that was reached.
    fn limit(self) -> Option<&'static str> {
        match self {
            Self::TooManyStreams => Some("streams"),
            Self::TooManyOfYours => Some("streams_per_principal"),
            Self::TooManyCalls => Some("calls_per_stream"),
            _ => None,
        }
    }

    fn answer(self, about: &CorrelationId) -> Response {
        let (status, code, retry_after) = match self {
            Self::NoSession => (StatusCode::BAD_REQUEST, "session_missing", None),
            Self::TwoSessions => (StatusCode::BAD_REQUEST, "session_ambiguous", None),
            Self::UnknownSession => (StatusCode::NOT_FOUND, "session_unknown", None),
            Self::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining", Some(1)),
            Self::TooManyStreams => (
                StatusCode::SERVICE_UNAVAILABLE,
                "too_many_streams",
                Some(10),
            ),
            Self::TooManyOfYours => (StatusCode::TOO_MANY_REQUESTS, "too_many_streams", Some(10)),
            Self::TooManyCalls => (StatusCode::TOO_MANY_REQUESTS, "too_many_calls", Some(1)),
            Self::IdInUse => (StatusCode::BAD_REQUEST, "id_in_use", None),
        };
        if let Some(limit) = self.limit() {
            metrics::limited(limit);
        }
        tracing::info!(
            { fields::CORRELATION_ID } = about.as_str(),
            { fields::REASON } = code,
            "a request was refused: {self}"
        );
        let response = response::error(status, code, &self.to_string(), about);
        match retry_after {
            Some(seconds) => response::retry_after(response, seconds),
            None => response,
        }
    }
}

pub async fn open<H: Handler>(sse: &Sse<H>, request: Request) -> Response {
    let about = CorrelationId::of(&request);
    let Some(caller) = request.extensions().get::<Caller>() else {
        return StreamError::UnknownSession.answer(&about);
    };
    let connection = request.extensions().get::<Count>().cloned();
    let asked = match tool_filter::asked(
        |narrowing| sse.handler.narrowed(narrowing),
        request.uri(),
        request.headers(),
    ) {
        Ok(asked) => asked,
        Err(error) => {
            return response::error(error.status, "invalid_request", &error.message, &about);
        }
    };
    let opened = match sse
        .streams
        .open(&caller.principal.subject, asked, connection)
    {
        Ok(opened) => opened,
        Err(refused) => return refused.answer(&about),
    };
    tracing::info!(
        { fields::CORRELATION_ID } = about.as_str(),
        { fields::USER } = %caller.principal.subject,
        "a stream was opened"
    );
    let path = format!("/messages?sessionId={}", opened.id);
    // Cannot fail: the queue is empty.
    let _ = opened.outbox.try_send(Event::endpoint(&path));
    let transport = SseTransport::new(
        opened.inbox,
        opened.outbox,
        &opened.stream,
        sse.streams.draining(),
    );
    let conversation = converse(sse.handler.clone(), transport, opened.stream, opened.stop);
    tasks::spawn("stream", conversation);

    let mut response = Response::new(Body::new(Events::new(
        opened.queue,
        sse.keep_alive,
        opened.place,
    )));
    for (name, value) in [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-cache, no-transform"),
        // Keeps nginx from buffering events.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ] {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Runs the MCP session until the client disconnects or the server drains. The stream ends with it.
async fn converse<H: Handler>(
    handler: H,
    transport: SseTransport,
    stream: Arc<Stream>,
    stop: CancellationToken,
) {
    match rmcp::service::serve_server_with_ct(handler, transport, stop).await {
        Ok(conversation) => {
            stream.speaks_with(conversation.peer().clone());
            drop(stream);
            drop(conversation.waiting().await);
        }
        // The error may quote the client, so it is not logged.
        Err(_) => tracing::debug!("a stream ended before its conversation had begun"),
    }
}

pub async fn post<H: Handler>(sse: &Sse<H>, request: Request) -> Response {
    let about = CorrelationId::of(&request);
    let (mut parts, body) = request.into_parts();
    let Some(mut caller) = parts.extensions.remove::<Caller>() else {
        return StreamError::UnknownSession.answer(&about);
    };
    let stream = match sse.stream_of(&parts.uri, &caller.principal.subject) {
        Ok(stream) => stream,
        Err(refused) => return refused.answer(&about),
    };
    let rejected = |error: &MessageError, id: Option<Json<'_>>| {
        response::rpc_error(error.status, error.code, &error.message, id, &about, None)
    };
    caller.hears_progress = true;
    caller.via = Via::Sse;
    caller.asked = match tool_filter::asked(
        |narrowing| sse.handler.narrowed(narrowing),
        &parts.uri,
        &parts.headers,
    ) {
        Ok(asked) => asked.and(stream.asked),
        Err(error) => return rejected(&error, None),
    };
    if let Err(error) = request_body::check(&parts.headers) {
        return rejected(&error, None);
    }
    let body = match sse.limits.read(body, &caller.memory).await {
        Ok(body) => body,
        Err(error) => return rejected(&error, None),
    };
    // From here on, draining waits for this POST.
    let _in_flight = InFlight::begin(&parts.extensions);
    let fast_request = |id, message: &_| {
        let (server, peer) = (sse.handler.straight()?, stream.peer()?);
        FastRequest::read(
            server,
            &parts.headers,
            id,
            message,
            &body,
            &caller,
            Some(peer),
        )
    };
    let accepted = match hear(&body, &parts.headers, stream.has_begun(), fast_request) {
        Incoming::FastRequest(id, fast_request) => match sse.begin(&stream, &id, &caller).await {
            Ok(claim) => {
                let runtime = stream.runtime.clone();
                let answering = answer_without_rmcp(
                    sse.handler.clone(),
                    fast_request.into_owned(),
                    caller,
                    stream,
                    claim,
                );
                tasks::spawn_on(&runtime, "stream", answering);
                Ok(())
            }
            Err(refused) => Err(refused),
        },
        Incoming::Nobodys(error) => return rejected(&error, None),
        Incoming::Ignored => Ok(()),
        Incoming::Notification(notification) => sse.notify(&stream, *notification).await,
        Incoming::MessageError(id, error) => {
            let error = error.with_correlation_id(about.as_str());
            match sse.begin(&stream, &id, &caller).await {
                Ok(claim) => {
                    let answer = ServerJsonRpcMessage::error(error, Some(id));
                    let answer = serde_json::to_vec(&answer).unwrap_or_default();
                    stream.answer(&answer, claim).await
                }
                Err(refused) => Err(refused),
            }
        }
        Incoming::Request(mut request, arguments) => {
            match sse.begin(&stream, &request.id, &caller).await {
                Ok(claim) => {
                    // Each call uses the token of its own POST.
                    parts.extensions.insert(caller);
                    if let Some(arguments) = arguments {
                        parts.extensions.insert(arguments);
                    }
                    request.request.extensions_mut().insert(parts);
                    stream.ask(*request, claim).await
                }
                Err(refused) => Err(refused),
            }
        }
    };
    match accepted {
        Ok(()) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::ACCEPTED;
            response
        }
        Err(refused) => refused.answer(&about),
    }
}

/// Answers on the stream unless the request is cancelled. The POST has been answered by then.
async fn answer_without_rmcp<H: Handler>(
    handler: H,
    fast_request: FastRequest<'static>,
    caller: Caller,
    stream: Arc<Stream>,
    claim: Claim,
) {
    let (Some(server), peer) = (handler.straight(), stream.peer()) else {
        return;
    };
    let answer = tokio::select! {
        biased;
        () = claim.revoked() => return,
        answer = fast_request.answer(server, &caller, peer) => answer,
    };
    // Fails only if the client has disconnected.
    let _ = stream.answer(&answer, claim).await;
}

impl<H> Sse<H> {
    /// The stream that the query names, if it belongs to `subject`.
    fn stream_of(&self, uri: &Uri, subject: &str) -> Result<Arc<Stream>, StreamError> {
        let query = uri.query().unwrap_or_default();
        let mut named =
            form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == "sessionId");
        let (_, id) = named.next().ok_or(StreamError::NoSession)?;
        if named.next().is_some() {
            return Err(StreamError::TwoSessions);
        }
        let id = Uuid::try_parse(&id).map_err(|_| StreamError::UnknownSession)?;
        self.streams.find(id, subject)
    }

    /// Acquires a slot for a request. Waits for one, since clients of 2024-11-05 treat a refusal as
    /// the end of the session.
    async fn begin(
        &self,
        stream: &Stream,
        id: &RequestId,
        caller: &Caller,
    ) -> Result<Claim, StreamError> {
        self.streams.refuse_when_draining()?;
        tokio::time::timeout(
            self.limits.body_timeout,
            stream.calls.begin(id.clone(), caller.memory.clone()),
        )
        .await
        .unwrap_or(Err(StreamError::TooManyCalls))
    }

    async fn notify(
        &self,
        stream: &Stream,
        notification: JsonRpcNotification<ClientNotification>,
    ) -> Result<(), StreamError> {
        self.streams.refuse_when_draining()?;
        let cancelled = message::cancelled(&notification);
        stream
            .say(ClientJsonRpcMessage::Notification(notification))
            .await?;
        // rmcp sends no response to a cancelled request, so its slot is freed here; this revokes
        // the claim too.
        if let Some(id) = cancelled {
            stream.calls.cancel(&id);
        }
        Ok(())
    }
}
