//! The outcomes of calls that are refused before a toolset sees them.

use std::time::Duration;

use crate::auth::AuthError;
use crate::tools::{Outcome, ToolError};

/// The outcome of a call that failed authentication.
pub fn unauthenticated(error: AuthError, correlation_id: &str) -> Outcome {
    let error = match error {
        AuthError::Missing => ToolError::token_missing(),
        AuthError::Expired => ToolError::token_expired(),
        AuthError::TenantMismatch => ToolError::tenant_mismatch(),
        AuthError::KeysUnavailable => ToolError::keys_unavailable(),
        AuthError::Malformed
        | AuthError::NotYetValid
        | AuthError::BadSignature
        | AuthError::WrongIssuer
        | AuthError::WrongAudience
        | AuthError::UnknownKey
        | AuthError::Algorithm => ToolError::token_invalid(),
    };
    Outcome::failure(&error, correlation_id)
}

/// The outcome of a call whose token lacks the scope that the tool requires.
pub fn out_of_scope(tool: &str, scope: &str, correlation_id: &str) -> Outcome {
    Outcome::failure(&ToolError::insufficient_scope(tool, scope), correlation_id)
}

/// The outcome of a call above the rate limit. The caller may make the next one after `retry_in`.
pub fn over_rate(retry_in: Duration, correlation_id: &str) -> Outcome {
    Outcome::failure(&ToolError::too_many_calls(retry_in), correlation_id)
}

/// The outcome of a call of a tool that may or may not be there, as the API has not been reached.
pub fn api_unreachable(tool: &str, correlation_id: &str) -> Outcome {
    Outcome::failure(&ToolError::api_unreachable(tool), correlation_id)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// Each error code appears in `docs/TOOLS.md`, and only a temporary failure is retryable.
    #[test]
    fn authentication_errors_have_documented_codes() {
        for error in [
            AuthError::Missing,
            AuthError::Expired,
            AuthError::Malformed,
            AuthError::TenantMismatch,
            AuthError::KeysUnavailable,
        ] {
            let outcome = unauthenticated(error, "c");
            let value = outcome.value();
            let code = outcome.failed.unwrap().code;
            assert!(
                include_str!("../../docs/TOOLS.md").contains(&format!("`{code}`")),
                "{code}"
            );
            let (body, temporary) = (&value["error"], error == AuthError::KeysUnavailable);
            assert_eq!(
                (&body["retryable"], body["category"] == "unavailable"),
                (&Value::from(temporary), temporary),
                "{body}"
            );
        }
    }
}
