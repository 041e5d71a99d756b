//! The registry of open streams: their owners and their limits.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, MutexGuard};
use rmcp::RoleServer;
use rmcp::model::{ClientJsonRpcMessage, ClientRequest, JsonRpcRequest};
use rmcp::service::Peer;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::StreamError;
use super::asked::AskedRequests;
use super::events::Event;
use super::pending::{Claim, PendingRequests};
use crate::mcp::ToolAccess;
use crate::server::Settings;
use crate::server::http::in_flight::Count;
use crate::telemetry::metrics;

/// Capacity of the queue to rmcp, which reads it at once except during its handshake.
const INBOX: usize = 8;

/// Capacity of the event queue to the client. Further responses wait and keep their slots.
const OUTBOX: usize = 8;

#[derive(Debug)]
pub struct Streams {
    open: Mutex<HashMap<Uuid, Arc<Stream>>>,
    max_streams: usize,
    max_per_principal: usize,
    draining: CancellationToken,
}

/// One stream, as seen by POST requests to it.
#[derive(Debug)]
pub struct Stream {
    /// The owner. A process serves one tenant, so the subject alone identifies it.
    subject: Arc<str>,
    /// The tools that the client selected when it opened the stream.
    pub requested_access: ToolAccess,
    pub calls: Arc<PendingRequests>,
    pub asked: Arc<AskedRequests>,
    inbox: mpsc::Sender<ClientJsonRpcMessage>,
    /// Weak, so that the stream ends with its MCP session.
    outbox: mpsc::WeakSender<Event>,
    /// Whether `initialize` has been passed to rmcp.
    begun: AtomicBool,
    /// rmcp's peer, once its handshake is complete.
    peer: OnceLock<Peer<RoleServer>>,
    /// The runtime of the stream's connection. Calls run there, whichever connection their POST
    /// uses.
    pub runtime: Handle,
}

/// A new stream, with the channel ends that its MCP session takes.
pub struct Opened {
    pub id: Uuid,
    pub stream: Arc<Stream>,
    pub inbox: mpsc::Receiver<ClientJsonRpcMessage>,
    pub outbox: mpsc::Sender<Event>,
    pub queue: mpsc::Receiver<Event>,
    /// Cancelled when the client disconnects.
    pub stop: CancellationToken,
    pub permit: StreamPermit,
}

/// Counts one stream against the limits. Owned by the response body, so it is dropped when the
/// client disconnects or the stream ends; that cancels the pending calls.
pub struct StreamPermit {
    streams: Arc<Streams>,
    id: Uuid,
    stop: CancellationToken,
    _metric: metrics::GaugeGuard,
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        let stream = self.streams.lock().remove(&self.id);
        self.stop.cancel();
        if let Some(stream) = stream {
            stream.calls.close();
        }
    }
}

impl Streams {
    pub fn new(settings: &Settings) -> Self {
        Self {
            open: Mutex::default(),
            max_streams: settings.sse_streams,
            max_per_principal: settings.sse_streams_per_principal,
            draining: CancellationToken::new(),
        }
    }

    /// Refuses new streams and new messages. Open streams end once their pending requests are
    /// answered.
    pub fn begin_draining(&self) {
        self.draining.cancel();
    }

    pub fn draining(&self) -> CancellationToken {
        self.draining.clone()
    }

    pub fn refuse_when_draining(&self) -> Result<(), StreamError> {
        if self.draining.is_cancelled() {
            Err(StreamError::Draining)
        } else {
            Ok(())
        }
    }

    pub fn open(
        self: &Arc<Self>,
        subject: &Arc<str>,
        requested_access: ToolAccess,
        connection: Option<Count>,
    ) -> Result<Opened, StreamError> {
        self.refuse_when_draining()?;
        let (inbox_in, inbox) = mpsc::channel(INBOX);
        let (outbox, queue) = mpsc::channel(OUTBOX);
        let stream = Arc::new(Stream {
            subject: Arc::clone(subject),
            requested_access,
            calls: Arc::new(PendingRequests::on(connection)),
            asked: Arc::default(),
            inbox: inbox_in,
            outbox: outbox.downgrade(),
            begun: AtomicBool::new(false),
            peer: OnceLock::new(),
            runtime: Handle::current(),
        });
        // 122 random bits from the operating system, so ids cannot be guessed.
        let id = Uuid::new_v4();
        let mut open = self.lock();
        if open.len() >= self.max_streams {
            return Err(StreamError::TooManyStreams);
        }
        if open
            .values()
            .filter(|other| other.subject == *subject)
            .count()
            >= self.max_per_principal
        {
            return Err(StreamError::TooManyOfYours);
        }
        open.insert(id, Arc::clone(&stream));
        let stop = CancellationToken::new();
        let permit = StreamPermit {
            streams: Arc::clone(self),
            id,
            stop: stop.clone(),
            _metric: metrics::stream_open(),
        };
        Ok(Opened {
            id,
            stream,
            inbox,
            outbox,
            queue,
            stop,
            permit,
        })
    }

    pub fn find(&self, id: Uuid, subject: &str) -> Result<Arc<Stream>, StreamError> {
        self.refuse_when_draining()?;
        let found = self.lock().get(&id).cloned();
        found
            .filter(|stream| &*stream.subject == subject)
            .ok_or(StreamError::UnknownSession)
    }

    #[cfg(test)]
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, Arc<Stream>>> {
        // A poisoned lock is safe to use: no operation leaves the map inconsistent.
        self.open.lock()
    }
}

impl Stream {
    pub fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Acquire)
    }

    /// rmcp's peer; `None` until the handshake is complete.
    pub fn peer(&self) -> Option<&Peer<RoleServer>> {
        self.peer.get()
    }

    pub fn set_peer(&self, peer: Peer<RoleServer>) {
        // Set once: there is one handshake.
        let _ = self.peer.set(peer);
    }

    pub async fn send_request(
        &self,
        request: JsonRpcRequest<ClientRequest>,
        claim: Claim,
    ) -> Result<(), StreamError> {
        let is_initialize = matches!(request.request, ClientRequest::InitializeRequest(_));
        self.send_message(ClientJsonRpcMessage::Request(request))
            .await?;
        claim.hand_on();
        if is_initialize {
            // Set only after the request is queued: rmcp ends the session over a notification that
            // precedes `initialize`.
            self.begun.store(true, Ordering::Release);
        }
        Ok(())
    }

    pub async fn send_message(&self, message: ClientJsonRpcMessage) -> Result<(), StreamError> {
        self.inbox
            .send(message)
            .await
            .map_err(|_| StreamError::UnknownSession)
    }

    /// Sends the response to a request that bypassed rmcp.
    pub async fn answer(&self, message: &[u8], claim: Claim) -> Result<(), StreamError> {
        let Some(answer) = claim.answer() else {
            // The request was cancelled.
            return Ok(());
        };
        let outbox = self.outbox.upgrade().ok_or(StreamError::UnknownSession)?;
        let permit = outbox
            .reserve()
            .await
            .map_err(|_| StreamError::UnknownSession)?;
        permit.send(Event::message(message, answer.into_slot()));
        Ok(())
    }
}
