//! What the outcome of one request says: whether the API is well, and whether sending the request again may help.

use std::time::Duration;

use super::request::{ApiError, Reply};

type Outcome<'a> = Result<&'a Reply, &'a ApiError>;

/// For the breaker: `Some(false)` counts against the API, `None` says nothing of it.
pub(crate) fn is_well(outcome: Outcome<'_>, only_asks: bool) -> Option<bool> {
    match outcome {
        Ok(reply) => match reply.status {
            502..=504 => Some(false),
            // A write may be one that cannot be carried out: servers of the family say no more to a dead parent.
            500 => only_asks.then_some(false),
            _ => Some(true),
        },
        Err(ApiError::Unreachable | ApiError::TimedOut { .. } | ApiError::AnswerLost) => {
            Some(false)
        }
        Err(ApiError::AnswerTooLarge { .. } | ApiError::NoMemoryForAnswer) => Some(true),
        Err(_) => None,
    }
}

/// Why a request was not served that might be another time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ApiTrouble {
    /// As it is counted.
    pub reason: &'static str,
    /// It may have been carried out all the same.
    pub doubtful: bool,
    /// How long the API wants to be left alone.
    pub wish: Option<Duration>,
}

pub(crate) fn trouble(outcome: Outcome<'_>) -> Option<ApiTrouble> {
    let (reason, doubtful) = match outcome {
        Ok(reply) => match reply.status {
            // By the contract, these two have changed nothing.
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
    let wish = outcome.ok().and_then(|reply| reply.retry_after);
    Some(ApiTrouble {
        reason,
        doubtful,
        wish,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::names::RETRY_REASONS;

    #[test]
    fn an_answer_about_one_request_says_nothing_against_the_api() {
        let reply = |status| Reply {
            status,
            body: "".into(),
            retry_after: None,
            has_next: false,
            doubtful: false,
        };
        let judged = |status, only_asks| is_well(Ok(&reply(status)), only_asks);
        for status in [
            200, 201, 302, 400, 401, 403, 404, 409, 410, 412, 413, 418, 422, 428, 429, 501, 507,
        ] {
            assert_eq!(
                (judged(status, true), judged(status, false)),
                (Some(true), Some(true)),
                "{status}"
            );
            let again = trouble(Ok(&reply(status)));
            assert_eq!(again.is_some(), status == 429, "{status}");
        }
        assert_eq!((judged(500, true), judged(500, false)), (Some(false), None));
        assert_eq!(trouble(Ok(&reply(500))), None);
        for (status, doubtful) in [(502, true), (503, false), (504, true)] {
            assert_eq!(
                (judged(status, true), judged(status, false)),
                (Some(false), Some(false))
            );
            let trouble = trouble(Ok(&reply(status))).unwrap();
            assert_eq!(trouble.doubtful, doubtful, "{status}");
            assert!(RETRY_REASONS.contains(&trouble.reason));
        }
    }

    #[test]
    fn silence_counts_against_the_api_and_what_was_never_sent_does_not() {
        for (failure, doubtful) in [
            (ApiError::Unreachable, false),
            (ApiError::TimedOut { sent: true }, true),
            (ApiError::TimedOut { sent: false }, false),
            (ApiError::AnswerLost, true),
        ] {
            assert_eq!(is_well(Err(&failure), false), Some(false));
            let trouble = trouble(Err(&failure)).unwrap();
            assert_eq!(trouble.doubtful, doubtful, "{failure}");
            assert!(RETRY_REASONS.contains(&trouble.reason));
        }
        for failure in [
            ApiError::Cancelled,
            ApiError::CircuitOpen {
                retry_in: Duration::ZERO,
            },
        ] {
            assert_eq!(
                (is_well(Err(&failure), true), trouble(Err(&failure))),
                (None, None),
                "{failure}"
            );
        }
        let too_large = ApiError::AnswerTooLarge { limit: 1 };
        assert_eq!(
            (is_well(Err(&too_large), true), trouble(Err(&too_large))),
            (Some(true), None)
        );
    }
}
