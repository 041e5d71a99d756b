//! The signals that stop a server: the first one gracefully, the second one at once.

use std::time::Duration;

pub use crate::foundation::platform::Signals;

/// Waits for `time` or until a signal arrives.
pub async fn wait_or_signal(time: Duration) {
    let Ok(mut signals) = Signals::caught() else {
        return;
    };
    // Both outcomes end the wait.
    let _ = tokio::time::timeout(time, signals.next()).await;
}
