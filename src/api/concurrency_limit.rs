//! Calls in flight: so many at once, so many more that wait for their turn, and nobody waits for longer than so.
//!
//! What is more than that is refused at once, which costs a caller less than an answer that comes too late, and us no
//! memory. Where there is room, taking a turn is one compare-and-swap.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::request::ApiError;
use crate::telemetry::metrics;

#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Calls at once.
    pub at_once: usize,
    /// Calls that may wait.
    pub queue: usize,
    /// How long each of them does.
    pub wait: Duration,
}

#[derive(Debug)]
pub(crate) struct ConcurrencyLimit {
    settings: Settings,
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// A place among the calls in flight, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    _place: OwnedSemaphorePermit,
}

/// One that waits.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl ConcurrencyLimit {
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            places: Arc::new(Semaphore::new(settings.at_once.max(1))),
            waiting: AtomicUsize::new(0),
        }
    }

    /// A turn, if there is one now.
    pub fn try_take(&self) -> Option<Turn> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        Some(Turn { _place: place })
    }

    /// A turn as soon as there is one.
    pub async fn take(&self) -> Result<Turn, ApiError> {
        let Some(_waiting) = self.queue_up() else {
            metrics::limited("queue_full");
            return Err(ApiError::Overloaded);
        };
        let place = self
            .patiently(Arc::clone(&self.places).acquire_owned())
            .await?;
        // The semaphore is never closed.
        place
            .map(|place| Turn { _place: place })
            .map_err(|_| ApiError::Overloaded)
    }

    /// Waits for something as one waits for a turn.
    pub async fn patiently<T>(&self, something: impl Future<Output = T>) -> Result<T, ApiError> {
        tokio::time::timeout(self.settings.wait, something)
            .await
            .map_err(|_| {
                metrics::limited("queue_wait");
                ApiError::Overloaded
            })
    }

    fn queue_up(&self) -> Option<Waiting<'_>> {
        let one_more = |waiting| (waiting < self.settings.queue).then_some(waiting + 1);
        let queued = self
            .waiting
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more);
        queued.ok().map(|_| Waiting(&self.waiting))
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio::time::Instant;

    use super::*;

    const WAIT: Duration = Duration::from_secs(5);

    fn turns(at_once: usize, queue: usize) -> ConcurrencyLimit {
        ConcurrencyLimit::new(Settings {
            at_once,
            queue,
            wait: WAIT,
        })
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_at_once_and_so_many_wait_in_their_order() {
        let turns = turns(1, 2);
        let first = turns.try_take().unwrap();
        assert!(turns.try_take().is_none());
        let (mut second, mut third) = (Box::pin(turns.take()), Box::pin(turns.take()));
        assert!((&mut second).now_or_never().is_none() && (&mut third).now_or_never().is_none());
        assert!(matches!(
            turns.take().now_or_never(),
            Some(Err(ApiError::Overloaded))
        ));
        drop(first);
        assert!(
            turns.try_take().is_none(),
            "it is the turn of one who waits"
        );
        let second = second.now_or_never().unwrap().unwrap();
        assert!((&mut third).now_or_never().is_none());
        drop(second);
        drop(third.now_or_never().unwrap().unwrap());
        assert!(turns.try_take().is_some());
        assert_eq!(turns.waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_longer_than_so() {
        let turns = turns(1, 1);
        let _held = turns.try_take().unwrap();
        let since = Instant::now();
        assert!(matches!(turns.take().await, Err(ApiError::Overloaded)));
        assert_eq!(since.elapsed(), WAIT);
        assert_eq!(turns.waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn one_who_leaves_the_queue_leaves_nothing_behind() {
        let turns = turns(1, 1);
        let held = turns.try_take().unwrap();
        for _ in 0..3 {
            assert!(turns.take().now_or_never().is_none());
        }
        drop(held);
        assert!(turns.try_take().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn there_need_be_no_queue() {
        let turns = turns(1, 0);
        let _held = turns.try_take().unwrap();
        assert!(matches!(
            turns.take().now_or_never(),
            Some(Err(ApiError::Overloaded))
        ));
    }
}
