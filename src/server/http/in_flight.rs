//! How many requests of a connection are being worked on: those are waited for when the server leaves.
//!
//! A request counts once its body has been read, and until the answer has been taken from us. Before that nothing has
//! begun, so a client that sends half a request cannot hold up anything.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use http::Extensions;
use http_body::{Frame, SizeHint};
use tokio::sync::watch;

/// The count of one connection, in the extensions of its requests.
pub type Count = watch::Sender<usize>;

/// One request that is being worked on.
#[derive(Debug)]
pub struct InFlight(Option<Count>);

impl InFlight {
    pub fn begin(extensions: &Extensions) -> Self {
        Self::on(extensions.get::<Count>().cloned())
    }

    /// On a connection that is not the request's own.
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
