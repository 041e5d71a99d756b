//! Classifies a message that was posted to a stream, and finds what is wrong with it.
//!
//! An error about a request whose id is known is sent on the stream, where its answer is expected.
//! Clients of this revision take an error in answer to the POST for the end of the conversation.

use axum::body::Bytes;
use http::HeaderMap;
use rmcp::model::{
    ClientJsonRpcMessage, ClientNotification, ClientRequest, ErrorCode, ErrorData, GetMeta,
    JsonRpcNotification, JsonRpcRequest, ProtocolVersion, RequestId,
};
use serde_json::json;

use crate::foundation::json::Json;
use crate::mcp::Arguments;
use crate::server::headers::PROTOCOL_VERSION;
use crate::server::http::fast_path::FastRequest;
use crate::server::jsonrpc::validate::{MessageError, ValidMessage, unreadable};

pub enum Incoming<'a> {
    /// It needs nothing of rmcp's.
    FastRequest(RequestId, FastRequest<'a>),
    Request(Box<JsonRpcRequest<ClientRequest>>, Option<Arguments>),
    Notification(Box<JsonRpcNotification<ClientNotification>>),
    /// The answer to a request of the server, if there was one with this id.
    Response(RequestId, Box<ClientJsonRpcMessage>),
    /// A notification before the conversation, over which rmcp would end it.
    Ignored,
    /// A request that goes no further.
    MessageError(RequestId, RequestError),
    /// No answer is waited for.
    Unmatched(MessageError),
}

/// What is wrong with a request.
pub struct RequestError(ErrorData);

impl RequestError {
    /// By which the log line can be found.
    pub fn with_correlation_id(mut self, id: &str) -> ErrorData {
        let mut data = self.0.data.take().unwrap_or_else(|| json!({}));
        if let Some(data) = data.as_object_mut() {
            data.insert("correlation_id".to_owned(), id.into());
        }
        self.0.data = Some(data);
        self.0
    }
}

impl From<MessageError> for RequestError {
    fn from(error: MessageError) -> Self {
        Self(ErrorData::new(ErrorCode(error.code), error.message, None))
    }
}

/// `question` reads what may be asked without rmcp. `validated` is what [`validate`] says of
/// `body`.
///
/// [`validate`]: crate::server::jsonrpc::validate::validate
pub fn parse<'a>(
    body: &'a Bytes,
    validated: (Option<Json<'a>>, Result<ValidMessage<'a>, MessageError>),
    headers: &HeaderMap,
    begun: bool,
    apart: bool,
    question: impl FnOnce(Option<Json<'a>>, &ValidMessage<'a>) -> Option<FastRequest<'a>>,
) -> Incoming<'a> {
    let (raw_id, checked) = validated;
    let id = raw_id.and_then(|id| serde_json::from_str::<RequestId>(id.get()).ok());
    let question = checked
        .as_ref()
        .ok()
        .and_then(|valid| question(raw_id, valid));
    if let (Some(question), Some(id)) = (question, &id) {
        return Incoming::FastRequest(id.clone(), question);
    }
    let mut arguments = None;
    let message = checked.and_then(|valid| {
        let split = valid.split(body, apart);
        arguments = split.arguments;
        serde_json::from_slice::<ClientJsonRpcMessage>(&split.message)
            .map_err(|_| unreadable(&split.message))
    });
    match (message, id) {
        (Ok(ClientJsonRpcMessage::Request(request)), _) => match wrong(&request, headers, begun) {
            Some(wrong) => Incoming::MessageError(request.id, wrong),
            None => Incoming::Request(Box::new(request), arguments),
        },
        (Ok(ClientJsonRpcMessage::Notification(_)), _) if !begun => Incoming::Ignored,
        (Ok(ClientJsonRpcMessage::Notification(notification)), _) => {
            Incoming::Notification(Box::new(notification))
        }
        (Ok(response @ ClientJsonRpcMessage::Response(_)), Some(id))
        | (Ok(response @ ClientJsonRpcMessage::Error(_)), Some(id)) => {
            Incoming::Response(id, Box::new(response))
        }
        (Ok(_), _) => Incoming::Unmatched(MessageError::invalid("a response was not asked for")),
        (Err(error), Some(id)) => Incoming::MessageError(id, error.into()),
        (Err(error), None) => Incoming::Unmatched(error),
    }
}

fn wrong(
    request: &JsonRpcRequest<ClientRequest>,
    headers: &HeaderMap,
    begun: bool,
) -> Option<RequestError> {
    if let Some(version) = foreign_version(&request.request, headers) {
        let known = ProtocolVersion::KNOWN_VERSIONS;
        let legacy: Vec<_> = known
            .iter()
            .filter(|known| known.has_initialize())
            .cloned()
            .collect();
        return Some(RequestError(ErrorData::unsupported_protocol_version(
            version, &legacy,
        )));
    }
    let begins = matches!(
        request.request,
        ClientRequest::InitializeRequest(_) | ClientRequest::PingRequest(_)
    );
    let too_early =
        || MessageError::invalid("a conversation on a stream begins with initialize").into();
    (!begun && !begins).then(too_early)
}

/// The revision that a request claims for itself, when it is none that this transport belongs to.
/// Such a request would be answered in the manner of a revision without streams and sessions, which
/// `/mcp` does better.
fn foreign_version(request: &ClientRequest, headers: &HeaderMap) -> Option<ProtocolVersion> {
    let in_header = headers.get(PROTOCOL_VERSION);
    let in_header = in_header.map(|value| version(value.to_str().unwrap_or("?")));
    let in_meta = request.get_meta().protocol_version();
    let in_meta = in_meta.map(|claimed| version(claimed.as_str()));
    let discovers = matches!(request, ClientRequest::DiscoverRequest(_))
        .then_some(ProtocolVersion::NO_INITIALIZE);
    [in_header, in_meta, discovers]
        .into_iter()
        .flatten()
        .find(|version| {
            !version.has_initialize() || !ProtocolVersion::KNOWN_VERSIONS.contains(version)
        })
}

/// It is repeated in the answer, so it is shown, not repeated in full.
fn version(text: &str) -> ProtocolVersion {
    const MAX_CHARS: usize = 64;
    let shown: String = text.chars().take(MAX_CHARS).collect();
    serde_json::from_value(shown.into()).unwrap_or(ProtocolVersion::NO_INITIALIZE)
}

pub fn cancelled(notification: &JsonRpcNotification<ClientNotification>) -> Option<RequestId> {
    match &notification.notification {
        ClientNotification::CancelledNotification(cancelled) => cancelled.params.request_id.clone(),
        _ => None,
    }
}
