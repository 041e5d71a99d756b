//! Supervised background work: a panic is logged with the name of the task and counted, and work
//! that must go on is restarted.
//!
//! Without supervision a panicking tokio task or thread disappears silently. Every background task
//! is therefore started here, with a name from [`names::TASKS`](super::metrics::names::TASKS).

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use futures::FutureExt;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::{fields, metrics};

/// Delay before work that panicked is restarted: the cause may persist.
const PAUSE: Duration = Duration::from_secs(1);

/// Starts work that ends. Yields `None` if it panicked.
pub fn spawn<F>(name: &'static str, work: F) -> JoinHandle<Option<F::Output>>
where
    F: Future<Output: Send> + Send + 'static,
{
    spawn_on(&Handle::current(), name, work)
}

/// Like [`spawn`], for callers outside the runtime.
pub fn spawn_on<F>(runtime: &Handle, name: &'static str, work: F) -> JoinHandle<Option<F::Output>>
where
    F: Future<Output: Send> + Send + 'static,
{
    runtime.spawn(catch_panic(name, work))
}

/// Starts work that runs as long as the process, and restarts it when it panics.
pub fn spawn_restarting<F>(
    name: &'static str,
    mut work: impl FnMut() -> F + Send + 'static,
) -> JoinHandle<()>
where
    F: Future<Output = ()> + Send,
{
    tokio::spawn(async move {
        while catch_panic(name, async { work().await }).await.is_none() {
            tokio::time::sleep(PAUSE).await;
        }
    })
}

/// Runs `work` and catches its panic. Returns `None` if it panicked.
pub fn catch_panic<F: Future>(
    name: &'static str,
    work: F,
) -> impl Future<Output = Option<F::Output>> {
    AssertUnwindSafe(work).catch_unwind().map(move |result| {
        if result.is_err() {
            panicked(name);
        }
        result.ok()
    })
}

/// Like [`catch_panic`], for synchronous work.
pub fn catch_panic_sync<T>(name: &'static str, work: impl FnOnce() -> T) -> Option<T> {
    let result = catch_unwind(AssertUnwindSafe(work));
    if result.is_err() {
        panicked(name);
    }
    result.ok()
}

fn panicked(name: &'static str) {
    metrics::task_panicked(name);
    tracing::error!({ fields::TASK } = name, "{name} panicked, and goes on");
}

/// Logs every panic with its source location. The message is logged only if it is a string literal:
/// a formatted message may contain data of a caller.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string);
        let message = panic.payload().downcast_ref::<&'static str>().copied();
        tracing::error!(
            { fields::LOCATION } = location,
            { fields::ERROR } = message,
            "a fault of this program: it panicked at {}",
            location.as_deref().unwrap_or("an unknown place"),
        );
    }));
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn restarts_work_that_panics_until_it_returns() {
        let starts = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&starts);
        let task = spawn_restarting("metrics", move || {
            let before = counted.fetch_add(1, Ordering::SeqCst);
            async move { assert!(before >= 2, "one of the first") }
        });
        task.await.unwrap();
        assert_eq!(starts.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn a_panic_yields_none() {
        assert_eq!(spawn("keys", async { 7 }).await.unwrap(), Some(7));
        let gone = spawn("keys", async { panic!("of a task") }).await.unwrap();
        assert_eq!(gone, None::<()>);
        assert_eq!(
            catch_panic_sync("log_level", || panic!("of a thread")),
            None::<()>
        );
        assert_eq!(catch_panic_sync("log_level", || 7), Some(7));
    }
}
