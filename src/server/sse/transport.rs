//! rmcp's transport over an SSE stream: POST requests fill the inbox, and responses go to the event
//! queue that the client reads.

use std::sync::Arc;

use rmcp::RoleServer;
use rmcp::model::{ClientJsonRpcMessage, JsonRpcMessage, RequestId, ServerJsonRpcMessage};
use rmcp::transport::Transport;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::asked::AskedRequests;
use super::events::Event;
use super::pending::{PendingAnswer, PendingRequests};
use super::streams::Stream;
use crate::server::jsonrpc::structured_content;

pub struct SseTransport {
    inbox: mpsc::Receiver<ClientJsonRpcMessage>,
    /// Taken on close, which ends the stream.
    outbox: Option<mpsc::Sender<Event>>,
    calls: Arc<PendingRequests>,
    asked: Arc<AskedRequests>,
    draining: CancellationToken,
}

/// A response that cannot be delivered.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    #[error("the client has gone")]
    Gone,
    #[error("the answer cannot be written as JSON")]
    Unwritable(#[from] serde_json::Error),
}

impl SseTransport {
    pub fn new(
        inbox: mpsc::Receiver<ClientJsonRpcMessage>,
        outbox: mpsc::Sender<Event>,
        stream: &Stream,
        draining: CancellationToken,
    ) -> Self {
        Self {
            inbox,
            outbox: Some(outbox),
            calls: Arc::clone(&stream.calls),
            asked: Arc::clone(&stream.asked),
            draining,
        }
    }
}

impl Transport<RoleServer> for SseTransport {
    type Error = SendError;

    fn send(
        &mut self,
        message: ServerJsonRpcMessage,
    ) -> impl Future<Output = Result<(), SendError>> + Send + 'static {
        let outbox = self.outbox.clone();
        self.asked.note(&message);
        let answer = answered_id(&message).map(|id| self.calls.answer(id));
        async move {
            let text = serde_json::to_string(&message)?;
            let text = structured_content::fill(&text);
            let outbox = outbox.ok_or(SendError::Gone)?;
            let permit = outbox.reserve_owned().await.map_err(|_| SendError::Gone)?;
            let slot = answer.and_then(PendingAnswer::into_slot);
            permit.send(Event::message(text.as_bytes(), slot));
            Ok(())
        }
    }

    /// Ends when the client disconnects, or when the server drains and no request is pending.
    async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
        let drained = async {
            self.draining.cancelled().await;
            self.calls.until_none().await;
        };
        tokio::select! {
            message = self.inbox.recv() => message,
            () = drained => None,
        }
    }

    async fn close(&mut self) -> Result<(), SendError> {
        self.outbox.take();
        self.inbox.close();
        Ok(())
    }
}

fn answered_id(message: &ServerJsonRpcMessage) -> Option<&RequestId> {
    match message {
        JsonRpcMessage::Response(response) => Some(&response.id),
        JsonRpcMessage::Error(error) => error.id.as_ref(),
        JsonRpcMessage::Request(_) | JsonRpcMessage::Notification(_) => None,
    }
}
