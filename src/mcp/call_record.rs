//! What a call came to: one line in the log, one in the audit trail, and the figures. Every `tools/call` that got as far as here has exactly one
//! such line, however it ended; one that was refused at the door has the door's.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rmcp::RoleServer;
use rmcp::model::{Implementation, ProtocolVersion, RequestMetaObject};
use rmcp::service::{Peer, RequestContext};
use serde_json::Value;
use tokio::time::Instant;
use uuid::Uuid;

use super::caller::{Caller, UnauthenticatedError, Via};
use crate::telemetry::metrics::names::UNKNOWN;
use crate::telemetry::timings::{Spent, Stage};
use crate::telemetry::traces;
use crate::telemetry::traces::{Side, Span, TraceContext, is_traceparent, names};
use crate::telemetry::{audit, fields, metrics};

/// How much of what a client calls itself is told.
const LONGEST_CLIENT: usize = 64;

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallEnding {
    Ok,
    /// With an error that the model reads.
    Error,
    /// Without a good token.
    Refused,
    /// The token lacks the scope.
    OutOfScope,
    /// The server's settings or the request itself leave the tool out.
    Narrowed,
    UnknownTool,
    /// The client went away or took it back.
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
            Self::Cancelled => "cancelled",
            Self::Panicked => "panicked",
        }
    }

    /// FailureDetails a caller was kept from a tool, in the words that all refusals use.
    fn reason(self) -> Option<&'static str> {
        match self {
            Self::OutOfScope => Some("insufficient_scope"),
            Self::Narrowed => Some("narrowed"),
            _ => None,
        }
    }
}

/// A call of a tool that there is, refused for want of a scope before it came here: it is among the figures and in the
/// trail like those that did. Its line in the log is somebody else's.
pub fn refused_for_scope(
    tool: &str,
    caller: &Caller,
    message: &RequestMetaObject,
    error_code: &str,
) {
    count_refused(tool, CallEnding::OutOfScope);
    if audit::is_on() {
        let client = message.client_info().map(|client| shown(&client.name));
        audit::called(&audit::Call {
            correlation_id: &caller.correlation_id,
            user: &caller.principal.subject,
            client: client.as_deref(),
            transport: caller.via.as_str(),
            tool,
            item: None,
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
        metrics::out_of_reach(reason);
    }
}

/// What is known of a failure beyond that it is one.
#[derive(Debug, Clone, Copy, Default)]
pub struct FailureDetails<'a> {
    pub code: Option<&'a str>,
    pub category: Option<&'a str>,
    pub status: Option<u16>,
    /// What the caller is not told.
    pub log_only: Option<&'a str>,
}

/// What a message says beside what it asks for.
#[derive(Clone, Copy)]
pub struct MessageContext<'a> {
    pub meta: &'a RequestMetaObject,
    pub id: &'a (dyn fmt::Display + Sync),
    /// Of a conversation that began with a handshake.
    pub peer: Option<&'a Peer<RoleServer>>,
}

impl<'a> MessageContext<'a> {
    pub fn of(context: &'a RequestContext<RoleServer>, via: Via) -> Self {
        Self {
            meta: &context.meta,
            id: &context.id,
            // Over stateless HTTP rmcp makes a peer up, under its own name; only what the message itself says counts.
            peer: (via != Via::Http).then_some(&context.peer),
        }
    }

    fn client(&self) -> Option<Implementation> {
        let at_first = || Some(self.peer?.peer_info()?.client_info.clone());
        self.meta.client_info().or_else(at_first)
    }
}

/// A call that is under way.
#[derive(Debug)]
pub struct CallRecord {
    tool: String,
    /// The tool may change something.
    writes: bool,
    begun: Instant,
    /// Of its time, what had passed before it began here.
    earlier: Duration,
    pub spent: Arc<Spent>,
    /// What it is about, once that is known.
    pub item: OnceLock<Uuid>,
    protocol: &'static str,
    client: Option<Implementation>,
    /// The caller's own, to be passed on where nothing is traced here.
    pub traceparent: Option<Arc<str>>,
    span: Span,
    _in_flight: metrics::Held,
}

impl CallRecord {
    /// `tool` has been cut to a length that can be shown.
    pub fn begin(tool: String, protocol: &'static str) -> Self {
        Self {
            tool,
            writes: false,
            begun: Instant::now(),
            earlier: Duration::ZERO,
            spent: Arc::default(),
            item: OnceLock::new(),
            protocol,
            client: None,
            traceparent: None,
            span: Span::default(),
            _in_flight: metrics::call_in_flight(),
        }
    }

    /// The call is of a tool that may change something.
    pub fn may_write(&mut self, writes: bool) {
        self.writes = writes;
    }

    /// `known`: there is such a tool, so its name may be shown wherever names are counted.
    pub fn is_by(&mut self, caller: &Caller, message: &MessageContext<'_>, known: bool) {
        self.is_in_a_trace(
            caller,
            message,
            if known { &self.tool } else { UNKNOWN }.to_owned(),
        );
        self.spent.add(Stage::Auth, caller.verified_in);
        if caller.via != Via::Stdio {
            self.earlier = caller.verified_in;
        }
        self.client = message.client();
    }

    /// What the message says of its place in a trace is nearer to the call than what its envelope says.
    fn is_in_a_trace(&mut self, caller: &Caller, message: &MessageContext<'_>, tool: String) {
        let said = message.meta.get("traceparent").and_then(Value::as_str);
        let said = said.filter(|text| is_traceparent(text));
        self.traceparent = said.map(Arc::from).or_else(|| caller.traceparent.clone());
        let (said, nowhere) = (traces::place_of(said), TraceContext::default());
        let (parent, beside) = if said.is_known() {
            (&said, &caller.place)
        } else {
            (&caller.place, &nowhere)
        };
        let mut span = Span::linked(Side::Server, parent, beside, || {
            format!("tools/call {tool}").into()
        });
        if span.is_on() {
            span.set(names::MCP_METHOD, "tools/call");
            span.set(names::OPERATION, "execute_tool");
            span.set(names::TOOL, tool);
            span.set(names::MCP_PROTOCOL, self.protocol);
            span.set(names::JSONRPC_ID, shown(&message.id.to_string()));
            span.set(names::CORRELATION_ID, caller.correlation_id.to_string());
            span.set(
                names::NETWORK_TRANSPORT,
                if caller.via == Via::Stdio {
                    "pipe"
                } else {
                    "tcp"
                },
            );
        }
        self.span = span;
    }

    /// For what happens within the call.
    pub fn place(&self) -> TraceContext {
        self.span.place()
    }

    /// Nobody who may come in.
    pub fn refused(self, unknown: &UnauthenticatedError) {
        metrics::tool_called(&self.tool, CallEnding::Refused.as_str(), None);
        tracing::info!(
            { fields::CORRELATION_ID } = %unknown.correlation_id,
            { fields::TOOL } = self.tool,
            { fields::OUTCOME } = CallEnding::Refused.as_str(),
            { fields::REASON } = unknown.refusal.reason(),
            { fields::DURATION_MS } = milliseconds(self.begun.elapsed()),
            { fields::PROTOCOL } = self.protocol,
            "{} {}: {}",
            self.tool,
            CallEnding::Refused.as_str(),
            unknown.refusal,
        );
    }

    /// The answer waits for what is returned.
    pub fn ended(
        mut self,
        caller: &Caller,
        tenant: &str,
        ending: CallEnding,
        why: FailureDetails<'_>,
    ) -> audit::Durable {
        let took = self.earlier + self.begun.elapsed();
        let parts = [Stage::Auth, Stage::Queue, Stage::Session, Stage::Api]
            .map(|stage| self.spent.on(stage));
        let rest = took.saturating_sub(parts.iter().sum());
        let [auth, queue, session, api] = parts;
        match ending.reason() {
            // It has not run, so its time would say nothing.
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
                    metrics::stage_took(stage, time);
                }
            }
        }
        if let Some(category) = why.category {
            metrics::tool_failed(category);
        }
        if self.span.is_on() {
            self.span.set(names::OUTCOME, ending.as_str());
            match ending {
                CallEnding::Ok => {}
                // The convention for a result that says that it is an error.
                CallEnding::Error => self.span.failed("tool_error"),
                other => self.span.failed(other.as_str()),
            }
        }
        let client = self.client.as_ref().map(|client| shown(&client.name));
        let line = audit::Call {
            correlation_id: &caller.correlation_id,
            user: &caller.principal.subject,
            client: client.as_deref(),
            transport: caller.via.as_str(),
            tool: &self.tool,
            item: self.item.get().copied(),
            outcome: ending.as_str(),
            error_code: why.code,
            status: why.status,
            duration_ms: ending.reason().is_none().then(|| milliseconds(took)),
        };
        // What sent nothing changed nothing. Whether a call that was cancelled or failed changed something is not known.
        let durable = if self.writes && api > Duration::ZERO {
            audit::wrote(&line)
        } else {
            audit::called(&line);
            audit::Durable::now()
        };
        tracing::info!(
            { fields::CORRELATION_ID } = %caller.correlation_id,
            { fields::TOOL } = self.tool,
            { fields::TENANT } = tenant,
            { fields::USER } = %caller.principal.subject,
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
            { fields::TRANSPORT } = caller.via.as_str(),
            { fields::PROTOCOL } = self.protocol,
            { fields::CLIENT } = client,
            { fields::CLIENT_VERSION } = self.client.as_ref().map(|client| shown(&client.version)),
            "{} {}",
            self.tool,
            ending.as_str(),
        );
        durable
    }
}

/// With three digits after the point, as the API writes it.
fn milliseconds(time: Duration) -> f64 {
    let microseconds = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
    f64::from(microseconds) / 1000.0
}

/// One of the revisions that there are, whatever the message says.
pub fn protocol(context: &RequestContext<RoleServer>) -> &'static str {
    let said = context.protocol_version();
    let known = ProtocolVersion::KNOWN_VERSIONS
        .iter()
        .find(|known| Some(*known) == said.as_ref());
    known.map_or("other", ProtocolVersion::as_str)
}

/// What a client says of itself, made harmless for whoever reads a log.
fn shown(text: &str) -> String {
    let plain = |letter: char| {
        if letter.is_ascii_graphic() || letter == ' ' {
            letter
        } else {
            '?'
        }
    };
    text.chars().take(LONGEST_CLIENT).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_calls_itself_is_bounded_and_harmless() {
        assert_eq!(shown("claude-code (2.0)"), "claude-code (2.0)");
        assert_eq!(shown("a\u{1b}[31m\nb\u{202e}é"), "a?[31m?b??");
        assert_eq!(shown(&"x".repeat(10_000)).len(), LONGEST_CLIENT);
    }

    #[test]
    fn every_ending_is_among_the_words_of_the_figures() {
        let all = [
            CallEnding::Ok,
            CallEnding::Error,
            CallEnding::Refused,
            CallEnding::OutOfScope,
            CallEnding::Narrowed,
            CallEnding::UnknownTool,
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
    fn milliseconds_have_three_digits() {
        assert!((milliseconds(Duration::from_nanos(1_234_999)) - 1.234).abs() < f64::EPSILON);
    }
}
