//! The server loop: accepts, serves, and leaves in good order within a deadline.
//!
//! HTTP/1.1 only, and hyper's own builder for it, because two limits matter that `axum::serve` does not have: a time
//! limit for the head of a request, which also closes idle connections, and a bound on connections. With a bound
//! reached, nothing is accepted, so the kernel's backlog holds newcomers and no memory of ours does; and of those who are in, the ones who have shown
//! no token make room ([`unauthenticated_connections`](super::limits::unauthenticated_limit)).
//!
//! Leaving takes three steps, so that nobody who was let in is turned away. First notice is given: readiness says no,
//! every answer closes its connection, and newcomers are still served, since those who route to us learn of it a moment
//! later. Then the listener closes, once the kernel's backlog has been taken in: closing it would reset connections that
//! clients take for established. What has begun then has the rest of the time.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::CONNECTION;
use http::{HeaderValue, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::drain_body;
use super::in_flight::Count;
use super::limits::principal_limit::Connection;
use super::limits::unauthenticated_limit::UnauthenticatedLimit;
use super::routes::router::{App, Handler};
use super::service::HttpService;
use super::write_timeout::WriteTimeout;
use crate::api::Counts;
use crate::foundation::deadline::Deadline;
use crate::telemetry::{metrics, tasks};
use crate::workers::Workers;

/// The head of a request may be this large.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Out of file descriptors, most likely: trying again at once would only burn time.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Once the server leaves, connections without a request that is being worked on have this long: enough for an answer to
/// be taken, and for a request that was under way to arrive.
const GRACE: Duration = Duration::from_secs(1);

/// Of the time for leaving, so much is kept for ending sessions, or a quarter if that is less: calls that had to be cut
/// off leave theirs open, and the API would hold them until they expire.
const MOST_KEPT_FOR_ENDING: Duration = Duration::from_secs(2);

/// How the server left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Every request that was begun has been answered.
    pub finished: bool,
    pub sessions: Counts,
}

/// How long leaving may take, and how much of that is notice.
#[derive(Debug, Clone, Copy)]
pub struct Drain {
    pub notice: Duration,
    pub within: Duration,
}

/// Serves until `shutdown`, then answers what has begun, ends the API's sessions, and returns: after `drain.within` at
/// the latest.
pub async fn serve(
    listener: TcpListener,
    app: App<impl Handler>,
    loops: Workers,
    shutdown: impl Future<Output = ()>,
    drain: Drain,
) -> Drained {
    let (open, cut_off) = (TaskTracker::new(), CancellationToken::new());
    let (noticed, draining) = (CancellationToken::new(), CancellationToken::new());
    let slots = Arc::new(Semaphore::new(app.settings.max_connections));
    let connections = Connections {
        unauthenticated: Arc::new(UnauthenticatedLimit::new(
            app.settings.unauthenticated_grace,
        )),
        entrance: Arc::new(HttpService::new(&app)),
        loops,
        header_timeout: app.settings.header_timeout,
        body_timeout: app.settings.body_timeout,
        write_timeout: app.settings.write_timeout,
        open: open.clone(),
        noticed: noticed.clone(),
        draining: draining.clone(),
        cut_off: cut_off.clone(),
    };
    tokio::select! {
        () = shutdown => {}
        never = connections.accept(&listener, &slots) => match never {},
    }
    let deadline = Deadline::after(drain.within);
    let for_calls = Deadline::after(drain.within - MOST_KEPT_FOR_ENDING.min(drain.within / 4));
    app.readiness.begin_draining();
    noticed.cancel();
    tokio::select! {
        () = tokio::time::sleep(drain.notice.min(drain.within / 4)) => {}
        never = connections.accept(&listener, &slots) => match never {},
    }
    connections.take_backlog(listener, &slots);
    app.streams.begin_draining();
    draining.cancel();
    drop(connections);
    open.close();
    let finished = for_calls.limit(open.wait()).await.is_ok();
    if !finished {
        tracing::warn!("requests were still running near the end of the drain and are cut off");
        cut_off.cancel();
    }
    let sessions = app.upstream.drain(deadline.remaining()).await;
    Drained { finished, sessions }
}

struct Connections<H> {
    unauthenticated: Arc<UnauthenticatedLimit>,
    entrance: Arc<HttpService<H>>,
    loops: Workers,
    header_timeout: Duration,
    body_timeout: Duration,
    write_timeout: Duration,
    open: TaskTracker,
    /// From then on each answer closes its connection.
    noticed: CancellationToken,
    draining: CancellationToken,
    cut_off: CancellationToken,
}

impl<H: Handler> Connections<H> {
    async fn accept(&self, listener: &TcpListener, slots: &Arc<Semaphore>) -> Infallible {
        loop {
            // The semaphore is never closed; without a slot the loop waits for one.
            let slot = match Arc::clone(slots).try_acquire_owned() {
                Ok(slot) => Ok(slot),
                Err(_) => self.next_of(slots).await,
            };
            match (listener.accept().await, slot) {
                (Ok((stream, _)), Ok(slot)) => self.serve(stream, slot),
                (Err(error), _) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
                (Ok(_), Err(_)) => {}
            }
        }
    }

    /// A slot that somebody leaves, of their own will or to make room.
    async fn next_of(&self, slots: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, AcquireError> {
        let mut left = pin!(Arc::clone(slots).acquire_owned());
        loop {
            tokio::select! {
                biased;
                slot = &mut left => return slot,
                () = self.unauthenticated.make_room() => metrics::limited("unauthenticated_connections"),
            }
        }
    }

    /// Serves whom the kernel has let in already, as far as there is room, and closes the listener.
    fn take_backlog(&self, listener: TcpListener, slots: &Arc<Semaphore>) {
        // Past the runtime, which need not have heard of the newest ones yet.
        let Ok(listener) = listener.into_std() else {
            return;
        };
        while let Ok(slot) = Arc::clone(slots).try_acquire_owned()
            && let Ok((stream, _)) = listener.accept()
        {
            let stream = stream
                .set_nonblocking(true)
                .and_then(|()| TcpStream::from_std(stream));
            if let Ok(stream) = stream {
                self.serve(stream, slot);
            }
        }
    }

    fn serve(&self, stream: TcpStream, slot: OwnedSemaphorePermit) {
        let place = self.loops.place();
        let Ok(stream) = place.adopt(stream) else {
            return;
        };
        // With Nagle's algorithm on, each event of a stream would wait some 40 ms for the client's delayed ACK.
        let _ = stream.set_nodelay(true);
        let stream = TokioIo::new(WriteTimeout::new(stream, self.write_timeout));
        let (stranger, must_go) = self.unauthenticated.enter();
        let (count, held) = (Count::new(0), Connection::of(stranger));
        let mut running = count.subscribe();
        let entrance = Arc::clone(&self.entrance);
        let (noticed, body_timeout) = (self.noticed.clone(), self.body_timeout);
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(count.clone());
            request.extensions_mut().insert(held.clone());
            let (entrance, noticed) = (Arc::clone(&entrance), noticed.clone());
            async move {
                let mut answer = entrance
                    .answer(drain_body::read_out(request, body_timeout))
                    .await;
                if noticed.is_cancelled() {
                    answer
                        .headers_mut()
                        .insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(answer)
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.header_timeout)
            .max_buf_size(MAX_HEAD_BYTES)
            .serve_connection(stream, service);
        let (draining, cut_off) = (self.draining.clone(), self.cut_off.clone());
        let counted = metrics::connection_open();
        let work = tasks::caught("connection", async move {
            // hyper's own graceful end is not for us: it closes connections whose first request is still under way.
            let left_behind = async move {
                draining.cancelled().await;
                // An error means that nothing can come any more.
                while running.wait_for(|running| *running == 0).await.is_ok() {
                    let again = async { running.wait_for(|running| *running > 0).await.is_ok() };
                    match tokio::time::timeout(GRACE, again).await {
                        Ok(true) => {}
                        Ok(false) | Err(_) => return,
                    }
                }
            };
            tokio::select! {
                // How a connection ends is the client's business.
                _ = connection => {}
                () = left_behind => {}
                () = must_go.cancelled() => {}
                () = cut_off.cancelled() => {}
            }
            drop((slot, counted));
        });
        place.spawn(self.open.track_future(work));
    }
}
