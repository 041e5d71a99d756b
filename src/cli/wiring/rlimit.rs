//! Raises the limit of open files. Each connection needs one, and the soft limit is often 1,024
//! while the hard limit is far higher. Go programs, such as the API, do the same by default.

use crate::config::Config;
use crate::foundation::platform;

/// Files besides connections: the log, the runtime's own, key fetches.
const OTHERS: u64 = 64;

/// Raises the soft limit to the hard limit, and warns if that is below what the configured
/// connections need.
pub fn allow_all(config: &Config) {
    let now = platform::raise_file_limit();
    let from_clients = u64::try_from(config.server.max_connections).unwrap_or(u64::MAX);
    let to_the_api = u64::try_from(config.api.max_sessions).unwrap_or(u64::MAX);
    let needed = from_clients
        .saturating_add(to_the_api)
        .saturating_add(OTHERS);
    if let Some(now) = now.filter(|now| *now < needed) {
        tracing::warn!(
            "at most {now} files may be open, fewer than server.max_connections and \
             api.max_sessions may need together ({needed}): raise the limit (ulimit -n), or lower \
             these"
        );
    }
}
