//! The error of a failed call, for the caller and for the log.
//!
//! [`ToolError::body`] is the part for the caller: a stable category and code, a sentence for
//! people, a sentence for the model, and details from a fixed list. Text from the API that the
//! contract does not define goes into `log_only` and never into the body, since a model could
//! follow instructions in it.

use std::borrow::Cow;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::api_outage;
use super::argument_error::{ArgumentError, Remedy, nearest};
use crate::api::request::ApiError;

/// Why a call failed. Authentication errors of the layers above are created here too, so that all
/// errors have the same format.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{code}: {message}")]
pub struct ToolError {
    pub category: Category,
    /// A stable code that clients may branch on.
    pub code: Cow<'static, str>,
    pub message: String,
    pub suggested_action: String,
    /// Whether the same call can succeed later, and does no harm if it has taken effect already.
    pub retryable: bool,
    pub retry_after: Option<Duration>,
    pub details: Box<Details>,
    /// Details that are logged but never sent to the caller.
    pub log_only: Option<Box<str>>,
}

/// The kind of an error, on which clients may branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    Validation,
    Authentication,
    Permission,
    NotFound,
    Conflict,
    RateLimited,
    Unavailable,
    Timeout,
    TooLarge,
    Internal,
}

/// The structured details of an error.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Details {
    /// The HTTP status of the API's response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub argument: Option<String>,
    /// The value of the argument, truncated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub received: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed: Vec<String>,
    /// The item that the call is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_version: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actual_version: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<String>,
    /// The page size whose result would fit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<usize>,
}

/// The error as it is serialized for the caller.
#[derive(Serialize)]
struct Body<'a> {
    category: Category,
    code: &'a str,
    message: &'a str,
    retryable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    suggested_action: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<&'a Details>,
    correlation_id: &'a str,
}

impl ToolError {
    pub(super) fn new(
        category: Category,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
        suggested_action: impl Into<String>,
    ) -> Self {
        Self {
            category,
            code: code.into(),
            message: message.into(),
            suggested_action: suggested_action.into(),
            retryable: matches!(
                category,
                Category::RateLimited | Category::Unavailable | Category::Timeout
            ),
            retry_after: None,
            details: Box::default(),
            log_only: None,
        }
    }

    /// The error as JSON, for the caller.
    #[must_use]
    pub fn body(&self, correlation_id: &str) -> Value {
        let after = self
            .retry_after
            .map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
        json!({ "error": Body {
            category: self.category,
            code: &self.code,
            message: &self.message,
            retryable: self.retryable,
            retry_after_ms: after,
            suggested_action: &self.suggested_action,
            details: Some(&*self.details).filter(|details| **details != Details::default()),
            correlation_id,
        }})
    }

    pub(super) fn details(mut self, fill: impl FnOnce(&mut Details)) -> Self {
        fill(&mut self.details);
        self
    }

    pub(super) fn retryable(mut self, retryable: bool) -> Self {
        self.retryable = retryable;
        self
    }

    /// No tool has this name. MCP requires a JSON-RPC error in this case, which the protocol layer
    /// creates from the suggested action.
    pub fn unknown_tool(name: &str, known: &[&str]) -> Self {
        let remedy = match nearest(name, known) {
            Some(meant) => format!("Call {meant} instead."),
            None => "Choose one of the tools that tools/list names.".to_owned(),
        };
        let message = ArgumentError::new(name, "is not a tool of this server").message();
        Self::new(Category::Validation, "unknown_tool", message, remedy)
    }

    /// An argument of the call is invalid.
    pub(super) fn invalid_argument(tool: &str, error: ArgumentError) -> Self {
        let (category, code) = match error.remedy {
            Remedy::Shorten => (Category::TooLarge, "request_too_large"),
            _ => (Category::Validation, "invalid_argument"),
        };
        let suggested_action = format!("Call {tool} again {}.", error.correction());
        Self::new(category, code, error.message(), suggested_action).details(|details| {
            details.argument = Some(error.argument);
            details.received = error.received.map(Into::into);
            details.allowed = error.allowed;
        })
    }

    /// The request has no token.
    #[must_use]
    pub fn token_missing() -> Self {
        Self::new(
            Category::Authentication,
            "token_missing",
            "This server needs a bearer token, and none came.",
            "Ask the user to sign in to ToolBridge, then call again.",
        )
    }

    /// The token is malformed, has an invalid signature, or was issued for another audience.
    #[must_use]
    pub fn token_invalid() -> Self {
        Self::new(
            Category::Authentication,
            "token_invalid",
            "The bearer token is not valid here.",
            "Ask the user to sign in to ToolBridge again, then repeat the call.",
        )
    }

    /// The token has expired.
    #[must_use]
    pub fn token_expired() -> Self {
        Self::new(
            Category::Authentication,
            "token_expired",
            "The bearer token has expired.",
            "Ask the user to sign in to ToolBridge again, then repeat the call.",
        )
    }

    /// The token belongs to another tenant than that of this server.
    #[must_use]
    pub fn tenant_mismatch() -> Self {
        Self::new(
            Category::Permission,
            "tenant_mismatch",
            "The bearer token belongs to another tenant.",
            "Tell the user to connect to the server of their own tenant; repeating the call will \
             not help.",
        )
    }

    /// The token is valid but lacks the scope that the tool requires.
    #[must_use]
    pub fn insufficient_scope(tool: &str, scope: &str) -> Self {
        Self::new(
            Category::Permission,
            "insufficient_scope",
            format!("The bearer token does not allow {tool}: it needs the scope {scope}."),
            "Tell the user what is not allowed; repeating the call helps only after they have \
             signed in again with that scope.",
        )
    }

    /// The caller is above this server's rate limit.
    #[must_use]
    pub fn too_many_calls(retry_in: Duration) -> Self {
        let mut error = api_outage::rate_limited();
        error.retry_after = Some(retry_in);
        error
    }

    /// The person who was asked about the call did not agree.
    #[must_use]
    pub fn not_confirmed(tool: &str) -> Self {
        Self::new(
            Category::Permission,
            "not_confirmed",
            format!("The user was asked and did not confirm {tool}. Nothing was changed."),
            "Do not try the same in another way; ask the user what they want instead.",
        )
    }

    /// The person who was asked about the call did not answer.
    #[must_use]
    pub fn not_answered(tool: &str) -> Self {
        Self::new(
            Category::Permission,
            "not_confirmed",
            format!("The user was asked about {tool} and gave no answer. Nothing was changed."),
            "Tell the user what you want to do; call again only if they want it.",
        )
    }

    /// The answer to a question does not count.
    #[must_use]
    pub fn confirmation_invalid(why: &str) -> Self {
        Self::new(
            Category::Validation,
            "confirmation_invalid",
            format!("The confirmation does not count: {why}. Nothing was changed by this call."),
            "If the change is still wanted and has not been made, call again without requestState \
             to ask the user anew.",
        )
    }

    /// Nothing was sent, because the API cannot be reached.
    #[must_use]
    pub fn api_unreachable(tool: &str) -> Self {
        api_outage::unanswered(ApiError::Unreachable, tool)
    }

    /// The client cannot ask a person, and this server makes such changes only after it has.
    #[must_use]
    pub fn confirmation_unavailable(tool: &str) -> Self {
        Self::new(
            Category::Permission,
            "confirmation_unavailable",
            format!(
                "This server asks the user before it runs {tool} like this, and this client cannot \
                 show the question. Nothing was changed."
            ),
            "Tell the user to do this with a client that supports elicitation, or with \
             toolbridge-mcp on the command line.",
        )
    }

    /// The caller has as many open questions as it may have.
    #[must_use]
    pub fn too_many_questions() -> Self {
        Self::new(
            Category::RateLimited,
            "too_many_questions",
            "The user has not answered the earlier questions yet. Nothing was changed.",
            "Wait until the user has answered, then repeat the call.",
        )
    }

    /// The token cannot be verified because the issuer's keys are not available.
    #[must_use]
    pub fn keys_unavailable() -> Self {
        Self::new(
            Category::Unavailable,
            "keys_unavailable",
            "The bearer token cannot be checked at the moment: the keys of its issuer cannot be \
             fetched.",
            "Nothing was changed; wait some seconds, then repeat the call.",
        )
    }

    /// A bug in this server.
    #[must_use]
    pub fn internal(log_only: impl Into<Box<str>>) -> Self {
        let mut error = Self::new(
            Category::Internal,
            "internal_error",
            "This server failed to do what was asked.",
            "Tell the user, and give them the correlation_id for the operator of the server.",
        );
        error.log_only = Some(log_only.into());
        error
    }
}
