//! The transport of 2024-11-05: an event stream for answers, and a path for messages.
//!
//! `GET /sse` opens a stream ([`events`]). Its first event names `/messages?sessionId=…`, and
//! messages that are posted there are answered on the stream. Streams and their open requests are
//! state between requests, so both are bounded, by [`streams`] and [`pending`]. rmcp holds the
//! conversation, over the [`transport`]; the [fast path](super::http::fast_path) answers requests
//! that do not need it.
//!
//! A stream belongs to the user who opened it and does not exist for others. It grants no rights.
//! Each message carries its own token, is checked like a message to `/mcp`, and its call uses that
//! token, so the token that opened the stream may expire while the stream stays open.

mod asked;
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

use self::asked::ResponseMatch;
use self::events::{Event, Events};
use self::message::{Incoming, parse};
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
use super::jsonrpc::validate::{MessageError, validate};
use crate::foundation::json::Json;
use crate::mcp::{Caller, TransportKind};
use crate::telemetry::{fields, metrics, tasks};

/// What both routes share.
pub struct Sse<H> {
    pub streams: Arc<Streams>,
    pub handler: H,
    pub limits: Limits,
    pub keep_alive: Duration,
}

/// Why a request to one of the two routes is refused, before or beside its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    #[error("the path needs a sessionId: it is in the endpoint event of the stream")]
    NoSession,
    /// Two readers could each use another one.
    #[error("the sessionId is given more than once")]
    TwoSessions,
    /// The answer for a stream of another user too, so that it does not reveal which exist.
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
    /// The limit that was reached, as it is counted.
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
            metrics::limit_reached(limit);
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
    let requested_access = match tool_filter::requested_access(
        |filter| sse.handler.apply_filter(filter),
        request.uri(),
        request.headers(),
    ) {
        Ok(requested_access) => requested_access,
        Err(error) => {
            return response::error(error.status, "invalid_request", &error.message, &about);
        }
    };
    let opened = match sse
        .streams
        .open(&caller.principal.subject, requested_access, connection)
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
    // The queue is empty, so there is room.
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
        opened.permit,
    )));
    for (name, value) in [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-cache, no-transform"),
        // nginx would otherwise collect events until a buffer is full.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ] {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Until the client has gone, or the server leaves; then the stream ends with it.
async fn converse<H: Handler>(
    handler: H,
    transport: SseTransport,
    stream: Arc<Stream>,
    stop: CancellationToken,
) {
    match rmcp::service::serve_server_with_ct(handler, transport, stop).await {
        Ok(conversation) => {
            stream.set_peer(conversation.peer().clone());
            drop(stream);
            drop(conversation.waiting().await);
        }
        // It may repeat what the client said, so it is not shown.
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
    let refused = |error: &MessageError, id: Option<Json<'_>>| {
        response::rpc_error(error.status, error.code, &error.message, id, &about, None)
    };
    caller.accepts_progress = true;
    caller.transport = TransportKind::Sse;
    caller.requested_access = match tool_filter::requested_access(
        |filter| sse.handler.apply_filter(filter),
        &parts.uri,
        &parts.headers,
    ) {
        Ok(requested_access) => requested_access.and(stream.requested_access),
        Err(error) => return refused(&error, None),
    };
    if let Err(error) = request_body::check(&parts.headers) {
        return refused(&error, None);
    }
    let body = match sse.limits.read(body, &caller.memory).await {
        Ok(body) => body,
        Err(error) => return refused(&error, None),
    };
    // From here on the answer to this POST is waited for when the server leaves.
    let _running = InFlight::begin(&parts.extensions);
    let validated = validate(&body);
    if let (id, Ok(message)) = &validated {
        let reserved = Limits::reserve_document(message, &body, &caller.memory).await;
        if let Err(error) = reserved {
            return refused(&error, *id);
        }
    }
    let question = |id, message: &_| {
        let (server, peer) = (sse.handler.fast_path_server()?, stream.peer()?);
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
    let taken = match parse(
        &body,
        validated,
        &parts.headers,
        stream.has_begun(),
        H::ARGUMENTS_APART,
        question,
    ) {
        Incoming::FastRequest(id, question) => match sse.begin(&stream, &id, &caller).await {
            Ok(claim) => {
                let runtime = stream.runtime.clone();
                let answering = answer_directly(
                    sse.handler.clone(),
                    question.into_owned(),
                    caller,
                    stream,
                    claim,
                );
                tasks::spawn_on(&runtime, "stream", answering);
                Ok(())
            }
            Err(refused) => Err(refused),
        },
        Incoming::Unmatched(error) => return refused(&error, None),
        Incoming::Ignored => Ok(()),
        Incoming::Response(id, response) => {
            match (stream.asked.answer(&id), sse.streams.refuse_when_draining()) {
                (ResponseMatch::Unsolicited, _) => {
                    let error = MessageError::invalid("a response was not asked for");
                    return refused(&error, None);
                }
                (ResponseMatch::Stale, _) => Ok(()),
                (ResponseMatch::Expected, Ok(())) => stream.send_message(*response).await,
                (ResponseMatch::Expected, Err(refused)) => Err(refused),
            }
        }
        Incoming::Notification(mut notification) => {
            // It counts until rmcp has handled it.
            let extensions = notification.notification.extensions_mut();
            extensions.insert(caller.memory.clone());
            sse.tell(&stream, *notification).await
        }
        Incoming::MessageError(id, wrong) => {
            let error = wrong.with_correlation_id(about.as_str());
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
                    // Each call goes on with the token that came with it.
                    parts.extensions.insert(caller);
                    if let Some(arguments) = arguments {
                        parts.extensions.insert(arguments);
                    }
                    request.request.extensions_mut().insert(parts);
                    stream.send_request(*request, claim).await
                }
                Err(refused) => Err(refused),
            }
        }
    };
    match taken {
        Ok(()) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::ACCEPTED;
            response
        }
        Err(refused) => refused.answer(&about),
    }
}

/// Answers on the stream, as long as anybody waits for it. The POST has its own answer by then.
async fn answer_directly<H: Handler>(
    handler: H,
    question: FastRequest<'static>,
    caller: Caller,
    stream: Arc<Stream>,
    claim: Claim,
) {
    let (Some(server), peer) = (handler.fast_path_server(), stream.peer()) else {
        return;
    };
    let answer = tokio::select! {
        biased;
        () = claim.revoked() => return,
        answer = question.answer(server, &caller, peer) => answer,
    };
    // If it is not heard, the client has gone.
    let _ = stream.answer(&answer, claim).await;
}

impl<H> Sse<H> {
    /// The stream that is named, when it is the caller's.
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

    /// Makes room for a request. It waits for it, since clients of this age take a refusal for the
    /// end of everything.
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

    async fn tell(
        &self,
        stream: &Stream,
        notification: JsonRpcNotification<ClientNotification>,
    ) -> Result<(), StreamError> {
        self.streams.refuse_when_draining()?;
        let cancelled = message::cancelled(&notification);
        stream
            .send_message(ClientJsonRpcMessage::Notification(notification))
            .await?;
        // rmcp does not answer a cancelled request, so its slot is released here.
        if let Some(id) = cancelled {
            stream.calls.cancel(&id);
        }
        Ok(())
    }
}
