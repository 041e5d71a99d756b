//! When a request is sent again: after a pause, within the call's deadline, and only as far as the budget goes.
//!
//! Whether it may be sent again at all is the request's own business ([`Repeat`](super::request::Repeat)). The budget is
//! everybody's: each request puts a fifth of a retry into it and each retry takes one out, so that an API that fails
//! everything gets at most a fifth more to do. A few are there from the start, and come back with time, for those who
//! call seldom.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::foundation::deadline::Deadline;
use crate::telemetry::metrics;

/// A retry in units of the budget, and what a request earns of one.
const RETRY: i64 = 1000;
const SHARE: i64 = RETRY / 5;

/// What is there for those who call seldom, and how soon one of it comes back.
const FLOOR: i64 = 10 * RETRY;
const COMES_BACK: Duration = Duration::from_secs(1);

/// More is not saved up: it would be a surge when things go wrong.
const MOST: i64 = 100 * RETRY;

/// Before the second sending; each later one waits twice as long, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A longer `Retry-After` is the caller's to sit out: a call that waits keeps others from its place.
const LONGEST_WISH: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Retries {
    /// How often a request is sent at most.
    max_attempts: u32,
    budget: Budget,
}

impl Retries {
    pub fn new(max_attempts: u32) -> Self {
        Self {
            max_attempts,
            budget: Budget::new(Instant::now()),
        }
    }

    /// A request is sent for the first time.
    pub fn first(&self) {
        self.budget.earn();
    }

    /// How long to wait before sending again what has been sent so often; `None`: not again. `wish` is the API's
    /// `Retry-After`, before which it is never asked.
    pub fn pause(&self, sent: u32, wish: Option<Duration>, deadline: Deadline) -> Option<Duration> {
        if sent >= self.max_attempts || wish.is_some_and(|wish| wish > LONGEST_WISH) {
            return None;
        }
        let pause = wish.unwrap_or_default() + backoff(sent, RandomState::new().hash_one(sent));
        // Where the deadline would pass in the meantime, the answer that there is now is the best that there will be.
        if pause >= deadline.remaining() {
            return None;
        }
        if !self.budget.spend(Instant::now()) {
            metrics::limited("retry_budget");
            return None;
        }
        Some(pause)
    }
}

/// Between half and the whole of a pause that doubles, so that those who failed together do not come back together.
fn backoff(sent: u32, dice: u64) -> Duration {
    let doubled = 1u32.checked_shl(sent.saturating_sub(1)).unwrap_or(u32::MAX);
    let whole = FIRST_PAUSE.saturating_mul(doubled).min(LONGEST_PAUSE);
    let half = whole / 2;
    half + half.mul_f64(f64::from((dice >> 32) as u32) / f64::from(u32::MAX))
}

/// Earning is one load where nothing is missing, and one addition elsewhere.
#[derive(Debug)]
struct Budget {
    left: AtomicI64,
    /// Until when the floor has come back.
    since: Mutex<Instant>,
}

impl Budget {
    fn new(now: Instant) -> Self {
        Self {
            left: AtomicI64::new(FLOOR),
            since: Mutex::new(now),
        }
    }

    fn earn(&self) {
        // Requests side by side may overshoot by what each earns, which is less than a retry for five of them.
        if self.left.load(Ordering::Relaxed) < MOST {
            self.left.fetch_add(SHARE, Ordering::Relaxed);
        }
    }

    fn spend(&self, now: Instant) -> bool {
        self.come_back(now);
        let taken = |left: i64| (left >= RETRY).then_some(left - RETRY);
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken)
            .is_ok()
    }

    fn come_back(&self, now: Instant) {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        let whole = now.saturating_duration_since(*since).as_secs() / COMES_BACK.as_secs();
        *since += COMES_BACK * u32::try_from(whole).unwrap_or(u32::MAX);
        let back = i64::try_from(whole)
            .unwrap_or(i64::MAX)
            .saturating_mul(RETRY);
        let filled = |left: i64| (left < FLOOR).then(|| left.saturating_add(back).min(FLOOR));
        // An error means that nothing is missing.
        let _ = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, filled);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::time::advance;

    use super::*;

    fn far() -> Deadline {
        Deadline::after(Duration::from_secs(25))
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_is_sent_so_often_and_no_more() {
        let retries = Retries::new(3);
        assert!(retries.pause(1, None, far()).is_some());
        assert!(retries.pause(2, None, far()).is_some());
        assert_eq!(retries.pause(3, None, far()), None);
        assert_eq!(Retries::new(1).pause(1, None, far()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_api_wishes_is_the_least_pause_and_an_absurd_wish_the_end() {
        let retries = Retries::new(3);
        let wish = Duration::from_secs(3);
        let pause = retries.pause(1, Some(wish), far()).unwrap();
        assert!(
            pause >= wish + FIRST_PAUSE / 2 && pause <= wish + FIRST_PAUSE,
            "{pause:?}"
        );
        for absurd in [LONGEST_WISH + Duration::from_millis(1), Duration::MAX] {
            assert_eq!(retries.pause(1, Some(absurd), far()), None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_past_the_deadline() {
        let retries = Retries::new(3);
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
    async fn those_who_call_seldom_have_a_few_retries_that_come_back() {
        let retries = Retries::new(u32::MAX);
        let spent = |retries: &Retries| {
            (0..1000)
                .filter(|_| retries.pause(1, None, far()).is_some())
                .count()
        };
        assert_eq!(spent(&retries), 10);
        advance(COMES_BACK * 3 + COMES_BACK / 2).await;
        assert_eq!(spent(&retries), 3);
        advance(COMES_BACK / 2).await;
        assert_eq!(spent(&retries), 1, "half a second is not forgotten");
        advance(COMES_BACK * 1000).await;
        assert_eq!(spent(&retries), 10, "and not saved up");
    }

    proptest! {
        #[test]
        fn a_pause_grows_and_has_an_end(sent in 1u32.., dice: u64) {
            let whole = backoff(sent, u64::MAX);
            let pause = backoff(sent, dice);
            prop_assert!(pause <= whole && pause >= whole / 2);
            prop_assert!(whole <= LONGEST_PAUSE && whole >= backoff(sent.saturating_sub(1).max(1), u64::MAX));
        }

        /// However requests, failures and time are mixed, the API never gets more than a fifth on top, beyond what the
        /// floor is and what of it comes back.
        #[test]
        fn retries_never_amount_to_more_than_a_fifth_over_the_floor(
            steps in prop::collection::vec((any::<bool>(), 0..300u64), 1..500)
        ) {
            let mut now = Instant::now();
            let budget = Budget::new(now);
            let (mut requests, mut retries, mut waited) = (0, 0, Duration::ZERO);
            for (request, millis) in steps {
                now += Duration::from_millis(millis);
                waited += Duration::from_millis(millis);
                if request {
                    budget.earn();
                    requests += 1;
                } else if budget.spend(now) {
                    retries += 1;
                }
                let back = i64::try_from(waited.as_secs()).unwrap() * RETRY;
                prop_assert!(retries * RETRY <= FLOOR + requests * SHARE + back);
            }
        }
    }
}
