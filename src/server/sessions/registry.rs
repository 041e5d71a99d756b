//! Whose each session is, and how many there may be.
//!
//! An id alone opens nothing: a session serves only the person that opened it, and to everybody else it does not exist.
//! Two bounds hold at once. There is one on all sessions, past which newcomers are refused; and one on a person's, past
//! which their newest pushes out the one that they left alone the longest, since clients seldom end what they began.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rmcp::transport::streamable_http_server::session::SessionId;
use tokio::time::Instant;

use crate::telemetry::metrics;

/// Sessions of one person at once: some clients with some windows each.
const MOST_OF_ONE_PERSON: usize = 16;

#[derive(Debug)]
pub struct Ledger {
    most: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    sessions: HashMap<SessionId, Entry>,
    /// Sessions that are being opened and have no id yet.
    opening: usize,
}

#[derive(Debug)]
struct Entry {
    owner: Arc<str>,
    used: Instant,
}

/// There is no room for another session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegistryFullError;

/// Room for a session that is being opened; given back when nothing comes of it.
#[derive(Debug)]
pub struct Room {
    ledger: Arc<Ledger>,
    /// Sessions that have to be closed for it.
    pub makes_way: Option<SessionId>,
}

impl Ledger {
    pub fn new(most: usize) -> Self {
        Self {
            most,
            kept: Mutex::default(),
        }
    }

    /// Where there is none left, the person's own oldest session makes way, if there is one.
    pub fn make_room(self: &Arc<Self>, owner: &str) -> Result<Room, RegistryFullError> {
        let mut kept = self.kept();
        let makes_way = if kept.sessions.len() + kept.opening < self.most {
            None
        } else {
            let oldest = kept.oldest_of(owner).ok_or_else(|| {
                metrics::limited("sessions");
                RegistryFullError
            })?;
            kept.sessions.remove(&oldest);
            Some(oldest)
        };
        kept.opening += 1;
        drop(kept);
        Ok(Room {
            ledger: Arc::clone(self),
            makes_way,
        })
    }

    /// Whether this session is this person's. It counts as used then.
    pub fn enter(&self, id: &str, owner: &str) -> bool {
        match self.kept().sessions.get_mut(id) {
            Some(entry) if *entry.owner == *owner => {
                entry.used = Instant::now();
                true
            }
            _ => false,
        }
    }

    pub fn forget(&self, id: &str) {
        self.kept().sessions.remove(id);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub fn count(&self) -> usize {
        let kept = self.kept();
        kept.sessions.len() + kept.opening
    }
}

impl Kept {
    fn of<'a>(&'a self, owner: &'a str) -> impl Iterator<Item = (&'a SessionId, &'a Entry)> {
        self.sessions
            .iter()
            .filter(move |(_, entry)| *entry.owner == *owner)
    }

    fn oldest_of(&self, owner: &str) -> Option<SessionId> {
        self.of(owner)
            .min_by_key(|(_, entry)| entry.used)
            .map(|(id, _)| Arc::clone(id))
    }
}

impl Room {
    /// Enters the session that was opened, and says which of the person's others has to go, if they have too many.
    pub fn taken_by(self, id: SessionId, owner: Arc<str>) -> Option<SessionId> {
        let mut kept = self.ledger.kept();
        let surplus = if kept.of(&owner).count() < MOST_OF_ONE_PERSON {
            None
        } else {
            kept.oldest_of(&owner)
        };
        if let Some(surplus) = &surplus {
            kept.sessions.remove(surplus);
        }
        let used = Instant::now();
        kept.sessions.insert(id, Entry { owner, used });
        surplus
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut kept = self.ledger.kept();
        kept.opening = kept.opening.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn open(ledger: &Arc<Ledger>, id: &str, owner: &str) -> Option<SessionId> {
        let room = ledger.make_room(owner).unwrap();
        let makes_way = room.makes_way.clone();
        makes_way.or(room.taken_by(Arc::from(id), Arc::from(owner)))
    }

    #[test]
    fn a_session_is_its_owners_alone() {
        let ledger = Arc::new(Ledger::new(8));
        assert_eq!(open(&ledger, "1", "ann"), None);
        assert!(ledger.enter("1", "ann"));
        assert!(!ledger.enter("1", "bob"));
        assert!(!ledger.enter("2", "ann"));
        ledger.forget("1");
        assert!(!ledger.enter("1", "ann"));
        assert_eq!(ledger.count(), 0);
    }

    #[test]
    fn room_that_nobody_took_is_given_back() {
        let ledger = Arc::new(Ledger::new(1));
        let room = ledger.make_room("ann").unwrap();
        assert_eq!(ledger.make_room("bob").unwrap_err(), RegistryFullError);
        drop(room);
        assert_eq!(ledger.count(), 0);
        assert_eq!(open(&ledger, "1", "bob"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn where_all_is_taken_only_ones_own_make_way() {
        let ledger = Arc::new(Ledger::new(2));
        for id in ["1", "2"] {
            assert_eq!(open(&ledger, id, "ann"), None);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(ledger.make_room("bob").unwrap_err(), RegistryFullError);
        assert!(ledger.enter("1", "ann"));
        // The second has been left alone for longer.
        assert_eq!(open(&ledger, "3", "ann").as_deref(), Some("2"));
        assert!(ledger.enter("1", "ann") && !ledger.enter("2", "ann") && ledger.enter("3", "ann"));
        assert_eq!(ledger.count(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn one_person_cannot_take_all() {
        let ledger = Arc::new(Ledger::new(1000));
        assert_eq!(open(&ledger, "bob's", "bob"), None);
        for number in 0..MOST_OF_ONE_PERSON {
            assert_eq!(open(&ledger, &number.to_string(), "ann"), None);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(open(&ledger, "one more", "ann").as_deref(), Some("0"));
        assert_eq!(ledger.count(), MOST_OF_ONE_PERSON + 1);
        assert!(ledger.enter("bob's", "bob"));
    }
}
