//! Measures how the time of a call is spent.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// A part of a call that is measured separately.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Authenticating the caller: verifying the token and exchanging it.
    Auth,
    /// Waiting in the concurrency limit.
    Queue,
    /// Opening a session of the API.
    Session,
    /// Requests to the API.
    Api,
}

/// Time per stage, summed over the call. Concurrent requests may add up to more than the call's
/// duration.
#[derive(Debug, Default)]
pub struct Spent([AtomicU64; 4]);

impl Spent {
    pub fn add(&self, stage: Stage, time: Duration) {
        let microseconds = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        if let Some(sum) = self.0.get(stage as usize) {
            sum.fetch_add(microseconds, Ordering::Relaxed);
        }
    }

    pub fn on(&self, stage: Stage) -> Duration {
        let sum = self.0.get(stage as usize);
        Duration::from_micros(
            sum.map(|sum| sum.load(Ordering::Relaxed))
                .unwrap_or_default(),
        )
    }

    /// Starts a timer that adds its time when it is dropped, so that cancelled work counts too.
    pub fn during(&self, stage: Stage) -> During<'_> {
        During {
            spent: self,
            stage,
            since: Instant::now(),
        }
    }
}

#[derive(Debug)]
#[must_use]
pub struct During<'a> {
    spent: &'a Spent,
    stage: Stage,
    since: Instant,
}

impl Drop for During<'_> {
    fn drop(&mut self) {
        self.spent.add(self.stage, self.since.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn sums_time_by_stage_and_counts_cancelled_work() {
        let spent = Spent::default();
        spent.add(Stage::Auth, Duration::from_millis(2));
        for _ in 0..2 {
            let _opening = spent.during(Stage::Session);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let given_up = async {
            let _waiting = spent.during(Stage::Queue);
            std::future::pending::<()>().await;
        };
        assert!(
            tokio::time::timeout(Duration::from_millis(7), given_up)
                .await
                .is_err()
        );
        let all = [Stage::Auth, Stage::Queue, Stage::Session, Stage::Api];
        assert_eq!(all.map(|stage| spent.on(stage).as_millis()), [2, 7, 10, 0]);
    }
}
