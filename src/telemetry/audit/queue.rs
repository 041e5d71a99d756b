//! Lines between the calls that make them and the thread that writes them.
//!
//! A line that finds no room is counted and gone. The thread is woken only for the first line; while it gathers more, a
//! call costs a short lock and a copy.
//!
//! A line may be waited for until it is written. Such a line ends the gathering at once, and all lines that came by then
//! are written together, so that many calls share one write. While the trail cannot be written there is no waiting.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::telemetry::metrics;

/// Some ten thousand lines: the better part of a second at full load, hours of an ordinary day.
pub const MOST_BYTES: usize = 4 << 20;

/// For a line to be written. A disk that takes longer is slow or gone, and calls do not depend on it.
pub const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Past this the thread is told not to gather any longer.
const MANY_BYTES: usize = MOST_BYTES / 4;

/// What is kept of the room of a batch for the next one.
const KEPT_BYTES: usize = 256 << 10;

#[derive(Debug)]
pub struct Queue {
    held: Mutex<Held>,
    changed: Condvar,
    most: usize,
}

#[derive(Debug, Default)]
struct Held {
    /// The members of each line, with a line's end behind them.
    lines: Vec<u8>,
    lost: u64,
    closed: bool,
    /// Of the lines, those that are waited for.
    waiting: Vec<Waiting>,
    /// A line that is not gathered any longer is among them.
    urgent: bool,
    /// Nothing is written at the moment, so there is nothing to wait for.
    stalled: bool,
}

/// Told when a line is written; dropped when it is not known when that will be.
pub type Waiting = oneshot::Sender<()>;

/// What the thread has taken.
#[derive(Debug, Default)]
pub struct Batch {
    pub lines: Vec<u8>,
    /// So many came after these and found no room.
    pub lost: u64,
    /// Those to tell once the lines are written.
    pub waiting: Vec<Waiting>,
    /// Nothing comes any more.
    pub closed: bool,
}

impl Queue {
    pub fn new(most: usize) -> Self {
        Self {
            held: Mutex::default(),
            changed: Condvar::new(),
            most,
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `members` has no line's end in it.
    pub fn put(&self, members: &str) {
        self.put_line(members, false);
    }

    /// The same for a line that is to be written at once. What is returned says when it is; `None`: that is not known.
    pub fn put_urgent(&self, members: &str) -> Option<oneshot::Receiver<()>> {
        self.put_line(members, true)
    }

    fn put_line(&self, members: &str, urgent: bool) -> Option<oneshot::Receiver<()>> {
        let mut held = self.held();
        let (before, after) = (held.lines.len(), held.lines.len() + members.len() + 1);
        // Once a line is lost, so are those that follow, until the thread has been here: what is lost is then in one place.
        if held.closed || held.lost > 0 || after > self.most {
            held.lost += 1;
            metrics::audit_lost(1);
            return None;
        }
        held.lines.extend_from_slice(members.as_bytes());
        held.lines.push(b'\n');
        let hurries = urgent && !held.urgent;
        held.urgent |= urgent;
        let told = (urgent && !held.stalled)
            .then(oneshot::channel)
            .map(|(tell, told)| {
                held.waiting.push(tell);
                told
            });
        drop(held);
        if before == 0 || hurries || (before < MANY_BYTES && after >= MANY_BYTES) {
            self.changed.notify_one();
        }
        told
    }

    /// No call waits for a line until [`resume`](Self::resume). Returns whether that is news.
    pub fn stall(&self) -> bool {
        let mut held = self.held();
        held.waiting.clear();
        !std::mem::replace(&mut held.stalled, true)
    }

    /// Lines are written. Returns whether that is news.
    pub fn resume(&self) -> bool {
        std::mem::take(&mut self.held().stalled)
    }

    /// Nothing is taken in from now on.
    pub fn close(&self) {
        self.held().closed = true;
        self.changed.notify_one();
    }

    /// Waits for a line, at most so long; then gathers more for a while.
    pub fn take(&self, spare: Vec<u8>, at_most: Duration, gather: Duration) -> Batch {
        let nothing = |held: &mut Held| held.lines.is_empty() && held.lost == 0 && !held.closed;
        let held = self
            .changed
            .wait_timeout_while(self.held(), at_most, nothing);
        let (mut held, _) = held.unwrap_or_else(PoisonError::into_inner);
        if !held.lines.is_empty() {
            let few =
                |held: &mut Held| held.lines.len() < MANY_BYTES && !held.urgent && !held.closed;
            let gathered = self.changed.wait_timeout_while(held, gather, few);
            (held, _) = gathered.unwrap_or_else(PoisonError::into_inner);
        }
        let mut spare = spare;
        spare.clear();
        spare.shrink_to(KEPT_BYTES);
        held.urgent = false;
        Batch {
            lines: std::mem::replace(&mut held.lines, spare),
            lost: std::mem::take(&mut held.lost),
            waiting: std::mem::take(&mut held.waiting),
            closed: held.closed,
        }
    }

    /// Lets time pass, unless the queue is closed meanwhile.
    pub fn pause(&self, time: Duration) -> bool {
        let waited = self
            .changed
            .wait_timeout_while(self.held(), time, |held| !held.closed);
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
    fn beyond_its_room_lines_are_counted_until_it_is_emptied() {
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
    fn a_line_ends_the_waiting_and_so_does_the_end() {
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
    fn a_line_that_is_waited_for_is_not_gathered_with_later_ones() {
        let queue = Queue::new(100);
        let forever = Duration::from_secs(3600);
        std::thread::scope(|scope| {
            let taking = scope.spawn(|| queue.take(Vec::new(), forever, forever));
            queue.put("one");
            let told = queue.put_urgent("two").unwrap();
            let batch = taking.join().unwrap();
            assert_eq!(batch.lines, b"one\ntwo\n");
            batch
                .waiting
                .into_iter()
                .for_each(|tell| tell.send(()).unwrap());
            assert_eq!(told.blocking_recv(), Ok(()));
        });
        // The next is gathered again.
        queue.put("three");
        let batch = queue.take(Vec::new(), forever, Duration::ZERO);
        assert!(batch.waiting.is_empty());
    }

    #[test]
    fn while_nothing_is_written_there_is_no_waiting() {
        let queue = Queue::new(100);
        let told = queue.put_urgent("one").unwrap();
        assert!(queue.stall() && !queue.stall());
        assert!(told.blocking_recv().is_err());
        assert!(queue.put_urgent("two").is_none());
        assert!(queue.resume() && !queue.resume());
        assert!(queue.put_urgent("three").is_some());
        assert_eq!(take(&queue).lines, b"one\ntwo\nthree\n");
        // What finds no room will not be written.
        assert!(queue.put_urgent(&"x".repeat(100)).is_none());
    }
}
