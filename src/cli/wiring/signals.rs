//! The signals that end a server: the first asks for a good end, the second for a quick one.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// From here on the signals no longer end the process by themselves.
    pub fn caught() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// The name of the next one.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.hangup.recv() => "SIGHUP",
        }
    }
}

/// Until the time is over, or a signal comes.
pub async fn linger(time: Duration) {
    let Ok(mut signals) = Signals::caught() else {
        return;
    };
    // Either way it is over.
    let _ = tokio::time::timeout(time, signals.next()).await;
}
