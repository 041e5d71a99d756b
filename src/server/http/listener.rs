//! Accepts connections, serves them, and drains them within a deadline.
//!
//! HTTP/1.1 only, on hyper's own builder, because `axum::serve` lacks two limits: a timeout for
//! request heads, which also closes idle connections, and a limit on connections. At the limit
//! nothing is accepted, so further connections wait in the kernel's backlog and use no memory of
//! this process, and the oldest [unauthenticated connection](super::limits::unauthenticated_limit)
//! past its grace period is evicted. Those have a lower limit of their own, so that heads without a
//! token take little memory.
//!
//! Draining has three steps, so that no accepted connection is reset. First comes notice: readiness
//! fails and each response closes its connection, while new connections are still served, since
//! load balancers learn of it with a delay. Then the kernel's backlog is accepted and the listener
//! closes; closing it earlier would reset connections that clients consider established. Requests
//! in flight have the rest of the time.

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
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::drain_body;
use super::in_flight::Count;
use super::limits::principal_limit::Connection;
use super::limits::unauthenticated_limit::UnauthenticatedLimit;
use super::routes::router::{App, Handler};
use super::service::HttpService;
use crate::api::Counts;
use crate::foundation::deadline::Deadline;
use crate::telemetry::{metrics, tasks};
use crate::workers::Workers;

/// Limit on a request head, and on what is buffered of a body. A token may take half of it.
pub const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Pause after a failed accept. The usual cause is a lack of file descriptors, where an immediate
/// retry would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// While draining, how long a connection without a request in flight stays open: enough to deliver
/// a response and to receive a request that is on the wire.
const GRACE: Duration = Duration::from_secs(1);

/// The part of the drain time reserved for closing sessions, capped at a quarter of it. Calls that
/// are cut off leave their sessions open, and the API would keep those until they expire.
const MAX_SESSION_CLOSE_TIME: Duration = Duration::from_secs(2);

/// The outcome of a drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Whether every request in flight was answered.
    pub finished: bool,
    pub sessions: Counts,
}

/// The time limit of a drain, and the part of it that is notice.
#[derive(Debug, Clone, Copy)]
pub struct Drain {
    pub notice: Duration,
    pub within: Duration,
}

/// Serves until `shutdown` completes, then drains: answers the requests in flight, closes the API's
/// sessions, and returns after `drain.within` at the latest.
pub async fn serve(
    listener: TcpListener,
    app: App<impl Handler>,
    workers: Workers,
    shutdown: impl Future<Output = ()>,
    drain: Drain,
) -> Drained {
    let (open, cut_off) = (TaskTracker::new(), CancellationToken::new());
    let (noticed, draining) = (CancellationToken::new(), CancellationToken::new());
    let slots = Arc::new(Semaphore::new(app.settings.max_connections));
    let connections = Connections {
        unauthenticated: Arc::new(UnauthenticatedLimit::new(
            app.settings.unauthenticated_connections,
            app.settings.timeouts.unauthenticated_grace,
        )),
        http_service: Arc::new(HttpService::new(&app)),
        workers,
        header_timeout: app.settings.timeouts.header,
        body_timeout: app.settings.timeouts.body,
        write_timeout: app.settings.timeouts.write,
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
    let calls_deadline =
        Deadline::after(drain.within - MAX_SESSION_CLOSE_TIME.min(drain.within / 4));
    app.readiness.begin_draining();
    app.handler.begin_draining();
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
    let finished = calls_deadline.limit(open.wait()).await.is_ok();
    if !finished {
        tracing::warn!("requests were still running near the end of the drain and are cut off");
        cut_off.cancel();
    }
    let sessions = app.api_client.drain(deadline.remaining()).await;
    Drained { finished, sessions }
}

fn count_eviction() {
    metrics::limit_reached("unauthenticated_connections");
}

struct Connections<H> {
    unauthenticated: Arc<UnauthenticatedLimit>,
    http_service: Arc<HttpService<H>>,
    workers: Workers,
    header_timeout: Duration,
    body_timeout: Duration,
    write_timeout: Duration,
    open: TaskTracker,
    /// Once cancelled, each response closes its connection.
    noticed: CancellationToken,
    draining: CancellationToken,
    cut_off: CancellationToken,
}

impl<H: Handler> Connections<H> {
    async fn accept(&self, listener: &TcpListener, slots: &Arc<Semaphore>) -> Infallible {
        loop {
            // The semaphore is never closed, so an error cannot occur.
            let slot = match Arc::clone(slots).try_acquire_owned() {
                Ok(slot) => Ok(slot),
                Err(_) => self.next_slot(slots).await,
            };
            self.unauthenticated.until_below_max(count_eviction).await;
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

    /// Waits for a free slot, evicting unauthenticated connections meanwhile.
    async fn next_slot(
        &self,
        slots: &Arc<Semaphore>,
    ) -> Result<OwnedSemaphorePermit, AcquireError> {
        let mut free_slot = pin!(Arc::clone(slots).acquire_owned());
        loop {
            tokio::select! {
                biased;
                slot = &mut free_slot => return slot,
                () = self.unauthenticated.evict_one() => count_eviction(),
            }
        }
    }

    /// Accepts the kernel's backlog while slots are free, and closes the listener.
    fn take_backlog(&self, listener: TcpListener, slots: &Arc<Semaphore>) {
        // Accepts from the std listener: tokio may not have seen the newest connections yet.
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
        let worker = self.workers.assign();
        let Ok(stream) = worker.register(stream) else {
            return;
        };
        // With Nagle's algorithm, each event of a stream would wait some 40 ms for the client's
        // delayed ACK.
        let _ = stream.set_nodelay(true);
        let mut stream = TimeoutStream::new(stream);
        // Closes connections of clients that send requests and never read the responses.
        stream.set_write_timeout(Some(self.write_timeout));
        let stream = TokioIo::new(Box::pin(stream));
        let (unauthenticated, evicted) = self.unauthenticated.enter();
        let (count, owner) = (Count::new(0), Connection::of(unauthenticated));
        let mut running = count.subscribe();
        let http_service = Arc::clone(&self.http_service);
        let (noticed, body_timeout) = (self.noticed.clone(), self.body_timeout);
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(count.clone());
            request.extensions_mut().insert(owner.clone());
            let (http_service, noticed) = (Arc::clone(&http_service), noticed.clone());
            async move {
                let mut answer = http_service
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
        let work = tasks::catch_panic("connection", async move {
            // hyper's graceful shutdown is unusable here: it closes connections whose first request
            // is still arriving.
            let drained = async move {
                draining.cancelled().await;
                // An error means that the connection can carry no further request.
                while running.wait_for(|running| *running == 0).await.is_ok() {
                    let again = async { running.wait_for(|running| *running > 0).await.is_ok() };
                    match tokio::time::timeout(GRACE, again).await {
                        Ok(true) => {}
                        Ok(false) | Err(_) => return,
                    }
                }
            };
            tokio::select! {
                // A connection error concerns only the client.
                _ = connection => {}
                () = drained => {}
                () = evicted.cancelled() => {}
                () = cut_off.cancelled() => {}
            }
            drop((slot, counted));
        });
        worker.spawn(self.open.track_future(work));
    }
}
