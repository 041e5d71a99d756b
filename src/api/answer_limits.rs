//! How much memory the answer to one request may take.

use super::request::ApiError;
use crate::foundation::memory_budget::{OverBudgetError, Reservation};

/// An encoded result is bounded by `tools.max_result_bytes`; this is what its default takes, twice.
const MAX_ENCODED_BYTES: usize = 4 << 20;

/// The bounds of one answer: its size, and what its call may reserve.
#[derive(Debug, Clone, Copy)]
pub struct AnswerLimits<'a> {
    max_bytes: usize,
    memory: &'a Reservation,
    /// Reserved before this request.
    before: usize,
}

impl<'a> AnswerLimits<'a> {
    pub fn new(max_bytes: usize, memory: &'a Reservation) -> Self {
        Self {
            max_bytes,
            memory,
            before: memory.bytes(),
        }
    }

    pub fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// Reserves the memory for an answer about as large as the request, before it is sent: without it, a write would be
    /// carried out whose answer has no room.
    pub async fn reserve_before(&self, body: &[u8]) -> Result<(), ApiError> {
        if body.is_empty() {
            return Ok(());
        }
        let grown = self.memory.grow_to(self.before + cost(body.len())).await;
        grown.map_err(|_| ApiError::Overloaded)
    }

    /// Reserves the memory for an answer of this size, before it is read.
    pub async fn reserve(&self, length: usize) -> Result<(), ApiError> {
        let limit = self.max_bytes;
        if length > limit {
            return Err(ApiError::AnswerTooLarge { limit });
        }
        let grown = self.memory.grow_to(self.before + cost(length)).await;
        grown.map_err(|error| match error {
            OverBudgetError::Never => ApiError::AnswerTooLarge { limit },
            OverBudgetError::Principal | OverBudgetError::Total => ApiError::NoMemoryForAnswer,
        })
    }
}

/// The answer as it came, the result that is made of it, and the message that carries that, as text and as structured
/// content.
fn cost(length: usize) -> usize {
    let two = length.saturating_mul(2);
    two.saturating_add(two.min(MAX_ENCODED_BYTES))
}
