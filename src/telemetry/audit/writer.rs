//! The thread that writes the trail: takes queued lines, links them into the chain and writes them
//! in batches.
//!
//! Unwritten bytes are kept and retried from the exact byte that follows the last written one.
//! Meanwhile the queue fills up; the lines that it drops are counted and reported by a `lost` line
//! once writing works again. The log reports the failure once and the recovery once.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::chain::{Chain, Event};
use super::file::{Found, TrailFile};
use super::queue::{Queue, Waiting};
use super::record::{counted, event};
use crate::telemetry::{fields, metrics, tasks};

/// Interval between two writes while no call waits for its line. A killed process loses at most the
/// lines of one interval.
pub const BATCH_INTERVAL: Duration = Duration::from_millis(10);

/// Delay before a failed write is retried.
const PAUSE: Duration = Duration::from_secs(1);

/// How often the log reports the last line, which allows a truncated trail to be detected.
const HEAD_INTERVAL: Duration = Duration::from_secs(600);

/// Size that a pipe accepts atomically (POSIX guarantees 512, Linux 4096). Two programs may share a
/// pipe.
const PIPE_BYTES: usize = 4096;

/// The destination of the trail.
pub enum Sink {
    File(TrailFile),
    /// The stream of the log, between its lines.
    Stream(Box<dyn Write + Send>),
}

pub struct Writer {
    pub queue: Arc<Queue>,
    pub sink: Sink,
    chain: Chain,
    /// Lines of the chain that are not written completely.
    pending: Vec<u8>,
    written: usize,
    /// How many lines are pending.
    lines: u64,
    /// To be signalled when the pending lines are written.
    waiting: Vec<Waiting>,
    /// Whether lines that a call waits for are also synced to the disk.
    syncs: bool,
    spare: Vec<u8>,
    /// Whether the last write failed.
    stuck: bool,
    /// The last line number that the log reported, and when.
    reported: (u64, Instant),
}

impl Writer {
    /// Continues the chain in `found`. `new_chain` is the id of a chain to begin if there is none.
    pub fn new(
        queue: Arc<Queue>,
        sink: Sink,
        syncs: bool,
        found: Found,
        new_chain: String,
        version: &str,
    ) -> Self {
        let mut writer = Self {
            queue,
            sink,
            chain: found.chain.unwrap_or_else(|| Chain::begin(new_chain)),
            pending: Vec::new(),
            written: 0,
            lines: 0,
            waiting: Vec::new(),
            syncs,
            spare: Vec::new(),
            stuck: false,
            reported: (0, Instant::now()),
        };
        if found.open_line {
            writer.pending.push(b'\n');
        }
        if found.torn > 0 {
            tracing::warn!(
                { fields::BYTES } = found.torn,
                "the audit trail ends with half a line: it was being written when the last process \
                 ended. It is left there, and the next line says so"
            );
            writer.append(&counted(Event::Torn, fields::BYTES, found.torn));
        }
        if writer.chain.seq > 0 && !found.ended && found.torn == 0 {
            tracing::warn!("the last process that wrote the audit trail did not end in good order");
        }
        let mut start = event(Event::Start);
        start.extend([",\"", fields::VERSION, "\":\"", version, "\""]);
        writer.append(&start);
        writer
    }

    /// Runs until the queue is closed and its lines are written or given up.
    pub fn run(mut self) {
        loop {
            // The state that a panicking turn leaves is picked up by the next turn.
            match tasks::catch_panic_sync("audit", || self.run_once()) {
                Some(true) => return,
                Some(false) => {}
                None => {
                    self.queue.pause(PAUSE);
                }
            }
        }
    }

    /// One iteration. Returns whether it was the last.
    fn run_once(&mut self) -> bool {
        if !self.pending.is_empty() {
            self.write_pending();
        }
        // A closed queue gets one last attempt, with everything that remains.
        if !self.pending.is_empty() && !self.queue.pause(PAUSE) {
            return false;
        }
        self.report_head(HEAD_INTERVAL);
        let batch = self.queue.take(
            std::mem::take(&mut self.spare),
            HEAD_INTERVAL,
            BATCH_INTERVAL,
        );
        for line in batch
            .lines
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            self.chain.append(line, &mut self.pending);
            self.lines += 1;
        }
        self.spare = batch.lines;
        self.waiting.extend(batch.waiting);
        if batch.lost > 0 {
            tracing::error!(
                { fields::LINES } = batch.lost,
                "{} lines of the audit trail found no room and are lost; the next line says so",
                batch.lost
            );
            self.append(&counted(Event::Lost, fields::LINES, batch.lost));
        }
        batch.closed && self.finish_writing()
    }

    fn append(&mut self, members: &str) {
        self.chain.append(members.as_bytes(), &mut self.pending);
        self.lines += 1;
    }

    /// Appends the last line and makes the last attempt.
    fn finish_writing(&mut self) -> bool {
        self.append(&event(Event::End));
        self.write_pending();
        if let Sink::File(file) = &mut self.sink {
            let _ = file.sync();
        }
        if self.pending.is_empty() {
            self.report_head(Duration::ZERO);
        } else {
            tracing::error!(
                { fields::LINES } = self.lines,
                "the audit trail could not be written to its end: {} lines are lost with this \
                 process",
                self.lines
            );
            metrics::audit_lost(self.lines);
        }
        true
    }

    fn write_pending(&mut self) {
        match self.try_pending() {
            Ok(()) => {
                metrics::audit_written(self.lines);
                self.pending.clear();
                (self.written, self.lines) = (0, 0);
                if self.queue.resume() && !self.stuck {
                    tracing::info!("the audit trail takes lines again");
                }
                for tell in self.waiting.drain(..) {
                    // The call may have stopped waiting.
                    let _ = tell.send(());
                }
                if std::mem::take(&mut self.stuck) {
                    metrics::audit_stuck(false);
                    tracing::info!("the audit trail is written again");
                }
            }
            Err(why) => {
                // Dropping the senders lets calls go on without their lines.
                self.waiting.clear();
                self.queue.stall();
                if !std::mem::replace(&mut self.stuck, true) {
                    metrics::audit_stuck(true);
                    tracing::error!(
                        { fields::ERROR } = %why,
                        "the audit trail cannot be written ({why}): calls go on, and their lines \
                         wait as long as there is room for them"
                    );
                }
            }
        }
    }

    fn try_pending(&mut self) -> io::Result<()> {
        if let Sink::File(file) = &mut self.sink {
            if file.is_gone() {
                tracing::info!(
                    "the file of the audit trail was moved away; another is begun, and the chain \
                     goes on"
                );
                file.reopen()?;
                // A line must be in one file only.
                self.written = begin_of_line(&self.pending, self.written);
            } else if file.is_full()
                && self.written == 0
                && let Err(why) = file.rotate()
            {
                tracing::error!(
                    { fields::ERROR } = %why,
                    "the files of the audit trail cannot be moved on ({why}): this one goes on \
                     growing"
                );
            }
        }
        while let Some(rest) = self
            .pending
            .get(self.written..)
            .filter(|rest| !rest.is_empty())
        {
            let written = match &mut self.sink {
                Sink::File(file) => file.write(rest),
                Sink::Stream(stream) => stream.write(piece(rest)).and_then(|written| {
                    stream.flush()?;
                    Ok(written)
                }),
            };
            match written {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.written += written,
                Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                Err(why) => return Err(why),
            }
        }
        match &mut self.sink {
            Sink::File(file) if self.syncs && !self.waiting.is_empty() => file.sync(),
            _ => Ok(()),
        }
    }

    /// Logs the last line, since the log is usually stored separately from the trail.
    fn report_head(&mut self, at_least: Duration) {
        let (reported, at) = self.reported;
        if reported == self.chain.seq || (reported > 0 && at.elapsed() < at_least) {
            return;
        }
        self.reported = (self.chain.seq, Instant::now());
        tracing::info!(
            { fields::CHAIN } = self.chain.id,
            { fields::SEQ } = self.chain.seq,
            { fields::HEAD } = %self.chain.head,
            "the audit trail is at line {}",
            self.chain.seq
        );
    }
}

/// As many whole lines as a pipe accepts atomically; a longer line goes alone.
fn piece(bytes: &[u8]) -> &[u8] {
    let ends = |window: &[u8]| {
        window
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map(|at| at + 1)
    };
    let window = bytes.get(..PIPE_BYTES).unwrap_or(bytes);
    let end = ends(window).or_else(|| {
        bytes
            .iter()
            .position(|byte| *byte == b'\n')
            .map(|at| at + 1)
    });
    bytes.get(..end.unwrap_or(bytes.len())).unwrap_or(bytes)
}

/// The offset at which the line that contains `at` begins.
fn begin_of_line(bytes: &[u8], at: usize) -> usize {
    let before = bytes.get(..at).unwrap_or(bytes);
    before
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |end| end + 1)
}
