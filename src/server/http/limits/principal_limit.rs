//! Owner each connection is, and how many one person may hold.
//!
//! What a client leaves unread, and what it is slow to send, stays in memory with its connection; so a bound on a person's
//! connections is one on the memory that they can take. A connection is the person's whose token came last on it: a proxy may
//! carry many people's requests, one after the other. One that stays with the same person costs a lock that nobody else wants.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::unauthenticated_limit::UnauthenticatedConnection;

#[derive(Debug)]
pub struct PrincipalLimit {
    most: usize,
    held: Mutex<HashMap<Arc<str>, usize>>,
}

/// One connection, in the extensions of its requests.
#[derive(Debug, Clone)]
pub struct Connection(Arc<Mutex<Owner>>);

#[derive(Debug)]
enum Owner {
    /// What is in them is there to be dropped.
    UnauthenticatedLimit {
        _until_known: UnauthenticatedConnection,
    },
    Principal(HeldConnection),
}

/// Somebody's connection, until it closes or is somebody else's.
#[derive(Debug)]
struct HeldConnection {
    holders: Arc<PrincipalLimit>,
    who: Arc<str>,
}

/// This person holds as many connections as one may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManyConnectionsError;

impl PrincipalLimit {
    pub fn new(most: usize) -> Self {
        Self {
            most,
            held: Mutex::default(),
        }
    }

    fn hold(self: &Arc<Self>, who: &Arc<str>) -> Result<HeldConnection, TooManyConnectionsError> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.entry(Arc::clone(who)).or_default();
        if *count >= self.most {
            return Err(TooManyConnectionsError);
        }
        *count += 1;
        Ok(HeldConnection {
            holders: Arc::clone(self),
            who: Arc::clone(who),
        })
    }
}

impl Connection {
    pub fn of(stranger: UnauthenticatedConnection) -> Self {
        Self(Arc::new(Mutex::new(Owner::UnauthenticatedLimit {
            _until_known: stranger,
        })))
    }

    /// From now on it is this person's, if they may hold one more.
    pub fn belongs_to(
        &self,
        who: &Arc<str>,
        holders: &Arc<PrincipalLimit>,
    ) -> Result<(), TooManyConnectionsError> {
        let mut whose = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !matches!(&*whose, Owner::Principal(holding) if holding.who == *who) {
            *whose = Owner::Principal(holders.hold(who)?);
        }
        Ok(())
    }
}

impl Drop for HeldConnection {
    fn drop(&mut self) {
        let mut held = self
            .holders
            .held
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&self.who) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.who);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::server::http::limits::unauthenticated_limit::UnauthenticatedLimit;

    #[test]
    fn one_person_holds_so_many_and_nothing_is_left_of_those_who_have_gone() {
        let holders = Arc::new(PrincipalLimit::new(2));
        let (ann, bob): (Arc<str>, Arc<str>) = (Arc::from("ann"), Arc::from("bob"));
        let unauthenticated = Arc::new(UnauthenticatedLimit::new(Duration::ZERO));
        let connections = [(); 4].map(|()| Connection::of(unauthenticated.enter().0));
        let [one, two, three, four] = &connections;
        for connection in [one, two, one, two] {
            assert_eq!(connection.belongs_to(&ann, &holders), Ok(()));
        }
        assert_eq!(
            three.belongs_to(&ann, &holders),
            Err(TooManyConnectionsError)
        );
        assert_eq!(four.belongs_to(&bob, &holders), Ok(()));
        // On the connection of a proxy somebody else is next.
        assert_eq!(two.belongs_to(&bob, &holders), Ok(()));
        assert_eq!(three.belongs_to(&ann, &holders), Ok(()));
        assert_eq!(two.belongs_to(&ann, &holders), Err(TooManyConnectionsError));
        assert_eq!(
            two.belongs_to(&bob, &holders),
            Ok(()),
            "whose it was before"
        );
        drop(connections);
        assert!(holders.held.lock().unwrap().is_empty());
    }
}
