//! rmcp's transport over lines, which also answers what rmcp would drop silently.
//!
//! A client waits for the response to each request, so a line that cannot be read is answered with
//! an error, with the id if one is found. Notifications are never answered. Before the handshake
//! they are not passed on, since rmcp would end the process over them.

use std::io;
use std::pin::Pin;
use std::sync::Arc;

use axum::body::Bytes;
use futures::SinkExt;
use futures::future::BoxFuture;
use rmcp::RoleServer;
use rmcp::model::{
    ClientJsonRpcMessage, ClientRequest, GetExtensions, GetMeta, ProtocolVersion, RequestId,
    ServerJsonRpcMessage,
};
use rmcp::transport::Transport;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Mutex;
use tokio_util::codec::{FramedWrite, LinesCodec};

use super::bounded_lines::{Line, LineReader};
use crate::foundation::json::Json;
use crate::server::http::response::INVALID_REQUEST;
use crate::server::jsonrpc::structured_content;
use crate::server::jsonrpc::validate::{MessageError, id_in_beginning, unreadable, validate};

pub struct Lines<R, W: AsyncWrite> {
    input: LineReader<R>,
    output: Output<W>,
    /// An error response that is being written. Stored here because rmcp drops a pending `receive`
    /// whenever it has to write.
    answering: Option<BoxFuture<'static, io::Result<()>>>,
    initialized: bool,
}

/// Shared by several tasks. The codec buffers what a dropped task has begun to write, so lines are
/// never interleaved.
type Output<W> = Arc<Mutex<Option<FramedWrite<W, LinesCodec>>>>;

async fn write<W: AsyncWrite + Unpin>(output: Output<W>, line: String) -> io::Result<()> {
    match output.lock().await.as_mut() {
        Some(output) => output.send(line).await.map_err(io::Error::other),
        None => Err(io::ErrorKind::NotConnected.into()),
    }
}

/// How to handle a line.
enum Incoming {
    Message(Box<ClientJsonRpcMessage>),
    Reject(Option<RequestId>, MessageError),
    Ignore,
}

impl<R, W> Lines<R, W>
where
    R: AsyncRead + Send + Unpin,
    W: AsyncWrite + Send + Unpin + 'static,
{
    pub fn new(input: R, output: W, longest: usize) -> Self {
        Self {
            input: LineReader::new(input, longest),
            output: Arc::new(Mutex::new(Some(FramedWrite::new(
                output,
                LinesCodec::new(),
            )))),
            answering: None,
            initialized: false,
        }
    }

    fn answer(&mut self, id: Option<RequestId>, error: MessageError) {
        tracing::debug!(
            code = error.code,
            "a message was refused: {}",
            error.message
        );
        // Built by hand, since rmcp's type omits an id that is `null`.
        let error = json!({ "code": error.code, "message": error.message });
        let answer = json!({ "jsonrpc": "2.0", "id": id, "error": error });
        self.answering = Some(Box::pin(write(self.output.clone(), answer.to_string())));
    }
}

fn parse_line(line: &Line<'_>, longest: usize, initialized: &mut bool) -> Incoming {
    let text = line.text;
    if line.too_long {
        let message = format!("the message is larger than {longest} bytes");
        let error = MessageError::new(
            http::StatusCode::PAYLOAD_TOO_LARGE,
            INVALID_REQUEST,
            message,
        );
        return Incoming::Reject(id_in_beginning(text).and_then(request_id), error);
    }
    if text.trim_ascii().is_empty() {
        return Incoming::Ignore;
    }
    let text = Bytes::copy_from_slice(text);
    let (id, validated) = validate(&text);
    let id = id.and_then(request_id);
    let split = match validated {
        Ok(valid) => valid.split(&text),
        Err(error) => return Incoming::Reject(id, error),
    };
    match serde_json::from_slice::<ClientJsonRpcMessage>(&split.message) {
        Ok(mut message) => {
            if let (ClientJsonRpcMessage::Request(request), Some(arguments)) =
                (&mut message, split.arguments)
            {
                request.request.extensions_mut().insert(arguments);
            }
            *initialized |= starts_session(&message);
            if *initialized || matches!(message, ClientJsonRpcMessage::Request(_)) {
                Incoming::Message(Box::new(message))
            } else {
                Incoming::Ignore
            }
        }
        // Notifications are not answered, even if they are malformed.
        Err(_) if id.is_none() => Incoming::Ignore,
        Err(_) => Incoming::Reject(id, unreadable(&split.message)),
    }
}

/// Whether the message starts the MCP session; until then rmcp accepts only requests.
fn starts_session(message: &ClientJsonRpcMessage) -> bool {
    let ClientJsonRpcMessage::Request(message) = message else {
        return false;
    };
    match &message.request {
        ClientRequest::InitializeRequest(_) => true,
        ClientRequest::PingRequest(_) | ClientRequest::DiscoverRequest(_) => false,
        request => {
            let meta = request.get_meta();
            meta.missing_required_keys(&ProtocolVersion::V_2026_07_28)
                .is_empty()
                && meta
                    .protocol_version()
                    .is_some_and(|version| ProtocolVersion::KNOWN_VERSIONS.contains(&version))
        }
    }
}

fn request_id(id: Json<'_>) -> Option<RequestId> {
    serde_json::from_str(id.get()).ok()
}

impl<R, W> Transport<RoleServer> for Lines<R, W>
where
    R: AsyncRead + Send + Unpin,
    W: AsyncWrite + Send + Unpin + 'static,
{
    type Error = io::Error;

    fn send(
        &mut self,
        message: ServerJsonRpcMessage,
    ) -> impl Future<Output = io::Result<()>> + Send + 'static {
        let output = self.output.clone();
        async move {
            let message = serde_json::to_string(&message)?;
            write(output, structured_content::fill(&message).into_owned()).await
        }
    }

    async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
        loop {
            if let Some(answering) = &mut self.answering {
                let answered = Pin::new(answering).await;
                self.answering = None;
                answered.ok()?;
            }
            let longest = self.input.longest();
            let incoming = match self.input.next().await {
                Ok(Some(line)) => parse_line(&line, longest, &mut self.initialized),
                Ok(None) => return None,
                Err(error) => {
                    tracing::warn!(%error, "the input cannot be read");
                    return None;
                }
            };
            match incoming {
                Incoming::Message(message) => return Some(*message),
                Incoming::Reject(id, error) => self.answer(id, error),
                Incoming::Ignore => {}
            }
        }
    }

    async fn close(&mut self) -> io::Result<()> {
        self.output.lock().await.take();
        Ok(())
    }
}
