//! The point in time at which a call gives up, shared by all its steps.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;
use tokio::time::error::Elapsed;

/// The largest `X-TB-Timeout-MS` that the API contract allows.
const MAX_TIMEOUT_MS: u64 = 600_000;

/// Time reserved for the answer to travel back.
const RETURN_MARGIN: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    pub fn after(duration: Duration) -> Self {
        Self(Instant::now() + duration)
    }

    /// Time left; zero once the deadline has passed.
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Runs `work` until the deadline.
    pub fn limit<T>(
        self,
        work: impl Future<Output = T>,
    ) -> impl Future<Output = Result<T, Elapsed>> {
        tokio::time::timeout_at(self.0, work)
    }
}

/// The `X-TB-Timeout-MS` to send when the caller waits for `waited_for`.
///
/// It is slightly shorter than the wait: an API that gives up answers that nothing was changed, and
/// that answer must arrive before the caller stops waiting.
pub(crate) fn timeout_header_ms(waited_for: Duration) -> u64 {
    let timeout = waited_for - RETURN_MARGIN.min(waited_for / 2);
    u64::try_from(timeout.as_millis())
        .unwrap_or(MAX_TIMEOUT_MS)
        .clamp(1, MAX_TIMEOUT_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_slightly_below_the_wait_and_within_the_contract() {
        for (waited_for, timeout) in [
            (Duration::from_secs(10), 9_900),
            (Duration::from_millis(150), 75),
            (Duration::from_millis(1), 1),
            (Duration::ZERO, 1),
            (Duration::from_secs(3600), MAX_TIMEOUT_MS),
            (Duration::MAX, MAX_TIMEOUT_MS),
        ] {
            assert_eq!(timeout_header_ms(waited_for), timeout, "{waited_for:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_deadline_covers_several_steps() {
        let deadline = Deadline::after(Duration::from_secs(25));
        deadline
            .limit(tokio::time::sleep(Duration::from_secs(20)))
            .await
            .unwrap();
        assert_eq!(deadline.remaining(), Duration::from_secs(5));
        assert!(
            deadline
                .limit(tokio::time::sleep(Duration::from_secs(20)))
                .await
                .is_err()
        );
        assert_eq!(deadline.remaining(), Duration::ZERO);
    }
}
