//! Reads and discards what is left of a request body once the response is made, as when a request
//! is refused before its body arrives.
//!
//! Closing a connection with unread bytes resets it and loses the response: the client would see a
//! broken pipe instead of the 401 or 413. Clients that exceed the body timeout are not waited for,
//! nor those that sent `Expect: 100-continue`, which send no body after a refusal.

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

/// A body that is read to its end, by its consumer or after the consumer drops it.
struct DrainedBody {
    /// `None` after the end of the body.
    rest: Option<Incoming>,
    /// Deadline for the whole body; `None` if an unread body will not be sent.
    deadline: Option<Instant>,
}

/// Wraps the body of a request, which has `time` to arrive.
pub fn read_out(request: Request<Incoming>, time: Duration) -> Request<Body> {
    let expects_continue = request.headers().contains_key(EXPECT);
    let deadline = (!expects_continue).then(|| Instant::now() + time);
    request.map(|body| {
        let rest = Some(body);
        Body::new(DrainedBody { rest, deadline })
    })
}

impl http_body::Body for DrainedBody {
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

impl Drop for DrainedBody {
    fn drop(&mut self) {
        let rest = self.rest.take().filter(|rest| !rest.is_end_stream());
        if let (Some(mut rest), Some(deadline)) = (rest, self.deadline) {
            // The task ends with the connection at the latest.
            tasks::spawn("drain_body", async move {
                let to_the_end = async { while let Some(Ok(_)) = rest.frame().await {} };
                let _ = tokio::time::timeout_at(deadline, to_the_end).await;
            });
        }
    }
}
