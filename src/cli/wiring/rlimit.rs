//! How many files may be open. Each connection is one, and most systems begin with 1,024 and allow far more to whoever
//! asks; the API beside this server asks by itself, as all Go programs do.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;

/// Beside connections: the log, the runtime's own, keys being fetched.
const OTHERS: u64 = 64;

/// Asks for as many as there may be, and says so when that is less than the configured connections need.
pub fn allow_all(config: &Config) {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // Refused, the old limit holds.
    let now = setrlimit(Resource::Nofile, raised).map_or(limit.current, |()| limit.maximum);
    let from_clients = u64::try_from(config.server.max_connections).unwrap_or(u64::MAX);
    let to_the_api = u64::try_from(config.api.max_sessions).unwrap_or(u64::MAX);
    let needed = from_clients
        .saturating_add(to_the_api)
        .saturating_add(OTHERS);
    if let Some(now) = now.filter(|now| *now < needed) {
        tracing::warn!(
            "at most {now} files may be open, fewer than server.max_connections and api.max_sessions may need together \
             ({needed}): raise the limit (ulimit -n), or lower these"
        );
    }
}
