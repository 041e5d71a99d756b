//! A log line as one JSON object: time, level, message, then the fields of the event and of the spans around it, flat.
//!
//! Written by hand, since the library's own format nests spans in lists and names the keys otherwise than Go's
//! `slog` does. Its trick: a span keeps its fields as a JSON map, ready to be copied under each event inside it.

use std::fmt;
use std::io::Write;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use super::fields;
use crate::config::secret::REDACTED;

/// Writes each event as a line.
pub struct Lines<W, T = SystemTime> {
    writer: W,
    clock: T,
}

impl<W> Lines<W> {
    pub fn new(writer: W) -> Self {
        Self {
            writer,
            clock: SystemTime,
        }
    }
}

#[cfg(test)]
impl<W, T> Lines<W, T> {
    /// The time comes from `clock`.
    pub fn with_clock(writer: W, clock: T) -> Self {
        Self { writer, clock }
    }
}

#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        let name = match field.name() {
            "message" => fields::MESSAGE,
            name => name.strip_prefix("r#").unwrap_or(name),
        };
        let value = if fields::FORBIDDEN.contains(&name) {
            Value::from(REDACTED)
        } else {
            value
        };
        self.0.insert(name.to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, Value::from(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, Value::from(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, Value::from(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, Value::from(value));
    }
}

impl<S, W, T> Layer<S> for Lines<W, T>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: for<'writer> MakeWriter<'writer> + 'static,
    T: FormatTime + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut kept = Fields::default();
        attributes.record(&mut kept);
        span.extensions_mut().replace(kept);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(kept) = span.extensions_mut().get_mut::<Fields>() {
            values.record(kept);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut said = Fields::default();
        event.record(&mut said);

        let mut line = Map::new();
        let metadata = event.metadata();
        line.insert(fields::TIME.to_owned(), Value::from(self.now()));
        line.insert(fields::LEVEL.to_owned(), Value::from(metadata.level().as_str()));
        line.insert(
            fields::MESSAGE.to_owned(),
            said.0.shift_remove(fields::MESSAGE).unwrap_or_default(),
        );
        line.insert(fields::SERVICE.to_owned(), Value::from(env!("CARGO_PKG_NAME")));
        line.insert(fields::TARGET.to_owned(), Value::from(metadata.target()));
        // From the outermost span inwards, so that the nearest word wins.
        for span in context
            .event_scope(event)
            .into_iter()
            .flat_map(|scope| scope.from_root())
        {
            if let Some(kept) = span.extensions().get::<Fields>() {
                line.extend(kept.0.clone());
            }
        }
        line.extend(said.0);

        let mut text = Value::Object(line).to_string();
        text.push('\n');
        // Whoever reads the log may have gone; that must not stop a call.
        let _ = self.writer.make_writer_for(metadata).write_all(text.as_bytes());
    }
}

impl<W, T: FormatTime> Lines<W, T> {
    fn now(&self) -> String {
        let mut text = String::new();
        let _ = self.clock.format_time(&mut Writer::new(&mut text));
        text
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    struct NineOClock;

    impl FormatTime for NineOClock {
        fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
            writer.write_str("2026-11-20T09:00:00Z")
        }
    }

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(speak: impl FnOnce()) -> String {
        let kept = Kept::default();
        let writer = kept.clone();
        let layer = Lines::with_clock(move || writer.clone(), NineOClock);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), speak);
        let bytes = kept.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn an_event_is_one_flat_line_with_the_fields_of_its_spans() {
        let text = logged(|| {
            let call = tracing::info_span!(
                "call",
                { fields::CORRELATION_ID } = "c-1",
                { fields::TOOL } = "get_note"
            );
            let _inside = call.enter();
            tracing::info!(
                { fields::DURATION_MS } = 12,
                { fields::OUTCOME } = "ok",
                "get_note\ndone"
            );
        });
        assert_eq!(
            text,
            concat!(
                r#"{"time":"2026-11-20T09:00:00Z","level":"INFO","msg":"get_note\ndone","service":"toolbridge-mcp","#,
                r#""target":"toolbridge_mcp::telemetry::json::tests","correlation_id":"c-1","tool":"get_note","#,
                r#""duration_ms":12,"outcome":"ok"}"#,
                "\n"
            )
        );
    }

    #[test]
    fn a_field_with_a_forbidden_name_is_redacted() {
        let text = logged(|| {
            for name in fields::FORBIDDEN {
                assert!(!name.is_empty());
            }
            tracing::info!(token = "eyJhbGciOi", authorization = ?"Bearer eyJhbGciOi", "hello");
        });
        assert!(!text.contains("eyJ"), "{text}");
        assert_eq!(text.matches(REDACTED).count(), 2);
    }
}
