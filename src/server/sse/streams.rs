//! The streams there are: whose they are, and how many there may be.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use rmcp::RoleServer;
use rmcp::model::{ClientJsonRpcMessage, ClientRequest, JsonRpcRequest};
use rmcp::service::Peer;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::StreamError;
use super::events::Event;
use super::pending::{Claim, PendingRequests};
use crate::mcp::ToolAccess;
use crate::server::Settings;
use crate::server::http::in_flight::Count;
use crate::telemetry::metrics;

/// Messages that wait for rmcp, which takes them at once unless it is greeting.
const INBOX: usize = 8;

/// Events that wait for the client. Answers beyond them wait with their slots.
const OUTBOX: usize = 8;

#[derive(Debug)]
pub struct Streams {
    open: Mutex<HashMap<Uuid, Arc<Stream>>>,
    most: usize,
    most_of_one: usize,
    draining: CancellationToken,
}

/// One stream, as those who post to it see it.
#[derive(Debug)]
pub struct Stream {
    /// A process serves one tenant, so the subject alone says who somebody is.
    subject: Arc<str>,
    /// What the client left of the tools when it opened the stream.
    pub asked: ToolAccess,
    pub calls: Arc<PendingRequests>,
    inbox: mpsc::Sender<ClientJsonRpcMessage>,
    /// Weak, so that the stream ends with its conversation.
    outbox: mpsc::WeakSender<Event>,
    /// The client has said `initialize`.
    begun: AtomicBool,
    /// The client, once it has been answered that.
    peer: OnceLock<Peer<RoleServer>>,
    /// The loop of the stream's connection, on which its calls run, whatever connection they come by.
    pub runtime: Handle,
}

/// A new stream, with the ends that its conversation takes.
pub struct Opened {
    pub id: Uuid,
    pub stream: Arc<Stream>,
    pub inbox: mpsc::Receiver<ClientJsonRpcMessage>,
    pub outbox: mpsc::Sender<Event>,
    pub queue: mpsc::Receiver<Event>,
    /// Cancelled when the client goes.
    pub stop: CancellationToken,
    pub place: StreamPermit,
}

/// A place among the streams. Dropped with the body of the answer, that is when the client has gone or has heard all: then
/// the calls of the stream are stopped, and their sessions ended.
pub struct StreamPermit {
    streams: Arc<Streams>,
    id: Uuid,
    stop: CancellationToken,
    _counted: metrics::Held,
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
            most: settings.sse_streams,
            most_of_one: settings.sse_streams_per_principal,
            draining: CancellationToken::new(),
        }
    }

    /// From now on: no new stream and no new message; streams end when what is open on them is answered.
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
        asked: ToolAccess,
        connection: Option<Count>,
    ) -> Result<Opened, StreamError> {
        self.refuse_when_draining()?;
        let (inbox_in, inbox) = mpsc::channel(INBOX);
        let (outbox, queue) = mpsc::channel(OUTBOX);
        let stream = Arc::new(Stream {
            subject: Arc::clone(subject),
            asked,
            calls: Arc::new(PendingRequests::on(connection)),
            inbox: inbox_in,
            outbox: outbox.downgrade(),
            begun: AtomicBool::new(false),
            peer: OnceLock::new(),
            runtime: Handle::current(),
        });
        // 122 bits of the system's randomness: whoever does not know one will not guess it.
        let id = Uuid::new_v4();
        let mut open = self.lock();
        if open.len() >= self.most {
            return Err(StreamError::TooManyStreams);
        }
        if open
            .values()
            .filter(|other| other.subject == *subject)
            .count()
            >= self.most_of_one
        {
            return Err(StreamError::TooManyOfYours);
        }
        open.insert(id, Arc::clone(&stream));
        let stop = CancellationToken::new();
        let place = StreamPermit {
            streams: Arc::clone(self),
            id,
            stop: stop.clone(),
            _counted: metrics::stream_open(),
        };
        Ok(Opened {
            id,
            stream,
            inbox,
            outbox,
            queue,
            stop,
            place,
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
        // Nothing that is done under the lock leaves the map half changed.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stream {
    pub fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Acquire)
    }

    /// Who is spoken with, as far as rmcp knows. Nobody until its handshake is over.
    pub fn peer(&self) -> Option<&Peer<RoleServer>> {
        self.peer.get()
    }

    pub fn speaks_with(&self, peer: Peer<RoleServer>) {
        // There is one handshake.
        let _ = self.peer.set(peer);
    }

    pub async fn ask(
        &self,
        request: JsonRpcRequest<ClientRequest>,
        claim: Claim,
    ) -> Result<(), StreamError> {
        let begins = matches!(request.request, ClientRequest::InitializeRequest(_));
        self.say(ClientJsonRpcMessage::Request(request)).await?;
        claim.hand_on();
        if begins {
            // Not before it is in the inbox, or a notification could overtake it, over which rmcp ends everything.
            self.begun.store(true, Ordering::Release);
        }
        Ok(())
    }

    pub async fn say(&self, message: ClientJsonRpcMessage) -> Result<(), StreamError> {
        self.inbox
            .send(message)
            .await
            .map_err(|_| StreamError::UnknownSession)
    }

    /// The answer to a request that did not go to rmcp.
    pub async fn answer(&self, message: &[u8], claim: Claim) -> Result<(), StreamError> {
        let Some(answer) = claim.answer() else {
            // It is cancelled.
            return Ok(());
        };
        let outbox = self.outbox.upgrade().ok_or(StreamError::UnknownSession)?;
        let place = outbox
            .reserve()
            .await
            .map_err(|_| StreamError::UnknownSession)?;
        place.send(Event::message(message, answer.depart()));
        Ok(())
    }
}
