//! One JSON-RPC message per line, as rmcp's transport: what it would drop without a word is
//! answered here.
//!
//! A client waits for the answer to each of its requests, so a line that cannot be read gets its
//! objection, with the id where one is found. What is no request is never answered, and before the
//! conversation has begun it is not even passed on: rmcp would end the process over it.

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
use crate::server::http::middleware::correlation::new_id;
use crate::server::http::response::INVALID_REQUEST;
use crate::server::jsonrpc::structured_content;
use crate::server::jsonrpc::validate::{MessageError, id_in_prefix, unreadable, validate};
use crate::telemetry::fields;

pub struct StdioTransport<R, W: AsyncWrite> {
    input: LineReader<R>,
    output: Output<W>,
    /// An objection on its way. It is kept here because rmcp drops a read that is under way
    /// whenever it has to write.
    answering: Option<BoxFuture<'static, io::Result<()>>>,
    begun: bool,
}

/// Written to from several tasks. What a task that is dropped has begun to write stays in the
/// buffer, so that no line is cut by the next.
type Output<W> = Arc<Mutex<Option<FramedWrite<W, LinesCodec>>>>;

async fn write<W: AsyncWrite + Unpin>(output: Output<W>, line: String) -> io::Result<()> {
    match output.lock().await.as_mut() {
        Some(output) => output.send(line).await.map_err(io::Error::other),
        None => Err(io::ErrorKind::NotConnected.into()),
    }
}

/// What is to be done about a line.
enum Incoming {
    Message(Box<ClientJsonRpcMessage>),
    Answer(Option<RequestId>, MessageError),
    Nothing,
}

impl<R, W> StdioTransport<R, W>
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
            begun: false,
        }
    }

    fn answer(&mut self, id: Option<RequestId>, error: MessageError) {
        let correlation_id = new_id();
        tracing::debug!(
            { fields::CORRELATION_ID } = &*correlation_id,
            code = error.code,
            "a message was refused: {}",
            error.message
        );
        // Not by rmcp's type, which leaves out an id that is `null`.
        let data = json!({ "correlation_id": &*correlation_id });
        let error = json!({ "code": error.code, "message": error.message, "data": data });
        let answer = json!({ "jsonrpc": "2.0", "id": id, "error": error });
        self.answering = Some(Box::pin(write(self.output.clone(), answer.to_string())));
    }
}

fn parse(line: &Line<'_>, longest: usize, begun: &mut bool) -> Incoming {
    let text = line.text;
    if line.too_long {
        let message = format!("the message is larger than {longest} bytes");
        let error = MessageError::new(
            http::StatusCode::PAYLOAD_TOO_LARGE,
            INVALID_REQUEST,
            message,
        );
        return Incoming::Answer(id_in_prefix(text).and_then(request_id), error);
    }
    if text.trim_ascii().is_empty() {
        return Incoming::Nothing;
    }
    let text = Bytes::copy_from_slice(text);
    let (id, checked) = validate(&text);
    let id = id.and_then(request_id);
    let split = match checked {
        Ok(valid) => valid.split(&text, true),
        Err(error) => return Incoming::Answer(id, error),
    };
    match serde_json::from_slice::<ClientJsonRpcMessage>(&split.message) {
        Ok(mut message) => {
            if let (ClientJsonRpcMessage::Request(request), Some(arguments)) =
                (&mut message, split.arguments)
            {
                request.request.extensions_mut().insert(arguments);
            }
            *begun |= begins(&message);
            if *begun || matches!(message, ClientJsonRpcMessage::Request(_)) {
                Incoming::Message(Box::new(message))
            } else {
                Incoming::Nothing
            }
        }
        // A notification is not answered, not even a bad one.
        Err(_) if id.is_none() => Incoming::Nothing,
        Err(_) => Incoming::Answer(id, unreadable(&split.message)),
    }
}

/// Whether rmcp has a conversation from this message on: before it, it takes requests only.
fn begins(message: &ClientJsonRpcMessage) -> bool {
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

impl<R, W> Transport<RoleServer> for StdioTransport<R, W>
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
                Ok(Some(line)) => parse(&line, longest, &mut self.begun),
                Ok(None) => return None,
                Err(error) => {
                    tracing::warn!(%error, "the input cannot be read");
                    return None;
                }
            };
            match incoming {
                Incoming::Message(message) => return Some(*message),
                Incoming::Answer(id, error) => self.answer(id, error),
                Incoming::Nothing => {}
            }
        }
    }

    async fn close(&mut self) -> io::Result<()> {
        self.output.lock().await.take();
        Ok(())
    }
}
