//! Bounds the memory that requests and answers take while they are read, built and written, in
//! total and per principal.
//!
//! Each call has a [`Reservation`], which grows before memory is allocated and is released when the
//! last byte of the answer has been written. A client that does not read therefore keeps its
//! reservation. A reservation that does not fit waits for others to be released, up to a time
//! limit, and is then refused. Small messages are not counted: the limits on connections bound
//! them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// Calls that need at most this many bytes are not counted.
pub const SMALL: usize = 16 * 1024;

/// The sizes of the budget, and how long a reservation may wait.
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

/// Why a reservation was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OverBudgetError {
    /// It exceeds the limit of one principal, so waiting does not help.
    #[error("it needs more memory than one caller may have")]
    Never,
    #[error("this caller's other requests take all the memory that one caller may have")]
    Principal,
    #[error("the server's memory for requests is used up")]
    Total,
}

/// The memory reserved by one call. Clones share it; dropping the last one releases it.
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

    /// Opens an empty reservation for one call of `principal`.
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

    fn release(&self, principal: &Arc<str>, bytes: usize) {
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
    /// A reservation without limits, for processes that serve a single caller.
    pub fn uncounted() -> Self {
        Self(None)
    }

    /// Bytes reserved.
    pub fn bytes(&self) -> usize {
        self.0
            .as_ref()
            .map_or(0, |share| share.bytes.load(Ordering::Relaxed))
    }

    /// Grows the reservation to at least `bytes` in total, and waits for memory if necessary.
    pub async fn grow_to(&self, bytes: usize) -> Result<(), OverBudgetError> {
        match &self.0 {
            Some(share) => share.grow_to(bytes).await,
            None => Ok(()),
        }
    }

    /// Releases everything above `bytes`.
    pub fn shrink_to(&self, bytes: usize) {
        if let Some(share) = &self.0 {
            let had = share.bytes.fetch_min(bytes, Ordering::Relaxed);
            share
                .budget
                .release(&share.principal, had.saturating_sub(bytes));
        }
    }

    /// Wraps `bytes` so that the reservation lives until they are dropped, which is after they are
    /// written.
    pub fn attach(&self, bytes: impl AsRef<[u8]> + Send + 'static) -> Bytes {
        Bytes::from_owner(Attached {
            bytes,
            _reservation: self.clone(),
        })
    }
}

impl Share {
    async fn grow_to(&self, bytes: usize) -> Result<(), OverBudgetError> {
        let held = self.bytes.load(Ordering::Relaxed);
        if bytes <= held.max(SMALL) {
            return Ok(());
        }
        let budget = &self.budget;
        let until = Instant::now() + budget.limits.wait;
        loop {
            // Subscribed before the attempt, so that no release in between is missed.
            let freed = budget.freed.notified();
            match budget.take(&self.principal, bytes - held) {
                Ok(()) => {
                    self.bytes.fetch_add(bytes - held, Ordering::Relaxed);
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
        self.budget.release(&self.principal, bytes);
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
    async fn limits_each_principal_and_the_total() {
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
    async fn released_memory_wakes_waiting_reservations() {
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
    async fn attached_bytes_hold_the_reservation_until_dropped() {
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
