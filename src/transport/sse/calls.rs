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

use super::Refused;
use crate::transport::running::{Count, Running};

/// Requests of one stream that may be open at once, unread answers included.
pub const SLOTS: usize = 32;

#[derive(Debug)]
pub struct Slot {
    _running: Running,
    _permit: OwnedSemaphorePermit,
}

#[derive(Debug)]
pub struct Calls {
    room: Arc<Semaphore>,
    connection: Option<Count>,
    open: watch::Sender<HashMap<RequestId, Slot>>,
}

/// A slot whose request has not been handed on yet. The client may close its POST until then, and nothing would ever
/// answer the request and end it.
#[derive(Debug)]
pub struct Claim {
    calls: Arc<Calls>,
    id: Option<RequestId>,
}

impl Claim {
    /// The request is under way, and its answer will end it.
    pub fn hand_on(mut self) {
        self.id = None;
    }

    /// The slot, for an answer that is there already.
    pub fn take(mut self) -> Option<Slot> {
        self.id.take().and_then(|id| self.calls.end(&id))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            self.calls.end(&id);
        }
    }
}

impl Calls {
    /// `connection`: the one that the answers leave on.
    pub fn on(connection: Option<Count>) -> Self {
        Self {
            room: Arc::new(Semaphore::new(SLOTS)),
            connection,
            open: watch::Sender::new(HashMap::new()),
        }
    }

    /// Waits for room. An id that is in use would leave two requests with one answer.
    pub async fn begin(self: &Arc<Self>, id: RequestId) -> Result<Claim, Refused> {
        let room = Arc::clone(&self.room).acquire_owned().await;
        let slot = Slot {
            _permit: room.map_err(|_| Refused::UnknownSession)?,
            _running: Running::on(self.connection.clone()),
        };
        let mut begun = false;
        self.open.send_modify(|open| {
            if let Entry::Vacant(place) = open.entry(id.clone()) {
                place.insert(slot);
                begun = true;
            }
        });
        let claim = || Claim {
            calls: Arc::clone(self),
            id: Some(id),
        };
        begun.then(claim).ok_or(Refused::IdInUse)
    }

    /// The slot of a request that is answered, or will never be.
    pub fn end(&self, id: &RequestId) -> Option<Slot> {
        let mut slot = None;
        self.open.send_modify(|open| slot = open.remove(id));
        slot
    }

    pub async fn until_none(&self) {
        let mut open = self.open.subscribe();
        // The sender is `self`, so it is there.
        let _ = open.wait_for(HashMap::is_empty).await;
    }

    /// The stream has gone: whoever waits for room waits in vain.
    pub fn close(&self) {
        self.room.close();
        self.open.send_modify(HashMap::clear);
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
        let calls = Arc::new(Calls::on(Some(connection.clone())));
        let claim = calls.begin(id()).await.unwrap();
        assert_eq!(*connection.borrow(), 1);
        assert_eq!(calls.begin(id()).await.unwrap_err(), Refused::IdInUse);
        drop(claim);
        assert!(calls.until_none().now_or_never().is_some());
        calls.begin(id()).await.unwrap().hand_on();
        assert_eq!(*connection.borrow(), 1);
        // The slot goes with the answer, and is kept until that has left.
        let slot = calls.end(&id());
        assert!(calls.until_none().now_or_never().is_some());
        assert_eq!((*connection.borrow(), calls.room.available_permits()), (1, SLOTS - 1));
        drop(slot);
        assert_eq!((*connection.borrow(), calls.room.available_permits()), (0, SLOTS));
        calls.close();
        assert_eq!(calls.begin(id()).await.unwrap_err(), Refused::UnknownSession);
    }
}
