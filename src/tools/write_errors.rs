//! The errors of calls that change something: without an answer, it is not known whether they did.

use super::api_error_body::ApiErrorBody;
use super::api_outage;
use super::error::{Category, ToolError};
use crate::api::request::ApiError;

/// A call that changes something.
pub(crate) struct WriteErrors<'a> {
    pub tool: &'a str,
    /// The call that shows the current state: `get_note (uid …)`.
    pub check: String,
    /// The item that the call is about.
    pub uid: Option<String>,
}

impl WriteErrors<'_> {
    /// The error for a call of which it is not known whether it took effect.
    pub fn unknown_outcome(&self, why: &str) -> ToolError {
        let Self { tool, check, uid } = self;
        ToolError::new(
            Category::Unavailable,
            "unknown_outcome",
            format!("It is not known whether {tool} took effect: {why}."),
            format!("Look with {check} whether it did before calling {tool} again."),
        )
        .retryable(false)
        .details(|details| details.uid.clone_from(uid))
    }

    /// The error for a request without a response.
    pub fn unanswered(&self, failure: ApiError) -> ToolError {
        match failure {
            ApiError::TimedOut { sent: true } => ToolError {
                category: Category::Timeout,
                ..self.unknown_outcome("the API did not answer in time")
            },
            ApiError::AnswerLost => {
                self.unknown_outcome("the connection broke before the API answered")
            }
            ApiError::AnswerTooLarge { .. } => {
                self.unknown_outcome("the API's answer was too large")
            }
            ApiError::NoMemoryForAnswer => {
                self.unknown_outcome("there was no memory for the API's answer")
            }
            ApiError::Cancelled => cancelled(&self.check).retryable(false),
            other => api_outage::unanswered(other, self.tool),
        }
    }

    /// The error for a response with an error status that does not depend on the tool.
    pub fn refused(&self, status: u16, body: &ApiErrorBody) -> ToolError {
        match status {
            // The API answers 504 if its store did not confirm the change, and 503 only if nothing
            // was changed.
            502 | 504 => self.unknown_outcome("the confirmation was lost on the way"),
            _ => api_outage::refused(status, body).unwrap_or_else(|| self.failed(status)),
        }
    }

    /// The error for a refused retry whose earlier attempt may have been carried out.
    pub fn refused_after_lost_response(&self) -> ToolError {
        self.unknown_outcome("the confirmation was lost, and asking again did not help")
    }

    /// The error for an answer that cannot be used.
    pub fn unreadable(&self, log_only: String) -> ToolError {
        let mut error = self.unknown_outcome("the API's answer could not be read");
        error.log_only = Some(log_only.into());
        error
    }

    /// The error for a fault of the API, or a response that the contract does not define.
    pub fn failed(&self, status: u16) -> ToolError {
        let Self { tool, check, .. } = self;
        ToolError {
            suggested_action: format!(
                "Look with {check} whether anything changed; if it fails again, tell the user."
            ),
            ..api_outage::unexpected(status, tool).retryable(false)
        }
    }
}

/// The error for a call that the caller has cancelled, which may have been sent.
pub(crate) fn cancelled(check: &str) -> ToolError {
    ToolError::new(
        Category::Timeout,
        "cancelled",
        "The call was cancelled.",
        format!("Look with {check} how things are, if it matters."),
    )
}
