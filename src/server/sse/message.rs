//! Classifies the messages that are posted to an SSE stream.
//!
//! An error about a request whose id is known is sent on the stream, where the client waits for the
//! response. Clients of 2024-11-05 treat an HTTP error for the POST as the end of the session.

use axum::body::Bytes;
use http::HeaderMap;
use rmcp::model::{
    ClientJsonRpcMessage, ClientNotification, ClientRequest, ErrorCode, ErrorData, GetMeta,
    JsonRpcNotification, JsonRpcRequest, ProtocolVersion, RequestId,
};
use serde_json::json;

use crate::foundation::json::Json;
use crate::mcp::Arguments;
use crate::server::http::fast_path::FastRequest;
use crate::server::jsonrpc::validate::{MessageError, ValidMessage, unreadable, validate};

pub enum Incoming<'a> {
    /// A request that is answered without rmcp.
    FastRequest(RequestId, FastRequest<'a>),
    Request(Box<JsonRpcRequest<ClientRequest>>, Option<Arguments>),
    Notification(Box<JsonRpcNotification<ClientNotification>>),
    /// A notification before `initialize`, which would make rmcp end the session.
    Ignored,
    /// A request that is answered with an error on the stream.
    MessageError(RequestId, RequestError),
    /// A message without a usable request id; the POST itself gets the error.
    Nobodys(MessageError),
}

/// The JSON-RPC error of a rejected request.
pub struct RequestError(ErrorData);

impl RequestError {
    /// Adds the correlation id to the error data, so that the log lines of the request can be
    /// found.
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

/// Classifies one message. `fast_request` reads it if it can be answered without rmcp.
pub fn hear<'a>(
    body: &'a Bytes,
    headers: &HeaderMap,
    initialized: bool,
    fast_request: impl FnOnce(Option<Json<'a>>, &ValidMessage<'a>) -> Option<FastRequest<'a>>,
) -> Incoming<'a> {
    let (raw_id, validated) = validate(body);
    let id = raw_id.and_then(|id| serde_json::from_str::<RequestId>(id.get()).ok());
    let fast_request = validated
        .as_ref()
        .ok()
        .and_then(|valid| fast_request(raw_id, valid));
    if let (Some(fast_request), Some(id)) = (fast_request, &id) {
        return Incoming::FastRequest(id.clone(), fast_request);
    }
    let mut arguments = None;
    let message = validated.and_then(|valid| {
        let split = valid.split(body);
        arguments = split.arguments;
        serde_json::from_slice::<ClientJsonRpcMessage>(&split.message)
            .map_err(|_| unreadable(&split.message))
    });
    match (message, id) {
        (Ok(ClientJsonRpcMessage::Request(request)), _) => {
            match check_request(&request, headers, initialized) {
                Some(error) => Incoming::MessageError(request.id, error),
                None => Incoming::Request(Box::new(request), arguments),
            }
        }
        (Ok(ClientJsonRpcMessage::Notification(_)), _) if !initialized => Incoming::Ignored,
        (Ok(ClientJsonRpcMessage::Notification(notification)), _) => {
            Incoming::Notification(Box::new(notification))
        }
        (Ok(_), _) => Incoming::Nobodys(MessageError::invalid("a response was not asked for")),
        (Err(error), Some(id)) => Incoming::MessageError(id, error.into()),
        (Err(error), None) => Incoming::Nobodys(error),
    }
}

fn check_request(
    request: &JsonRpcRequest<ClientRequest>,
    headers: &HeaderMap,
    initialized: bool,
) -> Option<RequestError> {
    if let Some(version) = unsupported_version(&request.request, headers) {
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
    let may_precede_initialize = matches!(
        request.request,
        ClientRequest::InitializeRequest(_) | ClientRequest::PingRequest(_)
    );
    let too_early =
        || MessageError::invalid("a conversation on a stream begins with initialize").into();
    (!initialized && !may_precede_initialize).then(too_early)
}

/// The revision that a request names, unless it is a known legacy revision. rmcp would answer a
/// modern request statelessly on the stream; `/mcp` is the endpoint for those.
fn unsupported_version(request: &ClientRequest, headers: &HeaderMap) -> Option<ProtocolVersion> {
    let in_header = headers.get("mcp-protocol-version");
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

/// Caller-controlled, so it is truncated before it is echoed.
fn version(text: &str) -> ProtocolVersion {
    const MAX_CHARS: usize = 64;
    let truncated: String = text.chars().take(MAX_CHARS).collect();
    serde_json::from_value(truncated.into()).unwrap_or(ProtocolVersion::NO_INITIALIZE)
}

pub fn cancelled(notification: &JsonRpcNotification<ClientNotification>) -> Option<RequestId> {
    match &notification.notification {
        ClientNotification::CancelledNotification(cancelled) => cancelled.params.request_id.clone(),
        _ => None,
    }
}
