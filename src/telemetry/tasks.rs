//! Work in the background that may panic without being missed: the panic is logged with the name of the work, counted, and
//! the work goes on where there is more of it.
//!
//! A task of tokio's that panics is gone without a word, and so is a thread. Whoever starts one gives it a name of
//! [`names::TASKS`](super::metrics::names::TASKS) and starts it here.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use futures::FutureExt;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::{fields, metrics};

/// Before work that has panicked is begun again: whatever made it panic may be there still.
const PAUSE: Duration = Duration::from_secs(1);

/// Starts work that has an end. `None` is that of one that panicked.
pub fn spawn<F>(name: &'static str, work: F) -> JoinHandle<Option<F::Output>>
where
    F: Future<Output: Send> + Send + 'static,
{
    spawn_on(&Handle::current(), name, work)
}

/// The same, for whoever is not on the runtime.
pub fn spawn_on<F>(runtime: &Handle, name: &'static str, work: F) -> JoinHandle<Option<F::Output>>
where
    F: Future<Output: Send> + Send + 'static,
{
    runtime.spawn(caught(name, work))
}

/// Starts work that should not end before the process does, and begins it anew when it panics.
pub fn keep<F>(name: &'static str, mut work: impl FnMut() -> F + Send + 'static) -> JoinHandle<()>
where
    F: Future<Output = ()> + Send,
{
    tokio::spawn(async move {
        while caught(name, async { work().await }).await.is_none() {
            tokio::time::sleep(PAUSE).await;
        }
    })
}

/// Does a piece of work that others follow.
pub fn caught<F: Future>(name: &'static str, work: F) -> impl Future<Output = Option<F::Output>> {
    AssertUnwindSafe(work).catch_unwind().map(move |done| {
        if done.is_err() {
            panicked(name);
        }
        done.ok()
    })
}

/// The same of what does not wait.
pub fn turn<T>(name: &'static str, work: impl FnOnce() -> T) -> Option<T> {
    let done = catch_unwind(AssertUnwindSafe(work));
    if done.is_err() {
        panicked(name);
    }
    done.ok()
}

fn panicked(name: &'static str) {
    metrics::task_panicked(name);
    tracing::error!({ fields::TASK } = name, "{name} panicked, and goes on");
}

/// From here on a panic is a line of the log, with its place. What it says is left out unless it was written so in a source:
/// a text that was put together may have something of a caller's in it.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        let said = panic.payload().downcast_ref::<&'static str>().copied();
        tracing::error!(
            { fields::PLACE } = place,
            { fields::ERROR } = said,
            "a fault of this program: it panicked at {}",
            place.as_deref().unwrap_or("an unknown place"),
        );
    }));
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_that_panics_is_begun_again_until_it_ends() {
        let begun = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&begun);
        let kept = keep("figures", move || {
            let before = counted.fetch_add(1, Ordering::SeqCst);
            async move { assert!(before >= 2, "one of the first") }
        });
        kept.await.unwrap();
        assert_eq!(begun.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn a_panic_is_no_more_than_nothing() {
        assert_eq!(spawn("keys", async { 7 }).await.unwrap(), Some(7));
        let gone = spawn("keys", async { panic!("of a task") }).await.unwrap();
        assert_eq!(gone, None::<()>);
        assert_eq!(turn("log_level", || panic!("of a thread")), None::<()>);
        assert_eq!(turn("log_level", || 7), Some(7));
    }
}
