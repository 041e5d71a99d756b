//! Ending sessions in the background, so that no caller waits for it and no session is forgotten.
//!
//! Room comes first: a session may be opened only by whoever holds one of so many places, and it keeps the place until it
//! is ended. Dropping the [`Guard`] of a session, for whatever reason, puts it into the queue of the enders without
//! waiting; the queue needs no bound of its own, since whatever is in it holds a place. When the API is slow to end
//! sessions, places run out and opening waits: load is held back instead of piling up. The queue closes by itself when
//! the last holder of room is gone, which is how draining knows that it is done.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use http::Method;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;

use super::Settings;
use super::client::{Client, Identity};
use super::request::ApiError;
use crate::telemetry::{fields, metrics, tasks};
use crate::workers::{PerLoop, Workers};

/// A second try after this pause mends a dropped connection; the API sweeps what remains.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
const ATTEMPTS: u32 = 2;

/// How many sessions this process has opened, and what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub opened: u64,
    /// Ended, or found to be gone already.
    pub ended: u64,
    /// Could not be ended; the API lets them expire.
    pub abandoned: u64,
}

#[cfg(test)]
impl Counts {
    /// In use, or waiting to be ended.
    pub fn open(&self) -> u64 {
        self.opened
            .saturating_sub(self.ended)
            .saturating_sub(self.abandoned)
    }
}

#[derive(Debug, Default)]
struct Counters {
    opened: AtomicU64,
    ended: AtomicU64,
    abandoned: AtomicU64,
}

#[derive(Debug)]
pub(crate) struct SessionClosers {
    /// Each loop's own; gone once draining has begun.
    queues: PerLoop<Mutex<Option<mpsc::UnboundedSender<Ending>>>>,
    places: Arc<Semaphore>,
    workers: tokio::sync::Mutex<Vec<JoinHandle<()>>>,
    counters: Arc<Counters>,
}

/// A session that is to be ended.
#[derive(Debug)]
struct Ending {
    path: String,
    identity: Identity,
    place: OwnedSemaphorePermit,
}

/// The right to open one session.
#[derive(Debug)]
pub(crate) struct Room {
    place: OwnedSemaphorePermit,
    queue: mpsc::UnboundedSender<Ending>,
    counters: Arc<Counters>,
}

/// An open session; dropping it ends the session.
#[derive(Debug)]
pub(crate) struct Guard(Option<(mpsc::UnboundedSender<Ending>, Ending)>);

impl SessionClosers {
    pub fn start(client: &Client, settings: &Settings, loops: &Workers) -> Self {
        let counters = Arc::new(Counters::default());
        let at_once = settings.enders.div_ceil(loops.count().max(1)).max(1);
        let mut workers = Vec::new();
        let queues = PerLoop::new(loops, |runtime| {
            let (queue, endings) = mpsc::unbounded_channel();
            let ending = end_each(
                endings,
                client.clone(),
                at_once,
                settings.end_timeout,
                Arc::clone(&counters),
            );
            workers.push(runtime.spawn(ending));
            Mutex::new(Some(queue))
        });
        Self {
            queues,
            places: Arc::new(Semaphore::new(settings.max_sessions.max(1))),
            workers: tokio::sync::Mutex::new(workers),
            counters,
        }
    }

    /// Waits until one more session may be opened.
    pub async fn room(&self) -> Result<Room, ApiError> {
        let queue = self
            .queues
            .here()
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let queue = queue.ok_or(ApiError::Unreachable)?;
        let place = Arc::clone(&self.places).acquire_owned().await;
        Ok(Room {
            place: place.map_err(|_| ApiError::Unreachable)?,
            queue,
            counters: Arc::clone(&self.counters),
        })
    }

    pub fn counts(&self) -> Counts {
        // `opened` last: a reader may see a session twice as open, never as ended before it was opened.
        let (ended, abandoned) = (
            self.counters.ended.load(Ordering::Acquire),
            self.counters.abandoned.load(Ordering::Acquire),
        );
        Counts {
            opened: self.counters.opened.load(Ordering::Acquire),
            ended,
            abandoned,
        }
    }

    pub async fn drain(&self, within: Duration) -> Counts {
        for queue in self.queues.each() {
            queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
        let mut workers = self.workers.lock().await;
        let all =
            futures::future::join_all(workers.iter_mut().filter(|worker| !worker.is_finished()));
        // An error here is the deadline or a panic of a worker; both show in the counts.
        let _ = tokio::time::timeout(within, all).await;
        self.counts()
    }
}

impl Room {
    /// The session at this path exists now.
    pub fn occupied_by(self, path: String, identity: Identity) -> Guard {
        self.counters.opened.fetch_add(1, Ordering::AcqRel);
        metrics::session_opened();
        let Self { place, queue, .. } = self;
        Guard(Some((
            queue,
            Ending {
                path,
                identity,
                place,
            },
        )))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some((queue, ending)) = self.0.take() {
            // The enders live until the last sender is gone, so there is nobody to miss this but a process that ends.
            let _ = queue.send(ending);
        }
    }
}

/// Ends what comes, so many at once, until the last sender is gone.
async fn end_each(
    mut endings: mpsc::UnboundedReceiver<Ending>,
    client: Client,
    at_once: usize,
    within: Duration,
    counted: Arc<Counters>,
) {
    futures::stream::poll_fn(move |context| endings.poll_recv(context))
        .for_each_concurrent(at_once, |ending| async {
            // A panic here would take the queue down, and with it every later opening.
            let Ending {
                path,
                identity,
                place,
            } = ending;
            let ended = tasks::caught("enders", is_ended(&client, &identity, path, within)).await;
            let ended = ended.unwrap_or(false);
            let counter = if ended {
                &counted.ended
            } else {
                &counted.abandoned
            };
            counter.fetch_add(1, Ordering::AcqRel);
            metrics::session_over(ended);
            drop(place);
        })
        .await;
}

/// Tries to end a session and says whether it is gone now.
async fn is_ended(client: &Client, identity: &Identity, path: String, within: Duration) -> bool {
    let mut tries = ATTEMPTS;
    loop {
        tries -= 1;
        let answer = client
            .request_bare(identity, Method::DELETE, path.clone(), within)
            .await;
        match answer.map(|answer| answer.reply.status) {
            Ok(200..=299 | 404 | 410) => return true,
            // Other answers below 500, such as to a token whose time is over, will not become better ones.
            outcome if tries == 0 || matches!(outcome, Ok(status @ ..500) if status != 429) => {
                tracing::warn!(
                    { fields::CORRELATION_ID } = identity.correlation_id(),
                    ?outcome,
                    "a session could not be ended; the API lets it expire"
                );
                return false;
            }
            _ => tokio::time::sleep(RETRY_PAUSE).await,
        }
    }
}
