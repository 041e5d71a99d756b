//! Limits the rate of calls per caller.
//!
//! The limiter is a table of token buckets of fixed size. A keyed hash of the subject selects two
//! buckets; a call takes a token from both, and is refused only if both are empty, so a caller who
//! shares one bucket with a busy caller is not affected. A bucket is a single number, the time at
//! which it will be full again. The memory is therefore constant, a call takes no lock, and a
//! bucket refills without any maintenance.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// The number of buckets. About one in 16,384² pairs of callers shares both buckets.
const BUCKETS: usize = 1 << 14;

/// The rate limit for one caller.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rate {
    /// The sustained rate, in calls per minute. 0 disables the limit.
    pub per_minute: u32,
    /// The number of calls that may be made in a burst.
    pub burst: u32,
}

/// The token buckets of all callers.
#[derive(Debug)]
pub(super) struct Rates {
    epoch: Instant,
    /// The time at which each bucket is full, in microseconds since `epoch`.
    full_at: Box<[AtomicU64]>,
    /// Randomly keyed, so that a caller cannot choose a subject that shares another's buckets.
    hasher: RandomState,
    /// The time in which one token is refilled, in microseconds.
    refill: u64,
    /// The time in which all tokens but one are refilled. A bucket with a longer time is empty.
    tolerance: u64,
}

impl Rates {
    /// Creates full buckets. `None` if `rate` sets no limit.
    pub fn new(rate: Rate, now: Instant) -> Option<Self> {
        let refill = 60_000_000_u64.checked_div(rate.per_minute.into())?;
        Some(Self {
            epoch: now,
            full_at: std::iter::repeat_with(AtomicU64::default)
                .take(BUCKETS)
                .collect(),
            hasher: RandomState::new(),
            refill,
            tolerance: refill * u64::from(rate.burst.max(1) - 1),
        })
    }

    /// Admits one call, or returns the time until the next one is admitted.
    pub fn admit(&self, subject: &str, now: Instant) -> Result<(), Duration> {
        let now = u64::try_from(now.saturating_duration_since(self.epoch).as_micros())
            .unwrap_or(u64::MAX);
        let waits = self
            .buckets_of(subject)
            .map(|bucket| self.take(bucket, now));
        match waits.into_iter().min() {
            Some(wait @ 1..) => Err(Duration::from_micros(wait)),
            _ => Ok(()),
        }
    }

    /// The two distinct buckets of a subject.
    fn buckets_of(&self, subject: &str) -> [usize; 2] {
        let hash = usize::try_from(self.hasher.hash_one(subject)).unwrap_or_default();
        let (first, distance) = (hash % BUCKETS, hash / BUCKETS % (BUCKETS - 1) + 1);
        [first, (first + distance) % BUCKETS]
    }

    /// Takes a token and returns 0, or returns the time until the bucket has one.
    fn take(&self, bucket: usize, now: u64) -> u64 {
        let Some(full_at) = self.full_at.get(bucket) else {
            return 0;
        };
        let take_one = |full_at: u64| {
            let full_at = full_at.max(now);
            (full_at - now <= self.tolerance).then_some(full_at + self.refill)
        };
        match full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take_one) {
            Ok(_) => 0,
            Err(full_at) => full_at - now - self.tolerance,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rates(per_minute: u32, burst: u32) -> (Rates, Instant) {
        let now = Instant::now();
        (Rates::new(Rate { per_minute, burst }, now).unwrap(), now)
    }

    #[test]
    fn admits_a_burst_and_then_the_sustained_rate() {
        let (rates, mut now) = rates(60, 3);
        for _ in 0..3 {
            assert_eq!(rates.admit("ann", now), Ok(()));
        }
        assert_eq!(rates.admit("ann", now), Err(Duration::from_secs(1)));
        now += Duration::from_millis(999);
        assert_eq!(rates.admit("ann", now), Err(Duration::from_millis(1)));
        now += Duration::from_millis(1);
        assert_eq!(rates.admit("ann", now), Ok(()));
        assert!(rates.admit("ann", now).is_err());
        now += Duration::from_secs(100);
        assert_eq!(
            (0..10).filter(|_| rates.admit("ann", now).is_ok()).count(),
            3
        );
    }

    #[test]
    fn a_busy_caller_does_not_limit_other_callers() {
        let (rates, now) = rates(60, 20);
        let busy: Vec<_> = (0..50).map(|number| format!("busy {number}")).collect();
        for who in &busy {
            while rates.admit(who, now).is_ok() {}
        }
        let refused =
            (0..2000).filter(|number| rates.admit(&format!("calm {number}"), now).is_err());
        // With 50 busy callers, about one in 27,000 subjects has only exhausted buckets.
        assert!(refused.count() <= 1);
    }

    #[test]
    fn a_rate_of_zero_disables_the_limit() {
        assert!(Rates::new(Rate::default(), Instant::now()).is_none());
    }

    proptest! {
        #[test]
        fn admits_at_most_the_burst_and_the_refilled_tokens(
            per_minute in 1..100_000u32, burst in 1..50u32,
            pauses in prop::collection::vec(0..50_000u64, 1..200)
        ) {
            let (rates, began) = rates(per_minute, burst);
            let (mut now, mut admitted) = (began, 0u64);
            for pause in pauses {
                now += Duration::from_micros(pause);
                match rates.admit("ann", now) {
                    Ok(()) => admitted += 1,
                    // A caller who waits for the returned time is admitted.
                    Err(wait) => {
                        now += wait;
                        prop_assert!(rates.admit("ann", now).is_ok());
                        admitted += 1;
                    }
                }
                let passed = u64::try_from((now - began).as_micros()).unwrap();
                let refilled = passed / (60_000_000 / u64::from(per_minute));
                prop_assert!(admitted <= u64::from(burst) + refilled);
            }
        }
    }
}
