//! Closes sessions in the background, so that no call waits for it and no session is leaked.
//!
//! A session may be opened only with a [`SessionSlot`], which bounds the number of sessions and is
//! held until the session is closed. Dropping the [`Guard`] of a session queues it for closing
//! without waiting. The queue needs no bound of its own, because every entry holds a slot. When the
//! API closes sessions slowly, slots run out and opening waits, so sessions do not accumulate. The
//! queue ends when its last sender is dropped, which tells [`SessionClosers::drain`] that all
//! sessions are closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt;
use http::Method;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;

use super::Settings;
use super::client::{Client, Identity};
use super::request::ApiError;
use crate::telemetry::{fields, metrics, tasks};
use crate::workers::{PerLoop, Workers};

/// Delay before the second attempt, which covers dropped connections. The API expires the rest.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
const ATTEMPTS: u32 = 2;

/// Counts of the sessions that this process has opened and closed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub opened: u64,
    /// Closed, or found to be gone.
    pub ended: u64,
    /// Could not be closed; the API expires them.
    pub abandoned: u64,
}

#[cfg(test)]
impl Counts {
    /// Sessions in use or waiting to be closed.
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

/// The queues and workers that close sessions.
#[derive(Debug)]
pub(crate) struct SessionClosers {
    /// One sender per worker; `None` once draining has begun.
    queues: PerLoop<Mutex<Option<mpsc::UnboundedSender<ClosingSession>>>>,
    permits: Arc<Semaphore>,
    workers: tokio::sync::Mutex<Vec<JoinHandle<()>>>,
    counters: Arc<Counters>,
}

/// A session to be closed.
#[derive(Debug)]
struct ClosingSession {
    path: String,
    identity: Identity,
    permit: OwnedSemaphorePermit,
}

/// Permission to open one session.
#[derive(Debug)]
pub(crate) struct SessionSlot {
    permit: OwnedSemaphorePermit,
    queue: mpsc::UnboundedSender<ClosingSession>,
    counters: Arc<Counters>,
}

/// An open session. Dropping it queues the session for closing.
#[derive(Debug)]
pub(crate) struct Guard(Option<(mpsc::UnboundedSender<ClosingSession>, ClosingSession)>);

impl SessionClosers {
    pub fn start(client: &Client, settings: &Settings, loops: &Workers) -> Self {
        let counters = Arc::new(Counters::default());
        let max_concurrent = settings
            .limits
            .session_closers
            .div_ceil(loops.count().max(1))
            .max(1);
        let mut workers = Vec::new();
        let queues = PerLoop::new(loops, |runtime| {
            let (queue, queued) = mpsc::unbounded_channel();
            let closing = close_sessions(
                queued,
                client.clone(),
                max_concurrent,
                settings.limits.end_timeout,
                Arc::clone(&counters),
            );
            workers.push(runtime.spawn(closing));
            Mutex::new(Some(queue))
        });
        Self {
            queues,
            permits: Arc::new(Semaphore::new(settings.max_sessions.max(1))),
            workers: tokio::sync::Mutex::new(workers),
            counters,
        }
    }

    /// Waits for a slot for one more session.
    pub async fn reserve(&self) -> Result<SessionSlot, ApiError> {
        let queue = self.queues.here().lock().clone();
        let queue = queue.ok_or(ApiError::Unreachable)?;
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        Ok(SessionSlot {
            permit: permit.map_err(|_| ApiError::Unreachable)?,
            queue,
            counters: Arc::clone(&self.counters),
        })
    }

    pub fn counts(&self) -> Counts {
        // `opened` is read last, so that a concurrent close never makes more sessions closed than
        // opened.
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

    /// Stops opening sessions and waits for the open ones to be closed, at most `within`.
    pub async fn drain(&self, within: Duration) -> Counts {
        for queue in self.queues.each() {
            queue.lock().take();
        }
        let mut workers = self.workers.lock().await;
        let all =
            futures::future::join_all(workers.iter_mut().filter(|worker| !worker.is_finished()));
        // An error is the deadline or a panic of a worker; both show in the counts.
        let _ = tokio::time::timeout(within, all).await;
        self.counts()
    }
}

impl SessionSlot {
    /// Turns the slot into the guard of the session that was opened at `path`.
    pub fn opened(self, path: String, identity: Identity) -> Guard {
        self.counters.opened.fetch_add(1, Ordering::AcqRel);
        metrics::session_opened();
        let Self { permit, queue, .. } = self;
        Guard(Some((
            queue,
            ClosingSession {
                path,
                identity,
                permit,
            },
        )))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some((queue, closing)) = self.0.take() {
            // Fails only while the process exits: workers run until the last sender is dropped.
            let _ = queue.send(closing);
        }
    }
}

/// Closes queued sessions, `max_concurrent` at a time, until the last sender is dropped.
async fn close_sessions(
    mut queued: mpsc::UnboundedReceiver<ClosingSession>,
    client: Client,
    max_concurrent: usize,
    within: Duration,
    counters: Arc<Counters>,
) {
    futures::stream::poll_fn(move |context| queued.poll_recv(context))
        .for_each_concurrent(max_concurrent, |closing| async {
            // A panic must not end this loop, because no session could be opened afterwards.
            let ClosingSession {
                path,
                identity,
                permit,
            } = closing;
            let ended =
                tasks::catch_panic("session_closers", close(&client, &identity, path, within))
                    .await;
            let ended = ended.unwrap_or(false);
            let counter = if ended {
                &counters.ended
            } else {
                &counters.abandoned
            };
            counter.fetch_add(1, Ordering::AcqRel);
            metrics::session_closed(ended);
            drop(permit);
        })
        .await;
}

/// Closes a session. Returns whether it is gone.
async fn close(client: &Client, identity: &Identity, path: String, within: Duration) -> bool {
    let mut attempts_left = ATTEMPTS;
    loop {
        attempts_left -= 1;
        let answer = client
            .request_bare(identity, Method::DELETE, path.clone(), within)
            .await;
        match answer.map(|answer| answer.reply.status) {
            Ok(200..=299 | 404 | 410) => return true,
            // A retry does not change other answers below 500, such as one to an expired token.
            outcome
                if attempts_left == 0 || matches!(outcome, Ok(status @ ..500) if status != 429) =>
            {
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
