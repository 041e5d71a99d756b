//! Bounds the memory that requests and answers take while they are read, built and written, in total and per principal.
//!
//! Each call has a [`Reservation`] that grows before the memory is taken and is given back when the last byte of its
//! answer has been written, so a client that does not read keeps paying for what it leaves unread. What does not fit
//! waits for others to end, up to a limit; then it is refused. Small messages are not counted: the bounds on connections
//! bound them too.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// A call that needs no more than this is not counted.
pub const SMALL: usize = 16 * 1024;

/// How much there is to be shared, and how long to wait for a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub total: usize,
    pub per_principal: usize,
    pub wait: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            total: 64 << 20,
            per_principal: 32 << 20,
            wait: Duration::from_secs(2),
        }
    }
}

#[derive(Debug)]
pub struct MemoryBudget {
    limits: Limits,
    reserved: Mutex<Reserved>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Reserved {
    total: usize,
    by_principal: HashMap<Arc<str>, usize>,
}

/// Why memory is not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OverBudgetError {
    /// Waiting would not help: it is more than one principal may ever have.
    #[error("it needs more memory than one caller may have")]
    Never,
    #[error("this caller's other requests take all the memory that one caller may have")]
    Principal,
    #[error("the server's memory for requests is used up")]
    Total,
}

/// What one call has reserved. Clones share it; the last one gives it back.
#[derive(Debug, Clone, Default)]
pub struct Reservation(Option<Arc<Share>>);

#[derive(Debug)]
struct Share {
    budget: Arc<MemoryBudget>,
    principal: Arc<str>,
    bytes: AtomicUsize,
}

impl MemoryBudget {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            reserved: Mutex::default(),
            freed: Notify::new(),
        }
    }

    /// For one call of this principal. Nothing is reserved yet.
    pub fn open(self: &Arc<Self>, principal: &Arc<str>) -> Reservation {
        Reservation(Some(Arc::new(Share {
            budget: Arc::clone(self),
            principal: Arc::clone(principal),
            bytes: AtomicUsize::new(0),
        })))
    }

    fn take(&self, principal: &Arc<str>, bytes: usize) -> Result<(), OverBudgetError> {
        let mut reserved = self.lock();
        let own = reserved
            .by_principal
            .get(principal)
            .copied()
            .unwrap_or_default();
        if bytes > self.limits.per_principal.min(self.limits.total) {
            Err(OverBudgetError::Never)
        } else if own + bytes > self.limits.per_principal {
            Err(OverBudgetError::Principal)
        } else if reserved.total + bytes > self.limits.total {
            Err(OverBudgetError::Total)
        } else {
            reserved.total += bytes;
            *reserved
                .by_principal
                .entry(Arc::clone(principal))
                .or_default() += bytes;
            Ok(())
        }
    }

    fn give_back(&self, principal: &Arc<str>, bytes: usize) {
        if bytes == 0 {
            return;
        }
        let mut reserved = self.lock();
        reserved.total = reserved.total.saturating_sub(bytes);
        if let Some(own) = reserved.by_principal.get_mut(principal) {
            *own = own.saturating_sub(bytes);
            if *own == 0 {
                reserved.by_principal.remove(principal);
            }
        }
        drop(reserved);
        self.freed.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, Reserved> {
        self.reserved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reservation {
    /// Of a call that is not counted: the only one of its process.
    pub fn uncounted() -> Self {
        Self(None)
    }

    /// How much is reserved.
    pub fn bytes(&self) -> usize {
        self.0
            .as_ref()
            .map_or(0, |share| share.bytes.load(Ordering::Relaxed))
    }

    /// Reserves at least this much in all, waiting for it if need be.
    pub async fn grow_to(&self, bytes: usize) -> Result<(), OverBudgetError> {
        match &self.0 {
            Some(share) => share.grow_to(bytes).await,
            None => Ok(()),
        }
    }

    /// Gives back what is beyond this.
    pub fn shrink_to(&self, bytes: usize) {
        if let Some(share) = &self.0 {
            let had = share.bytes.fetch_min(bytes, Ordering::Relaxed);
            share
                .budget
                .give_back(&share.principal, had.saturating_sub(bytes));
        }
    }

    /// The bytes, which keep the reservation until they are dropped, and so until they have been written.
    pub fn attach(&self, bytes: impl AsRef<[u8]> + Send + 'static) -> Bytes {
        Bytes::from_owner(Attached {
            bytes,
            _reservation: self.clone(),
        })
    }
}

impl Share {
    async fn grow_to(&self, bytes: usize) -> Result<(), OverBudgetError> {
        let has = self.bytes.load(Ordering::Relaxed);
        if bytes <= has.max(SMALL) {
            return Ok(());
        }
        let budget = &self.budget;
        let until = Instant::now() + budget.limits.wait;
        loop {
            // Before the try, so that nothing that is given back in between goes unnoticed.
            let freed = budget.freed.notified();
            match budget.take(&self.principal, bytes - has) {
                Ok(()) => {
                    self.bytes.fetch_add(bytes - has, Ordering::Relaxed);
                    return Ok(());
                }
                Err(OverBudgetError::Never) => return Err(OverBudgetError::Never),
                Err(error) => timeout_at(until, freed).await.map_err(|_| error)?,
            }
        }
    }
}

struct Attached<T> {
    bytes: T,
    _reservation: Reservation,
}

impl<T: AsRef<[u8]>> AsRef<[u8]> for Attached<T> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let bytes = *self.bytes.get_mut();
        self.budget.give_back(&self.principal, bytes);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    const MIB: usize = 1 << 20;

    fn budget() -> Arc<MemoryBudget> {
        let limits = Limits {
            total: 5 * MIB,
            per_principal: 3 * MIB,
            wait: Duration::from_secs(2),
        };
        Arc::new(MemoryBudget::new(limits))
    }

    #[tokio::test(start_paused = true)]
    async fn a_principal_has_a_share_and_all_together_the_total() {
        let (budget, ann, bob) = (budget(), Arc::from("ann"), Arc::from("bob"));
        let first = budget.open(&ann);
        first.grow_to(2 * MIB).await.unwrap();
        first.grow_to(3 * MIB).await.unwrap();
        assert_eq!(
            first.grow_to(4 * MIB).await,
            Err(OverBudgetError::Principal)
        );
        assert_eq!(
            budget.open(&ann).grow_to(4 * MIB).await,
            Err(OverBudgetError::Never)
        );
        assert_eq!(budget.open(&ann).grow_to(SMALL).await, Ok(()));
        let other = budget.open(&bob);
        assert_eq!(other.grow_to(3 * MIB).await, Err(OverBudgetError::Total));
        other.grow_to(2 * MIB).await.unwrap();
        drop((first, other));
        let reserved = budget.lock();
        assert_eq!((reserved.total, reserved.by_principal.len()), (0, 0));
    }

    #[tokio::test]
    async fn what_is_given_back_goes_to_those_who_wait() {
        let (budget, ann) = (budget(), Arc::from("ann"));
        let (first, second) = (budget.open(&ann), budget.open(&ann));
        first.grow_to(3 * MIB).await.unwrap();
        let mut waiting = Box::pin(second.grow_to(2 * MIB));
        assert!(waiting.as_mut().now_or_never().is_none());
        first.shrink_to(2 * MIB);
        assert!(waiting.as_mut().now_or_never().is_none());
        first.shrink_to(MIB);
        assert_eq!(waiting.as_mut().now_or_never(), Some(Ok(())));
    }

    #[tokio::test]
    async fn bytes_keep_the_reservation_until_the_last_of_them_goes() {
        let (budget, ann) = (budget(), Arc::from("ann"));
        let reservation = budget.open(&ann);
        reservation.grow_to(MIB).await.unwrap();
        let bytes = reservation.attach(vec![7; MIB]);
        drop(reservation);
        let rest = bytes.slice(10..);
        drop(bytes);
        assert_eq!(budget.lock().total, MIB);
        drop(rest);
        assert_eq!(budget.lock().total, 0);
    }
}
