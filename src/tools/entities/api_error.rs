//! Translates error responses of the API, and missing responses, into errors for the caller.
//!
//! Statuses and the few error bodies that the contract defines ([`ApiErrorBody`]) are interpreted;
//! all other text from the API goes to the log and never to the model. Errors that do not depend on
//! the tool are in [`api_outage`]. A write without a response may have taken effect; the error
//! states this and names the tool that can check it.

use super::operation::Target;
use super::plan::Plan;
use crate::api::request::{ApiError, Reply};
use crate::entities::Kind;
use crate::tools::api_error_body::ApiErrorBody;
use crate::tools::api_outage;
use crate::tools::api_outage::answered;
use crate::tools::error::{Category, ToolError};
use crate::tools::result::{Limits, ResultError};
use crate::tools::write_errors::{WriteErrors, cancelled};

/// The context of a request that decides how its failure is reported.
pub(crate) struct ErrorContext<'a> {
    plan: &'a Plan,
    /// Whether the request may change something. If it does, a missing response leaves the outcome
    /// unknown.
    writes: bool,
}

/// Whether the API refused a request because an item with its UID exists already.
pub(crate) fn already_exists(reply: &Reply) -> bool {
    ApiErrorBody::of(reply).reason == "already_exists"
}

impl<'a> ErrorContext<'a> {
    /// The context of the request that carries out the call.
    pub fn for_result(plan: &'a Plan) -> Self {
        Self {
            plan,
            writes: plan.writes(),
        }
    }

    /// The context of the request that reads an item before it is replaced.
    pub fn for_preliminary_read(plan: &'a Plan) -> Self {
        Self {
            plan,
            writes: false,
        }
    }

    /// The error for a response with an error status.
    pub fn refused(&self, reply: &Reply) -> ToolError {
        let body = ApiErrorBody::of(reply);
        let error = match reply.status {
            400 => self.invalid(&body),
            404 if self.plan.names_an_item() => self.not_found(),
            409 if body.reason != "epoch_mismatch" => self.conflict(&body),
            410 if self.plan.names_an_item() => self.deleted(&body),
            412 => self.version_mismatch(&body),
            413 => self.request_too_large(),
            422 => self.field_refused(&body),
            status if self.writes => self.write().refused(status, &body),
            status => api_outage::refused(status, &body)
                .unwrap_or_else(|| api_outage::unexpected(status, &self.plan.tool)),
        };
        answered(error, reply)
    }

    /// The error for a refused retry whose earlier attempt may have been carried out.
    pub fn refused_after_lost_response(&self, reply: &Reply) -> ToolError {
        answered(self.write().refused_after_lost_response(), reply)
    }

    /// The error for a request without a response.
    pub fn unanswered(&self, failure: ApiError) -> ToolError {
        match failure {
            failure if self.writes => self.write().unanswered(failure),
            ApiError::AnswerTooLarge { limit } => {
                self.result_too_large(None, self.plan.page.limit / 2, limit)
            }
            ApiError::Cancelled => cancelled(&self.check()),
            other => api_outage::unanswered(other, &self.plan.tool),
        }
    }

    /// The error for a successful response that is malformed or too large.
    pub fn unusable(&self, unusable: ResultError, limits: &Limits) -> ToolError {
        match unusable {
            ResultError::TooLarge { size, fitting } => {
                self.result_too_large(Some(size), fitting, limits.max_result_bytes)
            }
            ResultError::Malformed(why) => {
                if self.writes {
                    return self.write().unreadable(why);
                }
                let mut error = api_outage::unexpected(200, &self.plan.tool);
                error.log_only = Some(why.into());
                error
            }
        }
    }

    /// The error for a write of which it is not known whether it took effect.
    pub fn outcome_unknown(&self, why: &str) -> ToolError {
        self.write().unknown_outcome(why)
    }

    fn write(&self) -> WriteErrors<'_> {
        WriteErrors {
            tool: &self.plan.tool,
            check: self.check(),
            uid: self.plan.uid.map(|uid| uid.to_string()),
        }
    }

    /// The error for a payload whose parent does not exist or is deleted.
    pub fn parent_not_found(&self, reply: &Reply) -> ToolError {
        answered(self.parent_missing(), reply)
    }

    /// The error for an update that omits the parent of an item without one.
    pub fn without_parent(&self) -> ToolError {
        let Plan { entity, tool, .. } = self.plan;
        let fields: Vec<_> = entity.parent_fields().map(|field| field.name).collect();
        ToolError::new(
            Category::Validation,
            "invalid_argument",
            format!("The {} has no parent that could be kept.", entity.label),
            format!("Call {tool} again with {}.", fields.join(" and ")),
        )
        .details(|details| details.argument = fields.first().map(|name| (*name).to_owned()))
    }

    fn parent_missing(&self) -> ToolError {
        let Plan { entity, tool, .. } = self.plan;
        let argument = entity
            .parent
            .as_ref()
            .map(|parent| parent.uid)
            .unwrap_or_default();
        let kinds: Vec<_> = entity
            .parent_keys()
            .iter()
            .map(|key| format!("get_{key}"))
            .collect();
        ToolError::new(
            Category::NotFound,
            "parent_not_found",
            format!(
                "The parent of the {} does not exist or is deleted.",
                entity.label
            ),
            format!(
                "Check {argument} with {}, then call {tool} with a living parent.",
                kinds.join(" or ")
            ),
        )
        .details(|details| details.argument = Some(argument.to_owned()))
    }

    fn invalid(&self, body: &ApiErrorBody) -> ToolError {
        let Plan {
            tool, operation, ..
        } = self.plan;
        operation.rejected(self.plan, body).unwrap_or_else(|| {
            ToolError::new(
                Category::Validation,
                "api_rejected",
                "The ToolBridge API did not accept the request.",
                format!(
                    "Simplify the arguments and call {tool} again; if that does not help, tell the \
                     user."
                ),
            )
        })
    }

    fn not_found(&self) -> ToolError {
        let Plan { entity, uid, .. } = self.plan;
        let uid = uid.map(|uid| uid.to_string()).unwrap_or_default();
        ToolError::new(
            Category::NotFound,
            format!("{}_not_found", entity.key),
            format!("There is no {} with the UID {uid}.", entity.label),
            format!("Find the right UID with list_{}.", entity.plural),
        )
        .details(|details| details.uid = Some(uid))
    }

    fn deleted(&self, body: &ApiErrorBody) -> ToolError {
        let Plan { entity, uid, .. } = self.plan;
        let uid = uid.map(|uid| uid.to_string()).unwrap_or_default();
        ToolError::new(
            Category::NotFound,
            format!("{}_deleted", entity.key),
            format!("The {} {uid} has been deleted.", entity.label),
            format!(
                "Read it with get_{} and include_deleted, or find another with list_{}.",
                entity.key, entity.plural
            ),
        )
        .details(|details| {
            details.uid = Some(uid);
            details.deleted_at.clone_from(&body.deleted_at);
        })
    }

    fn conflict(&self, body: &ApiErrorBody) -> ToolError {
        let Plan {
            entity, tool, uid, ..
        } = self.plan;
        let code = if body.reason == "already_exists" {
            "already_exists"
        } else {
            "conflict"
        };
        let message = match code {
            "already_exists" => format!("Another {} has this UID already.", entity.label),
            _ => format!(
                "The {} is in a state that does not allow this.",
                entity.label
            ),
        };
        let remedy = format!(
            "Look with {}, then call {tool} again if it is still needed.",
            self.check()
        );
        ToolError::new(Category::Conflict, code, message, remedy)
            .details(|details| details.uid = uid.map(|uid| uid.to_string()))
    }

    fn version_mismatch(&self, body: &ApiErrorBody) -> ToolError {
        let Plan {
            entity,
            tool,
            uid,
            keeps_parent,
            request,
            ..
        } = self.plan;
        // Without `if_match`, the same call reads the current version again and can succeed. A
        // delete has it only if the user was asked about a version, and asks again.
        let rereads = *keeps_parent && request.if_match.is_none();
        let remedy = if rereads || self.plan.operation.deletes() {
            format!(
                "Call {tool} again if the change still makes sense; see the {} with get_{}.",
                entity.label, entity.key
            )
        } else {
            format!(
                "Read the {} with get_{}, then call {tool} with its version as if_match.",
                entity.label, entity.key
            )
        };
        let message = format!(
            "The {} has been changed by somebody else in the meantime.",
            entity.label
        );
        ToolError::new(Category::Conflict, "version_mismatch", message, remedy)
            .retryable(rereads)
            .details(|details| {
                details.uid = uid.map(|uid| uid.to_string());
                (details.expected_version, details.actual_version) = body.versions().unzip();
            })
    }

    fn request_too_large(&self) -> ToolError {
        ToolError::new(
            Category::TooLarge,
            "request_too_large",
            "The request is larger than the ToolBridge API takes.",
            format!(
                "Shorten the text or split it into several {}.",
                self.plan.entity.label_plural
            ),
        )
    }

    fn field_refused(&self, body: &ApiErrorBody) -> ToolError {
        let Plan { entity, tool, .. } = self.plan;
        let field = body.field.as_deref().and_then(|name| entity.field(name));
        match field {
            Some(field) if field.kind == Kind::Uid && entity.is_parent_field(field) => {
                self.parent_missing()
            }
            Some(field) => ToolError::new(
                Category::Validation,
                "invalid_argument",
                format!("The API does not accept this `{}`.", field.name),
                format!("Call {tool} again with another {}.", field.name),
            )
            .details(|details| {
                details.argument = Some(field.name.to_owned());
                let choices = field.kind.choices().unwrap_or_default();
                details.allowed = choices.into_iter().map(str::to_owned).collect();
            }),
            None => self.invalid(body),
        }
    }

    fn result_too_large(&self, size: Option<usize>, fitting: u64, max: usize) -> ToolError {
        let Plan {
            tool, operation, ..
        } = self.plan;
        let is_page = operation.target() == Target::Collection;
        let limit = (is_page && fitting > 0).then_some(fitting);
        let remedy = match limit {
            Some(limit) => format!("Call {tool} again with limit {limit}."),
            None => operation.result_too_large(self.plan),
        };
        let message = format!("The result is larger than {max} bytes.");
        ToolError::new(Category::TooLarge, "result_too_large", message, remedy).details(|details| {
            details.limit = limit;
            details.size_bytes = size;
            details.max_bytes = Some(max);
        })
    }

    /// Names the tool that shows the current state of the item.
    fn check(&self) -> String {
        let Plan { entity, uid, .. } = self.plan;
        match uid {
            Some(uid) => format!("get_{} (uid {uid})", entity.key),
            None => format!("list_{}", entity.plural),
        }
    }
}
