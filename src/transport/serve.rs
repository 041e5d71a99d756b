//! The server loop: accepts, serves, and leaves in good order within a deadline.
//!
//! HTTP/1.1 only, and hyper's own builder for it, because two limits matter that `axum::serve` does not have: a time
//! limit for the head of a request, which also closes idle connections, and a bound on connections. With a bound
//! reached, nothing is accepted, so the kernel's backlog holds newcomers and no memory of ours does.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::impatient::Impatient;
use super::router::{App, router};
use super::running::Count;
use crate::upstream::{Counts, Deadline};

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

/// Serves until `shutdown`, then answers what has begun, ends the API's sessions, and returns: after `drain` at the
/// latest.
pub async fn serve(listener: TcpListener, app: App, shutdown: impl Future<Output = ()>, drain: Duration) -> Drained {
    let graceful = GracefulShutdown::new();
    let (draining, cut_off) = (CancellationToken::new(), CancellationToken::new());
    let slots = Arc::new(Semaphore::new(app.settings.max_connections));
    let connections = Connections {
        router: router(&app),
        header_timeout: app.settings.header_timeout,
        write_timeout: app.settings.write_timeout,
        graceful: &graceful,
        draining: draining.clone(),
        cut_off: cut_off.clone(),
    };
    tokio::select! {
        () = shutdown => {}
        never = connections.accept(&listener, slots) => match never {},
    }
    let deadline = Deadline::after(drain);
    app.readiness.begin_draining();
    app.streams.begin_draining();
    draining.cancel();
    drop(connections);
    drop(listener);
    let for_calls = Deadline::after(drain - MOST_KEPT_FOR_ENDING.min(drain / 4));
    let finished = for_calls.limit(graceful.shutdown()).await.is_ok();
    if !finished {
        tracing::warn!("requests were still running near the end of the drain and are cut off");
        cut_off.cancel();
    }
    let sessions = app.upstream.drain(deadline.remaining()).await;
    Drained { finished, sessions }
}

struct Connections<'a> {
    router: Router,
    header_timeout: Duration,
    write_timeout: Duration,
    graceful: &'a GracefulShutdown,
    draining: CancellationToken,
    cut_off: CancellationToken,
}

impl Connections<'_> {
    async fn accept(&self, listener: &TcpListener, slots: Arc<Semaphore>) -> Infallible {
        loop {
            // The semaphore is never closed; without a slot the loop simply waits.
            let slot = Arc::clone(&slots).acquire_owned().await;
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

    fn serve(&self, stream: TcpStream, slot: OwnedSemaphorePermit) {
        // With Nagle's algorithm on, each event of a stream would wait some 40 ms for the client's delayed ACK.
        let _ = stream.set_nodelay(true);
        let stream = TokioIo::new(Impatient::new(stream, self.write_timeout));
        let count = Count::new(0);
        let mut running = count.subscribe();
        let router = TowerToHyperService::new(self.router.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(count.clone());
            router.call(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.header_timeout)
            .max_buf_size(MAX_HEAD_BYTES)
            .serve_connection(stream, service);
        let connection = self.graceful.watch(connection);
        let (draining, cut_off) = (self.draining.clone(), self.cut_off.clone());
        tokio::spawn(async move {
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
                () = cut_off.cancelled() => {}
            }
            drop(slot);
        });
    }
}
