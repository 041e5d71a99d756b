//! The human-readable log: one line per event, coloured on a terminal.
//!
//! The format is that of `tracing-subscriber`, except that unprintable characters are escaped.
//! Callers choose tool names and other logged values, and could forge a line with them.

use std::fmt::{self, Debug, Write};

use tracing::Subscriber;
use tracing::field::Field;
use tracing_subscriber::Layer;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::registry::LookupSpan;

use super::fields;
use crate::foundation::printable::is_unprintable;
use crate::foundation::secret::REDACTED;

pub fn lines<S, W>(writer: W, colour: bool) -> impl Layer<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: for<'writer> MakeWriter<'writer> + 'static,
{
    tracing_subscriber::fmt::layer()
        .with_ansi(colour)
        .with_target(false)
        .fmt_fields(debug_fn(field).delimited(" "))
        .with_writer(writer)
}

fn field(writer: &mut Writer<'_>, field: &Field, value: &dyn Debug) -> fmt::Result {
    let name = field.name();
    if name == "message" {
        return write!(Escaping(writer), "{value:?}");
    }
    let name = name.strip_prefix("r#").unwrap_or(name);
    if writer.has_ansi_escapes() {
        write!(writer, "\x1b[3m{name}\x1b[0m\x1b[2m=\x1b[0m")?;
    } else {
        write!(writer, "{name}=")?;
    }
    if fields::FORBIDDEN.contains(&name) {
        writer.write_str(REDACTED)
    } else {
        write!(Escaping(writer), "{value:?}")
    }
}

/// Escapes unprintable characters as Rust literals do.
struct Escaping<'a, 'w>(&'a mut Writer<'w>);

impl Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(is_unprintable) {
            let (plain, from) = rest.split_at(at);
            self.0.write_str(plain)?;
            let mut from = from.chars();
            if let Some(c) = from.next() {
                write!(self.0, "{}", c.escape_default())?;
            }
            rest = from.as_str();
        }
        self.0.write_str(rest)
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Returns the output of everything that `log` logs.
    fn logged(colour: bool, log: impl FnOnce()) -> String {
        let captured = Captured::default();
        let writer = captured.clone();
        let subscriber = tracing_subscriber::registry().with(lines(move || writer.clone(), colour));
        tracing::subscriber::with_default(subscriber, log);
        let bytes = captured.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    const FORGED: &str = "x\n2026-01-01T00:00:00Z  INFO delete_note \
        ok\r\u{1b}[2J\u{9b}\u{202e}\u{2028}\u{200b}\u{e0041}";

    #[test]
    fn caller_controlled_values_cannot_forge_a_line() {
        struct Shown(&'static str);
        impl fmt::Display for Shown {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.0)
            }
        }
        impl Debug for Shown {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.0)
            }
        }
        for colour in [false, true] {
            let text = logged(colour, || {
                let span = tracing::info_span!("call", user = %Shown(FORGED));
                let _inside = span.enter();
                tracing::info!(tool = FORGED, client = %Shown(FORGED), other = ?Shown(FORGED),
                    "{FORGED} unknown_tool");
            });
            assert_eq!(text.lines().count(), 1, "{text}");
            let plain = anstream::adapter::strip_str(&text).to_string();
            let obeyed: Vec<_> = plain
                .trim_end_matches('\n')
                .chars()
                .filter(|c| is_unprintable(*c))
                .collect();
            assert_eq!(obeyed, Vec::<char>::new(), "{plain:?}");
            assert!(
                !colour || text.contains('\u{1b}'),
                "it has colours: {text:?}"
            );
            // Colours are the only escape sequences: those of the caller are escaped.
            assert!(!text.contains("\u{1b}[2J"), "{text:?}");
            assert_eq!(
                plain
                    .matches("\\u{202e}\\u{2028}\\u{200b}\\u{e0041}")
                    .count(),
                5,
                "{plain}"
            );
        }
    }

    #[test]
    fn uses_the_library_format_and_redacts_secrets() {
        let text = logged(false, || {
            tracing::info!(
                tool = "get_note",
                duration_ms = 1.5,
                token = "x",
                "get_note ok"
            )
        });
        let (_, line) = text.split_once("INFO ").unwrap();
        assert_eq!(
            line,
            format!("get_note ok tool=\"get_note\" duration_ms=1.5 token={REDACTED}\n")
        );
    }
}
