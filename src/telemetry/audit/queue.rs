//! The queue between calls and the thread that writes the trail.
//!
//! A line that exceeds the capacity is counted and dropped. Only the first line wakes the thread;
//! while it gathers more lines, a call costs a short lock and a copy.
//!
//! A call may wait until its line is written. Such a line ends the gathering at once, and all lines
//! queued by then are written together, so that concurrent calls share one write. While the trail
//! is unwritable no call waits.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::telemetry::metrics;

/// About ten thousand lines: nearly a second at full load, hours of ordinary use.
pub const MAX_QUEUE_BYTES: usize = 4 << 20;

/// How long a call waits for its line. Calls must not depend on a disk that is slower.
pub const MAX_WAIT: Duration = Duration::from_secs(1);

/// Size from which the thread stops gathering and writes.
const BATCH_BYTES: usize = MAX_QUEUE_BYTES / 4;

/// Capacity of a batch's buffer that is kept for the next batch.
const MAX_SPARE_BYTES: usize = 256 << 10;

#[derive(Debug)]
pub struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    most: usize,
}

#[derive(Debug, Default)]
struct State {
    /// The members of each line, each terminated by a line feed.
    lines: Vec<u8>,
    lost: u64,
    closed: bool,
    /// Senders for the lines that a call waits for.
    waiting: Vec<Waiting>,
    /// A line that ends the gathering is among them.
    urgent: bool,
    /// Nothing can be written at the moment, so no call waits.
    stalled: bool,
}

/// Signals that a line is written; dropped when that is unknown.
pub type Waiting = oneshot::Sender<()>;

/// What the thread takes from the queue at once.
#[derive(Debug, Default)]
pub struct Batch {
    pub lines: Vec<u8>,
    /// How many lines after these were dropped.
    pub lost: u64,
    /// To be signalled when the lines are written.
    pub waiting: Vec<Waiting>,
    /// The queue is closed.
    pub closed: bool,
}

impl Queue {
    pub fn new(most: usize) -> Self {
        Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            most,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a line. `members` must not contain a line feed.
    pub fn put(&self, members: &str) {
        self.put_line(members, false);
    }

    /// Queues a line that must be written at once. The receiver resolves when it is written; `None`
    /// means that this is unknown.
    pub fn put_urgent(&self, members: &str) -> Option<oneshot::Receiver<()>> {
        self.put_line(members, true)
    }

    fn put_line(&self, members: &str, urgent: bool) -> Option<oneshot::Receiver<()>> {
        let mut state = self.state();
        let (before, after) = (state.lines.len(), state.lines.len() + members.len() + 1);
        // After one dropped line all lines are dropped until the next batch, so that the gap is in
        // one position.
        if state.closed || state.lost > 0 || after > self.most {
            state.lost += 1;
            metrics::audit_lost(1);
            return None;
        }
        state.lines.extend_from_slice(members.as_bytes());
        state.lines.push(b'\n');
        let newly_urgent = urgent && !state.urgent;
        state.urgent |= urgent;
        let written = (urgent && !state.stalled)
            .then(oneshot::channel)
            .map(|(tell, written)| {
                state.waiting.push(tell);
                written
            });
        drop(state);
        if before == 0 || newly_urgent || (before < BATCH_BYTES && after >= BATCH_BYTES) {
            self.changed.notify_one();
        }
        written
    }

    /// Stops calls from waiting, until [`resume`](Self::resume). Returns whether the state changed.
    pub fn stall(&self) -> bool {
        let mut state = self.state();
        state.waiting.clear();
        !std::mem::replace(&mut state.stalled, true)
    }

    /// Lets calls wait again. Returns whether the state changed.
    pub fn resume(&self) -> bool {
        std::mem::take(&mut self.state().stalled)
    }

    /// Closes the queue: further lines are dropped.
    pub fn close(&self) {
        self.state().closed = true;
        self.changed.notify_one();
    }

    /// Waits for a line, for at most `at_most`, then gathers more for `gather`.
    pub fn take(&self, spare: Vec<u8>, at_most: Duration, gather: Duration) -> Batch {
        let nothing =
            |state: &mut State| state.lines.is_empty() && state.lost == 0 && !state.closed;
        let state = self
            .changed
            .wait_timeout_while(self.state(), at_most, nothing);
        let (mut state, _) = state.unwrap_or_else(PoisonError::into_inner);
        if !state.lines.is_empty() {
            let few = |state: &mut State| {
                state.lines.len() < BATCH_BYTES && !state.urgent && !state.closed
            };
            let gathered = self.changed.wait_timeout_while(state, gather, few);
            (state, _) = gathered.unwrap_or_else(PoisonError::into_inner);
        }
        let mut spare = spare;
        spare.clear();
        spare.shrink_to(MAX_SPARE_BYTES);
        state.urgent = false;
        Batch {
            lines: std::mem::replace(&mut state.lines, spare),
            lost: std::mem::take(&mut state.lost),
            waiting: std::mem::take(&mut state.waiting),
            closed: state.closed,
        }
    }

    /// Waits for `time` or until the queue is closed. Returns whether it is closed.
    pub fn pause(&self, time: Duration) -> bool {
        let waited = self
            .changed
            .wait_timeout_while(self.state(), time, |state| !state.closed);
        waited.unwrap_or_else(PoisonError::into_inner).0.closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(queue: &Queue) -> Batch {
        queue.take(Vec::new(), Duration::ZERO, Duration::ZERO)
    }

    #[test]
    fn drops_and_counts_lines_over_capacity_until_taken() {
        let queue = Queue::new(10);
        for line in ["one", "two", "four", "x"] {
            queue.put(line);
        }
        let batch = take(&queue);
        assert_eq!(
            (&*batch.lines, batch.lost, batch.closed),
            (&b"one\ntwo\n"[..], 2, false)
        );
        queue.put("x");
        let batch = take(&queue);
        assert_eq!((&*batch.lines, batch.lost), (&b"x\n"[..], 0));
        queue.close();
        queue.put("late");
        let batch = take(&queue);
        assert_eq!((batch.lines.len(), batch.lost, batch.closed), (0, 1, true));
    }

    #[test]
    fn take_returns_on_a_line_and_on_close() {
        let queue = Queue::new(100);
        let forever = Duration::from_secs(3600);
        std::thread::scope(|scope| {
            let taking = scope.spawn(|| queue.take(Vec::new(), forever, Duration::ZERO));
            queue.put("one");
            assert_eq!(taking.join().unwrap().lines, b"one\n");
            let taking = scope.spawn(|| queue.take(Vec::new(), forever, forever));
            queue.put("two");
            queue.close();
            assert_eq!(taking.join().unwrap().lines, b"two\n");
            assert!(queue.pause(forever));
        });
    }

    #[test]
    fn an_urgent_line_ends_the_wait_for_a_batch() {
        let queue = Queue::new(100);
        let forever = Duration::from_secs(3600);
        std::thread::scope(|scope| {
            let taking = scope.spawn(|| queue.take(Vec::new(), forever, forever));
            queue.put("one");
            let written = queue.put_urgent("two").unwrap();
            let batch = taking.join().unwrap();
            assert_eq!(batch.lines, b"one\ntwo\n");
            batch
                .waiting
                .into_iter()
                .for_each(|tell| tell.send(()).unwrap());
            assert_eq!(written.blocking_recv(), Ok(()));
        });
        // The next line is gathered again.
        queue.put("three");
        let batch = queue.take(Vec::new(), forever, Duration::ZERO);
        assert!(batch.waiting.is_empty());
    }

    #[test]
    fn no_call_waits_while_stalled() {
        let queue = Queue::new(100);
        let written = queue.put_urgent("one").unwrap();
        assert!(queue.stall() && !queue.stall());
        assert!(written.blocking_recv().is_err());
        assert!(queue.put_urgent("two").is_none());
        assert!(queue.resume() && !queue.resume());
        assert!(queue.put_urgent("three").is_some());
        assert_eq!(take(&queue).lines, b"one\ntwo\nthree\n");
        // A dropped line will not be written.
        assert!(queue.put_urgent(&"x".repeat(100)).is_none());
    }
}
