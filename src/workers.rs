//! Event loops: threads with a runtime each, on which a client's connection lives from its first byte to its last.
//!
//! On one runtime of several threads the steps of a call move from thread to thread, and each move has to wake one. For a
//! proxy, whose calls are nothing but short steps, that is most of what a call takes. So a connection stays on its loop, and
//! what it needs is there as well: [`PerLoop`] is how other rooms keep something for each. What is no connection's own
//! (signals, listening, keys) runs where the program began, beside the loops.

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
    /// Which loop this thread is.
    static NUMBER: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// The loops of this process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Workers(Arc<[Loop]>);

#[derive(Debug)]
struct Loop {
    runtime: Handle,
    connections: AtomicUsize,
}

/// A connection's place on a loop, which it has until this is dropped.
#[derive(Debug)]
pub struct Worker {
    loops: Workers,
    number: usize,
}

/// Something of which each loop has its own, and everything beside the loops one together.
#[derive(Debug)]
pub struct PerLoop<T> {
    loops: Box<[T]>,
    beside: T,
}

impl Workers {
    /// One for each processor.
    pub fn start() -> io::Result<Self> {
        let count = available_parallelism()?.get();
        (0..count)
            .map(Loop::start)
            .collect::<io::Result<_>>()
            .map(Self)
    }

    /// None: everything runs where it is called for, as in a program that serves one caller.
    pub fn none() -> Self {
        Self(Arc::default())
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// A place for one more connection, where there are the fewest.
    pub fn place(&self) -> Worker {
        let counts = self
            .0
            .iter()
            .map(|each| each.connections.load(Ordering::Relaxed));
        let least = counts
            .enumerate()
            .min_by_key(|(_, connections)| *connections);
        let number = least.map_or(usize::MAX, |(number, _)| number);
        let place = Worker {
            loops: self.clone(),
            number,
        };
        if let Some(chosen) = place.chosen() {
            chosen.connections.fetch_add(1, Ordering::Relaxed);
        }
        place
    }
}

impl Loop {
    fn start(number: usize) -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .on_thread_park(buffered_stdout::write_out)
            .build()?;
        let handle = runtime.handle().clone();
        // It ends with the process: whoever drains has waited for what runs here.
        std::thread::Builder::new()
            .name(format!("loop-{number}"))
            .spawn(move || {
                NUMBER.set(number);
                buffered_stdout::hold_back();
                runtime.block_on(tick());
            })?;
        Ok(Self {
            runtime: handle,
            connections: AtomicUsize::new(0),
        })
    }
}

/// Wakes up now and then, for nothing. A time limit that ends earlier than all others makes the runtime wake itself to
/// wait for that one, and each request to the API would set such limits. With this, there is always an earlier one.
async fn tick() {
    loop {
        tokio::time::sleep(TICK).await;
    }
}

impl Worker {
    /// Nothing where there are no loops.
    fn chosen(&self) -> Option<&Loop> {
        self.loops.0.get(self.number)
    }

    /// From here on, what comes in over the stream is noticed by the loop.
    pub fn adopt(&self, stream: TcpStream) -> io::Result<TcpStream> {
        let Some(chosen) = self.chosen() else {
            return Ok(stream);
        };
        let stream = stream.into_std()?;
        let _entered = chosen.runtime.enter();
        TcpStream::from_std(stream)
    }

    /// The place is taken until the work is done.
    pub fn spawn(self, work: impl Future<Output: Send> + Send + 'static) {
        let runtime = self.chosen().map(|chosen| chosen.runtime.clone());
        let work = async move {
            let _ = work.await;
            drop(self);
        };
        runtime.unwrap_or_else(Handle::current).spawn(work);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(chosen) = self.chosen() {
            chosen.connections.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl<T> PerLoop<T> {
    pub fn new(loops: &Workers, mut make: impl FnMut(&Handle) -> T) -> Self {
        Self {
            loops: loops.0.iter().map(|each| make(&each.runtime)).collect(),
            beside: make(&Handle::current()),
        }
    }

    /// This loop's own.
    pub fn here(&self) -> &T {
        self.loops.get(NUMBER.get()).unwrap_or(&self.beside)
    }

    pub fn each(&self) -> impl Iterator<Item = &T> {
        self.loops.iter().chain([&self.beside])
    }
}
