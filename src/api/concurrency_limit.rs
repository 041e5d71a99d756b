//! Bounds concurrent calls, the queue length and the time in the queue.
//!
//! Calls beyond the queue are refused at once: an immediate refusal is cheaper for the caller than
//! a late answer, and uses no memory here. Without contention, a permit costs one compare-and-swap.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Settings;
use super::request::ApiError;
use crate::telemetry::metrics;

#[derive(Debug)]
pub(crate) struct ConcurrencyLimit {
    /// Maximum number of queued calls.
    queue_length: usize,
    /// Maximum time in the queue.
    queue_wait: Duration,
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// Permission to run one call. Released when dropped.
#[derive(Debug)]
pub(crate) struct CallPermit {
    _permit: OwnedSemaphorePermit,
}

/// Counts one queued call until it is dropped.
struct QueueEntry<'a>(&'a AtomicUsize);

impl Drop for QueueEntry<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl ConcurrencyLimit {
    pub fn new(settings: &Settings) -> Self {
        Self {
            queue_length: settings.queue_length,
            queue_wait: settings.queue_wait,
            permits: Arc::new(Semaphore::new(settings.max_calls.max(1))),
            waiting: AtomicUsize::new(0),
        }
    }

    /// A permit, if one is available.
    pub fn try_take(&self) -> Option<CallPermit> {
        let permit = Arc::clone(&self.permits).try_acquire_owned().ok()?;
        Some(CallPermit { _permit: permit })
    }

    /// Waits in the queue for a permit.
    pub async fn take(&self) -> Result<CallPermit, ApiError> {
        let Some(_entry) = self.enter_queue() else {
            metrics::limit_reached("queue_full");
            return Err(ApiError::Overloaded);
        };
        let permit = self
            .with_queue_timeout(Arc::clone(&self.permits).acquire_owned())
            .await?;
        // The semaphore is never closed.
        permit
            .map(|permit| CallPermit { _permit: permit })
            .map_err(|_| ApiError::Overloaded)
    }

    /// Limits `work` to the maximum time in the queue.
    pub async fn with_queue_timeout<T>(
        &self,
        work: impl Future<Output = T>,
    ) -> Result<T, ApiError> {
        tokio::time::timeout(self.queue_wait, work)
            .await
            .map_err(|_| {
                metrics::limit_reached("queue_wait");
                ApiError::Overloaded
            })
    }

    fn enter_queue(&self) -> Option<QueueEntry<'_>> {
        let incremented = |waiting| (waiting < self.queue_length).then_some(waiting + 1);
        let queued = self
            .waiting
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, incremented);
        queued.ok().map(|_| QueueEntry(&self.waiting))
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio::time::Instant;

    use super::*;

    const WAIT: Duration = Duration::from_secs(5);

    fn limit(max_calls: usize, queue_length: usize) -> ConcurrencyLimit {
        ConcurrencyLimit::new(&Settings {
            max_calls,
            queue_length,
            queue_wait: WAIT,
            ..Settings::default()
        })
    }

    #[tokio::test(start_paused = true)]
    async fn limits_concurrency_and_queues_in_order() {
        let limit = limit(1, 2);
        let first = limit.try_take().unwrap();
        assert!(limit.try_take().is_none());
        let (mut second, mut third) = (Box::pin(limit.take()), Box::pin(limit.take()));
        assert!((&mut second).now_or_never().is_none() && (&mut third).now_or_never().is_none());
        assert!(matches!(
            limit.take().now_or_never(),
            Some(Err(ApiError::Overloaded))
        ));
        drop(first);
        assert!(
            limit.try_take().is_none(),
            "the permit belongs to the first in the queue"
        );
        let second = second.now_or_never().unwrap().unwrap();
        assert!((&mut third).now_or_never().is_none());
        drop(second);
        drop(third.now_or_never().unwrap().unwrap());
        assert!(limit.try_take().is_some());
        assert_eq!(limit.waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn limits_the_time_in_the_queue() {
        let limit = limit(1, 1);
        let _held = limit.try_take().unwrap();
        let since = Instant::now();
        assert!(matches!(limit.take().await, Err(ApiError::Overloaded)));
        assert_eq!(since.elapsed(), WAIT);
        assert_eq!(limit.waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn leaving_the_queue_frees_its_entry() {
        let limit = limit(1, 1);
        let held = limit.try_take().unwrap();
        for _ in 0..3 {
            assert!(limit.take().now_or_never().is_none());
        }
        drop(held);
        assert!(limit.try_take().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn works_without_a_queue() {
        let limit = limit(1, 0);
        let _held = limit.try_take().unwrap();
        assert!(matches!(
            limit.take().now_or_never(),
            Some(Err(ApiError::Overloaded))
        ));
    }
}
