//! Bounds the memory that the answer to one request takes.

use super::request::ApiError;
use crate::foundation::memory_budget::{OverBudgetError, Reservation};

/// Twice the default of `tools.max_result_bytes`, which bounds an encoded result.
const MAX_ENCODED_BYTES: usize = 4 << 20;

/// Limits of one answer: its size, and the reservation of its call.
#[derive(Debug, Clone, Copy)]
pub struct AnswerLimits<'a> {
    max_bytes: usize,
    memory: &'a Reservation,
    /// Bytes reserved before this request.
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

    /// Reserves memory for an answer about as large as the request body, before the request is
    /// sent. Otherwise a write could be carried out and its answer dropped for lack of memory.
    pub async fn reserve_before(&self, body: &[u8]) -> Result<(), ApiError> {
        if body.is_empty() {
            return Ok(());
        }
        let grown = self.memory.grow_to(self.before + cost(body.len())).await;
        grown.map_err(|_| ApiError::Overloaded)
    }

    /// Reserves memory for an answer of `length` bytes, before it is read.
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

/// Memory for an answer of `length` bytes: the answer, the result built from it, and the message
/// that carries the result as text and as structured content.
fn cost(length: usize) -> usize {
    let twice = length.saturating_mul(2);
    twice.saturating_add(twice.min(MAX_ENCODED_BYTES))
}
