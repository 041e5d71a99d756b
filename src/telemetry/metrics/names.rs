//! Every metric, declared once: its name, kind, labels and label values. The table in
//! `docs/OPERATIONS.md` is generated from [`ALL`].
//!
//! Label values come from fixed lists and never from a caller, which bounds the number of series.
//! An unknown tool counts as [`UNKNOWN`], and a value outside an open-ended list as [`OTHER`].

/// The label value for a tool name that does not exist.
pub const UNKNOWN: &str = "unknown";
/// The label value for anything outside its list.
pub const OTHER: &str = "other";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// One metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    pub help: &'static str,
}

const fn metric(
    kind: Kind,
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Name {
    Name {
        name,
        kind,
        labels,
        help,
    }
}

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Name {
    metric(Kind::Counter, name, labels, help)
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Name {
    metric(Kind::Gauge, name, labels, help)
}

const fn histogram(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Name {
    metric(Kind::Histogram, name, labels, help)
}

pub const TOOL_INVOCATIONS: Name = counter(
    "mcp_tool_invocations_total",
    &["tool", "outcome"],
    "Tool calls that have ended.",
);
pub const TOOL_DURATION: Name = histogram(
    "mcp_tool_duration_seconds",
    &["tool"],
    "Duration of tool calls, from the token to the result.",
);
pub const TOOL_STAGE: Name = histogram(
    "toolbridge_mcp_tool_stage_duration_seconds",
    &["stage"],
    "The parts of that duration: verifying the token, waiting for a concurrency limit, opening a \
     session, the requests, the rest.",
);
pub const TOOL_ERRORS: Name = counter(
    "toolbridge_mcp_tool_errors_total",
    &["category"],
    "Tool calls that ended in an error, by category.",
);
pub const BATCH_OPERATIONS: Name = counter(
    "toolbridge_mcp_batch_operations_total",
    &["outcome"],
    "Operations of batches that have ended, by the outcome of the batch.",
);
pub const CALLS_IN_FLIGHT: Name = gauge(
    "toolbridge_mcp_tool_calls_in_flight",
    &[],
    "Tool calls in progress.",
);
pub const CALLS_WAITING: Name = gauge(
    "toolbridge_mcp_tool_calls_waiting",
    &[],
    "Tool calls that wait for a concurrency limit.",
);
pub const API_REQUESTS: Name = counter(
    "toolbridge_mcp_api_requests_total",
    &["route", "method", "status"],
    "Requests to the API, by status, or by the reason for there being none.",
);
pub const API_DURATION: Name = histogram(
    "toolbridge_mcp_api_request_duration_seconds",
    &["route", "method"],
    "Duration of requests to the API, up to the end of the answer.",
);
pub const RETRIES: Name = counter(
    "toolbridge_mcp_retries_total",
    &["reason"],
    "Repeated requests to the API, by the outcome of the attempt before: a status, no answer, or a \
     lost session.",
);
pub const BREAKER_STATE: Name = gauge(
    "toolbridge_mcp_breaker_state",
    &["state"],
    "1 for the current state of the circuit breaker, 0 for the others.",
);
pub const BREAKER_CHANGES: Name = counter(
    "toolbridge_mcp_breaker_changes_total",
    &["to"],
    "State changes of the circuit breaker.",
);
pub const LIMIT_REFUSALS: Name = counter(
    "toolbridge_mcp_limit_refusals_total",
    &["limit"],
    "Refusals by a limit.",
);
pub const SESSIONS_OPENED: Name = counter(
    "toolbridge_mcp_sessions_opened_total",
    &[],
    "Sessions opened at the API.",
);
pub const SESSIONS_ENDED: Name = counter(
    "toolbridge_mcp_sessions_ended_total",
    &[],
    "Sessions ended at the API, or found to be gone.",
);
pub const SESSIONS_ABANDONED: Name = counter(
    "toolbridge_mcp_sessions_abandoned_total",
    &[],
    "Sessions that could not be ended, and will expire.",
);
pub const SESSIONS_OPEN: Name = gauge(
    "toolbridge_mcp_sessions_open",
    &[],
    "Sessions in use or waiting to be ended.",
);
pub const AUTH_FAILURES: Name = counter(
    "toolbridge_mcp_auth_failures_total",
    &["reason"],
    "Requests without a valid token.",
);
pub const SCOPE_REFUSALS: Name = counter(
    "toolbridge_mcp_scope_refusals_total",
    &["reason"],
    "Calls of tools that are excluded by the token's scopes (insufficient_scope), or by the \
     server's settings or the request (narrowed).",
);
pub const KEY_REFRESHES: Name = counter(
    "toolbridge_mcp_key_refreshes_total",
    &["outcome"],
    "Fetches of the key set that verifies tokens.",
);
pub const TOKEN_EXCHANGES: Name = counter(
    "toolbridge_mcp_token_exchanges_total",
    &["outcome"],
    "Exchanges of a caller's token for one of the API's.",
);
pub const REQUESTS: Name = counter(
    "toolbridge_mcp_requests_total",
    &["transport", "status"],
    "HTTP requests answered, by path and status class.",
);
pub const CONNECTIONS_OPEN: Name =
    gauge("toolbridge_mcp_connections_open", &[], "Open connections.");
pub const STREAMS_OPEN: Name = gauge(
    "toolbridge_mcp_streams_open",
    &[],
    "Open streams of the transport of 2024-11-05.",
);
pub const AUDIT_LINES: Name = counter(
    "toolbridge_mcp_audit_lines_total",
    &["outcome"],
    "Lines of the audit trail, written or lost.",
);
pub const AUDIT_STUCK: Name = gauge(
    "toolbridge_mcp_audit_stuck",
    &[],
    "1 while the audit trail cannot be written and its lines wait.",
);
pub const TASK_PANICS: Name = counter(
    "toolbridge_mcp_task_panics_total",
    &["task"],
    "Panics of background tasks, which continue.",
);
pub const READINESS: Name = gauge(
    "toolbridge_mcp_readiness",
    &["state"],
    "1 for the state that /readyz reports, 0 for the others; checked at each scrape.",
);
pub const BUILD_INFO: Name = gauge(
    "toolbridge_mcp_build_info",
    &["version", "revision"],
    "Always 1; the labels identify the build.",
);

/// Label of the process metrics, whose names are Prometheus' conventional ones. Both programs of a
/// tenant export them, and where one target covers both, as on Fly, only this label distinguishes
/// them.
const PROCESS: &[&str] = &["service"];

pub const PROCESS_CPU: Name = counter(
    "process_cpu_seconds_total",
    PROCESS,
    "CPU time, user and system.",
);
pub const PROCESS_RSS: Name = gauge("process_resident_memory_bytes", PROCESS, "Resident memory.");
pub const PROCESS_VIRTUAL: Name = gauge("process_virtual_memory_bytes", PROCESS, "Virtual memory.");
pub const PROCESS_FDS: Name = gauge("process_open_fds", PROCESS, "Open file descriptors.");
pub const PROCESS_MAX_FDS: Name = gauge(
    "process_max_fds",
    PROCESS,
    "Limit on open file descriptors.",
);
pub const PROCESS_START: Name = gauge(
    "process_start_time_seconds",
    PROCESS,
    "Start time of the process, in Unix time.",
);

/// In the order of the documentation.
#[cfg(test)]
pub const ALL: &[&Name] = &[
    &TOOL_INVOCATIONS,
    &TOOL_DURATION,
    &TOOL_STAGE,
    &TOOL_ERRORS,
    &BATCH_OPERATIONS,
    &CALLS_IN_FLIGHT,
    &CALLS_WAITING,
    &API_REQUESTS,
    &API_DURATION,
    &RETRIES,
    &BREAKER_STATE,
    &BREAKER_CHANGES,
    &LIMIT_REFUSALS,
    &SESSIONS_OPENED,
    &SESSIONS_ENDED,
    &SESSIONS_ABANDONED,
    &SESSIONS_OPEN,
    &AUTH_FAILURES,
    &SCOPE_REFUSALS,
    &KEY_REFRESHES,
    &TOKEN_EXCHANGES,
    &REQUESTS,
    &CONNECTIONS_OPEN,
    &STREAMS_OPEN,
    &AUDIT_LINES,
    &AUDIT_STUCK,
    &TASK_PANICS,
    &READINESS,
    &BUILD_INFO,
    &PROCESS_CPU,
    &PROCESS_RSS,
    &PROCESS_VIRTUAL,
    &PROCESS_FDS,
    &PROCESS_MAX_FDS,
    &PROCESS_START,
];

/// The values of each label whose list is fixed here.
#[cfg(test)]
pub const LABEL_VALUES: &[(&str, &str, &[&str])] = &[
    (TOOL_INVOCATIONS.name, "outcome", OUTCOMES),
    (TOOL_STAGE.name, "stage", STAGES),
    (TOOL_ERRORS.name, "category", CATEGORIES),
    (BATCH_OPERATIONS.name, "outcome", OUTCOMES),
    (RETRIES.name, "reason", RETRY_REASONS),
    (BREAKER_STATE.name, "state", BREAKER_STATES),
    (BREAKER_CHANGES.name, "to", BREAKER_STATES),
    (LIMIT_REFUSALS.name, "limit", LIMITS),
    (AUTH_FAILURES.name, "reason", AUTH_REASONS),
    (SCOPE_REFUSALS.name, "reason", SCOPE_REASONS),
    (KEY_REFRESHES.name, "outcome", KEY_OUTCOMES),
    (TOKEN_EXCHANGES.name, "outcome", EXCHANGE_OUTCOMES),
    (REQUESTS.name, "transport", TRANSPORTS),
    (REQUESTS.name, "status", STATUS_CLASSES),
    (AUDIT_LINES.name, "outcome", AUDIT_OUTCOMES),
    (TASK_PANICS.name, "task", TASKS),
    (READINESS.name, "state", STATES),
];

pub const OUTCOMES: &[&str] = &[
    "ok",
    "error",
    "refused",
    "out_of_scope",
    "narrowed",
    "unknown_tool",
    "asked",
    "cancelled",
    "panicked",
];
pub const STAGES: &[&str] = &["auth", "queue", "session", "api", "rest"];
pub const CATEGORIES: &[&str] = &[
    "validation",
    "authentication",
    "permission",
    "not_found",
    "conflict",
    "rate_limited",
    "unavailable",
    "timeout",
    "too_large",
    "internal",
    OTHER,
];
pub const RETRY_REASONS: &[&str] = &[
    "unreachable",
    "timed_out",
    "lost",
    "429",
    "502",
    "503",
    "504",
    "session_lost",
];
pub const BREAKER_STATES: &[&str] = &["closed", "open", "half_open"];
/// Why something was rejected: a caller's rate and connections, the queue of calls (length and
/// wait), retries, streams and their calls, sessions, sizes and memory.
pub const LIMITS: &[&str] = &[
    "rate",
    "connections_per_principal",
    "unauthenticated_connections",
    "queue_full",
    "queue_wait",
    "retry_budget",
    "streams",
    "streams_per_principal",
    "calls_per_stream",
    "sessions",
    "questions",
    "request_bytes",
    "request_memory",
    "answer_bytes",
];
pub const AUTH_REASONS: &[&str] = &[
    "missing",
    "malformed",
    "expired",
    "not_yet_valid",
    "bad_signature",
    "wrong_issuer",
    "wrong_audience",
    "unknown_key",
    "algorithm",
    "tenant_mismatch",
    "keys_unavailable",
    OTHER,
];
pub const SCOPE_REASONS: &[&str] = &["insufficient_scope", "narrowed"];
pub const KEY_OUTCOMES: &[&str] = &["ok", "failed"];
pub const EXCHANGE_OUTCOMES: &[&str] = &[
    "ok",
    "refused",
    "denied",
    "misconfigured",
    "unavailable",
    "garbled",
];
/// The group of a path: `/mcp`, the two endpoints of MCP 2024-11-05, the probes, and the rest.
pub const TRANSPORTS: &[&str] = &["mcp", "sse", "messages", "probe", OTHER];
pub const STATUS_CLASSES: &[&str] = &["1xx", "2xx", "3xx", "4xx", "5xx", OTHER];
pub const AUDIT_OUTCOMES: &[&str] = &["written", "lost"];
/// Background tasks. [`OTHER`] is for names that tests make up.
pub const TASKS: &[&str] = &[
    "audit",
    "connection",
    "drain_body",
    "keys",
    "log_level",
    "metrics",
    "question",
    "readiness",
    "session",
    "session_closers",
    "stream",
    "token_exchange",
    "traces",
    OTHER,
];
pub const STATES: &[&str] = &[
    "ready",
    "draining",
    "keys_unavailable",
    "api_unreachable",
    "api_timeout",
    "api_not_ready",
    "signature_refused",
    "signature_version",
    "signature_unchecked",
    "clock_skew",
    OTHER,
];
