//! The audit trail: one line per tool call, in a hash chain, so that a changed or removed line is
//! detected.
//!
//! The trail is global to the process, like the log: [`start`] creates it, and without it
//! [`called`] only checks an empty cell. A call renders its members ([`record`]) and puts them into
//! a [`queue`]. A dedicated thread ([`writer`]), since file I/O blocks, links them into the
//! [`chain`] and writes them to a [`file`] or into the stream of the log. [`verify`] reads a trail
//! and depends on none of the writing modules.
//!
//! A call that may have changed something is answered only when its line is written ([`Durable`]),
//! so that even a killed process leaves no answered write without a line. The wait is bounded: an
//! unwritable disk stops no call.

pub mod chain;
mod file;
mod queue;
mod record;
#[cfg(test)]
mod tests;
pub mod verify;
mod writer;

use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use uuid::Uuid;

pub use file::{Limits, OpenError, all as files};
pub use record::Call;

use super::settings::Durability;
use crate::foundation::platform;
use file::{Found, TrailFile};
use queue::{MAX_QUEUE_BYTES, MAX_WAIT, Queue};
use writer::{Sink, Writer};

static TRAIL: OnceLock<Trail> = OnceLock::new();

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    File(#[from] OpenError),
    #[error("the audit trail's thread cannot be started ({0})")]
    Thread(io::Error),
}

/// The destination of the trail.
pub enum Destination<'a> {
    File(&'a Path, Limits),
    /// Between the lines of the log.
    Stream(Box<dyn Write + Send>),
}

/// The fields that are equal in all calls: the tenant and the server.
#[derive(Debug, Clone, Copy)]
pub struct Identity<'a> {
    pub tenant: &'a str,
    pub version: &'a str,
}

#[derive(Debug)]
struct Trail {
    queue: Arc<Queue>,
    tenant: String,
    durability: Durability,
    done: Mutex<Option<oneshot::Receiver<()>>>,
}

/// Starts the trail. A second start changes nothing.
pub fn start(
    to: Destination<'_>,
    of: Identity<'_>,
    durability: Durability,
) -> Result<(), StartError> {
    survive_limits();
    let trail = Trail::begin(to, of, durability, MAX_QUEUE_BYTES)?;
    let _ = TRAIL.set(trail);
    Ok(())
}

/// Records a finished call that changed nothing.
pub fn called(call: &Call<'_>) {
    if let Some(trail) = TRAIL.get() {
        trail.called(call);
    }
}

/// Records a finished call that may have changed something. The response must wait for the returned
/// [`Durable`].
pub fn wrote(call: &Call<'_>) -> Durable {
    TRAIL
        .get()
        .map_or_else(Durable::now, |trail| trail.wrote(call))
}

/// Resolves when the line of a call survives the end of this process.
#[derive(Debug)]
#[must_use]
pub struct Durable(Option<(Arc<Queue>, oneshot::Receiver<()>)>);

impl Durable {
    /// A value that resolves at once.
    pub fn now() -> Self {
        Self(None)
    }

    /// Returns when the line is written, or after a bounded wait. After a timeout the line stays in
    /// the queue, and no call waits until lines are written again.
    pub async fn reached(self) {
        let Some((queue, written)) = self.0 else {
            return;
        };
        if tokio::time::timeout(MAX_WAIT, written).await.is_err() && queue.stall() {
            tracing::warn!(
                "the audit trail has not taken a line for {MAX_WAIT:?}: calls are answered before \
                 their lines are written, until it does"
            );
        }
    }
}

/// Whether the trail is on, so that callers can skip work that only the trail needs.
pub fn is_on() -> bool {
    TRAIL.get().is_some()
}

/// Closes the trail and waits until it is written, for at most `within`.
pub async fn finish(within: Duration) {
    if let Some(trail) = TRAIL.get() {
        trail.finish(within).await;
    }
}

impl Trail {
    fn begin(
        to: Destination<'_>,
        of: Identity<'_>,
        durability: Durability,
        capacity: usize,
    ) -> Result<Self, StartError> {
        let (sink, found) = match to {
            Destination::File(path, limits) => {
                let (file, found) = TrailFile::open(path, limits)?;
                (Sink::File(file), found)
            }
            Destination::Stream(stream) => (Sink::Stream(stream), Found::default()),
        };
        let queue = Arc::new(Queue::new(capacity));
        let syncs = durability == Durability::Synced;
        let chain = Uuid::now_v7().simple().to_string();
        let writer = Writer::new(Arc::clone(&queue), sink, syncs, found, chain, of.version);
        let (tell, done) = oneshot::channel();
        let thread = thread::Builder::new().name("audit".to_owned());
        // Detached: it ends when the queue is closed, and `done` reports that.
        let _thread = thread
            .spawn(move || {
                writer.run();
                let _ = tell.send(());
            })
            .map_err(StartError::Thread)?;
        Ok(Self {
            queue,
            tenant: of.tenant.to_owned(),
            durability,
            done: Mutex::new(Some(done)),
        })
    }

    fn called(&self, call: &Call<'_>) {
        self.queue.put(&call.members(&self.tenant));
    }

    fn wrote(&self, call: &Call<'_>) -> Durable {
        if self.durability == Durability::Off {
            self.called(call);
            return Durable::now();
        }
        let written = self.queue.put_urgent(&call.members(&self.tenant));
        Durable(written.map(|written| (Arc::clone(&self.queue), written)))
    }

    async fn finish(&self, within: Duration) {
        self.queue.close();
        let done = self.done.lock().take();
        if let Some(done) = done
            && tokio::time::timeout(within, done).await.is_err()
        {
            tracing::error!(
                "the audit trail was not written to its end in time: its last lines are lost"
            );
        }
    }
}

/// A file that reaches its size limit is reported like a full disk.
fn survive_limits() {
    if let Err(error) = platform::survive_file_size_limit() {
        tracing::debug!(%error, "SIGXFSZ cannot be caught");
    }
}
