//! Names of log fields, declared once. The Go API uses the same names, so that one query finds both
//! sides of a call.

pub const TIME: &str = "time";
pub const LEVEL: &str = "level";
pub const MESSAGE: &str = "msg";
/// The module that logs.
pub const TARGET: &str = "target";
pub const SERVICE: &str = "service";

pub const CORRELATION_ID: &str = "correlation_id";
pub const TENANT: &str = "tenant";
/// The subject of the caller's token.
pub const USER: &str = "user";
pub const TOOL: &str = "tool";
/// The JSON-RPC method of a message that the stdio bridge forwards.
pub const METHOD: &str = "method";
/// The UID of the item that a call is about.
pub const ITEM: &str = "item";
/// The number of operations of a call that makes several.
pub const OPERATIONS: &str = "operations";
pub const OUTCOME: &str = "outcome";
pub const ERROR_CODE: &str = "error_code";
/// Why a caller was rejected.
pub const REASON: &str = "reason";
pub const DURATION_MS: &str = "duration_ms";
/// The parts of a call's duration, in the order in which they occur: see
/// [`telemetry::timings`](super::timings).
pub const AUTH_MS: &str = "auth_ms";
pub const QUEUE_MS: &str = "queue_ms";
pub const SESSION_MS: &str = "session_ms";
pub const API_MS: &str = "api_ms";
pub const REST_MS: &str = "rest_ms";
/// The client's name, as it declares it.
pub const CLIENT: &str = "client";
pub const CLIENT_VERSION: &str = "client_version";
/// The MCP revision of the call.
pub const PROTOCOL: &str = "protocol";
/// The transport of the call: `http`, `sse` or `stdio`.
pub const TRANSPORT: &str = "transport";
/// A response's status, as a number.
pub const STATUS: &str = "status";
pub const ERROR: &str = "error";

/// Reported at shutdown, when the server has drained.
pub const FINISHED: &str = "finished";
pub const SESSIONS_OPENED: &str = "sessions_opened";
pub const SESSIONS_ENDED: &str = "sessions_ended";
pub const SESSIONS_ABANDONED: &str = "sessions_abandoned";

/// Of the audit trail: the kind of a line, its chain and number, the hash of the last line, and
/// what was lost.
pub const EVENT: &str = "event";
pub const CHAIN: &str = "chain";
pub const SEQ: &str = "seq";
pub const HEAD: &str = "head";
pub const LINES: &str = "lines";
pub const BYTES: &str = "bytes";

/// A background task, and the source location of a panic.
pub const TASK: &str = "task";
pub const LOCATION: &str = "location";

pub const EXIT_CODE: &str = "exit_code";

pub const VERSION: &str = "version";
pub const REVISION: &str = "revision";
pub const TARGET_TRIPLE: &str = "target_triple";
pub const ADDRESS: &str = "address";
pub const API_BASE_URL: &str = "api_base_url";
pub const VERIFIERS: &str = "verifiers";

/// Redacted when logged. A last line of defence: the rule is never to log them.
pub const FORBIDDEN: &[&str] = &[
    "authorization",
    "token",
    "access_token",
    "bearer",
    "jwt",
    "secret",
    "header_secret",
    "hs256_secret",
    "client_secret",
    "subject_token",
    "signature",
    "session",
    "session_id",
    "cursor",
    "arguments",
    "payload",
    "body",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documentation_lists_the_fields_that_operators_search() {
        let page = include_str!("../../docs/OPERATIONS.md");
        for name in [
            TIME,
            LEVEL,
            MESSAGE,
            SERVICE,
            CORRELATION_ID,
            TENANT,
            USER,
            TOOL,
            OPERATIONS,
            OUTCOME,
            ERROR_CODE,
            REASON,
            DURATION_MS,
            AUTH_MS,
            QUEUE_MS,
            SESSION_MS,
            API_MS,
            REST_MS,
            CLIENT,
            CLIENT_VERSION,
            PROTOCOL,
            TRANSPORT,
            ERROR,
        ] {
            assert!(page.contains(&format!("`{name}`")), "{name}");
        }
    }
}
