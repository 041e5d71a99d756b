//! The response body of an SSE stream.
//!
//! It yields events as they are queued, and a keep-alive comment when the stream is silent, since
//! proxies close idle connections.

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
    /// The `endpoint` event, which names the path for POST requests.
    pub fn endpoint(path: &str) -> Self {
        Self {
            text: Bytes::from(format!("event: endpoint\ndata: {path}\n\n")),
            slot: None,
        }
    }

    /// A `message` event. `json` must be one line, as SSE would split it otherwise.
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
    keep_alive_timer: Interval,
    /// The slot of the last event returned. hyper polls for the next frame only when it has buffer
    /// space, so the slot is released then: the event is written, or buffered for writing.
    handed_out: Option<Slot>,
    /// Closes the stream when the body is dropped.
    _permit: StreamPermit,
}

impl Events {
    pub fn new(queue: mpsc::Receiver<Event>, keep_alive: Duration, permit: StreamPermit) -> Self {
        let mut keep_alive_timer = interval_at(Instant::now() + keep_alive, keep_alive);
        keep_alive_timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            queue,
            keep_alive_timer,
            handed_out: None,
            _permit: permit,
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
                self.keep_alive_timer.reset();
                self.handed_out = event.slot;
                Poll::Ready(Some(Ok(Frame::data(event.text))))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => self
                .keep_alive_timer
                .poll_tick(context)
                .map(|_| Some(Ok(Frame::data(Bytes::from_static(KEEP_ALIVE))))),
        }
    }
}
