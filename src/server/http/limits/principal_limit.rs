//! Tracks the owner of each connection and limits the connections per principal.
//!
//! Unread responses and slow uploads occupy memory for as long as their connection, so this limit
//! also bounds the memory of one principal. The owner is the principal of the latest token on the
//! connection: a proxy may carry requests of many principals in turn. A request of the current
//! owner only takes an uncontended lock.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::unauthenticated_limit::UnauthenticatedConnection;

#[derive(Debug)]
pub struct PrincipalLimit {
    max: usize,
    counts: Mutex<HashMap<Arc<str>, usize>>,
}

/// The owner of one connection, in the extensions of its requests.
#[derive(Debug, Clone)]
pub struct Connection(Arc<Mutex<Owner>>);

#[derive(Debug)]
enum Owner {
    /// Held for its `Drop`.
    Unauthenticated {
        _connection: UnauthenticatedConnection,
    },
    Principal(HeldConnection),
}

/// One connection counted for a principal, until it closes or changes its owner.
#[derive(Debug)]
struct HeldConnection {
    limit: Arc<PrincipalLimit>,
    subject: Arc<str>,
}

/// The principal has reached the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManyConnectionsError;

impl PrincipalLimit {
    pub fn new(max: usize) -> Self {
        Self {
            max,
            counts: Mutex::default(),
        }
    }

    fn acquire(
        self: &Arc<Self>,
        subject: &Arc<str>,
    ) -> Result<HeldConnection, TooManyConnectionsError> {
        let mut counts = self.counts.lock();
        let count = counts.entry(Arc::clone(subject)).or_default();
        if *count >= self.max {
            return Err(TooManyConnectionsError);
        }
        *count += 1;
        Ok(HeldConnection {
            limit: Arc::clone(self),
            subject: Arc::clone(subject),
        })
    }
}

impl Connection {
    pub fn of(connection: UnauthenticatedConnection) -> Self {
        Self(Arc::new(Mutex::new(Owner::Unauthenticated {
            _connection: connection,
        })))
    }

    /// Makes `subject` the owner, unless that would exceed its limit.
    pub fn belongs_to(
        &self,
        subject: &Arc<str>,
        limit: &Arc<PrincipalLimit>,
    ) -> Result<(), TooManyConnectionsError> {
        let mut owner = self.0.lock();
        if !matches!(&*owner, Owner::Principal(holding) if holding.subject == *subject) {
            *owner = Owner::Principal(limit.acquire(subject)?);
        }
        Ok(())
    }
}

impl Drop for HeldConnection {
    fn drop(&mut self) {
        let mut counts = self.limit.counts.lock();
        if let Some(count) = counts.get_mut(&self.subject) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.subject);
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
    fn limits_each_principal_and_frees_closed_connections() {
        let limit = Arc::new(PrincipalLimit::new(2));
        let (ann, bob): (Arc<str>, Arc<str>) = (Arc::from("ann"), Arc::from("bob"));
        let unauthenticated = Arc::new(UnauthenticatedLimit::new(9, Duration::ZERO));
        let connections = [(); 4].map(|()| Connection::of(unauthenticated.enter().0));
        let [one, two, three, four] = &connections;
        for connection in [one, two, one, two] {
            assert_eq!(connection.belongs_to(&ann, &limit), Ok(()));
        }
        assert_eq!(three.belongs_to(&ann, &limit), Err(TooManyConnectionsError));
        assert_eq!(four.belongs_to(&bob, &limit), Ok(()));
        // The connection of a proxy changes its owner.
        assert_eq!(two.belongs_to(&bob, &limit), Ok(()));
        assert_eq!(three.belongs_to(&ann, &limit), Ok(()));
        assert_eq!(two.belongs_to(&ann, &limit), Err(TooManyConnectionsError));
        assert_eq!(two.belongs_to(&bob, &limit), Ok(()), "whose it was before");
        drop(connections);
        assert!(limit.counts.lock().is_empty());
    }
}
