//! Connections on which nobody has shown a good token yet. There is a place for them while there are places; where there is none left, the
//! one that has been a stranger's for longest makes room, once it has had its time.
//!
//! Without this, whoever reaches the port could hold all places and say nothing, and nobody with a token would get in.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

#[derive(Debug)]
pub struct UnauthenticatedLimit {
    /// To show a token in, before a place can be lost.
    time: Duration,
    present: Mutex<Present>,
}

/// In the order in which they came.
#[derive(Debug, Default)]
struct Present {
    came: u64,
    there: BTreeMap<u64, (Instant, CancellationToken)>,
}

/// A stranger's connection, until it is somebody's or closes.
#[derive(Debug)]
pub struct UnauthenticatedConnection {
    unauthenticated: Arc<UnauthenticatedLimit>,
    number: u64,
}

impl UnauthenticatedLimit {
    pub fn new(time: Duration) -> Self {
        Self {
            time,
            present: Mutex::default(),
        }
    }

    /// One more, and what is cancelled when they have to go.
    pub fn enter(self: &Arc<Self>) -> (UnauthenticatedConnection, CancellationToken) {
        let must_go = CancellationToken::new();
        let mut present = self.present();
        let number = present.came;
        present.came += 1;
        present
            .there
            .insert(number, (Instant::now(), must_go.clone()));
        let stranger = UnauthenticatedConnection {
            unauthenticated: Arc::clone(self),
            number,
        };
        (stranger, must_go)
    }

    /// Waits until the first of them has had their time, and sends them away. Without any it waits for ever: then all
    /// places are those of people who have shown a token.
    pub async fn make_room(&self) {
        loop {
            let Some(until) = self.first_has_time_until() else {
                return std::future::pending().await;
            };
            tokio::time::sleep_until(until).await;
            let mut present = self.present();
            // They may have gone meanwhile, or be strangers no more.
            if let Some(first) = present
                .there
                .first_entry()
                .filter(|first| first.get().0 + self.time <= Instant::now())
            {
                first.remove().1.cancel();
                return;
            }
        }
    }

    fn first_has_time_until(&self) -> Option<Instant> {
        let present = self.present();
        present
            .there
            .values()
            .next()
            .map(|(since, _)| *since + self.time)
    }

    fn present(&self) -> MutexGuard<'_, Present> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UnauthenticatedConnection {
    fn drop(&mut self) {
        self.unauthenticated.present().there.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_first_who_is_still_a_stranger_goes_after_their_time() {
        let time = Duration::from_secs(5);
        let unauthenticated = Arc::new(UnauthenticatedLimit::new(time));
        let came = Instant::now();
        let (known, stays) = unauthenticated.enter();
        let (_first, first_goes) = unauthenticated.enter();
        tokio::time::advance(Duration::from_secs(1)).await;
        let (second, second_goes) = unauthenticated.enter();
        drop(known);
        unauthenticated.make_room().await;
        assert_eq!((came.elapsed(), first_goes.is_cancelled()), (time, true));
        assert!(!stays.is_cancelled() && !second_goes.is_cancelled());
        // Whoever is known by the time that theirs would be over stays, and nobody else is there.
        let room = tokio::spawn({
            let unauthenticated = Arc::clone(&unauthenticated);
            async move { unauthenticated.make_room().await }
        });
        tokio::task::yield_now().await;
        drop(second);
        tokio::time::advance(time * 2).await;
        tokio::task::yield_now().await;
        assert!(!room.is_finished() && !second_goes.is_cancelled());
        room.abort();
        assert!(unauthenticated.present().there.is_empty());
    }
}
