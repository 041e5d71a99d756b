//! Reads lines of bounded length from a pipe, one message per line.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

use crate::foundation::json::BYTE_ORDER_MARK;

pub struct LineReader<R> {
    input: BufReader<R>,
    longest: usize,
    /// The line so far; the first `longest` bytes if it is too long.
    line: Vec<u8>,
    too_long: bool,
    /// The line was returned, so the next read clears it.
    handed_out: bool,
}

pub struct Line<'a> {
    /// The line without its terminator; truncated if it is too long.
    pub text: &'a [u8],
    pub too_long: bool,
}

impl<R: AsyncRead + Unpin> LineReader<R> {
    pub fn new(input: R, longest: usize) -> Self {
        Self {
            input: BufReader::new(input),
            longest,
            line: Vec::new(),
            too_long: false,
            handed_out: false,
        }
    }

    pub fn longest(&self) -> usize {
        self.longest
    }

    /// The next line, or `None` at the end of the input. Cancel-safe: nothing is awaited between
    /// reading a chunk and storing it.
    pub async fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        if std::mem::take(&mut self.handed_out) {
            self.line.clear();
            self.too_long = false;
        }
        if !self.complete().await? {
            return Ok(None);
        }
        self.handed_out = true;
        Ok(Some(Line {
            text: self
                .line
                .strip_prefix(BYTE_ORDER_MARK)
                .unwrap_or(&self.line),
            too_long: self.too_long,
        }))
    }

    async fn complete(&mut self) -> io::Result<bool> {
        loop {
            let available = self.input.fill_buf().await?;
            if available.is_empty() {
                // The last line needs no terminator.
                return Ok(!self.line.is_empty());
            }
            let end = available.iter().position(|byte| *byte == b'\n');
            let (text, used) = match end {
                Some(end) => (available.get(..end).unwrap_or_default(), end + 1),
                None => (available, available.len()),
            };
            let room = self.longest.saturating_sub(self.line.len());
            self.too_long |= text.len() > room;
            self.line
                .extend_from_slice(text.get(..room).unwrap_or(text));
            self.input.consume(used);
            if end.is_some() {
                return Ok(true);
            }
        }
    }
}
