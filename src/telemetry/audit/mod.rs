//! The audit trail: one line for each tool call, bound into a chain, so that a line that is changed or taken away is missed.
//!
//! Like the log it belongs to the process: [`start`] makes it, and without it [`called`] costs one look at an empty cell.
//! A call renders its members ([`record`]) and leaves them in a [`queue`]; a thread of its own ([`writer`]), since
//! files block, binds them into the [`chain`] and writes them to a [`file`] or into the log's stream. [`verify`] reads them
//! again; it knows nothing of those that write.
//!
//! A call that may have changed something is answered only when its line is written ([`Durable`]), so that a process which
//! is killed leaves no answered write without a line. The wait is bounded: a disk that does not take lines stops no call.

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
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use uuid::Uuid;

pub use file::{Limits, OpenError, all as files};
pub use record::Call;

use crate::config::Durability;
use file::{Found, TrailFile};
use queue::{LONGEST_WAIT, MOST_BYTES, Queue};
use writer::{Sink, Writer};

static TRAIL: OnceLock<Trail> = OnceLock::new();

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    File(#[from] OpenError),
    #[error("the audit trail's thread cannot be started ({0})")]
    Thread(io::Error),
}

/// Where the trail goes.
pub enum To<'a> {
    File(&'a Path, Limits),
    /// Between the lines of the log.
    Stream(Box<dyn Write + Send>),
}

/// Whose calls they are, and what serves them.
#[derive(Debug, Clone, Copy)]
pub struct Of<'a> {
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

/// From now on calls leave a line. A second start changes nothing.
pub fn start(to: To<'_>, of: Of<'_>, durability: Durability) -> Result<(), StartError> {
    survive_limits();
    let trail = Trail::begin(to, of, durability, MOST_BYTES)?;
    let _ = TRAIL.set(trail);
    Ok(())
}

/// A call has ended that changed nothing.
pub fn called(call: &Call<'_>) {
    if let Some(trail) = TRAIL.get() {
        trail.called(call);
    }
}

/// A call has ended that may have changed something. It is to be answered when its line is durable.
pub fn wrote(call: &Call<'_>) -> Durable {
    TRAIL
        .get()
        .map_or_else(Durable::now, |trail| trail.wrote(call))
}

/// The line of a call, on its way to where the end of this process does not reach it.
#[derive(Debug)]
#[must_use]
pub struct Durable(Option<(Arc<Queue>, oneshot::Receiver<()>)>);

impl Durable {
    /// There is nothing to wait for.
    pub fn now() -> Self {
        Self(None)
    }

    /// Returns when the line is written, or when it is not known when it will be: then it stays in the queue and the call
    /// goes on, as all that follow do until lines are written again.
    pub async fn reached(self) {
        let Some((queue, told)) = self.0 else { return };
        if tokio::time::timeout(LONGEST_WAIT, told).await.is_err() && queue.stall() {
            tracing::warn!(
                "the audit trail has not taken a line for {LONGEST_WAIT:?}: calls are answered before their lines are \
                 written, until it does"
            );
        }
    }
}

/// Whether calls leave a line, for whoever has to find something out first.
pub fn is_on() -> bool {
    TRAIL.get().is_some()
}

/// Nothing more comes: waits until what there is is written, but not longer than `within`.
pub async fn finish(within: Duration) {
    if let Some(trail) = TRAIL.get() {
        trail.finish(within).await;
    }
}

impl Trail {
    fn begin(
        to: To<'_>,
        of: Of<'_>,
        durability: Durability,
        room: usize,
    ) -> Result<Self, StartError> {
        let (sink, found) = match to {
            To::File(path, limits) => {
                let (file, found) = TrailFile::open(path, limits)?;
                (Sink::File(file), found)
            }
            To::Stream(stream) => (Sink::Stream(stream), Found::default()),
        };
        let queue = Arc::new(Queue::new(room));
        let syncs = durability == Durability::Synced;
        let chain = Uuid::now_v7().simple().to_string();
        let writer = Writer::new(Arc::clone(&queue), sink, syncs, found, chain, of.version);
        let (tell, done) = oneshot::channel();
        let thread = thread::Builder::new().name("audit".to_owned());
        // It ends with the queue, and whoever waits for that hears of it otherwise.
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
        let told = self.queue.put_urgent(&call.members(&self.tenant));
        Durable(told.map(|told| (Arc::clone(&self.queue), told)))
    }

    async fn finish(&self, within: Duration) {
        self.queue.close();
        let done = self
            .done
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(done) = done
            && tokio::time::timeout(within, done).await.is_err()
        {
            tracing::error!(
                "the audit trail was not written to its end in time: its last lines are lost"
            );
        }
    }
}

/// A file that may not grow any further is a full disk like any other, and would end the process with a signal.
fn survive_limits() {
    let number = rustix::process::Signal::XFSZ.as_raw();
    // Once asked for, a signal no longer does what it did.
    if let Err(error) = signal(SignalKind::from_raw(number)) {
        tracing::debug!(%error, "SIGXFSZ cannot be caught");
    }
}
