//! Standard output with a buffer per worker loop. A loop writes its log lines when it becomes idle,
//! because a system call for each line would delay the response that follows it.
//!
//! A line stays in the buffer only while the loop is busy, and a buffer holds at most
//! [`MAX_BUFFERED_BYTES`]. A warning is written at once, together with all lines before it, and
//! [`write_out_all`] flushes every buffer at shutdown. SIGKILL loses what is still buffered.
//! Threads that have not called [`enable_buffering`] are unbuffered.

use std::cell::Cell;
use std::io::{self, Write};

use parking_lot::{Mutex, MutexGuard};
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// About twenty lines.
const MAX_BUFFERED_BYTES: usize = 16 * 1024;

/// Whole lines, each with its line feed. Leaked on purpose: worker loops run as long as the
/// process.
type LineBuffer = &'static Mutex<Vec<u8>>;

thread_local! {
    /// The buffer of this thread, if it has one.
    static THREAD_BUFFER: Cell<Option<LineBuffer>> = const { Cell::new(None) };
}

/// The buffers of all threads.
static ALL_BUFFERS: Mutex<Vec<LineBuffer>> = Mutex::new(Vec::new());

/// Buffers the log lines of this thread from now on. The thread must call [`write_out`] before it
/// waits.
pub fn enable_buffering() {
    let lines: LineBuffer = Box::leak(Box::default());
    THREAD_BUFFER.set(Some(lines));
    lock(&ALL_BUFFERS).push(lines);
}

/// Writes the buffer of this thread.
pub fn write_out() {
    if let Some(lines) = THREAD_BUFFER.get() {
        let _ = write(&mut lock(lines), &mut io::stdout());
    }
}

/// Writes the buffers of all threads. Called before the process exits.
pub fn write_out_all() {
    for lines in lock(&ALL_BUFFERS).iter() {
        let _ = write(&mut lock(lines), &mut io::stdout());
    }
}

/// Standard output, through the buffer of the current thread if there is one.
pub struct Stdout;

/// Writer of one log line.
pub struct Line {
    flush: bool,
}

impl<'a> MakeWriter<'a> for Stdout {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line { flush: true }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Line {
        Line {
            flush: *metadata.level() <= Level::WARN,
        }
    }
}

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match THREAD_BUFFER.get() {
            Some(lines) => append(&mut lock(lines), line, self.flush, &mut io::stdout()),
            None => io::stdout().write_all(line),
        }?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn append(lines: &mut Vec<u8>, line: &[u8], flush: bool, out: &mut impl Write) -> io::Result<()> {
    lines.extend_from_slice(line);
    if flush || lines.len() >= MAX_BUFFERED_BYTES {
        return write(lines, out);
    }
    Ok(())
}

/// Writes all lines with one call. Lines that cannot be written are dropped, as they are without a
/// buffer.
fn write(lines: &mut Vec<u8>, out: &mut impl Write) -> io::Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    let written = out.write_all(lines);
    lines.clear();
    written
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records each write separately.
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
    fn a_warning_flushes_the_lines_before_it() {
        let (mut lines, mut out) = (Vec::new(), Pieces::default());
        append(&mut lines, b"one\n", false, &mut out).unwrap();
        append(&mut lines, b"two\n", false, &mut out).unwrap();
        assert!(out.0.is_empty());
        append(&mut lines, b"three!\n", true, &mut out).unwrap();
        assert_eq!(out.0, ["one\ntwo\nthree!\n"]);
        write(&mut lines, &mut out).unwrap();
        assert_eq!(out.0.len(), 1, "nothing twice, and nothing of nothing");
    }

    #[test]
    fn flushes_when_the_buffer_is_full() {
        let (mut lines, mut out) = (Vec::new(), Pieces::default());
        let line = [b"x".repeat(999), b"\n".to_vec()].concat();
        for _ in 0..100 {
            append(&mut lines, &line, false, &mut out).unwrap();
            assert!(lines.len() < MAX_BUFFERED_BYTES);
        }
        write(&mut lines, &mut out).unwrap();
        assert_eq!(out.0.concat().len(), 100 * line.len());
        assert!(out.0.iter().all(|piece| piece.ends_with('\n')));
    }
}
