//! How many calls one person may make in a minute.
//!
//! Each person has a token bucket, kept as one number: the time at which it will be full again. There is a table of so many
//! of them, and a hash of the subject says which two are a person's. Each call takes from both and is refused
//! only if both are empty, so that somebody who happens to share one bucket with a busy person does not notice. Thus a
//! crowd of strangers takes no memory, a call takes no lock, and what somebody did is forgotten by itself.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Of two people, one in 16,384² shares both buckets with the other.
const BUCKETS: usize = 1 << 14;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rate {
    /// 0: as many as they like.
    pub per_minute: u32,
    /// So many at once.
    pub burst: u32,
}

#[derive(Debug)]
pub(super) struct Rates {
    began: Instant,
    /// When each bucket is full again, in microseconds since the beginning.
    full_at: Box<[AtomicU64]>,
    /// Nobody outside can know whose buckets are whose.
    hasher: RandomState,
    /// How long one call takes to come back, and all of a bucket but one.
    one: u64,
    most: u64,
}

impl Rates {
    /// `None` where there is no limit.
    pub fn new(rate: Rate, now: Instant) -> Option<Self> {
        let one = 60_000_000_u64.checked_div(rate.per_minute.into())?;
        Some(Self {
            began: now,
            full_at: std::iter::repeat_with(AtomicU64::default)
                .take(BUCKETS)
                .collect(),
            hasher: RandomState::new(),
            one,
            most: one * u64::from(rate.burst.max(1) - 1),
        })
    }

    /// Or else how long to wait for the next call.
    pub fn admit(&self, who: &str, now: Instant) -> Result<(), Duration> {
        let now = u64::try_from(now.saturating_duration_since(self.began).as_micros())
            .unwrap_or(u64::MAX);
        let waits = self.buckets_of(who).map(|bucket| self.take(bucket, now));
        match waits.into_iter().min() {
            Some(wait @ 1..) => Err(Duration::from_micros(wait)),
            _ => Ok(()),
        }
    }

    /// Two different ones.
    fn buckets_of(&self, who: &str) -> [usize; 2] {
        let hash = usize::try_from(self.hasher.hash_one(who)).unwrap_or_default();
        let (one, distance) = (hash % BUCKETS, hash / BUCKETS % (BUCKETS - 1) + 1);
        [one, (one + distance) % BUCKETS]
    }

    /// 0, or how long until there is something in it.
    fn take(&self, bucket: usize, now: u64) -> u64 {
        let Some(full_at) = self.full_at.get(bucket) else {
            return 0;
        };
        let emptier = |full_at: u64| {
            let full_at = full_at.max(now);
            (full_at - now <= self.most).then_some(full_at + self.one)
        };
        match full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, emptier) {
            Ok(_) => 0,
            Err(full_at) => full_at - now - self.most,
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
    fn a_burst_and_then_one_after_the_other() {
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
    fn what_one_does_is_nothing_to_another() {
        let (rates, now) = rates(60, 20);
        let busy: Vec<_> = (0..50).map(|number| format!("busy {number}")).collect();
        for who in &busy {
            while rates.admit(who, now).is_ok() {}
        }
        let refused =
            (0..2000).filter(|number| rates.admit(&format!("calm {number}"), now).is_err());
        // Both buckets of one in some 27,000 are among those of the busy.
        assert!(refused.count() <= 1);
    }

    #[test]
    fn there_need_be_no_limit() {
        assert!(Rates::new(Rate::default(), Instant::now()).is_none());
    }

    proptest! {
        #[test]
        fn nobody_gets_more_than_the_burst_and_what_came_back(
            per_minute in 1..100_000u32, burst in 1..50u32, pauses in prop::collection::vec(0..50_000u64, 1..200)
        ) {
            let (rates, began) = rates(per_minute, burst);
            let (mut now, mut admitted) = (began, 0u64);
            for pause in pauses {
                now += Duration::from_micros(pause);
                match rates.admit("ann", now) {
                    Ok(()) => admitted += 1,
                    // Whoever waits as long as they are told gets in.
                    Err(wait) => {
                        now += wait;
                        prop_assert!(rates.admit("ann", now).is_ok());
                        admitted += 1;
                    }
                }
                let passed = u64::try_from((now - began).as_micros()).unwrap();
                prop_assert!(admitted <= u64::from(burst) + passed / (60_000_000 / u64::from(per_minute)));
            }
        }
    }
}
