//! The owners of the sessions, and their limits.
//!
//! A session id alone grants nothing: a session serves only the principal that opened it, and for
//! all others it does not exist. There are two limits. New sessions beyond the total are refused.
//! Beyond the limit per principal, a new session evicts the least recently used one of that
//! principal, since clients seldom end their sessions.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use rmcp::transport::streamable_http_server::session::SessionId;
use tokio::time::Instant;

use crate::telemetry::metrics;

/// Limit on the sessions of one principal: a few clients with a few windows each.
const MAX_PER_PRINCIPAL: usize = 16;

#[derive(Debug)]
pub struct SessionRegistry {
    max_sessions: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    sessions: HashMap<SessionId, Entry>,
    /// Sessions that are being opened and have no id yet.
    opening: usize,
}

#[derive(Debug)]
struct Entry {
    owner: Arc<str>,
    last_used: Instant,
}

/// The limit on all sessions is reached, and the caller has none to evict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegistryFullError;

/// A reservation for a session that is being opened; released on drop.
#[derive(Debug)]
pub struct SessionReservation {
    registry: Arc<SessionRegistry>,
    /// The session to close for this one.
    pub evicted: Option<SessionId>,
}

impl SessionRegistry {
    pub fn new(max_sessions: usize) -> Self {
        Self {
            max_sessions,
            state: Mutex::default(),
        }
    }

    /// Reserves capacity for a session. At the limit, the owner's least recently used session is
    /// evicted, if there is one.
    pub fn reserve(self: &Arc<Self>, owner: &str) -> Result<SessionReservation, RegistryFullError> {
        let mut state = self.state();
        let evicted = if state.sessions.len() + state.opening < self.max_sessions {
            None
        } else {
            let oldest = state.oldest_of(owner).ok_or_else(|| {
                metrics::limit_reached("sessions");
                RegistryFullError
            })?;
            state.sessions.remove(&oldest);
            Some(oldest)
        };
        state.opening += 1;
        drop(state);
        Ok(SessionReservation {
            registry: Arc::clone(self),
            evicted,
        })
    }

    /// Whether the session belongs to `owner`. If so, it is marked as used.
    pub fn enter(&self, id: &str, owner: &str) -> bool {
        match self.state().sessions.get_mut(id) {
            Some(entry) if *entry.owner == *owner => {
                entry.last_used = Instant::now();
                true
            }
            _ => false,
        }
    }

    pub fn forget(&self, id: &str) {
        self.state().sessions.remove(id);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    #[cfg(test)]
    pub fn count(&self) -> usize {
        let state = self.state();
        state.sessions.len() + state.opening
    }
}

impl State {
    fn owned_by<'a>(&'a self, owner: &'a str) -> impl Iterator<Item = (&'a SessionId, &'a Entry)> {
        self.sessions
            .iter()
            .filter(move |(_, entry)| *entry.owner == *owner)
    }

    fn oldest_of(&self, owner: &str) -> Option<SessionId> {
        self.owned_by(owner)
            .min_by_key(|(_, entry)| entry.last_used)
            .map(|(id, _)| Arc::clone(id))
    }
}

impl SessionReservation {
    /// Registers the opened session, and returns the owner's session to close if they have too
    /// many.
    pub fn register(self, id: SessionId, owner: Arc<str>) -> Option<SessionId> {
        let mut state = self.registry.state();
        let evicted = if state.owned_by(&owner).count() < MAX_PER_PRINCIPAL {
            None
        } else {
            state.oldest_of(&owner)
        };
        if let Some(evicted) = &evicted {
            state.sessions.remove(evicted);
        }
        let last_used = Instant::now();
        state.sessions.insert(id, Entry { owner, last_used });
        evicted
    }
}

impl Drop for SessionReservation {
    fn drop(&mut self) {
        let mut state = self.registry.state();
        state.opening = state.opening.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn open(registry: &Arc<SessionRegistry>, id: &str, owner: &str) -> Option<SessionId> {
        let reservation = registry.reserve(owner).unwrap();
        let evicted = reservation.evicted.clone();
        evicted.or(reservation.register(Arc::from(id), Arc::from(owner)))
    }

    #[test]
    fn a_session_serves_only_its_owner() {
        let registry = Arc::new(SessionRegistry::new(8));
        assert_eq!(open(&registry, "1", "ann"), None);
        assert!(registry.enter("1", "ann"));
        assert!(!registry.enter("1", "bob"));
        assert!(!registry.enter("2", "ann"));
        registry.forget("1");
        assert!(!registry.enter("1", "ann"));
        assert_eq!(registry.count(), 0);
    }

    #[test]
    fn releases_an_unused_reservation() {
        let registry = Arc::new(SessionRegistry::new(1));
        let reservation = registry.reserve("ann").unwrap();
        assert_eq!(registry.reserve("bob").unwrap_err(), RegistryFullError);
        drop(reservation);
        assert_eq!(registry.count(), 0);
        assert_eq!(open(&registry, "1", "bob"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn at_the_limit_evicts_only_the_owners_session() {
        let registry = Arc::new(SessionRegistry::new(2));
        for id in ["1", "2"] {
            assert_eq!(open(&registry, id, "ann"), None);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(registry.reserve("bob").unwrap_err(), RegistryFullError);
        assert!(registry.enter("1", "ann"));
        // The second is the least recently used.
        assert_eq!(open(&registry, "3", "ann").as_deref(), Some("2"));
        assert!(
            registry.enter("1", "ann") && !registry.enter("2", "ann") && registry.enter("3", "ann")
        );
        assert_eq!(registry.count(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn limits_the_sessions_of_one_principal() {
        let registry = Arc::new(SessionRegistry::new(1000));
        assert_eq!(open(&registry, "bob's", "bob"), None);
        for number in 0..MAX_PER_PRINCIPAL {
            assert_eq!(open(&registry, &number.to_string(), "ann"), None);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(open(&registry, "one more", "ann").as_deref(), Some("0"));
        assert_eq!(registry.count(), MAX_PER_PRINCIPAL + 1);
        assert!(registry.enter("bob's", "bob"));
    }
}
