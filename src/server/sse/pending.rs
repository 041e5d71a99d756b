//! The requests of one stream that have not been answered yet.
//!
//! Each holds a [`Slot`] from the moment its message is taken until its answer has left: there are so many slots, so
//! neither calls nor unread answers pile up; and each counts as work on the stream's connection, which is therefore not
//! closed under it when the server leaves.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use rmcp::model::RequestId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::StreamError;
use crate::foundation::memory_budget::Reservation;
use crate::server::http::in_flight::{Count, InFlight};

/// Requests of one stream that may be open at once, unread answers included.
pub const SLOTS: usize = 32;

#[derive(Debug)]
pub struct Slot {
    /// Of the request and its answer, until that has been written.
    _memory: Reservation,
    _running: InFlight,
    _permit: OwnedSemaphorePermit,
    /// Tells whoever has the claim.
    _gone: DropGuard,
}

#[derive(Debug)]
pub struct PendingRequests {
    room: Arc<Semaphore>,
    connection: Option<Count>,
    open: watch::Sender<Open>,
}

#[derive(Debug, Default)]
struct Open {
    /// Requests without an answer.
    asked: HashMap<RequestId, Slot>,
    /// Answers that wait for room among the events.
    waiting: usize,
}

impl Open {
    fn is_empty(&self) -> bool {
        self.asked.is_empty() && self.waiting == 0
    }
}

/// An answer on its way out. It keeps the slot of its request, which a cancellation can no longer free: else unread answers
/// would pile up without one.
#[derive(Debug)]
pub struct PendingAnswer {
    calls: Arc<PendingRequests>,
    slot: Option<Slot>,
}

impl PendingAnswer {
    /// There is room for it: the slot goes with it.
    pub fn depart(mut self) -> Option<Slot> {
        self.slot.take()
    }
}

impl Drop for PendingAnswer {
    fn drop(&mut self) {
        self.calls
            .open
            .send_modify(|open| open.waiting = open.waiting.saturating_sub(1));
    }
}

/// The slot of a request that has not been handed on to rmcp. Whoever holds it answers the request, or drops it, as when
/// the client closes its POST: nothing else would ever end the request then.
#[derive(Debug)]
pub struct Claim {
    calls: Arc<PendingRequests>,
    id: Option<RequestId>,
    /// Cancelled with the slot, and under the lock, so that the slot of a later request with the same id is not taken for
    /// this one's.
    gone: CancellationToken,
}

impl Claim {
    /// The request is under way, and its answer will end it.
    pub fn hand_on(mut self) {
        self.id = None;
    }

    /// Until nobody waits for an answer any more: the request is cancelled, or the client has gone.
    pub async fn revoked(&self) {
        self.gone.cancelled().await;
    }

    /// There is an answer, if anybody still waits for it.
    pub fn answer(mut self) -> Option<PendingAnswer> {
        let slot = Some(self.end(|open| open.waiting += 1)?);
        let calls = Arc::clone(&self.calls);
        Some(PendingAnswer { calls, slot })
    }

    /// Ends the request if it is open, and whatever goes with that.
    fn end(&mut self, and: impl FnOnce(&mut Open)) -> Option<Slot> {
        let id = self.id.take()?;
        let mut slot = None;
        self.calls.open.send_modify(|open| {
            if !self.gone.is_cancelled() {
                slot = open.asked.remove(&id);
            }
            if slot.is_some() {
                and(open);
            }
        });
        slot
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.end(|_| {});
    }
}

impl PendingRequests {
    /// `connection`: the one that the answers leave on.
    pub fn on(connection: Option<Count>) -> Self {
        Self {
            room: Arc::new(Semaphore::new(SLOTS)),
            connection,
            open: watch::Sender::new(Open::default()),
        }
    }

    /// Waits for room. An id that is in use would leave two requests with one answer.
    pub async fn begin(
        self: &Arc<Self>,
        id: RequestId,
        memory: Reservation,
    ) -> Result<Claim, StreamError> {
        let room = Arc::clone(&self.room).acquire_owned().await;
        let gone = CancellationToken::new();
        let slot = Slot {
            _memory: memory,
            _permit: room.map_err(|_| StreamError::UnknownSession)?,
            _running: InFlight::on(self.connection.clone()),
            _gone: gone.clone().drop_guard(),
        };
        let mut begun = Err(StreamError::IdInUse);
        self.open.send_modify(|open| {
            if self.room.is_closed() {
                // In the meantime. Nothing would end the request any more.
                begun = Err(StreamError::UnknownSession);
            } else if let Entry::Vacant(place) = open.asked.entry(id.clone()) {
                place.insert(slot);
                begun = Ok(());
            }
        });
        begun.map(|()| Claim {
            calls: Arc::clone(self),
            id: Some(id),
            gone,
        })
    }

    /// A request will never be answered.
    pub fn cancel(&self, id: &RequestId) {
        self.open.send_modify(|open| drop(open.asked.remove(id)));
    }

    /// A request has its answer, which may have to wait until the client has read others.
    pub fn answer(self: &Arc<Self>, id: &RequestId) -> PendingAnswer {
        let mut slot = None;
        self.open.send_modify(|open| {
            slot = open.asked.remove(id);
            open.waiting += 1;
        });
        let calls = Arc::clone(self);
        PendingAnswer { calls, slot }
    }

    pub async fn until_none(&self) {
        let mut open = self.open.subscribe();
        // The sender is `self`, so it is there.
        let _ = open.wait_for(Open::is_empty).await;
    }

    /// The stream has gone: whoever waits for room waits in vain.
    pub fn close(&self) {
        self.room.close();
        self.open.send_modify(|open| open.asked.clear());
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_request_that_is_not_handed_on_leaves_nothing_behind() {
        let id = || RequestId::Number(1);
        let connection = Count::new(0);
        let calls = Arc::new(PendingRequests::on(Some(connection.clone())));
        let claim = calls.begin(id(), Reservation::default()).await.unwrap();
        assert_eq!(*connection.borrow(), 1);
        assert_eq!(
            calls.begin(id(), Reservation::default()).await.unwrap_err(),
            StreamError::IdInUse
        );
        drop(claim);
        assert!(calls.until_none().now_or_never().is_some());
        calls
            .begin(id(), Reservation::default())
            .await
            .unwrap()
            .hand_on();
        assert_eq!(*connection.borrow(), 1);
        // The slot goes with the answer, and is kept until that has left.
        let slot = calls.answer(&id()).depart();
        assert!(calls.until_none().now_or_never().is_some());
        assert_eq!(
            (*connection.borrow(), calls.room.available_permits()),
            (1, SLOTS - 1)
        );
        drop(slot);
        assert_eq!(
            (*connection.borrow(), calls.room.available_permits()),
            (0, SLOTS)
        );
        // Nor does a cancellation free the slot of an answer that waits for the client to read.
        calls
            .begin(id(), Reservation::default())
            .await
            .unwrap()
            .hand_on();
        let answer = calls.answer(&id());
        calls.cancel(&id());
        assert!(calls.until_none().now_or_never().is_none());
        assert_eq!(calls.room.available_permits(), SLOTS - 1);
        let slot = answer.depart();
        assert!(calls.until_none().now_or_never().is_some());
        assert_eq!(calls.room.available_permits(), SLOTS - 1);
        drop(slot);
        assert_eq!(calls.room.available_permits(), SLOTS);
        calls.close();
        assert_eq!(
            calls.begin(id(), Reservation::default()).await.unwrap_err(),
            StreamError::UnknownSession
        );
    }

    #[tokio::test]
    async fn a_claim_is_revoked_and_takes_nothing_of_its_successor() {
        let id = || RequestId::Number(1);
        let calls = Arc::new(PendingRequests::on(None));
        for answers in [true, false] {
            let old = calls.begin(id(), Reservation::default()).await.unwrap();
            assert!(old.revoked().now_or_never().is_none());
            calls.cancel(&id());
            assert!(old.revoked().now_or_never().is_some());
            let new = calls.begin(id(), Reservation::default()).await.unwrap();
            if answers {
                assert!(old.answer().is_none());
            } else {
                drop(old);
            }
            assert_eq!(calls.room.available_permits(), SLOTS - 1);
            // The answer keeps the slot, whatever is cancelled.
            let answer = new.answer().unwrap();
            calls.cancel(&id());
            assert!(calls.until_none().now_or_never().is_none());
            assert_eq!(calls.room.available_permits(), SLOTS - 1);
            drop(answer.depart());
            assert!(calls.until_none().now_or_never().is_some());
            assert_eq!(calls.room.available_permits(), SLOTS);
        }
        let last = calls.begin(id(), Reservation::default()).await.unwrap();
        calls.close();
        assert!(last.revoked().now_or_never().is_some());
    }
}
