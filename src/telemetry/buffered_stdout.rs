//! Lines of a loop's log, held back until the loop has nothing else to do: a system call for each line would come between
//! a call and its answer, and a busy loop has several lines to write when it gets to it.
//!
//! None waits longer than the loop is busy, and no more of them than [`MOST`] bytes. A warning goes out at once, with
//! all that was said before it, and when the program ends nothing stays behind. What can be lost is what SIGKILL finds:
//! the lines of what a loop was doing at that very moment. Threads that are no loops hold nothing back.

use std::cell::Cell;
use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// Some twenty lines.
const MOST: usize = 16 * 1024;

/// Whole lines, each with its end. Held for as long as the program runs, as loops do.
type Lines = &'static Mutex<Vec<u8>>;

thread_local! {
    /// What this thread holds back, if it does.
    static MINE: Cell<Option<Lines>> = const { Cell::new(None) };
}

/// What all threads hold back.
static ALL: Mutex<Vec<Lines>> = Mutex::new(Vec::new());

/// From now on this thread holds its lines back, and has to [`write_out`] whenever it is going to wait.
pub fn hold_back() {
    let lines: Lines = Box::leak(Box::default());
    MINE.set(Some(lines));
    locked(&ALL).push(lines);
}

/// Writes what this thread has held back.
pub fn write_out() {
    if let Some(lines) = MINE.get() {
        let _ = write(&mut locked(lines), &mut io::stdout());
    }
}

/// Writes what any thread has held back: for whoever ends the program.
pub fn write_out_all() {
    for lines in locked(&ALL).iter() {
        let _ = write(&mut locked(lines), &mut io::stdout());
    }
}

/// Standard output, where it can wait.
pub struct Stdout;

/// A line on its way there.
pub struct Line {
    at_once: bool,
}

impl<'a> MakeWriter<'a> for Stdout {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line { at_once: true }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Line {
        Line {
            at_once: *metadata.level() <= Level::WARN,
        }
    }
}

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match MINE.get() {
            Some(lines) => hold(&mut locked(lines), line, self.at_once, &mut io::stdout()),
            None => io::stdout().write_all(line),
        }?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn hold(lines: &mut Vec<u8>, line: &[u8], at_once: bool, out: &mut impl Write) -> io::Result<()> {
    lines.extend_from_slice(line);
    if at_once || lines.len() >= MOST {
        return write(lines, out);
    }
    Ok(())
}

/// In one piece. Lines that cannot be written are gone, as one by one they would be.
fn write(lines: &mut Vec<u8>, out: &mut impl Write) -> io::Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    let written = out.write_all(lines);
    lines.clear();
    written
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each piece that was written.
    #[derive(Default)]
    struct Pieces(Vec<String>);

    impl Write for Pieces {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.push(String::from_utf8(bytes.to_vec()).unwrap());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_warning_takes_along_what_was_said_before_it() {
        let (mut lines, mut out) = (Vec::new(), Pieces::default());
        hold(&mut lines, b"one\n", false, &mut out).unwrap();
        hold(&mut lines, b"two\n", false, &mut out).unwrap();
        assert!(out.0.is_empty());
        hold(&mut lines, b"three!\n", true, &mut out).unwrap();
        assert_eq!(out.0, ["one\ntwo\nthree!\n"]);
        write(&mut lines, &mut out).unwrap();
        assert_eq!(out.0.len(), 1, "nothing twice, and nothing of nothing");
    }

    #[test]
    fn no_more_is_held_than_may_be() {
        let (mut lines, mut out) = (Vec::new(), Pieces::default());
        let line = [b"x".repeat(999), b"\n".to_vec()].concat();
        for _ in 0..100 {
            hold(&mut lines, &line, false, &mut out).unwrap();
            assert!(lines.len() < MOST);
        }
        write(&mut lines, &mut out).unwrap();
        assert_eq!(out.0.concat().len(), 100 * line.len());
        assert!(out.0.iter().all(|piece| piece.ends_with('\n')));
    }
}
