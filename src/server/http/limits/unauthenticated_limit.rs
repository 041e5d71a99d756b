//! Limits the connections without a valid token. When there are too many of them, or the server is
//! out of connections, the oldest one past its grace period is evicted.
//!
//! Otherwise a client without a token could hold every connection idle and lock out all others, or
//! fill memory with heads that never end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

#[derive(Debug)]
pub struct UnauthenticatedLimit {
    max: usize,
    /// Grace period before a connection may be evicted.
    grace: Duration,
    connections: Mutex<Connections>,
    left: Notify,
}

/// Unauthenticated connections, oldest first.
#[derive(Debug, Default)]
struct Connections {
    next_number: u64,
    by_age: BTreeMap<u64, (Instant, CancellationToken)>,
}

/// One unauthenticated connection, until it is authenticated or closes.
#[derive(Debug)]
pub struct UnauthenticatedConnection {
    unauthenticated: Arc<UnauthenticatedLimit>,
    number: u64,
}

impl UnauthenticatedLimit {
    pub fn new(max: usize, grace: Duration) -> Self {
        Self {
            max,
            grace,
            connections: Mutex::default(),
            left: Notify::new(),
        }
    }

    /// Registers a connection. The token is cancelled when it is evicted.
    pub fn enter(self: &Arc<Self>) -> (UnauthenticatedConnection, CancellationToken) {
        let evicted = CancellationToken::new();
        let mut connections = self.connections();
        let number = connections.next_number;
        connections.next_number += 1;
        connections
            .by_age
            .insert(number, (Instant::now(), evicted.clone()));
        let connection = UnauthenticatedConnection {
            unauthenticated: Arc::clone(self),
            number,
        };
        (connection, evicted)
    }

    /// Waits until one more connection may enter, and evicts others if necessary. `evicted` is
    /// called for each of them.
    pub async fn until_below_max(&self, evicted: impl Fn()) {
        loop {
            // Subscribed before the count, so that no departure in between is missed.
            let left = self.left.notified();
            if self.connections().by_age.len() < self.max {
                return;
            }
            tokio::select! {
                biased;
                () = left => {}
                () = self.evict_one() => evicted(),
            }
        }
    }

    /// Waits until the oldest connection has used up its grace period, and evicts it. Waits forever
    /// if there is none: then all connections are authenticated.
    pub async fn evict_one(&self) {
        loop {
            let Some(until) = self.next_eviction() else {
                return std::future::pending().await;
            };
            tokio::time::sleep_until(until).await;
            let mut connections = self.connections();
            // The connection may have closed or authenticated meanwhile.
            if let Some(first) = connections
                .by_age
                .first_entry()
                .filter(|first| first.get().0 + self.grace <= Instant::now())
            {
                first.remove().1.cancel();
                return;
            }
        }
    }

    fn next_eviction(&self) -> Option<Instant> {
        let connections = self.connections();
        connections
            .by_age
            .values()
            .next()
            .map(|(since, _)| *since + self.grace)
    }

    fn connections(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock()
    }
}

impl Drop for UnauthenticatedConnection {
    fn drop(&mut self) {
        self.unauthenticated
            .connections()
            .by_age
            .remove(&self.number);
        self.unauthenticated.left.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn evicts_the_oldest_unauthenticated_connection_after_its_grace_period() {
        let grace = Duration::from_secs(5);
        let unauthenticated = Arc::new(UnauthenticatedLimit::new(9, grace));
        let start = Instant::now();
        let (authenticated, stays) = unauthenticated.enter();
        let (_oldest, oldest_evicted) = unauthenticated.enter();
        tokio::time::advance(Duration::from_secs(1)).await;
        let (newer, newer_evicted) = unauthenticated.enter();
        drop(authenticated);
        unauthenticated.evict_one().await;
        assert_eq!(
            (start.elapsed(), oldest_evicted.is_cancelled()),
            (grace, true)
        );
        assert!(!stays.is_cancelled() && !newer_evicted.is_cancelled());
        // A connection that authenticates in time is not evicted, and there is no other.
        let eviction = tokio::spawn({
            let unauthenticated = Arc::clone(&unauthenticated);
            async move { unauthenticated.evict_one().await }
        });
        tokio::task::yield_now().await;
        drop(newer);
        tokio::time::advance(grace * 2).await;
        tokio::task::yield_now().await;
        assert!(!eviction.is_finished() && !newer_evicted.is_cancelled());
        eviction.abort();
        assert!(unauthenticated.connections().by_age.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn limits_the_connections_and_waits_for_departures_and_grace() {
        let grace = Duration::from_secs(1);
        let unauthenticated = Arc::new(UnauthenticatedLimit::new(2, grace));
        let evictions = std::cell::Cell::new(0);
        let evicted = || evictions.set(evictions.get() + 1);
        let start = Instant::now();
        let (_oldest, gone) = unauthenticated.enter();
        unauthenticated.until_below_max(evicted).await;
        let (newer, stays) = unauthenticated.enter();
        assert_eq!(start.elapsed(), Duration::ZERO);
        unauthenticated.until_below_max(evicted).await;
        assert_eq!((start.elapsed(), evictions.get()), (grace, 1));
        assert!(gone.is_cancelled() && !stays.is_cancelled());
        // A connection that leaves or authenticates makes room at once.
        let (_another, _) = unauthenticated.enter();
        let mut waiting = std::pin::pin!(unauthenticated.until_below_max(evicted));
        tokio::time::advance(Duration::from_millis(1)).await;
        drop(newer);
        waiting.as_mut().await;
        assert_eq!(evictions.get(), 1);
    }
}
