//! One point in time by which a call must have its answer, whatever it does until then.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;
use tokio::time::error::Elapsed;

/// The longest time that the contract lets anybody name, in milliseconds.
const LONGEST_TOLD_MS: u64 = 600_000;

/// What an answer may need for its way here.
const WAY_BACK: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    pub fn after(duration: Duration) -> Self {
        Self(Instant::now() + duration)
    }

    /// Zero once it has passed.
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    pub fn limit<T>(
        self,
        work: impl Future<Output = T>,
    ) -> impl Future<Output = Result<T, Elapsed>> {
        tokio::time::timeout_at(self.0, work)
    }
}

/// The milliseconds that the API is told it has, where its answer is waited for so long.
///
/// They are a little less: an API that gives up says that nothing was changed, which is worth more than silence, and
/// has to come while somebody listens.
pub(crate) fn told_ms(waited_for: Duration) -> u64 {
    let told = waited_for - WAY_BACK.min(waited_for / 2);
    u64::try_from(told.as_millis())
        .unwrap_or(LONGEST_TOLD_MS)
        .clamp(1, LONGEST_TOLD_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_is_told_a_little_less_and_always_something_that_the_contract_has() {
        for (waited_for, told) in [
            (Duration::from_secs(10), 9_900),
            (Duration::from_millis(150), 75),
            (Duration::from_millis(1), 1),
            (Duration::ZERO, 1),
            (Duration::from_secs(3600), LONGEST_TOLD_MS),
            (Duration::MAX, LONGEST_TOLD_MS),
        ] {
            assert_eq!(told_ms(waited_for), told, "{waited_for:?}");
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
