//! The start alongside an API that is starting too: the server listens at once, reports over
//! `/readyz` what it waits for, and gives up when the API takes too long.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::api::{ApiClient, NotReadyError};
use crate::cli::exit::{CliError, Exit};
use crate::config::Config;
use crate::telemetry::fields;

/// First and longest interval between two checks; it doubles. A local API starts quickly.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// Resolves if the API has not become ready in time. Never resolves after the API has been ready
/// once: an API that becomes unavailable later is handled call by call.
pub async fn gave_up(api_client: &ApiClient, config: &Config) -> CliError {
    let within = config.api.startup_timeout;
    let started = Instant::now();
    let (mut pause, longest) = PAUSES;
    let mut reported: Option<NotReadyError> = None;
    loop {
        let Err(why) = api_client.ready().await else {
            let waited = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
            tracing::info!(
                { fields::DURATION_MS } = waited,
                "ready: the API takes our calls"
            );
            return std::future::pending().await;
        };
        if !within.is_zero() && started.elapsed() + pause > within {
            let sentence = format!(
                "the API at {} was not ready within api.startup_timeout ({within:?}): {why}; look \
                 at its own log.",
                config.api.base_url
            );
            return CliError::because(Exit::Unavailable, sentence);
        }
        // Logged once per reason, not per check.
        if reported.as_ref() != Some(&why) {
            tracing::info!(
                { fields::REASON } = why.reason(),
                "waiting for the API: {why}"
            );
            reported = Some(why);
        }
        sleep(pause).await;
        pause = longest.min(pause * 2);
    }
}
