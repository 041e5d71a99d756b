//! Changes the log level while the program runs.
//!
//! The control is SIGUSR1, a convention of many servers: a signal needs no port, no credential and
//! no extra program in the image, and a user who may signal the process may also read its log. The
//! level returns to the configured one after [`MORE_FOR`], so that a forgotten switch does not fill
//! the disk. Secrets are not logged at any level, and libraries that print what they carry stay
//! limited.

use std::sync::OnceLock;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tracing_subscriber::{EnvFilter, Registry, reload};

use super::tasks;

/// The level while more logging is switched on.
const MORE: &str = "debug";

/// How long more logging stays on.
pub const MORE_FOR: Duration = Duration::from_secs(15 * 60);

static LEVEL: OnceLock<Level> = OnceLock::new();

#[derive(Debug)]
struct Level {
    filter: reload::Handle<EnvFilter, Registry>,
    configured: String,
    /// When more logging ends; `None` while the configured level is in force.
    more_until: Mutex<Option<Instant>>,
}

/// Returns the filter of the log and registers it for [`toggle`].
pub fn changeable(configured: &str) -> reload::Layer<EnvFilter, Registry> {
    let (filter, level) = new_level(configured);
    // A second start of the log changes nothing; its filter is unused.
    let _ = LEVEL.set(level);
    filter
}

fn new_level(configured: &str) -> (reload::Layer<EnvFilter, Registry>, Level) {
    let (filter, handle) = reload::Layer::new(filter_of(configured));
    let level = Level {
        filter: handle,
        configured: configured.to_owned(),
        more_until: Mutex::new(None),
    };
    (filter, level)
}

/// The configuration has validated the text. The fallback only covers a disagreement between the
/// two parsers.
fn filter_of(text: &str) -> EnvFilter {
    EnvFilter::try_new(text).unwrap_or_else(|_| EnvFilter::new("info"))
}

/// Switches between more logging and the configured level. Must run inside a tokio runtime.
pub fn toggle() {
    if let Some(level) = LEVEL.get() {
        level.toggle();
    }
}

impl Level {
    fn toggle(&'static self) {
        let now = Instant::now();
        let until = {
            let mut more_until = self.more_until.lock();
            *more_until = more_until.is_none().then(|| now + MORE_FOR);
            *more_until
        };
        let Some(until) = until else {
            return self.restore("SIGUSR1");
        };
        if self.set(MORE) {
            tracing::info!(
                "SIGUSR1: logging at {MORE} for {} minutes; another one ends it",
                MORE_FOR.as_secs() / 60
            );
        }
        tasks::spawn("log_level", async move {
            tokio::time::sleep_until(until).await;
            let mut more_until = self.more_until.lock();
            // Does nothing if this period was ended, or another begun, meanwhile.
            if *more_until == Some(until) {
                *more_until = None;
                drop(more_until);
                self.restore("the time is over");
            }
        });
    }

    fn set(&self, text: &str) -> bool {
        let changed = self.filter.reload(filter_of(text));
        if let Err(error) = &changed {
            tracing::warn!(%error, "the log level could not be changed");
        }
        changed.is_ok()
    }

    fn restore(&self, why: &str) {
        // Logged before the change: the configured level may suppress it.
        tracing::info!("{why}: logging at {} again", self.configured);
        self.set(&self.configured);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn more_logging_ends_after_its_period_or_on_a_second_signal() {
        let (_filter, level) = new_level("warn,toolbridge_mcp=info");
        let level: &'static Level = Box::leak(Box::new(level));
        let now = || level.filter.with_current(ToString::to_string).unwrap();
        let configured = now();
        assert!(configured.contains("warn"));
        level.toggle();
        assert_eq!(now(), MORE);
        tokio::time::sleep(MORE_FOR - Duration::from_secs(1)).await;
        assert_eq!(now(), MORE);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(now(), configured, "it ends by itself");

        level.toggle();
        level.toggle();
        assert_eq!(now(), configured, "and when it is told to");
        // The timer of a period that was ended must not end the next one.
        tokio::time::sleep(MORE_FOR / 2).await;
        level.toggle();
        tokio::time::sleep(MORE_FOR / 2 + Duration::from_secs(1)).await;
        assert_eq!(now(), MORE);
    }
}
