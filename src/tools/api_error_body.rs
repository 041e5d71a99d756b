//! The parts of the API's error bodies that the contract defines: a fixed reason, two version
//! numbers, a time, and the name of a field. Nothing else of a body is interpreted or quoted.

use super::rfc3339;
use crate::api::request::Reply;
use crate::foundation::json::Json;

/// The parts of an error body that the contract defines.
pub(crate) struct ApiErrorBody {
    /// The `error` member, or the whole text of a compatible API that answers in plain text. It is
    /// only compared with known values.
    pub reason: String,
    pub field: Option<String>,
    pub deleted_at: Option<String>,
}

impl ApiErrorBody {
    /// Parses the body of an error response. Anything unknown is ignored.
    pub fn of(reply: &Reply) -> Self {
        let body = Json::parse_syntax(&reply.body).unwrap_or(Json::NULL);
        let text = |key: &str| Some(body.member(key)?.as_str()?.into_owned());
        Self {
            reason: text("error")
                .unwrap_or_else(|| String::from_utf8_lossy(&reply.body).trim().to_owned()),
            field: text("field"),
            deleted_at: text("deletedAt").filter(|text| rfc3339::is_date_or_time(text)),
        }
    }

    /// Whether the API refused the tenant. Some compatible APIs check the tenant on every route,
    /// and answer in plain text.
    pub fn refuses_tenant(&self) -> bool {
        self.reason == "not authorized for requested tenant"
    }

    /// The versions in `version mismatch: expected 3, actual 4`.
    pub fn versions(&self) -> Option<(u64, u64)> {
        let (expected, actual) = self
            .reason
            .strip_prefix("version mismatch: expected ")?
            .split_once(", actual ")?;
        Some((expected.parse().ok()?, actual.parse().ok()?))
    }
}
