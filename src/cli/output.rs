//! All output of commands. Results go to standard output, everything else to standard error.
//!
//! Colours are written as escape sequences, which `anstream` strips if the stream is not a terminal
//! or `NO_COLOR` is set. Write errors are returned; `println!` would panic on a closed pipe.

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

/// Wraps text in a style.
pub fn styled(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

pub struct Output {
    out: Box<dyn Write>,
    err: Box<dyn Write>,
    /// Width of the terminal that shows the results; `None` if standard output is not a terminal.
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

    /// Prints a line of the result.
    pub fn line(&mut self, text: impl Display) -> io::Result<()> {
        writeln!(self.out, "{}", sanitised(&text.to_string()))
    }

    /// Prints the result as indented JSON. On a terminal, unprintable characters are escaped.
    pub fn json(&mut self, value: &impl serde::Serialize) -> io::Result<()> {
        self.json_text(&serde_json::to_string_pretty(value)?)
    }

    /// Like [`json`](Self::json), for text that is indented JSON already.
    pub fn json_text(&mut self, text: &str) -> io::Result<()> {
        if self.width.is_some() {
            return writeln!(self.out, "{}", escaped(text));
        }
        writeln!(self.out, "{text}")
    }

    /// Prints bytes unchanged, without a line feed.
    pub fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)
    }

    /// Prints a line of information to standard error.
    pub fn note(&mut self, text: impl Display) -> io::Result<()> {
        self.out.flush()?;
        writeln!(self.err, "{}", sanitised(&text.to_string()))
    }

    pub fn error(&mut self, text: impl Display) -> io::Result<()> {
        self.note(format!("{} {text}", styled(ERROR, "error:")))
    }

    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Truncates a text to `width` columns, with an ellipsis. Control characters become spaces, since
/// they could control the terminal.
pub fn fitted(text: &str, width: usize) -> String {
    let clean = escape_controls(text);
    if clean.chars().count() <= width {
        return clean;
    }
    let mut cut: String = clean.chars().take(width.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// Replaces control characters and line breaks: tenant content must not control the terminal.
pub fn escape_controls(text: &str) -> String {
    text.chars()
        .map(|c| if is_unprintable(c) { ' ' } else { c })
        .collect()
}

/// Escapes control characters as JSON does. They occur only inside strings, where the escape has
/// the same meaning.
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

/// Sanitises output that may contain user content: colours and line breaks remain, other control
/// characters become spaces.
fn sanitised(text: &str) -> String {
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

/// Matches the remainder of a colour escape sequence.
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

    /// The output of a command, without styles.
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

    /// Runs `print` with an output that is captured.
    pub fn captured(
        width: Option<usize>,
        print: impl FnOnce(&mut Output) -> io::Result<()>,
    ) -> Captured {
        let Captured { out, err } = captured_raw(width, print);
        let plain = |text: &str| anstream::adapter::strip_str(text).to_string();
        Captured {
            out: plain(&out),
            err: plain(&err),
        }
    }

    /// Like [`captured`], with every byte that a terminal would receive.
    pub fn captured_raw(
        width: Option<usize>,
        print: impl FnOnce(&mut Output) -> io::Result<()>,
    ) -> Captured {
        let (out, err) = (Shared::default(), Shared::default());
        let mut output = Output {
            out: Box::new(out.clone()),
            err: Box::new(err.clone()),
            width,
        };
        print(&mut output).unwrap();
        Captured {
            out: out.text(),
            err: err.text(),
        }
    }

    #[test]
    fn fitted_text_ends_at_a_character_and_has_no_controls() {
        assert_eq!(fitted("héllo wörld", 6), "héllo…");
        assert_eq!(fitted("short", 6), "short");
        assert_eq!(fitted("a\x1b[31mb\nc", 20), "a [31mb c");
        assert_eq!(
            sanitised(
                "\x1b[1;31ma\x1b[0m\n\x1b]0;x\x07\u{9b}2J\u{7f}\u{202e}b\u{200b}\u{feff}\x1b[2J"
            ),
            "\x1b[1;31ma\x1b[0m\n ]0;x  2J  b   [2J"
        );
    }

    #[test]
    fn json_on_a_terminal_is_escaped_with_the_same_value() {
        let value = serde_json::json!({"a\u{9b}": "\u{7f}\u{202e}\u{200b}\u{e0041}é\n"});
        let shown = captured_raw(Some(80), |output| output.json(&value)).out;
        assert!(
            !shown.contains(['\u{9b}', '\u{7f}', '\u{202e}', '\u{200b}', '\u{e0041}']),
            "{shown:?}"
        );
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&shown).unwrap(),
            value
        );
        let piped = captured_raw(None, |output| output.json(&value)).out;
        assert!(piped.contains('\u{9b}'), "a program gets it as it is");
    }
}
