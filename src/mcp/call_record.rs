//! Records how a call ended: one line in the log, one in the audit trail, and the metrics.
//!
//! Each `tools/call` that reaches the MCP layer is recorded exactly once, however it ends. A call
//! that a transport rejects is recorded by that transport.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rmcp::RoleServer;
use rmcp::model::{Implementation, ProtocolVersion, RequestMetaObject};
use rmcp::service::{Peer, RequestContext};
use serde_json::Value;
use tokio::time::Instant;
use uuid::Uuid;

use super::caller::{Caller, TransportKind, UnauthenticatedError};
use crate::telemetry::metrics::names::UNKNOWN;
use crate::telemetry::timings::{Spent, Stage};
use crate::telemetry::traces;
use crate::telemetry::traces::{Side, Span, TraceContext, is_traceparent, names};
use crate::telemetry::{audit, fields, metrics};

/// The length to which a client's name and version are truncated.
const MAX_CLIENT_CHARS: usize = 64;

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallEnding {
    Ok,
    /// With an error result.
    Error,
    /// The call failed authentication.
    Refused,
    /// The token lacks the scope.
    OutOfScope,
    /// The server's settings or the filter of the request exclude the tool.
    Narrowed,
    UnknownTool,
    /// With a question to the person behind the client.
    Asked,
    /// The client disconnected or cancelled the call.
    Cancelled,
    Panicked,
}

impl CallEnding {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Error => "error",
            Self::Refused => "refused",
            Self::OutOfScope => "out_of_scope",
            Self::Narrowed => "narrowed",
            Self::UnknownTool => "unknown_tool",
            Self::Asked => "asked",
            Self::Cancelled => "cancelled",
            Self::Panicked => "panicked",
        }
    }

    /// Why the caller was denied the tool, as the value that logs and metrics use.
    fn reason(self) -> Option<&'static str> {
        match self {
            Self::OutOfScope => Some("insufficient_scope"),
            Self::Narrowed => Some("narrowed"),
            _ => None,
        }
    }
}

/// Records a call that a transport has rejected for lack of a scope, in the metrics and the audit
/// trail. The transport writes the log line.
pub fn refused_for_scope(
    tool: &str,
    caller: &Caller,
    message: &RequestMetaObject,
    error_code: &str,
) {
    count_refused(tool, CallEnding::OutOfScope);
    if audit::is_on() {
        let client = message.client_info().map(|client| sanitized(&client.name));
        audit::called(&audit::Call {
            correlation_id: &caller.correlation_id,
            user: &caller.principal.subject,
            client: client.as_deref(),
            transport: caller.transport.as_str(),
            tool,
            item: None,
            operations: None,
            outcome: CallEnding::OutOfScope.as_str(),
            error_code: Some(error_code),
            status: None,
            duration_ms: None,
        });
    }
}

fn count_refused(tool: &str, ending: CallEnding) {
    metrics::tool_called(tool, ending.as_str(), None);
    if let Some(reason) = ending.reason() {
        metrics::access_refused(reason);
    }
}

/// The details of a failed call.
#[derive(Debug, Clone, Copy, Default)]
pub struct FailureDetails<'a> {
    pub code: Option<&'a str>,
    pub category: Option<&'a str>,
    pub status: Option<u16>,
    /// Details that are logged but never sent to the caller.
    pub log_only: Option<&'a str>,
}

/// The parts of a message that describe the client and the call rather than the arguments.
#[derive(Clone, Copy)]
pub struct MessageContext<'a> {
    pub meta: &'a RequestMetaObject,
    pub id: &'a (dyn fmt::Display + Sync),
    /// Set if the connection began with a handshake.
    pub peer: Option<&'a Peer<RoleServer>>,
}

impl<'a> MessageContext<'a> {
    pub fn of(context: &'a RequestContext<RoleServer>, transport: TransportKind) -> Self {
        Self {
            meta: &context.meta,
            id: &context.id,
            // Over stateless HTTP, rmcp creates a peer with its own name, which must not be
            // recorded as the client's.
            peer: (transport != TransportKind::Http).then_some(&context.peer),
        }
    }

    fn client(&self) -> Option<Implementation> {
        let from_handshake = || Some(self.peer?.peer_info()?.client_info.clone());
        self.meta.client_info().or_else(from_handshake)
    }
}

/// The record of a call in flight.
#[derive(Debug)]
pub struct CallRecord {
    tool: String,
    /// Whether the tool may change something.
    writes: bool,
    begun: Instant,
    /// The time that the call took before `begun`.
    earlier: Duration,
    /// The time for which the call waited for a person, in microseconds. It is no part of the
    /// duration.
    waited: Arc<AtomicU64>,
    pub spent: Arc<Spent>,
    /// The item that the call is about, once it is known.
    pub item: OnceLock<Uuid>,
    /// The number of operations of a call that makes several.
    pub operations: OnceLock<usize>,
    protocol: &'static str,
    client: Option<Implementation>,
    /// The caller's `traceparent`, which is forwarded to the API if this server does not trace.
    pub traceparent: Option<Arc<str>>,
    span: Span,
    _in_flight: metrics::GaugeGuard,
}

impl CallRecord {
    /// Starts the record. `tool` must have been truncated, because it is logged.
    pub fn begin(tool: String, protocol: &'static str) -> Self {
        Self {
            tool,
            writes: false,
            begun: Instant::now(),
            earlier: Duration::ZERO,
            waited: Arc::default(),
            spent: Arc::default(),
            item: OnceLock::new(),
            operations: OnceLock::new(),
            protocol,
            client: None,
            traceparent: None,
            span: Span::default(),
            _in_flight: metrics::call_in_flight(),
        }
    }

    /// Sets whether the tool may change something.
    pub fn set_writes(&mut self, writes: bool) {
        self.writes = writes;
    }

    /// Sets the caller, and starts the trace span. The name of a tool that is not `known` is
    /// replaced in the span, to bound the number of span names.
    pub fn set_caller(&mut self, caller: &Caller, message: &MessageContext<'_>, known: bool) {
        self.start_span(
            caller,
            message,
            if known { &self.tool } else { UNKNOWN }.to_owned(),
        );
        self.spent.add(Stage::Auth, caller.verified_in);
        if caller.transport != TransportKind::Stdio {
            self.earlier = caller.verified_in;
        }
        self.client = message.client();
    }

    /// Starts the span of the call. A trace context in the message takes precedence over the one of
    /// the HTTP request, which becomes a link.
    fn start_span(&mut self, caller: &Caller, message: &MessageContext<'_>, tool: String) {
        let traceparent = message.meta.get("traceparent").and_then(Value::as_str);
        let traceparent = traceparent.filter(|text| is_traceparent(text));
        self.traceparent = traceparent
            .map(Arc::from)
            .or_else(|| caller.traceparent.clone());
        let (in_message, none) = (traces::remote_context(traceparent), TraceContext::default());
        let (parent, link) = if in_message.is_known() {
            (&in_message, &caller.trace_context)
        } else {
            (&caller.trace_context, &none)
        };
        let mut span = Span::linked(Side::Server, parent, link, || {
            format!("tools/call {tool}").into()
        });
        if span.is_on() {
            span.set(names::MCP_METHOD, "tools/call");
            span.set(names::OPERATION, "execute_tool");
            span.set(names::TOOL, tool);
            span.set(names::MCP_PROTOCOL, self.protocol);
            span.set(names::JSONRPC_ID, sanitized(&message.id.to_string()));
            span.set(names::CORRELATION_ID, caller.correlation_id.to_string());
            span.set(
                names::NETWORK_TRANSPORT,
                if caller.transport == TransportKind::Stdio {
                    "pipe"
                } else {
                    "tcp"
                },
            );
        }
        self.span = span;
    }

    /// The trace context for requests that are made within the call.
    pub fn trace_context(&self) -> TraceContext {
        self.span.context()
    }

    /// Notes that the call waits for a person, until the result is dropped.
    pub fn waiting(&self) -> Waiting {
        Waiting {
            since: Instant::now(),
            total: Arc::clone(&self.waited),
        }
    }

    /// Records a call that failed authentication.
    pub fn finish_unauthenticated(self, error: &UnauthenticatedError) {
        metrics::tool_called(&self.tool, CallEnding::Refused.as_str(), None);
        tracing::info!(
            { fields::CORRELATION_ID } = %error.correlation_id,
            { fields::TOOL } = self.tool,
            { fields::OUTCOME } = CallEnding::Refused.as_str(),
            { fields::REASON } = error.refusal.reason(),
            { fields::DURATION_MS } = milliseconds(self.begun.elapsed()),
            { fields::PROTOCOL } = self.protocol,
            "{} {}: {}",
            self.tool,
            CallEnding::Refused.as_str(),
            error.refusal,
        );
    }

    /// Records the end of the call. The response must wait until the returned audit line is
    /// durable.
    pub fn finish(
        mut self,
        caller: &Caller,
        tenant: &str,
        ending: CallEnding,
        why: FailureDetails<'_>,
    ) -> audit::Durable {
        let waited = Duration::from_micros(self.waited.load(Ordering::Relaxed));
        let took = (self.earlier + self.begun.elapsed()).saturating_sub(waited);
        let parts = [Stage::Auth, Stage::Queue, Stage::Session, Stage::Api]
            .map(|stage| self.spent.on(stage));
        let rest = took.saturating_sub(parts.iter().sum());
        let [auth, queue, session, api] = parts;
        match ending.reason() {
            // The call was not executed, so its duration is not recorded.
            Some(_) => count_refused(&self.tool, ending),
            None => {
                metrics::tool_called(&self.tool, ending.as_str(), Some(took));
                for (stage, time) in [
                    ("auth", auth),
                    ("queue", queue),
                    ("session", session),
                    ("api", api),
                    ("rest", rest),
                ] {
                    metrics::stage_finished(stage, time);
                }
            }
        }
        if let Some(count) = self.operations.get() {
            metrics::operations_ended(ending.as_str(), *count);
        }
        if let Some(category) = why.category {
            metrics::tool_failed(category);
        }
        if self.span.is_on() {
            self.span.set(names::OUTCOME, ending.as_str());
            match ending {
                CallEnding::Ok | CallEnding::Asked => {}
                // The semantic conventions define this value for an error result.
                CallEnding::Error => self.span.failed("tool_error"),
                other => self.span.failed(other.as_str()),
            }
        }
        let client = self.client.as_ref().map(|client| sanitized(&client.name));
        let line = audit::Call {
            correlation_id: &caller.correlation_id,
            user: &caller.principal.subject,
            client: client.as_deref(),
            transport: caller.transport.as_str(),
            tool: &self.tool,
            item: self.item.get().copied(),
            operations: self.operations.get().copied(),
            outcome: ending.as_str(),
            error_code: why.code,
            status: why.status,
            duration_ms: ending.reason().is_none().then(|| milliseconds(took)),
        };
        // A call that sent nothing to the API changed nothing. A call that was cancelled or failed
        // may have changed something.
        let durable = if self.writes && api > Duration::ZERO {
            audit::wrote(&line)
        } else {
            audit::called(&line);
            audit::Durable::now()
        };
        tracing::info!(
            { fields::CORRELATION_ID } = &*caller.correlation_id,
            { fields::TOOL } = self.tool,
            { fields::TENANT } = tenant,
            { fields::USER } = &*caller.principal.subject,
            { fields::OPERATIONS } = self.operations.get().copied(),
            { fields::OUTCOME } = ending.as_str(),
            { fields::REASON } = ending.reason(),
            { fields::ERROR_CODE } = why.code,
            { fields::ERROR } = why.log_only,
            { fields::DURATION_MS } = milliseconds(took),
            { fields::AUTH_MS } = milliseconds(auth),
            { fields::QUEUE_MS } = milliseconds(queue),
            { fields::SESSION_MS } = milliseconds(session),
            { fields::API_MS } = milliseconds(api),
            { fields::REST_MS } = milliseconds(rest),
            { fields::TRANSPORT } = caller.transport.as_str(),
            { fields::PROTOCOL } = self.protocol,
            { fields::CLIENT } = client,
            { fields::CLIENT_VERSION } = self
                .client
                .as_ref()
                .map(|client| sanitized(&client.version)),
            "{} {}",
            self.tool,
            ending.as_str(),
        );
        durable
    }
}

/// Held while a call waits for a person.
#[derive(Debug)]
pub struct Waiting {
    since: Instant,
    total: Arc<AtomicU64>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let waited = u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.total.fetch_add(waited, Ordering::Relaxed);
    }
}

/// Milliseconds with three decimal places, as in the API's log.
fn milliseconds(time: Duration) -> f64 {
    let microseconds = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
    f64::from(microseconds) / 1000.0
}

/// The protocol revision of a request, or "other" for an unknown one.
pub fn protocol(context: &RequestContext<RoleServer>) -> &'static str {
    let version = context.protocol_version();
    let known = ProtocolVersion::KNOWN_VERSIONS
        .iter()
        .find(|known| Some(*known) == version.as_ref());
    known.map_or("other", ProtocolVersion::as_str)
}

/// Truncates a client-controlled text and replaces control and non-ASCII characters, to keep them
/// out of logs.
fn sanitized(text: &str) -> String {
    let plain = |letter: char| {
        if letter.is_ascii_graphic() || letter == ' ' {
            letter
        } else {
            '?'
        }
    };
    text.chars().take(MAX_CLIENT_CHARS).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_names_are_truncated_and_sanitized() {
        assert_eq!(sanitized("claude-code (2.0)"), "claude-code (2.0)");
        assert_eq!(sanitized("a\u{1b}[31m\nb\u{202e}é"), "a?[31m?b??");
        assert_eq!(sanitized(&"x".repeat(10_000)).len(), MAX_CLIENT_CHARS);
    }

    #[test]
    fn every_ending_is_a_known_metric_label() {
        let all = [
            CallEnding::Ok,
            CallEnding::Error,
            CallEnding::Refused,
            CallEnding::OutOfScope,
            CallEnding::Narrowed,
            CallEnding::UnknownTool,
            CallEnding::Asked,
            CallEnding::Cancelled,
            CallEnding::Panicked,
        ];
        assert_eq!(
            all.map(CallEnding::as_str).as_slice(),
            metrics::names::OUTCOMES
        );
        for reason in all.iter().filter_map(|ending| ending.reason()) {
            assert!(metrics::names::SCOPE_REASONS.contains(&reason), "{reason}");
        }
    }

    #[test]
    fn milliseconds_have_three_decimal_places() {
        assert!((milliseconds(Duration::from_nanos(1_234_999)) - 1.234).abs() < f64::EPSILON);
    }
}
