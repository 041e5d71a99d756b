//! Counts the requests in flight on each connection; the drain waits for them.
//!
//! A request counts from the end of its body until its response has been taken by hyper. A client
//! that sends half a request therefore cannot delay the drain.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use http::Extensions;
use http_body::{Frame, SizeHint};
use tokio::sync::watch;

/// The count of one connection, in the extensions of its requests.
pub type Count = watch::Sender<usize>;

/// One request in flight; dropping it ends the count.
#[derive(Debug)]
pub struct InFlight(Option<Count>);

impl InFlight {
    pub fn begin(extensions: &Extensions) -> Self {
        Self::on(extensions.get::<Count>().cloned())
    }

    /// Counts on the given connection, which need not be the request's own.
    pub fn on(count: Option<Count>) -> Self {
        if let Some(count) = &count {
            count.send_modify(|running| *running += 1);
        }
        Self(count)
    }

    pub fn until_the_end_of(self, answer: Body) -> Body {
        Body::new(InFlightBody {
            answer,
            _running: self,
        })
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if let Some(count) = &self.0 {
            count.send_modify(|running| *running = running.saturating_sub(1));
        }
    }
}

struct InFlightBody {
    answer: Body,
    _running: InFlight,
}

impl http_body::Body for InFlightBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.answer).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.answer.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.answer.size_hint()
    }
}
