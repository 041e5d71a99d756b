//! A failed call, as the caller sees it and as the log sees it.
//!
//! [`ToolError::body`] is what the caller gets: a stable category and code, a sentence for a person, a sentence for
//! the model, and details from a fixed list. What the API said beyond its contract goes into `log_only`, which is never
//! part of the body: its words are not ours and a model would obey them.

use std::borrow::Cow;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::api_outage;
use super::argument_error::{ArgumentError, Remedy};

/// Why a call failed. Errors of the layers above (tokens) are made here too, so that all look alike.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{code}: {message}")]
pub struct ToolError {
    pub category: Category,
    /// Stable; clients may branch on it.
    pub code: Cow<'static, str>,
    pub message: String,
    pub suggested_action: String,
    /// Whether the very same call can succeed later, without harm if it succeeded already.
    pub retryable: bool,
    pub retry_after: Option<Duration>,
    pub details: Box<Details>,
    /// For the log; never for the caller.
    pub log_only: Option<Box<str>>,
}

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

/// Everything that an error may tell beyond its sentences.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Details {
    /// The API's HTTP status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub argument: Option<String>,
    /// What came in it, shortened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub received: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed: Vec<String>,
    /// The item in question.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_version: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actual_version: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<String>,
    /// A page size that would fit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<usize>,
}

/// The error as served.
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

    /// The result that the caller reads, as text.
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

    /// There is no such tool. MCP answers that with a JSON-RPC error, so the protocol layer may want to look first.
    pub(super) fn unknown_tool(name: &str, meant: Option<&str>) -> Self {
        let remedy = match meant {
            Some(meant) => format!("Call {meant} instead."),
            None => "Choose one of the tools that tools/list names.".to_owned(),
        };
        let message = ArgumentError::new(name, "is not a tool of this server").message();
        Self::new(Category::Validation, "unknown_tool", message, remedy)
    }

    pub(super) fn refused(tool: &str, refusal: ArgumentError) -> Self {
        let (category, code) = match refusal.remedy {
            Remedy::Shorten => (Category::TooLarge, "request_too_large"),
            _ => (Category::Validation, "invalid_argument"),
        };
        let way_out = format!("Call {tool} again {}.", refusal.way_out());
        Self::new(category, code, refusal.message(), way_out).details(|details| {
            details.argument = Some(refusal.argument);
            details.received = refusal.received.map(Into::into);
            details.allowed = refusal.allowed;
        })
    }

    /// The call came without a token.
    #[must_use]
    pub fn token_missing() -> Self {
        Self::new(
            Category::Authentication,
            "token_missing",
            "This server needs a bearer token, and none came.",
            "Ask the user to sign in to ToolBridge, then call again.",
        )
    }

    /// The token cannot be trusted: malformed, wrongly signed, or meant for somebody else.
    #[must_use]
    pub fn token_invalid() -> Self {
        Self::new(
            Category::Authentication,
            "token_invalid",
            "The bearer token is not valid here.",
            "Ask the user to sign in to ToolBridge again, then repeat the call.",
        )
    }

    /// The token was good once.
    #[must_use]
    pub fn token_expired() -> Self {
        Self::new(
            Category::Authentication,
            "token_expired",
            "The bearer token has expired.",
            "Ask the user to sign in to ToolBridge again, then repeat the call.",
        )
    }

    /// The token belongs to another tenant than this server.
    #[must_use]
    pub fn tenant_mismatch() -> Self {
        Self::new(
            Category::Permission,
            "tenant_mismatch",
            "The bearer token belongs to another tenant.",
            "Tell the user to connect to the server of their own tenant; repeating the call will not help.",
        )
    }

    /// The token is good, but whoever issued it did not allow this.
    #[must_use]
    pub fn insufficient_scope(tool: &str, scope: &str) -> Self {
        Self::new(
            Category::Permission,
            "insufficient_scope",
            format!("The bearer token does not allow {tool}: it needs the scope {scope}."),
            "Tell the user what is not allowed; repeating the call helps only after they have signed in again with that scope.",
        )
    }

    /// The caller has made more calls than they may.
    #[must_use]
    pub fn too_many_calls(retry_in: Duration) -> Self {
        let mut error = api_outage::rate_limited();
        error.retry_after = Some(retry_in);
        error
    }

    /// There is nothing yet to check the token with.
    #[must_use]
    pub fn keys_unavailable() -> Self {
        Self::new(
            Category::Unavailable,
            "keys_unavailable",
            "The bearer token cannot be checked at the moment: the keys of its issuer cannot be fetched.",
            "Nothing was changed; wait some seconds, then repeat the call.",
        )
    }

    /// A mistake of this server's own.
    #[must_use]
    pub fn internal(log_only: impl Into<Box<str>>) -> Self {
        let mut error = Self::new(
            Category::Internal,
            "internal_error",
            "This server failed to do what was asked.",
            "Tell the user, and give them the correlation_id for whoever runs the server.",
        );
        error.log_only = Some(log_only.into());
        error
    }
}
