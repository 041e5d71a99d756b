//! The nonces whose questions have been answered.

use std::collections::{HashSet, VecDeque};

use parking_lot::Mutex;
use uuid::Uuid;

/// How many are remembered, at about 64 bytes each. When a caller answers so many questions that
/// one is forgotten within its lifetime, the operation is still harmless to repeat.
const MAX_REMEMBERED: usize = 16_384;

#[derive(Debug, Default)]
pub struct UsedNonces(Mutex<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    known: HashSet<Uuid>,
    /// In the order of their use.
    order: VecDeque<Uuid>,
}

impl UsedNonces {
    /// Whether the nonce has not been used before. From now on it is used.
    pub fn is_first(&self, nonce: Uuid) -> bool {
        let mut remembered = self.0.lock();
        if !remembered.known.insert(nonce) {
            return false;
        }
        remembered.order.push_back(nonce);
        if remembered.order.len() > MAX_REMEMBERED
            && let Some(oldest) = remembered.order.pop_front()
        {
            remembered.known.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_nonce_is_first_once_and_memory_is_bounded() {
        let used = UsedNonces::default();
        let nonces: Vec<_> = (0..MAX_REMEMBERED + 10).map(|_| Uuid::new_v4()).collect();
        assert!(nonces.iter().all(|nonce| used.is_first(*nonce)));
        assert!(!used.is_first(*nonces.last().unwrap()));
        let remembered = used.0.lock();
        assert_eq!(remembered.known.len(), MAX_REMEMBERED);
        assert_eq!(remembered.order.len(), MAX_REMEMBERED);
    }
}
