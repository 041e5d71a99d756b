//! One point in time by which a call must have its answer, whatever it does until then.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;
use tokio::time::error::Elapsed;

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

    pub async fn limit<T>(self, work: impl Future<Output = T>) -> Result<T, Elapsed> {
        tokio::time::timeout_at(self.0, work).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
