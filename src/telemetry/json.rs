//! Formats a log event as one flat JSON object: time, level, message, then the fields of the event
//! and of its spans.
//!
//! The formatter of `tracing-subscriber` is not used, because it nests spans in lists and its keys
//! differ from those of Go's `slog`. Fields are rendered to JSON when they are recorded: those of a
//! span once, to be copied into each event inside it.

use std::fmt::{self, Write as _};
use std::io::Write;
use std::time::SystemTime;

use humantime::format_rfc3339_micros;
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use super::fields;
use crate::foundation::printable::is_unprintable;
use crate::foundation::secret::REDACTED;

/// A layer that writes each event as one line.
pub struct JsonLayer<W> {
    writer: W,
    clock: fn() -> SystemTime,
}

impl<W> JsonLayer<W> {
    pub fn new(writer: W) -> Self {
        Self {
            writer,
            clock: SystemTime::now,
        }
    }
}

#[cfg(test)]
impl<W> JsonLayer<W> {
    /// Replaces the clock, so that a test controls the time.
    pub fn with_clock(writer: W, clock: fn() -> SystemTime) -> Self {
        Self { writer, clock }
    }
}

/// The fields of an event or a span as JSON object members, each preceded by a comma. The message
/// is separate.
struct Fields {
    message: String,
    members: String,
    /// The name of each member, and the offset at which it ends.
    ends: Vec<(&'static str, usize)>,
}

impl Default for Fields {
    /// Allocates what the line of a tool call usually needs.
    fn default() -> Self {
        Self {
            message: String::with_capacity(64),
            members: String::with_capacity(640),
            ends: Vec::with_capacity(24),
        }
    }
}

impl Fields {
    fn put(&mut self, field: &Field, value: impl FnOnce(&mut String)) {
        let name = match field.name() {
            "message" => return value(&mut self.message),
            name => name.strip_prefix("r#").unwrap_or(name),
        };
        push_name(&mut self.members, name);
        if fields::FORBIDDEN.contains(&name) {
            push_text(&mut self.members, REDACTED);
        } else {
            value(&mut self.members);
        }
        self.ends.push((name, self.members.len()));
    }

    fn each(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let mut begin = 0;
        self.ends.iter().map(move |(name, end)| {
            let member = self.members.get(begin..*end).unwrap_or_default();
            begin = *end;
            (*name, member)
        })
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, |out| {
            out.push('"');
            // A failing `Debug` leaves what it has written so far.
            let _ = write!(Escaping(out), "{value:?}");
            out.push('"');
        });
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, |out| push_text(out, value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, |out| push(out, value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, |out| push(out, value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, |out| push(out, value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, |out| push_number(out, value));
    }
}

pub(super) fn push(out: &mut String, value: impl fmt::Display) {
    // Writing to a `String` never fails.
    let _ = write!(out, "{value}");
}

/// Writes numbers of up to three decimals, such as durations in milliseconds, as two integers. That
/// takes a tenth of the time of the shortest-representation algorithm, which all other numbers use.
pub(super) fn push_number(out: &mut String, value: f64) {
    let thousandths = (value * 1000.0).round();
    // Below this bound an `f64` represents every integer exactly.
    let small = value.is_sign_positive() && thousandths < 9e15;
    if !small || (thousandths / 1000.0).to_bits() != value.to_bits() {
        return push(out, Value::from(value));
    }
    let (thousandths, mut buffer) = (thousandths as u64, itoa::Buffer::new());
    out.push_str(buffer.format(thousandths / 1000));
    // The leading 1 keeps the zeros behind it.
    let decimals = buffer.format(1000 + thousandths % 1000);
    let decimals = decimals.trim_end_matches('0').get(1..);
    out.push('.');
    out.push_str(decimals.filter(|digits| !digits.is_empty()).unwrap_or("0"));
}

fn push_text(out: &mut String, text: &str) {
    out.push('"');
    let _ = Escaping(out).write_str(text);
    out.push('"');
}

/// Field names are literals in source code, so they need no escaping.
pub(super) fn push_name(out: &mut String, name: &str) {
    out.extend([",\"", name, "\":"]);
}

/// Escapes text for a JSON string. Also escapes unprintable characters that JSON allows, since a
/// terminal or a line-based reader would interpret them.
struct Escaping<'a>(&'a mut String);

impl fmt::Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // Bytes from 0x7f up need a closer look: some begin an unprintable character.
        let special = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\' || byte >= 0x7f;
        // Without an early exit the check is vectorised, and most text needs no escaping.
        if !text.bytes().fold(false, |any, byte| any | special(byte)) {
            self.0.push_str(text);
            return Ok(());
        }
        for c in text.chars() {
            match c {
                '"' => self.0.push_str("\\\""),
                '\\' => self.0.push_str("\\\\"),
                '\n' => self.0.push_str("\\n"),
                '\r' => self.0.push_str("\\r"),
                '\t' => self.0.push_str("\\t"),
                c if is_unprintable(c) => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        write!(self.0, "\\u{unit:04x}")?;
                    }
                }
                c => self.0.push(c),
            }
        }
        Ok(())
    }
}

impl<S, W> Layer<S> for JsonLayer<W>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: for<'writer> MakeWriter<'writer> + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut span_fields = Fields::default();
        attributes.record(&mut span_fields);
        span.extensions_mut().replace(span_fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(span_fields) = span.extensions_mut().get_mut::<Fields>() {
            values.record(span_fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut recorded = Fields::default();
        event.record(&mut recorded);
        // The message is always a string, even if a caller logs a value of another type as one.
        let message = Some(recorded.message.as_str()).filter(|message| message.starts_with('"'));

        let metadata = event.metadata();
        let mut line = String::with_capacity(recorded.members.len() + recorded.message.len() + 160);
        line.push('{');
        push_time(&mut line, (self.clock)());
        push_member(&mut line, fields::LEVEL, metadata.level().as_str());
        line.extend([",\"", fields::MESSAGE, "\":", message.unwrap_or("null")]);
        push_member(&mut line, fields::SERVICE, env!("CARGO_PKG_NAME"));
        push_member(&mut line, fields::TARGET, metadata.target());
        push_around(&mut line, event, &recorded, &context);
        line.push_str(&recorded.members);
        line.push_str("}\n");
        // An unwritable log must not fail the call.
        let _ = self
            .writer
            .make_writer_for(metadata)
            .write_all(line.as_bytes());
    }
}

/// The member that each line begins with.
pub(super) fn push_time(line: &mut String, time: SystemTime) {
    line.extend(["\"", fields::TIME, "\":\""]);
    push(line, format_rfc3339_micros(time));
    line.push('"');
}

pub(super) fn push_member(line: &mut String, name: &str, value: &str) {
    push_name(line, name);
    push_text(line, value);
}

/// Appends the fields of the event's spans, outermost first. The innermost value of a repeated name
/// wins.
fn push_around<S>(line: &mut String, event: &Event<'_>, recorded: &Fields, context: &Context<'_, S>)
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let mut inherited: Vec<(&'static str, String)> = Vec::new();
    let spans = context
        .event_scope(event)
        .into_iter()
        .flat_map(|scope| scope.from_root());
    for span in spans {
        if let Some(span_fields) = span.extensions().get::<Fields>() {
            inherited.extend(
                span_fields
                    .each()
                    .map(|(name, member)| (name, member.to_owned())),
            );
        }
    }
    for (index, (name, member)) in inherited.iter().enumerate() {
        let same_name = |known: &(&'static str, String)| known.0 == *name;
        if !inherited.iter().skip(index + 1).any(same_name)
            && !recorded.ends.iter().any(|(known, _)| known == name)
        {
            line.push_str(member);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    fn fixed_clock() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_165_200_120)
    }

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(log: impl FnOnce()) -> String {
        let captured = Captured::default();
        let writer = captured.clone();
        let layer = JsonLayer::with_clock(move || writer.clone(), fixed_clock);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        let bytes = captured.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn an_event_is_one_flat_object_with_the_fields_of_its_spans() {
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
                r#"{"time":"2026-11-20T09:00:00.120000Z","level":"INFO","msg":"get_note\ndone","#,
                r#""service":"toolbridge-mcp","target":"toolbridge_mcp::telemetry::json::tests","#,
                r#""correlation_id":"c-1","tool":"get_note","#,
                r#""duration_ms":12,"outcome":"ok"}"#,
                "\n"
            )
        );
    }

    #[test]
    fn escapes_unprintable_characters_without_changing_the_value() {
        const TEXT: &str = "a\n\u{7f}\u{9b}\u{200b}\u{2028}\u{2029}\u{202e}\u{e0041}\"é🦀";
        let lines = logged(|| tracing::info!(tool = TEXT, user = %TEXT, "{TEXT}"));
        assert_eq!(lines.matches('\n').count(), 1, "{lines}");
        let obeyed = lines
            .trim_end()
            .chars()
            .filter(|c| is_unprintable(*c))
            .count();
        assert_eq!(obeyed, 0, "{lines:?}");
        assert!(
            lines.contains(r#""tool":"a\n\u007f\u009b\u200b\u2028\u2029\u202e\udb40\udc41\"é🦀""#),
            "{lines}"
        );
        let line: Value = serde_json::from_str(&lines).unwrap();
        assert_eq!(
            (&line["tool"], &line["user"], &line["msg"]),
            (&TEXT.into(), &TEXT.into(), &TEXT.into())
        );
    }

    #[test]
    fn the_innermost_value_of_a_repeated_name_wins() {
        let text = logged(|| {
            let outer = tracing::info_span!("outer", a = 1, b = "outer", c = tracing::field::Empty);
            let _outer = outer.enter();
            outer.record("c", "late");
            let inner = tracing::info_span!("inner", b = "inner", d = true);
            let _inside = inner.enter();
            tracing::info!(d = false, e = -1.5, absent = None::<&str>, "said");
        });
        assert!(
            text.ends_with(",\"a\":1,\"c\":\"late\",\"b\":\"inner\",\"d\":false,\"e\":-1.5}\n"),
            "{text}"
        );
    }

    #[test]
    fn writes_numbers_as_serde_json_does() {
        for value in [
            0.0,
            -0.0,
            1.0,
            0.5,
            0.05,
            0.001,
            12.34,
            1.234,
            4_294_967.295,
            1e15,
            1e16,
            1e300,
            -1.5,
            0.1 + 0.2,
            0.0004,
        ] {
            let mut written = String::new();
            push_number(&mut written, value);
            assert_eq!(written, Value::from(value).to_string());
        }
    }

    proptest::proptest! {
        #[test]
        fn writes_milliseconds_as_serde_json_does(microseconds in 0_u32..) {
            let value = f64::from(microseconds) / 1000.0;
            let mut written = String::new();
            push_number(&mut written, value);
            proptest::prop_assert_eq!(written, Value::from(value).to_string());
        }

        #[test]
        fn any_text_round_trips(text in ".*",
            other in proptest::collection::vec(0_u8..=0x7f, 0..20)) {
            let other = String::from_utf8(other).unwrap();
            let line = logged(|| tracing::info!(text, debug = ?other, "{other}"));
            proptest::prop_assert_eq!(line.matches('\n').count(), 1);
            let read: Value = serde_json::from_str(&line).unwrap();
            proptest::prop_assert_eq!(&read["text"], &text);
            proptest::prop_assert_eq!(&read["debug"], &format!("{other:?}"));
            proptest::prop_assert_eq!(&read["msg"], &other);
        }
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
