//! Retries: after a backoff, within the deadline of the call, and limited by a shared budget.
//!
//! [`Repeat`](super::request::Repeat) decides whether a request may be repeated at all. All calls
//! share one budget: each request adds a fifth of a retry and each retry takes one, so an API that
//! fails every request receives at most a fifth more. A minimum of retries is available from the
//! start and is refilled over time, for periods with few requests.
//!
//! A 429 for the opening of a session says nothing of the API's health: some compatible APIs let a
//! user open only so many a minute. It is waited out for as long as the deadline of the call
//! allows, without the budget. Such a call holds a permit that others may need, so only a share of
//! the permits may wait in this way.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::foundation::deadline::Deadline;
use crate::telemetry::metrics;

/// The cost of a retry in units of the budget, and what each request adds.
const RETRY: i64 = 1000;
const SHARE: i64 = RETRY / 5;

/// The minimum of the budget, and the time in which one retry of it is refilled.
const MIN_BUDGET: i64 = 10 * RETRY;
const REFILL_INTERVAL: Duration = Duration::from_secs(1);

/// Upper limit of the budget: a larger one would allow a surge of retries when an outage starts.
const MAX_BUDGET: i64 = 100 * RETRY;

/// Backoff before the second attempt. It doubles with each further attempt, up to the maximum.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// A longer `Retry-After` is returned to the caller: waiting here would occupy a call slot.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(5);

/// The share of the permits for calls whose holders may wait for a rate limit: a quarter.
const RATE_WAITERS_SHARE: usize = 4;

#[derive(Debug)]
pub(crate) struct Retries {
    /// Maximum number of attempts, the first included.
    max_attempts: u32,
    budget: Budget,
    /// Calls that may wait for a rate limit at the same time.
    rate_waiters: Semaphore,
}

impl Retries {
    pub fn new(max_attempts: u32, max_calls: usize) -> Self {
        Self {
            max_attempts,
            budget: Budget::new(Instant::now()),
            rate_waiters: Semaphore::new((max_calls / RATE_WAITERS_SHARE).max(1)),
        }
    }

    /// The pause after a 429 for the opening of a session, and the permission to wait for it.
    /// `None` if the deadline would pass, or too many calls wait already.
    pub fn rate_pause(
        &self,
        sent: u32,
        retry_after: Option<Duration>,
        deadline: Deadline,
    ) -> Option<(Duration, SemaphorePermit<'_>)> {
        if self.max_attempts <= 1 {
            return None;
        }
        let pause = retry_after.unwrap_or_default() + pause_after(sent);
        if pause >= deadline.remaining() {
            return None;
        }
        let permit = self.rate_waiters.try_acquire().ok()?;
        Some((pause, permit))
    }

    /// Records the first attempt of a request, which adds to the budget.
    pub fn first(&self) {
        self.budget.deposit();
    }

    /// The pause before the next attempt of a request that was sent `sent` times, or `None` if it
    /// must not be repeated. The pause is never shorter than `retry_after`, the API's
    /// `Retry-After`.
    pub fn pause(
        &self,
        sent: u32,
        retry_after: Option<Duration>,
        deadline: Deadline,
    ) -> Option<Duration> {
        if sent >= self.max_attempts
            || retry_after.is_some_and(|retry_after| retry_after > MAX_RETRY_AFTER)
        {
            return None;
        }
        let pause = retry_after.unwrap_or_default() + pause_after(sent);
        // The deadline would pass during the pause, so the present answer is final.
        if pause >= deadline.remaining() {
            return None;
        }
        if !self.budget.withdraw(Instant::now()) {
            metrics::limit_reached("retry_budget");
            return None;
        }
        Some(pause)
    }
}

fn pause_after(sent: u32) -> Duration {
    backoff(sent, RandomState::new().hash_one(sent))
}

/// Exponential backoff with jitter between half and the full pause, so that retries spread out.
fn backoff(sent: u32, random: u64) -> Duration {
    let doubled = 1u32.checked_shl(sent.saturating_sub(1)).unwrap_or(u32::MAX);
    let whole = FIRST_PAUSE.saturating_mul(doubled).min(MAX_PAUSE);
    let half = whole / 2;
    half + half.mul_f64(f64::from((random >> 32) as u32) / f64::from(u32::MAX))
}

/// Adding is one atomic load while the budget is full, and one addition otherwise.
#[derive(Debug)]
struct Budget {
    left: AtomicI64,
    /// The time up to which the minimum has been refilled.
    since: Mutex<Instant>,
}

impl Budget {
    fn new(now: Instant) -> Self {
        Self {
            left: AtomicI64::new(MIN_BUDGET),
            since: Mutex::new(now),
        }
    }

    fn deposit(&self) {
        // Concurrent requests may overshoot the limit by one share each.
        if self.left.load(Ordering::Relaxed) < MAX_BUDGET {
            self.left.fetch_add(SHARE, Ordering::Relaxed);
        }
    }

    fn withdraw(&self, now: Instant) -> bool {
        self.refill(now);
        let taken = |left: i64| (left >= RETRY).then_some(left - RETRY);
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken)
            .is_ok()
    }

    fn refill(&self, now: Instant) {
        let mut since = self.since.lock();
        let whole = now.saturating_duration_since(*since).as_secs() / REFILL_INTERVAL.as_secs();
        *since += REFILL_INTERVAL * u32::try_from(whole).unwrap_or(u32::MAX);
        let amount = i64::try_from(whole)
            .unwrap_or(i64::MAX)
            .saturating_mul(RETRY);
        let refilled =
            |left: i64| (left < MIN_BUDGET).then(|| left.saturating_add(amount).min(MIN_BUDGET));
        // An error means that the budget is not below its minimum.
        let _ = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, refilled);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::time::advance;

    use super::*;

    fn far_deadline() -> Deadline {
        Deadline::after(Duration::from_secs(25))
    }

    #[tokio::test(start_paused = true)]
    async fn limits_the_attempts() {
        let retries = Retries::new(3, 8);
        assert!(retries.pause(1, None, far_deadline()).is_some());
        assert!(retries.pause(2, None, far_deadline()).is_some());
        assert_eq!(retries.pause(3, None, far_deadline()), None);
        assert_eq!(Retries::new(1, 8).pause(1, None, far_deadline()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn honours_retry_after_and_gives_up_on_a_long_one() {
        let retries = Retries::new(3, 8);
        let retry_after = Duration::from_secs(3);
        let pause = retries.pause(1, Some(retry_after), far_deadline()).unwrap();
        assert!(
            pause >= retry_after + FIRST_PAUSE / 2 && pause <= retry_after + FIRST_PAUSE,
            "{pause:?}"
        );
        for too_long in [MAX_RETRY_AFTER + Duration::from_millis(1), Duration::MAX] {
            assert_eq!(retries.pause(1, Some(too_long), far_deadline()), None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn never_waits_past_the_deadline() {
        let retries = Retries::new(3, 8);
        let soon = Deadline::after(Duration::from_secs(3));
        assert_eq!(retries.pause(1, Some(Duration::from_secs(3)), soon), None);
        assert!(
            retries
                .pause(1, Some(Duration::from_secs(2)), soon)
                .is_some()
        );
        advance(Duration::from_secs(4)).await;
        assert_eq!(retries.pause(1, None, soon), None);
    }

    #[tokio::test(start_paused = true)]
    async fn waits_for_a_rate_limit_as_long_as_the_deadline_allows() {
        let retries = Retries::new(2, 8);
        let second = Some(Duration::from_secs(1));
        for sent in 1..=50 {
            assert!(retries.rate_pause(sent, second, far_deadline()).is_some());
        }
        assert!(
            retries.pause(1, None, far_deadline()).is_some(),
            "the budget is untouched"
        );
        let long = Some(Duration::from_secs(20));
        assert!(retries.rate_pause(1, long, far_deadline()).is_some());
        let soon = Deadline::after(Duration::from_secs(1));
        assert!(retries.rate_pause(1, second, soon).is_none());
        let held: Vec<_> = (0..3)
            .filter_map(|_| retries.rate_pause(1, second, far_deadline()))
            .collect();
        assert_eq!(held.len(), 2, "a quarter of the permits");
        let never = Retries::new(1, 8);
        assert!(never.rate_pause(1, second, far_deadline()).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn refills_the_minimum_over_time() {
        let retries = Retries::new(u32::MAX, 8);
        let withdrawn = |retries: &Retries| {
            (0..1000)
                .filter(|_| retries.pause(1, None, far_deadline()).is_some())
                .count()
        };
        assert_eq!(withdrawn(&retries), 10);
        advance(REFILL_INTERVAL * 3 + REFILL_INTERVAL / 2).await;
        assert_eq!(withdrawn(&retries), 3);
        advance(REFILL_INTERVAL / 2).await;
        assert_eq!(withdrawn(&retries), 1, "the remaining half second counts");
        advance(REFILL_INTERVAL * 1000).await;
        assert_eq!(withdrawn(&retries), 10, "and no more than the minimum");
    }

    proptest! {
        #[test]
        fn backoff_grows_up_to_the_maximum(sent in 1u32.., random: u64) {
            let whole = backoff(sent, u64::MAX);
            let pause = backoff(sent, random);
            prop_assert!(pause <= whole && pause >= whole / 2);
            let previous = backoff(sent.saturating_sub(1).max(1), u64::MAX);
            prop_assert!(whole <= MAX_PAUSE && whole >= previous);
        }

        /// In any mix of requests, failures and time, retries never exceed a fifth of the requests,
        /// beyond the minimum and its refills.
        #[test]
        fn retries_stay_within_a_fifth_of_the_requests(
            steps in prop::collection::vec((any::<bool>(), 0..300u64), 1..500)
        ) {
            let mut now = Instant::now();
            let budget = Budget::new(now);
            let (mut requests, mut retries, mut waited) = (0, 0, Duration::ZERO);
            for (request, millis) in steps {
                now += Duration::from_millis(millis);
                waited += Duration::from_millis(millis);
                if request {
                    budget.deposit();
                    requests += 1;
                } else if budget.withdraw(now) {
                    retries += 1;
                }
                let amount = i64::try_from(waited.as_secs()).unwrap() * RETRY;
                prop_assert!(retries * RETRY <= MIN_BUDGET + requests * SHARE + amount);
            }
        }
    }
}
