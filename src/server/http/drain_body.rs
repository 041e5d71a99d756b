//! What is left of a request's body when its answer is made, as of one that is refused before it has come: it is still
//! read, and thrown away.
//!
//! A connection that is closed over bytes nobody has read is reset, and with it goes the answer under way: the client would
//! see a broken pipe in place of the 401 or 413 that tells it what to do. Who sends more slowly than any body may take to
//! arrive is not waited for, and neither is who has asked whether to send it at all and will not.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use http::Request;
use http::header::EXPECT;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::telemetry::tasks;

/// A body that is read to its end, by its owner or after them.
struct ReadOut {
    /// `None` once the end of it was seen.
    rest: Option<Incoming>,
    /// All of it has to have come by then; `None` if what nobody reads will not be sent.
    until: Option<Instant>,
}

/// The same request, whose body has `time` to arrive, wanted or not.
pub fn read_out(request: Request<Incoming>, time: Duration) -> Request<Body> {
    let asks = request.headers().contains_key(EXPECT);
    let until = (!asks).then(|| Instant::now() + time);
    request.map(|body| {
        let rest = Some(body);
        Body::new(ReadOut { rest, until })
    })
}

impl http_body::Body for ReadOut {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(rest) = &mut self.rest else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(rest).poll_frame(context));
        if !matches!(frame, Some(Ok(_))) {
            self.rest = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.rest.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.rest
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Incoming::size_hint)
    }
}

impl Drop for ReadOut {
    fn drop(&mut self) {
        let rest = self.rest.take().filter(|rest| !rest.is_end_stream());
        if let (Some(mut rest), Some(until)) = (rest, self.until) {
            // Ends with the connection at the latest: then there is nothing more to read.
            tasks::spawn("leftover", async move {
                let to_the_end = async { while let Some(Ok(_)) = rest.frame().await {} };
                let _ = tokio::time::timeout_at(until, to_the_end).await;
            });
        }
    }
}
