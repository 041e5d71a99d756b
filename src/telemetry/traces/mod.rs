//! Distributed tracing: a span for each HTTP request and each tool call, with a child span for each
//! request to the API, which continues the trace.
//!
//! Off unless the standard variables enable it ([`wanted`]), by the same rules as in the API. Spans
//! are created explicitly and not derived from the log, so that logging and tracing are independent
//! decisions; with tracing off a span is an empty value. Ended spans enter a bounded queue that a
//! dedicated thread exports ([`exporter`]). When the queue is full or the collector is down, spans
//! are lost and calls are unaffected.
//!
//! What must never be logged must not be in a span either. Attribute names are in [`names`]. The
//! only value that a caller controls is the id of a JSON-RPC request, truncated.

mod context;
mod exporter;
pub mod names;

use std::borrow::Cow;
use std::sync::OnceLock;
use std::time::Duration;

use opentelemetry::trace::{
    Link, Span as _, SpanBuilder, SpanKind, Status, TraceContextExt, Tracer, TracerProvider,
};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};

pub use context::{TraceContext, is_traceparent};

static TRACING: OnceLock<Tracing> = OnceLock::new();

#[derive(Debug)]
struct Tracing {
    tracer: SdkTracer,
    provider: SdkTracerProvider,
}

/// Whether the environment enables tracing.
pub fn wanted(variable: impl Fn(&str) -> Option<String>) -> bool {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    let is = |name: &str, value: &str| set(name).is_some_and(|set| set == value);
    if is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none") {
        return false;
    }
    is("OTEL_TRACES_EXPORTER", "otlp")
        || set("OTEL_EXPORTER_OTLP_ENDPOINT").is_some()
        || set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").is_some()
}

/// Starts tracing. Must run inside a tokio runtime. The sampler, the queue, headers and timeouts
/// are configured by the standard variables.
pub fn start() -> Result<(), exporter::SetupError> {
    let exporter = exporter::otlp()?;
    let mut resource = Resource::builder()
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    if std::env::var_os("OTEL_SERVICE_NAME").is_none_or(|name| name.is_empty()) {
        resource = resource.with_service_name(env!("CARGO_PKG_NAME"));
    }
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource.build())
        .build();
    let tracer = provider.tracer(env!("CARGO_PKG_NAME"));
    // A second start changes nothing.
    let _ = TRACING.set(Tracing { tracer, provider });
    Ok(())
}

/// Exports the remaining spans, for at most `within`.
pub async fn finish(within: Duration) {
    let Some(tracing) = TRACING.get() else { return };
    // The shutdown blocks on the export thread, so it must not run on a thread of the runtime.
    let finishing =
        tokio::task::spawn_blocking(move || tracing.provider.shutdown_with_timeout(within));
    match tokio::time::timeout(within, finishing).await {
        Ok(Ok(Ok(()))) => tracing::debug!("the last spans are exported"),
        _ => tracing::warn!("the last spans could not be exported"),
    }
}

/// Whether tracing is on.
pub fn are_on() -> bool {
    TRACING.get().is_some()
}

/// The kind of a span: of a request served, or of a request sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Server,
    Client,
}

/// Parses the remote `traceparent` of a header or a message. Empty when tracing is off.
pub fn remote_context(traceparent: Option<&str>) -> TraceContext {
    match (TRACING.get(), traceparent) {
        (Some(_), Some(text)) => TraceContext::read(text),
        _ => TraceContext::default(),
    }
}

/// A span, which ends when it is dropped. Empty when tracing is off.
#[derive(Debug, Default)]
#[must_use]
pub struct Span(Option<Box<opentelemetry_sdk::trace::Span>>);

impl Span {
    /// Starts a child of `parent`, or a new trace if `parent` is empty.
    pub fn begin(
        side: Side,
        parent: &TraceContext,
        name: impl FnOnce() -> Cow<'static, str>,
    ) -> Self {
        Self::linked(side, parent, &TraceContext::default(), name)
    }

    /// Like [`begin`](Self::begin), with a link to the related span `beside`.
    pub fn linked(
        side: Side,
        parent: &TraceContext,
        beside: &TraceContext,
        name: impl FnOnce() -> Cow<'static, str>,
    ) -> Self {
        let Some(tracing) = TRACING.get() else {
            return Self(None);
        };
        let mut builder = SpanBuilder::from_name(name()).with_kind(match side {
            Side::Server => SpanKind::Server,
            Side::Client => SpanKind::Client,
        });
        if let Some(beside) = &beside.0 {
            builder = builder.with_links(vec![Link::with_context(beside.clone())]);
        }
        let mut parent_context = Context::new();
        if let Some(parent) = &parent.0 {
            parent_context = parent_context.with_remote_span_context(parent.clone());
        }
        Self(Some(Box::new(
            tracing.tracer.build_with_context(builder, &parent_context),
        )))
    }

    /// Whether attributes are recorded, which saves computing them otherwise.
    pub fn is_on(&self) -> bool {
        self.0.as_ref().is_some_and(|span| span.is_recording())
    }

    pub fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        if let Some(span) = &mut self.0 {
            span.set_attribute(KeyValue::new(name, value));
        }
    }

    /// Marks the span as failed. `kind` comes from a fixed set of values.
    pub fn failed(&mut self, kind: impl Into<Value>) {
        self.set(names::ERROR_TYPE, kind);
        if let Some(span) = &mut self.0 {
            span.set_status(Status::error(""));
        }
    }

    /// The context for children of this span.
    pub fn context(&self) -> TraceContext {
        TraceContext(self.0.as_ref().map(|span| span.span_context().clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_enables_tracing_as_in_the_api() {
        let wanted = |set: &[(&str, &str)]| {
            super::wanted(|name| {
                let found = set.iter().find(|(set, _)| *set == name);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        for set in [
            &[("OTEL_TRACES_EXPORTER", "otlp")][..],
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318")],
            &[(
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
                "http://c:4318/v1/traces",
            )],
        ] {
            assert!(wanted(set), "{set:?}");
            assert!(!wanted(&[set, &[("OTEL_SDK_DISABLED", "true")]].concat()));
            assert!(!wanted(
                &[&[("OTEL_TRACES_EXPORTER", "none")], set].concat()
            ));
        }
        assert!(!wanted(&[]));
        assert!(!wanted(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]));
        assert!(!wanted(&[("OTEL_TRACES_EXPORTER", "zipkin")]));
    }

    #[test]
    fn spans_are_empty_when_tracing_is_off() {
        let mut span = Span::begin(Side::Server, &TraceContext::default(), || {
            unreachable!("no name is made")
        });
        span.set(names::TOOL, "get_note");
        span.failed("x");
        assert!(!span.is_on() && !span.context().is_known());
        assert!(
            !remote_context(Some(
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
            ))
            .is_known()
        );
    }

    #[test]
    fn documentation_lists_every_attribute() {
        let page = include_str!("../../../docs/OPERATIONS.md");
        for name in names::ALL {
            assert!(page.contains(&format!("`{name}`")), "{name}");
        }
    }
}
