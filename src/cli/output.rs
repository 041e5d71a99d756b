//! The only place where commands write. Answers go to standard output, everything said about them to standard error.
//!
//! Colours are written as escapes and taken out again by `anstream` where nobody sees them: not on a terminal, or
//! `NO_COLOR` is set. Writing returns errors instead of panicking, as `println!` would on a closed pipe.

use std::fmt::Display;
use std::io::{self, Write};

use anstream::AutoStream;
use clap::builder::styling::{AnsiColor, Style};

use crate::foundation::printable::is_unprintable;

pub const ERROR: Style = AnsiColor::Red.on_default().bold();
pub const HEADING: Style = Style::new().bold();
pub const NAME: Style = AnsiColor::Cyan.on_default();
pub const GOOD: Style = AnsiColor::Green.on_default();
pub const QUIET: Style = Style::new().dimmed();

/// Text in a style.
pub fn styled(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

pub struct Output {
    out: Box<dyn Write>,
    err: Box<dyn Write>,
    /// Columns of the terminal that answers go to; `None` when they go elsewhere.
    pub width: Option<usize>,
}

impl Output {
    pub fn of_this_process() -> Self {
        Self {
            out: Box::new(io::BufWriter::new(AutoStream::auto(io::stdout()))),
            err: Box::new(AutoStream::auto(io::stderr())),
            width: terminal_size::terminal_size_of(io::stdout())
                .map(|(width, _)| usize::from(width.0)),
        }
    }

    /// A line of the answer.
    pub fn line(&mut self, text: impl Display) -> io::Result<()> {
        writeln!(self.out, "{}", tame(&text.to_string()))
    }

    /// JSON, indented, as the answer. On a terminal, what JSON allows and terminals obey is escaped.
    pub fn json(&mut self, value: &impl serde::Serialize) -> io::Result<()> {
        self.json_text(&serde_json::to_string_pretty(value)?)
    }

    /// The same of JSON that has been written and indented already.
    pub fn json_text(&mut self, text: &str) -> io::Result<()> {
        if self.width.is_some() {
            return writeln!(self.out, "{}", escaped(text));
        }
        writeln!(self.out, "{text}")
    }

    /// A text as it is, without a line end.
    pub fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)
    }

    /// A line about the answer.
    pub fn note(&mut self, text: impl Display) -> io::Result<()> {
        self.out.flush()?;
        writeln!(self.err, "{}", tame(&text.to_string()))
    }

    pub fn error(&mut self, text: impl Display) -> io::Result<()> {
        self.note(format!("{} {text}", styled(ERROR, "error:")))
    }

    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A text in at most `width` columns, with an ellipsis where it was cut. Control characters, which could drive the
/// terminal, become spaces.
pub fn fitted(text: &str, width: usize) -> String {
    let clean = harmless(text);
    if clean.chars().count() <= width {
        return clean;
    }
    let mut cut: String = clean.chars().take(width.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// One line without control characters: what tenants wrote may not drive the reader's terminal.
pub fn harmless(text: &str) -> String {
    text.chars()
        .map(|c| if is_unprintable(c) { ' ' } else { c })
        .collect()
}

/// What drives a terminal, as JSON escapes: it occurs only inside of strings, where they mean the same.
fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if c != '\n' && is_unprintable(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                text += &format!("\\u{unit:04x}");
            }
        } else {
            text.push(c);
        }
    }
    text
}

/// A text of ours, which may have lines and colours, and in it what others wrote: all other controls become spaces.
fn tame(text: &str) -> String {
    let mut tamed = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if let Some(colour) = colour(c, rest.as_str()) {
            tamed.push(c);
            tamed += colour;
            rest = rest
                .as_str()
                .get(colour.len()..)
                .unwrap_or_default()
                .chars();
        } else if is_unprintable(c) && !matches!(c, '\n' | '\t') {
            tamed.push(' ');
        } else {
            tamed.push(c);
        }
    }
    tamed
}

/// The rest of an escape sequence that sets a colour and nothing else.
fn colour(escape: char, rest: &str) -> Option<&str> {
    let parameters = rest.strip_prefix('[').filter(|_| escape == '\x1b')?;
    let end = parameters.find(|c: char| !c.is_ascii_digit() && c != ';')?;
    parameters
        .get(end..)?
        .starts_with('m')
        .then(|| rest.get(..end + 2))?
}

#[cfg(test)]
pub mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What a command said, without styles.
    #[derive(Debug, PartialEq, Eq)]
    pub struct Captured {
        pub out: String,
        pub err: String,
    }

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Shared {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    /// Runs `speak` with an output that is kept.
    pub fn captured(
        width: Option<usize>,
        speak: impl FnOnce(&mut Output) -> io::Result<()>,
    ) -> Captured {
        let Captured { out, err } = captured_raw(width, speak);
        let plain = |text: &str| anstream::adapter::strip_str(text).to_string();
        Captured {
            out: plain(&out),
            err: plain(&err),
        }
    }

    /// The same with every byte that a terminal would get.
    pub fn captured_raw(
        width: Option<usize>,
        speak: impl FnOnce(&mut Output) -> io::Result<()>,
    ) -> Captured {
        let (out, err) = (Shared::default(), Shared::default());
        let mut output = Output {
            out: Box::new(out.clone()),
            err: Box::new(err.clone()),
            width,
        };
        speak(&mut output).unwrap();
        Captured {
            out: out.text(),
            err: err.text(),
        }
    }

    #[test]
    fn a_text_is_cut_at_a_character_and_cannot_drive_the_terminal() {
        assert_eq!(fitted("héllo wörld", 6), "héllo…");
        assert_eq!(fitted("short", 6), "short");
        assert_eq!(fitted("a\x1b[31mb\nc", 20), "a [31mb c");
        assert_eq!(
            tame("\x1b[1;31ma\x1b[0m\n\x1b]0;x\x07\u{9b}2J\u{7f}\u{202e}b\u{200b}\u{feff}\x1b[2J"),
            "\x1b[1;31ma\x1b[0m\n ]0;x  2J  b   [2J"
        );
    }

    #[test]
    fn json_on_a_terminal_is_escaped_and_means_the_same() {
        let value = serde_json::json!({"a\u{9b}": "\u{7f}\u{202e}\u{200b}\u{e0041}é\n"});
        let said = captured_raw(Some(80), |output| output.json(&value)).out;
        assert!(
            !said.contains(['\u{9b}', '\u{7f}', '\u{202e}', '\u{200b}', '\u{e0041}']),
            "{said:?}"
        );
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&said).unwrap(),
            value
        );
        let piped = captured_raw(None, |output| output.json(&value)).out;
        assert!(piped.contains('\u{9b}'), "a program gets it as it is");
    }
}
