//! Tracks connections without a valid token, and evicts the oldest one past its grace period when
//! the server is out of connections.
//!
//! Otherwise a client without a token could hold every connection idle and lock out all others.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

#[derive(Debug)]
pub struct UnauthenticatedLimit {
    /// Grace period before a connection may be evicted.
    grace: Duration,
    connections: Mutex<Connections>,
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
    pub fn new(grace: Duration) -> Self {
        Self {
            grace,
            connections: Mutex::default(),
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

    /// Waits until the oldest connection has used up its grace period, and evicts it. Waits forever
    /// if there is none: then all connections are authenticated.
    pub async fn make_room(&self) {
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
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UnauthenticatedConnection {
    fn drop(&mut self) {
        self.unauthenticated
            .connections()
            .by_age
            .remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn evicts_the_oldest_unauthenticated_connection_after_its_grace_period() {
        let grace = Duration::from_secs(5);
        let unauthenticated = Arc::new(UnauthenticatedLimit::new(grace));
        let start = Instant::now();
        let (authenticated, stays) = unauthenticated.enter();
        let (_oldest, oldest_evicted) = unauthenticated.enter();
        tokio::time::advance(Duration::from_secs(1)).await;
        let (newer, newer_evicted) = unauthenticated.enter();
        drop(authenticated);
        unauthenticated.make_room().await;
        assert_eq!(
            (start.elapsed(), oldest_evicted.is_cancelled()),
            (grace, true)
        );
        assert!(!stays.is_cancelled() && !newer_evicted.is_cancelled());
        // A connection that authenticates in time is not evicted, and there is no other.
        let eviction = tokio::spawn({
            let unauthenticated = Arc::clone(&unauthenticated);
            async move { unauthenticated.make_room().await }
        });
        tokio::task::yield_now().await;
        drop(newer);
        tokio::time::advance(grace * 2).await;
        tokio::task::yield_now().await;
        assert!(!eviction.is_finished() && !newer_evicted.is_cancelled());
        eviction.abort();
        assert!(unauthenticated.connections().by_age.is_empty());
    }
}
