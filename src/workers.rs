//! Worker threads with one single-threaded runtime each. A client connection stays on one worker
//! from accept to close.
//!
//! On a multi-threaded runtime the steps of a call move between threads, and each move wakes a
//! thread. A call of a proxy consists of short steps only, so these wake-ups dominate its cost. A
//! connection therefore stays on its worker, together with the state that it needs: [`PerLoop`]
//! holds one value per worker. Work that belongs to no connection (signals, accepting, key refresh)
//! runs on the main runtime.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::available_parallelism;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::runtime::{self, Handle};

use crate::telemetry::buffered_stdout;

/// Shorter than any time limit of a request.
const TICK: Duration = Duration::from_millis(250);

thread_local! {
    /// Index of the worker that runs on this thread; `usize::MAX` on other threads.
    static INDEX: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// The workers of this process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Workers(Arc<[Loop]>);

#[derive(Debug)]
struct Loop {
    runtime: Handle,
    connections: AtomicUsize,
}

/// Assigns one connection to a worker. The worker counts the connection until this is dropped.
#[derive(Debug)]
pub struct Worker {
    loops: Workers,
    number: usize,
}

/// One value per worker, and one shared by all other threads.
#[derive(Debug)]
pub struct PerLoop<T> {
    loops: Box<[T]>,
    fallback: T,
}

impl Workers {
    /// Starts one worker per processor.
    pub fn start() -> io::Result<Self> {
        let count = available_parallelism()?.get();
        (0..count)
            .map(Loop::start)
            .collect::<io::Result<_>>()
            .map(Self)
    }

    /// Starts no workers: all work runs on the current runtime. For programs with a single caller.
    pub fn none() -> Self {
        Self(Arc::default())
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Assigns one more connection to the worker that has the fewest.
    pub fn assign(&self) -> Worker {
        let counts = self
            .0
            .iter()
            .map(|each| each.connections.load(Ordering::Relaxed));
        let least = counts
            .enumerate()
            .min_by_key(|(_, connections)| *connections);
        let number = least.map_or(usize::MAX, |(number, _)| number);
        let worker = Worker {
            loops: self.clone(),
            number,
        };
        if let Some(event_loop) = worker.event_loop() {
            event_loop.connections.fetch_add(1, Ordering::Relaxed);
        }
        worker
    }
}

impl Loop {
    fn start(number: usize) -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .on_thread_park(buffered_stdout::write_out)
            .build()?;
        let handle = runtime.handle().clone();
        // Never joined: draining waits for the work on this thread before the process exits.
        std::thread::Builder::new()
            .name(format!("loop-{number}"))
            .spawn(move || {
                INDEX.set(number);
                buffered_stdout::enable_buffering();
                runtime.block_on(tick());
            })?;
        Ok(Self {
            runtime: handle,
            connections: AtomicUsize::new(0),
        })
    }
}

/// Keeps one timer armed, so that a new deadline never unparks the driver. Setting a timer that
/// expires before all others wakes the runtime, and every request to the API sets such timers.
async fn tick() {
    loop {
        tokio::time::sleep(TICK).await;
    }
}

impl Worker {
    /// `None` without workers.
    fn event_loop(&self) -> Option<&Loop> {
        self.loops.0.get(self.number)
    }

    /// Registers the stream with the event loop of the worker.
    pub fn register(&self, stream: TcpStream) -> io::Result<TcpStream> {
        let Some(event_loop) = self.event_loop() else {
            return Ok(stream);
        };
        let stream = stream.into_std()?;
        let _entered = event_loop.runtime.enter();
        TcpStream::from_std(stream)
    }

    /// Runs `work` on the worker, which counts the connection until `work` ends.
    pub fn spawn(self, work: impl Future<Output: Send> + Send + 'static) {
        let runtime = self
            .event_loop()
            .map(|event_loop| event_loop.runtime.clone());
        let work = async move {
            let _ = work.await;
            drop(self);
        };
        runtime.unwrap_or_else(Handle::current).spawn(work);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(event_loop) = self.event_loop() {
            event_loop.connections.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl<T> PerLoop<T> {
    pub fn new(loops: &Workers, mut make: impl FnMut(&Handle) -> T) -> Self {
        Self {
            loops: loops.0.iter().map(|each| make(&each.runtime)).collect(),
            fallback: make(&Handle::current()),
        }
    }

    /// The value of the worker that runs on this thread, or the shared one.
    pub fn here(&self) -> &T {
        self.loops.get(INDEX.get()).unwrap_or(&self.fallback)
    }

    /// All values, the shared one last.
    pub fn each(&self) -> impl Iterator<Item = &T> {
        self.loops.iter().chain([&self.fallback])
    }
}
