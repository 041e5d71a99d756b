//! Bounds the memory that requests and answers take while they are read, built and written, in
//! total and per principal.
//!
//! Each call has a [`Reservation`], which grows before memory is allocated and is released when the
//! last byte of the answer has been written. A client that does not read therefore keeps its
//! reservation. A reservation that does not fit waits for others to be released, up to a time
//! limit, and is then refused. Small messages are not counted: the limits on connections bound
//! them.
//!
//! What a request announces and has not sent counts for its principal only
//! ([`announce`](Reservation::announce)): it takes no memory yet, so it must not keep others out.
//! It counts there at once and in full, because requests of one principal that each hold a part and
//! wait for the rest would block each other.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
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

/// Bytes that are counted for a principal and in total.
#[derive(Debug, Clone, Copy)]
struct Counted {
    own: usize,
    total: usize,
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
    /// Counted for the principal; at least `bytes`.
    announced: AtomicUsize,
    /// Counted in total.
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
            announced: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
        })))
    }

    fn take(&self, principal: &Arc<str>, more: Counted) -> Result<(), OverBudgetError> {
        let mut reserved = self.lock();
        let own = reserved
            .by_principal
            .get(principal)
            .copied()
            .unwrap_or_default();
        if more.own > 0 && own + more.own > self.limits.per_principal {
            Err(OverBudgetError::Principal)
        } else if more.total > 0 && reserved.total + more.total > self.limits.total {
            Err(OverBudgetError::Total)
        } else {
            reserved.total += more.total;
            *reserved
                .by_principal
                .entry(Arc::clone(principal))
                .or_default() += more.own;
            Ok(())
        }
    }

    fn release(&self, principal: &Arc<str>, less: Counted) {
        if less.own == 0 && less.total == 0 {
            return;
        }
        let mut reserved = self.lock();
        reserved.total = reserved.total.saturating_sub(less.total);
        if let Some(own) = reserved.by_principal.get_mut(principal) {
            *own = own.saturating_sub(less.own);
            if *own == 0 {
                reserved.by_principal.remove(principal);
            }
        }
        drop(reserved);
        self.freed.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, Reserved> {
        self.reserved.lock()
    }
}

impl Reservation {
    /// A reservation without limits, for processes that serve a single caller.
    pub fn uncounted() -> Self {
        Self(None)
    }

    /// Bytes reserved, without those that are only announced.
    pub fn bytes(&self) -> usize {
        self.0
            .as_ref()
            .map_or(0, |share| share.bytes.load(Ordering::Relaxed))
    }

    /// Grows the reservation to at least `bytes` in total, and waits for memory if necessary.
    pub async fn grow_to(&self, bytes: usize) -> Result<(), OverBudgetError> {
        match &self.0 {
            Some(share) => share.grow_to(bytes, bytes).await,
            None => Ok(()),
        }
    }

    /// Counts at least `bytes` for the principal, before any of it is allocated, and waits like
    /// [`grow_to`](Self::grow_to).
    pub async fn announce(&self, bytes: usize) -> Result<(), OverBudgetError> {
        match &self.0 {
            Some(share) => share.grow_to(bytes, 0).await,
            None => Ok(()),
        }
    }

    /// Releases everything above `bytes`.
    pub fn shrink_to(&self, bytes: usize) {
        if let Some(share) = &self.0 {
            let less = |counted: &AtomicUsize| {
                let had = counted.fetch_min(bytes, Ordering::Relaxed);
                had.saturating_sub(bytes)
            };
            let less = Counted {
                own: less(&share.announced),
                total: less(&share.bytes),
            };
            share.budget.release(&share.principal, less);
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
    async fn grow_to(&self, announced: usize, bytes: usize) -> Result<(), OverBudgetError> {
        let had = Counted {
            own: self.announced.load(Ordering::Relaxed),
            total: self.bytes.load(Ordering::Relaxed),
        };
        let missing = |wanted: usize, had: usize| match wanted {
            0..=SMALL => 0,
            _ => wanted.saturating_sub(had),
        };
        let more = Counted {
            own: missing(announced, had.own),
            total: missing(bytes, had.total),
        };
        if more.own == 0 && more.total == 0 {
            return Ok(());
        }
        let budget = &self.budget;
        let Limits {
            total,
            per_principal,
            wait,
        } = budget.limits;
        if announced > per_principal.min(total) {
            return Err(OverBudgetError::Never);
        }
        let until = Instant::now() + wait;
        loop {
            // Subscribed before the attempt, so that no release in between is missed.
            let freed = budget.freed.notified();
            match budget.take(&self.principal, more) {
                Ok(()) => {
                    self.announced.fetch_add(more.own, Ordering::Relaxed);
                    self.bytes.fetch_add(more.total, Ordering::Relaxed);
                    return Ok(());
                }
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
        let all = Counted {
            own: *self.announced.get_mut(),
            total: *self.bytes.get_mut(),
        };
        self.budget.release(&self.principal, all);
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
            budget.open(&ann).grow_to(MIB).await,
            Err(OverBudgetError::Principal)
        );
        assert_eq!(budget.open(&ann).grow_to(SMALL).await, Ok(()));
        let other = budget.open(&bob);
        assert_eq!(other.grow_to(3 * MIB).await, Err(OverBudgetError::Total));
        other.grow_to(2 * MIB).await.unwrap();
        drop((first, other));
        let reserved = budget.lock();
        assert_eq!((reserved.total, reserved.by_principal.len()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn what_can_never_fit_is_refused_at_once() {
        let (budget, ann) = (budget(), Arc::from("ann"));
        let (whole, grown) = (budget.open(&ann), budget.open(&ann));
        grown.grow_to(2 * MIB).await.unwrap();
        let start = Instant::now();
        for reservation in [whole, grown] {
            let refused = reservation.grow_to(4 * MIB).await;
            assert_eq!(refused, Err(OverBudgetError::Never));
            let refused = reservation.announce(4 * MIB).await;
            assert_eq!(refused, Err(OverBudgetError::Never));
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn announced_memory_counts_for_its_principal_only() {
        let (budget, ann) = (budget(), Arc::from("ann"));
        let (first, second) = (budget.open(&ann), budget.open(&ann));
        first.announce(3 * MIB).await.unwrap();
        assert_eq!(first.bytes(), 0);
        assert_eq!(second.announce(MIB).await, Err(OverBudgetError::Principal));
        let others: Vec<_> = ["bob", "eve"]
            .map(|name| budget.open(&Arc::from(name)))
            .into();
        for other in &others {
            other.announce(3 * MIB).await.unwrap();
        }
        others[0].grow_to(3 * MIB).await.unwrap();
        first.grow_to(2 * MIB).await.unwrap();
        // What was announced still has to fit when it comes.
        assert_eq!(first.grow_to(3 * MIB).await, Err(OverBudgetError::Total));
        assert_eq!((first.bytes(), budget.lock().total), (2 * MIB, 5 * MIB));
        first.shrink_to(MIB);
        second.grow_to(MIB).await.unwrap();
        drop((first, second, others));
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
