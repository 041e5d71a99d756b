//! The start beside an API that starts too: this server listens at once, says over `/readyz` what it waits for, and
//! gives up when the API takes too long.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::api::{ApiClient, NotReadyError};
use crate::cli::exit::{CliError, Exit};
use crate::config::Config;
use crate::telemetry::fields;

/// Between two looks: the first pause, which doubles, and the longest. An API on the same machine is soon there.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// Resolves when the API has not become ready in time. Once it has been ready this is over: an API that goes away later
/// is waited for, call by call.
pub async fn gave_up(upstream: &ApiClient, config: &Config) -> CliError {
    let within = config.api.startup_timeout;
    let begun = Instant::now();
    let (mut pause, longest) = PAUSES;
    let mut said: Option<NotReadyError> = None;
    loop {
        let Err(why) = upstream.ready().await else {
            let waited = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            tracing::info!(
                { fields::DURATION_MS } = waited,
                "ready: the API takes our calls"
            );
            return std::future::pending().await;
        };
        if !within.is_zero() && begun.elapsed() + pause > within {
            let sentence = format!(
                "the API at {} was not ready within api.startup_timeout ({within:?}): {why}; look at its own log.",
                config.api.base_url
            );
            return CliError::because(Exit::Unavailable, sentence);
        }
        // Once for each reason, not for each look.
        if said.as_ref() != Some(&why) {
            tracing::info!(
                { fields::REASON } = why.reason(),
                "waiting for the API: {why}"
            );
            said = Some(why);
        }
        sleep(pause).await;
        pause = longest.min(pause * 2);
    }
}
