//! Names of log fields, declared once. The Go API uses the same ones, so that one query finds both sides of a call.

pub const TIME: &str = "time";
pub const LEVEL: &str = "level";
pub const MESSAGE: &str = "msg";
/// The module that speaks.
pub const TARGET: &str = "target";
pub const SERVICE: &str = "service";

pub const CORRELATION_ID: &str = "correlation_id";
pub const TENANT: &str = "tenant";
/// The subject of the caller's token.
pub const USER: &str = "user";
pub const TOOL: &str = "tool";
/// Of a message that a bridge carries.
pub const METHOD: &str = "method";
/// The UID of what a call is about.
pub const ITEM: &str = "item";
pub const OUTCOME: &str = "outcome";
pub const ERROR_CODE: &str = "error_code";
/// Why a caller was refused.
pub const REASON: &str = "reason";
pub const DURATION_MS: &str = "duration_ms";
/// The parts of a call's duration, in the order in which they happen: see `telemetry::stages`.
pub const AUTH_MS: &str = "auth_ms";
pub const QUEUE_MS: &str = "queue_ms";
pub const SESSION_MS: &str = "session_ms";
pub const API_MS: &str = "api_ms";
pub const REST_MS: &str = "rest_ms";
/// What the client calls itself.
pub const CLIENT: &str = "client";
pub const CLIENT_VERSION: &str = "client_version";
/// The revision of MCP that the call was made in.
pub const PROTOCOL: &str = "protocol";
/// How it came: `http`, `sse` or `stdio`.
pub const TRANSPORT: &str = "transport";
/// Of an answer, as a number.
pub const STATUS: &str = "status";
pub const ERROR: &str = "error";

/// What a server that leaves tells of its drain.
pub const FINISHED: &str = "finished";
pub const SESSIONS_OPENED: &str = "sessions_opened";
pub const SESSIONS_ENDED: &str = "sessions_ended";
pub const SESSIONS_ABANDONED: &str = "sessions_abandoned";

/// What a line of the audit trail is about, and what the log tells of the trail: its last line, and what went wrong.
pub const EVENT: &str = "event";
pub const CHAIN: &str = "chain";
pub const SEQ: &str = "seq";
pub const HEAD: &str = "head";
pub const LINES: &str = "lines";
pub const BYTES: &str = "bytes";

/// Work in the background, and where in the source something happened.
pub const TASK: &str = "task";
pub const PLACE: &str = "place";

pub const EXIT_CODE: &str = "exit_code";

pub const VERSION: &str = "version";
pub const REVISION: &str = "revision";
pub const TARGET_TRIPLE: &str = "target_triple";
pub const ADDRESS: &str = "address";
pub const API_BASE_URL: &str = "api_base_url";
pub const VERIFIERS: &str = "verifiers";

/// Written as redacted, should anybody ever log one: the last net, not the rule.
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
    fn the_documentation_has_the_fields_that_operators_look_for() {
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
