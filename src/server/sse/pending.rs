//! The pending requests of one stream.
//!
//! Each holds a [`Slot`] from the moment its message is accepted until its response is written. The
//! number of slots bounds both concurrent requests and unread responses. Each slot also counts as
//! in flight on the stream's connection, which keeps that connection open while the server drains.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use rmcp::model::RequestId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::StreamError;
use crate::foundation::memory_budget::Reservation;
use crate::server::http::in_flight::{Count, InFlight};

/// Limit on the pending requests of one stream, unread responses included.
pub const SLOTS: usize = 32;

#[derive(Debug)]
pub struct Slot {
    /// The memory of the request and its response, until the response is written.
    _memory: Reservation,
    _in_flight: InFlight,
    _permit: OwnedSemaphorePermit,
    /// Revokes the [`Claim`] when the slot is dropped.
    _gone: DropGuard,
}

#[derive(Debug)]
pub struct PendingRequests {
    slots: Arc<Semaphore>,
    connection: Option<Count>,
    open: watch::Sender<Open>,
}

#[derive(Debug, Default)]
struct Open {
    /// Requests without a response.
    requests: HashMap<RequestId, Slot>,
    /// Responses that wait for space in the event queue.
    waiting: usize,
}

impl Open {
    fn is_empty(&self) -> bool {
        self.requests.is_empty() && self.waiting == 0
    }
}

/// A response that waits for the event queue. It owns the slot of its request, so a cancellation
/// cannot free it; otherwise unread responses could accumulate beyond the limit.
#[derive(Debug)]
pub struct PendingAnswer {
    pending: Arc<PendingRequests>,
    slot: Option<Slot>,
}

impl PendingAnswer {
    /// Releases the slot to the event that is about to be queued.
    pub fn into_slot(mut self) -> Option<Slot> {
        self.slot.take()
    }
}

impl Drop for PendingAnswer {
    fn drop(&mut self) {
        self.pending
            .open
            .send_modify(|open| open.waiting = open.waiting.saturating_sub(1));
    }
}

/// The slot of a request that has not been passed to rmcp. Dropping the claim frees the slot, which
/// covers a client that aborts its POST: nothing else would end the request.
#[derive(Debug)]
pub struct Claim {
    pending: Arc<PendingRequests>,
    id: Option<RequestId>,
    /// Cancelled under the lock when the slot is dropped, so that a claim never takes the slot of a
    /// later request with the same id.
    gone: CancellationToken,
}

impl Claim {
    /// Passes the request to rmcp; its response then frees the slot.
    pub fn hand_on(mut self) {
        self.id = None;
    }

    /// Completes when the request is cancelled or the client disconnects.
    pub async fn revoked(&self) {
        self.gone.cancelled().await;
    }

    /// Converts the claim into a pending answer; `None` if the request was cancelled.
    pub fn answer(mut self) -> Option<PendingAnswer> {
        let slot = Some(self.end(|open| open.waiting += 1)?);
        let pending = Arc::clone(&self.pending);
        Some(PendingAnswer { pending, slot })
    }

    /// Removes the request if it is pending, and runs `and` under the same lock.
    fn end(&mut self, and: impl FnOnce(&mut Open)) -> Option<Slot> {
        let id = self.id.take()?;
        let mut slot = None;
        self.pending.open.send_modify(|open| {
            if !self.gone.is_cancelled() {
                slot = open.requests.remove(&id);
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
    /// `connection` counts the requests in flight on the stream's connection.
    pub fn on(connection: Option<Count>) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(SLOTS)),
            connection,
            open: watch::Sender::new(Open::default()),
        }
    }

    /// Waits for a slot. Rejects an id that is in use, since two requests would share one response.
    pub async fn begin(
        self: &Arc<Self>,
        id: RequestId,
        memory: Reservation,
    ) -> Result<Claim, StreamError> {
        let permit = Arc::clone(&self.slots).acquire_owned().await;
        let gone = CancellationToken::new();
        let slot = Slot {
            _memory: memory,
            _permit: permit.map_err(|_| StreamError::UnknownSession)?,
            _in_flight: InFlight::on(self.connection.clone()),
            _gone: gone.clone().drop_guard(),
        };
        let mut begun = Err(StreamError::IdInUse);
        self.open.send_modify(|open| {
            if self.slots.is_closed() {
                // Closed while waiting for the slot: nothing would end the request.
                begun = Err(StreamError::UnknownSession);
            } else if let Entry::Vacant(vacant) = open.requests.entry(id.clone()) {
                vacant.insert(slot);
                begun = Ok(());
            }
        });
        begun.map(|()| Claim {
            pending: Arc::clone(self),
            id: Some(id),
            gone,
        })
    }

    /// Drops a request that will not be answered.
    pub fn cancel(&self, id: &RequestId) {
        self.open.send_modify(|open| drop(open.requests.remove(id)));
    }

    /// Takes the slot of an answered request. The response may wait until the client reads earlier
    /// ones.
    pub fn answer(self: &Arc<Self>, id: &RequestId) -> PendingAnswer {
        let mut slot = None;
        self.open.send_modify(|open| {
            slot = open.requests.remove(id);
            open.waiting += 1;
        });
        let pending = Arc::clone(self);
        PendingAnswer { pending, slot }
    }

    pub async fn until_none(&self) {
        let mut open = self.open.subscribe();
        // Cannot fail: `self` owns the sender.
        let _ = open.wait_for(Open::is_empty).await;
    }

    /// Drops all requests and fails every waiting [`begin`](Self::begin).
    pub fn close(&self) {
        self.slots.close();
        self.open.send_modify(|open| open.requests.clear());
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn frees_each_slot_exactly_once() {
        let id = || RequestId::Number(1);
        let connection = Count::new(0);
        let pending = Arc::new(PendingRequests::on(Some(connection.clone())));
        let claim = pending.begin(id(), Reservation::default()).await.unwrap();
        assert_eq!(*connection.borrow(), 1);
        assert_eq!(
            pending
                .begin(id(), Reservation::default())
                .await
                .unwrap_err(),
            StreamError::IdInUse
        );
        drop(claim);
        assert!(pending.until_none().now_or_never().is_some());
        pending
            .begin(id(), Reservation::default())
            .await
            .unwrap()
            .hand_on();
        assert_eq!(*connection.borrow(), 1);
        // The slot moves to the event and is held until that is written.
        let slot = pending.answer(&id()).into_slot();
        assert!(pending.until_none().now_or_never().is_some());
        assert_eq!(
            (*connection.borrow(), pending.slots.available_permits()),
            (1, SLOTS - 1)
        );
        drop(slot);
        assert_eq!(
            (*connection.borrow(), pending.slots.available_permits()),
            (0, SLOTS)
        );
        // A cancellation does not free the slot of a response that waits to be read.
        pending
            .begin(id(), Reservation::default())
            .await
            .unwrap()
            .hand_on();
        let answer = pending.answer(&id());
        pending.cancel(&id());
        assert!(pending.until_none().now_or_never().is_none());
        assert_eq!(pending.slots.available_permits(), SLOTS - 1);
        let slot = answer.into_slot();
        assert!(pending.until_none().now_or_never().is_some());
        assert_eq!(pending.slots.available_permits(), SLOTS - 1);
        drop(slot);
        assert_eq!(pending.slots.available_permits(), SLOTS);
        pending.close();
        assert_eq!(
            pending
                .begin(id(), Reservation::default())
                .await
                .unwrap_err(),
            StreamError::UnknownSession
        );
    }

    #[tokio::test]
    async fn a_revoked_claim_does_not_take_the_slot_of_its_successor() {
        let id = || RequestId::Number(1);
        let pending = Arc::new(PendingRequests::on(None));
        for answers in [true, false] {
            let old = pending.begin(id(), Reservation::default()).await.unwrap();
            assert!(old.revoked().now_or_never().is_none());
            pending.cancel(&id());
            assert!(old.revoked().now_or_never().is_some());
            let new = pending.begin(id(), Reservation::default()).await.unwrap();
            if answers {
                assert!(old.answer().is_none());
            } else {
                drop(old);
            }
            assert_eq!(pending.slots.available_permits(), SLOTS - 1);
            // The pending answer keeps the slot despite the cancellation.
            let answer = new.answer().unwrap();
            pending.cancel(&id());
            assert!(pending.until_none().now_or_never().is_none());
            assert_eq!(pending.slots.available_permits(), SLOTS - 1);
            drop(answer.into_slot());
            assert!(pending.until_none().now_or_never().is_some());
            assert_eq!(pending.slots.available_permits(), SLOTS);
        }
        let last = pending.begin(id(), Reservation::default()).await.unwrap();
        pending.close();
        assert!(last.revoked().now_or_never().is_some());
    }
}
