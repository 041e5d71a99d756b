//! The errors that concern the API as a whole and do not depend on the tool: access, sessions, load
//! and outages.

use std::time::Duration;

use super::api_error_body::ApiErrorBody;
use super::error::{Category, ToolError};
use crate::api::request::{ApiError, NoAccessError, Reply};

/// The length, in characters, to which an unexpected body is truncated in the log.
const MAX_LOGGED: usize = 2000;

/// The retry delay after an overload. Calls take milliseconds, so a second frees capacity.
const OVERLOAD_RETRY_AFTER: Duration = Duration::from_secs(1);

/// The code for a response that the contract does not define.
pub(crate) const API_ERROR: &str = "api_error";

/// The error for a response that means the same on every route, if this status is one.
pub(crate) fn refused(status: u16, body: &ApiErrorBody) -> Option<ToolError> {
    Some(match status {
        401 => token_rejected(),
        403 if body.refuses_tenant() => tenant_refused(),
        403 => permission_denied(),
        409 if body.reason == "epoch_mismatch" => session_lost(),
        428 => session_lost(),
        429 => rate_limited(),
        502..=504 => api_unavailable(),
        _ => return None,
    })
}

/// The error for a request without a response, if a repetition of the call does no harm.
pub(crate) fn unanswered(failure: ApiError, tool: &str) -> ToolError {
    match failure {
        ApiError::Unreachable => ToolError::new(
            Category::Unavailable,
            "api_unreachable",
            "The ToolBridge API cannot be reached.",
            format!("Nothing was changed; call {tool} again in a moment."),
        ),
        ApiError::TimedOut { .. } => ToolError::new(
            Category::Timeout,
            "api_timeout",
            "The ToolBridge API did not answer in time.",
            format!("Nothing was changed; call {tool} again in a moment."),
        ),
        ApiError::AnswerLost => ToolError::new(
            Category::Unavailable,
            "api_unreachable",
            "The connection to the ToolBridge API broke before it answered.",
            format!("Nothing was changed; call {tool} again."),
        ),
        ApiError::AnswerTooLarge { limit } => too_large(None, limit, tool),
        ApiError::SessionRefused(reply) => session_refused(&reply),
        ApiError::NoAccess(why) => no_access(why),
        ApiError::CircuitOpen { retry_in } => circuit_open(retry_in),
        ApiError::NoMemoryForAnswer | ApiError::Overloaded => overloaded(),
        ApiError::Cancelled => ToolError::new(
            Category::Timeout,
            "cancelled",
            "The call was cancelled.",
            format!("Nothing was changed; call {tool} again if it is still needed."),
        ),
    }
}

/// The error for a result that exceeds the limit, for tools without a page size that would fit.
pub(crate) fn too_large(size: Option<usize>, max: usize, tool: &str) -> ToolError {
    let message = format!("The result is larger than {max} bytes.");
    let remedy = format!("Call {tool} again for less at once, with a lower limit for example.");
    ToolError::new(Category::TooLarge, "result_too_large", message, remedy).details(|details| {
        details.size_bytes = size;
        details.max_bytes = Some(max);
    })
}

/// The error for a response that the contract does not define, to a tool that only reads.
pub(crate) fn unexpected(status: u16, tool: &str) -> ToolError {
    let temporary = status >= 500;
    let remedy = if temporary {
        format!("Call {tool} once more; if it fails again, tell the user.")
    } else {
        "Tell the user, and give them the correlation_id for the operator of the server.".to_owned()
    };
    let message = "The ToolBridge API failed to do what was asked.";
    ToolError::new(Category::Internal, API_ERROR, message, remedy).retryable(temporary)
}

/// The error for a session that the API refused. The request itself was not sent.
pub(crate) fn session_refused(reply: &Reply) -> ToolError {
    let error = match reply.status {
        401 => token_rejected(),
        // Before it opens a session, the API answers 403 only if it refuses the tenant.
        403 => tenant_refused(),
        429 => rate_limited(),
        409 | 428 => session_lost(),
        500..=599 => api_unavailable(),
        _ => ToolError::new(
            Category::Internal,
            API_ERROR,
            "The ToolBridge API did not open a session.",
            "Tell the user, and give them the correlation_id for the operator of the server.",
        ),
    };
    answered(error, reply)
}

/// The error for a failed token exchange. Nothing was sent to the API.
pub(crate) fn no_access(why: NoAccessError) -> ToolError {
    match why {
        NoAccessError::Refused => ToolError::new(
            Category::Authentication,
            "token_not_exchanged",
            "The authorization server does not accept the user's token any more.",
            "Ask the user to sign in again, then repeat the call; nothing was changed.",
        ),
        NoAccessError::Denied => ToolError::new(
            Category::Permission,
            "exchange_denied",
            "The authorization server does not give this user access to the ToolBridge API.",
            "Tell the user to ask their administrator; repeating the call will not help.",
        ),
        NoAccessError::Unavailable => ToolError::new(
            Category::Unavailable,
            "exchange_unavailable",
            "The authorization server, which this call needs, does not answer at the moment.",
            "Nothing was changed; wait some seconds, then repeat the call.",
        ),
        NoAccessError::Faulty => ToolError::new(
            Category::Internal,
            "exchange_failed",
            "The authorization server and this server do not understand each other.",
            "Tell the user, and give them the correlation_id for the server's operator; nothing \
             was changed.",
        ),
    }
}

/// The API rejected the token or the signature.
pub(crate) fn token_rejected() -> ToolError {
    ToolError::new(
        Category::Authentication,
        "token_rejected",
        "The ToolBridge API does not accept the user's token or this server's signature.",
        "Ask the user to sign in again; if that does not help, the server's operator must look \
         into it.",
    )
}

/// The API denies the user access to this server's tenant, because of a claim of the token or a
/// list of members.
pub(crate) fn tenant_refused() -> ToolError {
    ToolError::new(
        Category::Permission,
        "tenant_mismatch",
        "The ToolBridge API does not give this user access to the tenant of this server.",
        "Tell the user to connect to the server of their own tenant, or to ask an administrator \
         for access to this one; repeating the call will not help.",
    )
}

/// The API denied the operation.
pub(crate) fn permission_denied() -> ToolError {
    ToolError::new(
        Category::Permission,
        "permission_denied",
        "The ToolBridge API does not allow this user to do that.",
        "Tell the user; repeating the call will not help.",
    )
}

/// The API session ended during the call.
pub(crate) fn session_lost() -> ToolError {
    ToolError::new(
        Category::Unavailable,
        "session_lost",
        "The session at the ToolBridge API ended while the call was under way.",
        "Nothing was changed; repeat the call.",
    )
}

/// The caller is above a rate limit, of the API or of this server.
pub(crate) fn rate_limited() -> ToolError {
    ToolError::new(
        Category::RateLimited,
        "rate_limited",
        "The user has sent too many requests in a short time.",
        "Wait for retry_after_ms, or some seconds, then repeat the call; nothing was changed.",
    )
}

/// The API answered that it is out of service.
pub(crate) fn api_unavailable() -> ToolError {
    ToolError::new(
        Category::Unavailable,
        "api_unavailable",
        "The ToolBridge API is out of service for the moment.",
        "Nothing was changed; wait a little, then repeat the call.",
    )
}

/// The circuit breaker is open, so the request was not sent.
pub(crate) fn circuit_open(retry_in: Duration) -> ToolError {
    let mut error = ToolError::new(
        Category::Unavailable,
        "circuit_open",
        "The ToolBridge API has failed several times in a row, so it was not asked.",
        "Nothing was changed; wait for retry_after_ms, then repeat the call.",
    );
    error.retry_after = Some(retry_in);
    error
}

/// The limit on concurrent calls or on memory is reached.
pub(crate) fn overloaded() -> ToolError {
    let mut error = ToolError::new(
        Category::Unavailable,
        "overloaded",
        "This server has more calls to serve than it can at the moment.",
        "Nothing was changed; wait for retry_after_ms, then repeat the call.",
    );
    error.retry_after = Some(OVERLOAD_RETRY_AFTER);
    error
}

/// Adds the status and the retry delay of a response to an error. The body is logged only for a
/// response that the contract does not define: otherwise the status is sufficient, and bodies
/// contain tenant data.
pub(crate) fn answered(mut error: ToolError, reply: &Reply) -> ToolError {
    error.details.status = Some(reply.status);
    if error.retryable {
        error.retry_after = reply.retry_after;
    }
    if error.code == API_ERROR {
        let body = String::from_utf8_lossy(&reply.body);
        error.log_only = Some(body.chars().take(MAX_LOGGED).collect());
    }
    error
}
