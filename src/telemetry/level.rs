//! How much is logged, changed while the program runs.
//!
//! By a signal, since a signal asks for no port, no credential and no program in the image: whoever may signal the process
//! may also read its log. It is SIGUSR1, which many servers take for this. What it switches on switches itself off, so that
//! nobody finds a full disk who had forgotten about it. What may never be logged is not at any level, and libraries that
//! would print what they carry stay held.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing_subscriber::{EnvFilter, Registry, reload};

use super::tasks;

/// What is in force while more is asked for.
const MORE: &str = "debug";

/// How long it stays so.
pub const MORE_FOR: Duration = Duration::from_secs(15 * 60);

static LEVEL: OnceLock<Level> = OnceLock::new();

#[derive(Debug)]
struct Level {
    filter: reload::Handle<EnvFilter, Registry>,
    configured: String,
    /// Until when more is logged.
    more_until: Mutex<Option<Instant>>,
}

/// The filter of the log, which can be changed from now on.
pub fn changeable(configured: &str) -> reload::Layer<EnvFilter, Registry> {
    let (filter, level) = made(configured);
    // A second start of the log changes nothing, and its filter is nobody's.
    let _ = LEVEL.set(level);
    filter
}

fn made(configured: &str) -> (reload::Layer<EnvFilter, Registry>, Level) {
    let (filter, handle) = reload::Layer::new(filter_of(configured));
    let level = Level {
        filter: handle,
        configured: configured.to_owned(),
        more_until: Mutex::new(None),
    };
    (filter, level)
}

/// The text was checked when the configuration was read; should the two ever disagree, a log is better than none.
fn filter_of(text: &str) -> EnvFilter {
    EnvFilter::try_new(text).unwrap_or_else(|_| EnvFilter::new("info"))
}

/// More, or again what is configured. Must run inside a tokio runtime.
pub fn toggle() {
    if let Some(level) = LEVEL.get() {
        level.toggle();
    }
}

impl Level {
    fn toggle(&'static self) {
        let now = Instant::now();
        let until = {
            let mut more_until = self
                .more_until
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            *more_until = more_until.is_none().then(|| now + MORE_FOR);
            *more_until
        };
        let Some(until) = until else {
            return self.back("SIGUSR1");
        };
        if self.set(MORE) {
            tracing::info!(
                "SIGUSR1: logging at {MORE} for {} minutes; another one ends it",
                MORE_FOR.as_secs() / 60
            );
        }
        tasks::spawn("log_level", async move {
            tokio::time::sleep_until(until).await;
            let mut more_until = self
                .more_until
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            // Unless it was ended, or asked for anew, meanwhile.
            if *more_until == Some(until) {
                *more_until = None;
                drop(more_until);
                self.back("the time is over");
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

    fn back(&self, why: &str) {
        // Said first: afterwards it might be too low.
        tracing::info!("{why}: logging at {} again", self.configured);
        self.set(&self.configured);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn more_is_logged_for_a_while_or_until_it_is_ended() {
        let (_filter, level) = made("warn,toolbridge_mcp=info");
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
        // The time of one that was ended is not the end of the next.
        tokio::time::sleep(MORE_FOR / 2).await;
        level.toggle();
        tokio::time::sleep(MORE_FOR / 2 + Duration::from_secs(1)).await;
        assert_eq!(now(), MORE);
    }
}
