//! Messages on a pipe: one per line, each within a limit.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

/// Some editors and shells begin a file so.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

pub struct LineReader<R> {
    input: BufReader<R>,
    longest: usize,
    /// The line so far, or the beginning of one that is too long.
    line: Vec<u8>,
    too_long: bool,
    /// The line is complete and was handed out.
    handed_out: bool,
}

pub struct Line<'a> {
    /// Without its end; only the beginning where it is too long.
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

    /// `None` at the end of the input. May be dropped and called again: between the reading and the keeping nothing is
    /// awaited.
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
                // The last line may do without a line end.
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
