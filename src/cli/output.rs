//! The only place where commands write. Answers go to standard output, everything said about them to standard error.
//!
//! Colours are written as escapes and taken out again by `anstream` where nobody sees them: not on a terminal, or
//! `NO_COLOR` is set. Writing returns errors instead of panicking, as `println!` would on a closed pipe.

use std::fmt::Display;
use std::io::{self, Write};

use anstream::AutoStream;
use clap::builder::styling::{AnsiColor, Style};

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
            width: terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| usize::from(width.0)),
        }
    }

    /// A line of the answer.
    pub fn line(&mut self, text: impl Display) -> io::Result<()> {
        writeln!(self.out, "{text}")
    }

    /// JSON, indented, as the answer.
    pub fn json(&mut self, value: &impl serde::Serialize) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut self.out, value)?;
        writeln!(self.out)
    }

    /// A text as it is, without a line end.
    pub fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)
    }

    /// A line about the answer.
    pub fn note(&mut self, text: impl Display) -> io::Result<()> {
        self.out.flush()?;
        writeln!(self.err, "{text}")
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
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
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
    pub fn captured(width: Option<usize>, speak: impl FnOnce(&mut Output) -> io::Result<()>) -> Captured {
        let Captured { out, err } = captured_raw(width, speak);
        let plain = |text: &str| anstream::adapter::strip_str(text).to_string();
        Captured {
            out: plain(&out),
            err: plain(&err),
        }
    }

    /// The same with every byte that a terminal would get.
    pub fn captured_raw(width: Option<usize>, speak: impl FnOnce(&mut Output) -> io::Result<()>) -> Captured {
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
    }
}
