//! The few words of the API's error bodies that have a meaning by contract: a reason that is a fixed word, two version
//! numbers, a time, the name of a field. Nothing else of a body is ever read, let alone quoted.

use super::rfc3339;
use crate::api::request::Reply;
use crate::foundation::json::Json;

/// The parts of an error body that the contract defines.
pub(crate) struct ApiErrorBody {
    /// The `error` member; of a family server that answers in plain text, the text. Only ever compared.
    pub reason: String,
    pub field: Option<String>,
    pub deleted_at: Option<String>,
}

impl ApiErrorBody {
    pub fn by(reply: &Reply) -> Self {
        let body = Json::parse_syntax(&reply.body).unwrap_or(Json::NULL);
        let text = |key: &str| Some(body.member(key)?.as_str()?.into_owned());
        Self {
            reason: text("error")
                .unwrap_or_else(|| String::from_utf8_lossy(&reply.body).trim().to_owned()),
            field: text("field"),
            deleted_at: text("deletedAt").filter(|text| rfc3339::is_moment(text)),
        }
    }

    /// Servers of the family may check the tenant on each route, and say so in plain text.
    pub fn refuses_tenant(&self) -> bool {
        self.reason == "not authorized for requested tenant"
    }

    /// `version mismatch: expected 3, actual 4`
    pub fn versions(&self) -> Option<(u64, u64)> {
        let (expected, actual) = self
            .reason
            .strip_prefix("version mismatch: expected ")?
            .split_once(", actual ")?;
        Some((expected.parse().ok()?, actual.parse().ok()?))
    }
}
