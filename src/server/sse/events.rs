//! The body of a stream: events as they come, and a comment when none has come for a while, so that no proxy on the way
//! takes the stream for dead.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use http_body::{Body, Frame};
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::pending::Slot;
use super::streams::StreamPermit;

const KEEP_ALIVE: &[u8] = b": keep-alive\n\n";

/// One event, and the slot of the request that it answers.
#[derive(Debug)]
pub struct Event {
    text: Bytes,
    slot: Option<Slot>,
}

impl Event {
    /// Where to post.
    pub fn endpoint(path: &str) -> Self {
        Self {
            text: Bytes::from(format!("event: endpoint\ndata: {path}\n\n")),
            slot: None,
        }
    }

    /// A JSON-RPC message, which has no line ends in it.
    pub fn message(json: &[u8], slot: Option<Slot>) -> Self {
        let text = [b"event: message\ndata: ", json, b"\n\n"].concat();
        Self {
            text: Bytes::from(text),
            slot,
        }
    }
}

pub struct Events {
    queue: mpsc::Receiver<Event>,
    quiet: Interval,
    /// Of the event that was handed out last: more is asked for only when there is room for it, so by then it has been
    /// written, or will be without our help.
    handed_out: Option<Slot>,
    /// With it goes the stream.
    _place: StreamPermit,
}

impl Events {
    pub fn new(queue: mpsc::Receiver<Event>, keep_alive: Duration, place: StreamPermit) -> Self {
        let mut quiet = interval_at(Instant::now() + keep_alive, keep_alive);
        quiet.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            queue,
            quiet,
            handed_out: None,
            _place: place,
        }
    }
}

impl Body for Events {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.handed_out = None;
        match self.queue.poll_recv(context) {
            Poll::Ready(Some(event)) => {
                self.quiet.reset();
                self.handed_out = event.slot;
                Poll::Ready(Some(Ok(Frame::data(event.text))))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => self
                .quiet
                .poll_tick(context)
                .map(|_| Some(Ok(Frame::data(Bytes::from_static(KEEP_ALIVE))))),
        }
    }
}
