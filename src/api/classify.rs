//! Classifies the outcome of a request: whether the API is healthy, and whether a retry may help.

use std::time::Duration;

use super::request::{ApiError, Reply};

type Outcome<'a> = Result<&'a Reply, &'a ApiError>;

/// Input of the circuit breaker: `Some(false)` is a failure of the API, `None` does not count
/// either way.
pub(crate) fn is_healthy(outcome: Outcome<'_>, is_read: bool) -> Option<bool> {
    match outcome {
        Ok(reply) => match reply.status {
            502..=504 => Some(false),
            // Compatible APIs answer 500 for a deleted parent; that must not trip the breaker.
            500 => is_read.then_some(false),
            _ => Some(true),
        },
        Err(ApiError::Unreachable | ApiError::TimedOut { .. } | ApiError::AnswerLost) => {
            Some(false)
        }
        Err(ApiError::AnswerTooLarge { .. } | ApiError::NoMemoryForAnswer) => Some(true),
        Err(_) => None,
    }
}

/// A failure that a retry may resolve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TransientFailure {
    /// Label of the retry metric.
    pub reason: &'static str,
    /// The request may have been carried out nevertheless.
    pub may_have_been_applied: bool,
    /// `Retry-After` of the answer.
    pub retry_after: Option<Duration>,
}

/// The failure in `outcome`, if a retry may resolve it.
pub(crate) fn transient_failure(outcome: Outcome<'_>) -> Option<TransientFailure> {
    let (reason, may_have_been_applied) = match outcome {
        Ok(reply) => match reply.status {
            // The API contract guarantees that these two statuses changed nothing.
            429 => ("429", false),
            503 => ("503", false),
            502 => ("502", true),
            504 => ("504", true),
            _ => return None,
        },
        Err(ApiError::Unreachable) => ("unreachable", false),
        Err(ApiError::TimedOut { sent }) => ("timed_out", *sent),
        Err(ApiError::AnswerLost) => ("lost", true),
        Err(_) => return None,
    };
    let retry_after = outcome.ok().and_then(|reply| reply.retry_after);
    Some(TransientFailure {
        reason,
        may_have_been_applied,
        retry_after,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::names::RETRY_REASONS;

    #[test]
    fn errors_of_one_request_do_not_count_against_the_api() {
        let reply = |status| Reply {
            status,
            body: "".into(),
            retry_after: None,
            has_next: false,
            maybe_applied: false,
        };
        let judged = |status, is_read| is_healthy(Ok(&reply(status)), is_read);
        for status in [
            200, 201, 302, 400, 401, 403, 404, 409, 410, 412, 413, 418, 422, 428, 429, 501, 507,
        ] {
            assert_eq!(
                (judged(status, true), judged(status, false)),
                (Some(true), Some(true)),
                "{status}"
            );
            let again = transient_failure(Ok(&reply(status)));
            assert_eq!(again.is_some(), status == 429, "{status}");
        }
        assert_eq!((judged(500, true), judged(500, false)), (Some(false), None));
        assert_eq!(transient_failure(Ok(&reply(500))), None);
        for (status, may_have_been_applied) in [(502, true), (503, false), (504, true)] {
            assert_eq!(
                (judged(status, true), judged(status, false)),
                (Some(false), Some(false))
            );
            let transient_failure = transient_failure(Ok(&reply(status))).unwrap();
            assert_eq!(
                transient_failure.may_have_been_applied, may_have_been_applied,
                "{status}"
            );
            assert!(RETRY_REASONS.contains(&transient_failure.reason));
        }
    }

    #[test]
    fn lost_answers_count_against_the_api_and_unsent_requests_do_not() {
        for (failure, may_have_been_applied) in [
            (ApiError::Unreachable, false),
            (ApiError::TimedOut { sent: true }, true),
            (ApiError::TimedOut { sent: false }, false),
            (ApiError::AnswerLost, true),
        ] {
            assert_eq!(is_healthy(Err(&failure), false), Some(false));
            let transient_failure = transient_failure(Err(&failure)).unwrap();
            assert_eq!(
                transient_failure.may_have_been_applied, may_have_been_applied,
                "{failure}"
            );
            assert!(RETRY_REASONS.contains(&transient_failure.reason));
        }
        for failure in [
            ApiError::Cancelled,
            ApiError::CircuitOpen {
                retry_in: Duration::ZERO,
            },
        ] {
            assert_eq!(
                (
                    is_healthy(Err(&failure), true),
                    transient_failure(Err(&failure))
                ),
                (None, None),
                "{failure}"
            );
        }
        let too_large = ApiError::AnswerTooLarge { limit: 1 };
        assert_eq!(
            (
                is_healthy(Err(&too_large), true),
                transient_failure(Err(&too_large))
            ),
            (Some(true), None)
        );
    }
}
