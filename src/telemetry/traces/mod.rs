//! Traces: a span for each request and each tool call, and beneath it one for every request to the API, which continues
//! the trace on its side.
//!
//! Off until the standard variables ask for it ([`wanted`]), by the same rules as in the API. Spans are made by hand and
//! where they belong, not out of the log: what is logged and what is traced are then two decisions, and with tracing off a
//! span is an empty value. Ending one puts it into a bounded queue that a thread of its own empties ([`exporter`]); when the
//! queue is full, or nobody takes what it sends, spans are lost and calls are not.
//!
//! What must never be logged must be in no span either. Names of attributes are in [`names`]; what a caller wrote is in
//! none of them but the id of a JSON-RPC request, shortened.

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

/// Whether the environment asks for traces.
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

/// From now on spans are made and exported. Must run inside a tokio runtime. The sampler, the queue, headers and time-outs
/// are read from the standard variables.
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

/// Sends what is left, for as long as this may take.
pub async fn finish(within: Duration) {
    let Some(tracing) = TRACING.get() else { return };
    // It waits for a thread of its own, so it may not hold up one of the runtime's.
    let finishing =
        tokio::task::spawn_blocking(move || tracing.provider.shutdown_with_timeout(within));
    match tokio::time::timeout(within, finishing).await {
        Ok(Ok(Ok(()))) => tracing::debug!("the last spans are exported"),
        _ => tracing::warn!("the last spans could not be exported"),
    }
}

/// Whether anything is traced.
pub fn are_on() -> bool {
    TRACING.get().is_some()
}

/// Whose work a span is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Server,
    Client,
}

/// Somebody else's place in a trace, out of a header or a message. None when nothing is traced.
pub fn place_of(traceparent: Option<&str>) -> TraceContext {
    match (TRACING.get(), traceparent) {
        (Some(_), Some(text)) => TraceContext::read(text),
        _ => TraceContext::default(),
    }
}

/// Something that takes time; it ends when this is dropped. Empty when nothing is traced.
#[derive(Debug, Default)]
#[must_use]
pub struct Span(Option<Box<opentelemetry_sdk::trace::Span>>);

impl Span {
    /// Beneath `parent`, or at the beginning of a trace.
    pub fn begin(
        side: Side,
        parent: &TraceContext,
        name: impl FnOnce() -> Cow<'static, str>,
    ) -> Self {
        Self::linked(side, parent, &TraceContext::default(), name)
    }

    /// The same, beside another place that it belongs to.
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
        let mut above = Context::new();
        if let Some(parent) = &parent.0 {
            above = above.with_remote_span_context(parent.clone());
        }
        Self(Some(Box::new(
            tracing.tracer.build_with_context(builder, &above),
        )))
    }

    /// Whether anybody will read what is set.
    pub fn is_on(&self) -> bool {
        self.0.as_ref().is_some_and(|span| span.is_recording())
    }

    pub fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        if let Some(span) = &mut self.0 {
            span.set_attribute(KeyValue::new(name, value));
        }
    }

    /// It failed; `kind` is one of a few words.
    pub fn failed(&mut self, kind: impl Into<Value>) {
        self.set(names::ERROR_TYPE, kind);
        if let Some(span) = &mut self.0 {
            span.set_status(Status::error(""));
        }
    }

    /// For what happens within it.
    pub fn place(&self) -> TraceContext {
        TraceContext(self.0.as_ref().map(|span| span.span_context().clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_are_asked_for_as_the_api_is_asked() {
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
    fn without_traces_a_span_is_nothing() {
        let mut span = Span::begin(Side::Server, &TraceContext::default(), || {
            unreachable!("no name is made")
        });
        span.set(names::TOOL, "get_note");
        span.failed("x");
        assert!(!span.is_on() && !span.place().is_known());
        assert!(
            !place_of(Some(
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
            ))
            .is_known()
        );
    }

    #[test]
    fn the_documentation_has_every_attribute() {
        let page = include_str!("../../../docs/OPERATIONS.md");
        for name in names::ALL {
            assert!(page.contains(&format!("`{name}`")), "{name}");
        }
    }
}
