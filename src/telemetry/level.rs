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
    let (filter, handle) = reload::Layer::new(filter_of(configured));
    // A second start of the log changes nothing, and its filter is nobody's.
    let _ = LEVEL.set(Level {
        filter: handle,
        configured: configured.to_owned(),
        more_until: Mutex::new(None),
    });
    filter
}

/// The text was checked when the configuration was read; should the two ever disagree, a log is better than none.
fn filter_of(text: &str) -> EnvFilter {
    EnvFilter::try_new(text).unwrap_or_else(|_| EnvFilter::new("info"))
}

/// More, or again what is configured. Must run inside a tokio runtime.
pub fn toggle() {
    let Some(level) = LEVEL.get() else { return };
    let now = Instant::now();
    let until = {
        let mut more_until = level.more_until.lock().unwrap_or_else(PoisonError::into_inner);
        let is_on = more_until.is_some_and(|until| now < until);
        *more_until = (!is_on).then(|| now + MORE_FOR);
        *more_until
    };
    let Some(until) = until else {
        return level.back("SIGUSR1");
    };
    if level.set(MORE) {
        tracing::info!(
            "SIGUSR1: logging at {MORE} for {} minutes; another one ends it",
            MORE_FOR.as_secs() / 60
        );
    }
    tokio::spawn(async move {
        tokio::time::sleep_until(until).await;
        let mut more_until = level.more_until.lock().unwrap_or_else(PoisonError::into_inner);
        // Unless it was ended, or asked for anew, meanwhile.
        if more_until.is_some_and(|latest| latest == until) {
            *more_until = None;
            drop(more_until);
            level.back("the time is over");
        }
    });
}

impl Level {
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
