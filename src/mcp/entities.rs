//! The entity catalogue as a toolset. Translates between MCP's types and the catalogue's.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use rmcp::model::{Tool, ToolAnnotations};
use serde_json::Value;

use super::toolset::{Failed, Listed, Outcome, ToolCall, Toolset, UnknownToolError};
use crate::auth::AuthError;
use crate::tools::{Catalogue, Limits, ToolError, ToolSpec};

/// The forty tools over ToolBridge's entities.
#[derive(Debug)]
pub struct EntityTools {
    catalogue: Arc<Catalogue>,
    limits: Limits,
}

impl EntityTools {
    pub fn new(catalogue: Arc<Catalogue>, limits: Limits) -> Self {
        Self { catalogue, limits }
    }
}

impl Toolset for EntityTools {
    fn list(&self) -> Vec<Listed> {
        let listed = |spec: &ToolSpec| Listed {
            tool: as_served(spec),
            toolset: spec.toolset,
            access: spec.access,
        };
        self.catalogue.specs().map(listed).collect()
    }

    fn call<'a>(&'a self, call: ToolCall<'a>) -> Result<BoxFuture<'a, Outcome>, UnknownToolError> {
        let ToolCall {
            name,
            arguments,
            api,
            correlation_id,
            item,
            progress,
        } = call;
        let plan = match self.catalogue.prepare(name, arguments) {
            Ok(plan) => plan,
            Err(unknown) if self.catalogue.get(name).is_none() => {
                return Err(UnknownToolError(unknown.suggested_action));
            }
            Err(refused) => {
                return Ok(futures::future::ready(failed(&refused, correlation_id)).boxed());
            }
        };
        if let Some(uid) = plan.item() {
            let _ = item.set(uid);
        }
        let work = async move {
            match plan.run(api, &self.limits, progress).await {
                Ok(success) => Outcome {
                    text: success.text,
                    failed: None,
                },
                Err(error) => failed(&error, correlation_id),
            }
        };
        Ok(work.boxed())
    }

    fn refuse(&self, refusal: AuthError, correlation_id: &str) -> Outcome {
        let error = match refusal {
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
        failed(&error, correlation_id)
    }

    fn out_of_scope(&self, tool: &str, scope: &str, correlation_id: &str) -> Outcome {
        failed(&ToolError::insufficient_scope(tool, scope), correlation_id)
    }

    fn over_rate(&self, retry_in: Duration, correlation_id: &str) -> Outcome {
        failed(&ToolError::too_many_calls(retry_in), correlation_id)
    }
}

fn as_served(spec: &ToolSpec) -> Tool {
    let hints = spec.hints;
    let annotations = ToolAnnotations::from_raw(
        None,
        Some(hints.read_only),
        hints.destructive,
        Some(hints.idempotent),
        Some(hints.open_world),
    );
    Tool::new(
        spec.name.clone(),
        spec.description.clone(),
        Arc::new(spec.input_schema.clone()),
    )
    .with_title(spec.title.clone())
    .with_raw_output_schema(Arc::new(spec.output_schema.clone()))
    .with_annotations(annotations)
}

fn failed(error: &ToolError, correlation_id: &str) -> Outcome {
    let body = error.body(correlation_id);
    let category = body.pointer("/error/category").and_then(Value::as_str);
    Outcome {
        text: body.to_string(),
        failed: Some(Failed {
            code: error.code.clone().into_owned(),
            category: category.unwrap_or_default().to_owned(),
            status: error.details.status,
            log_only: error.log_only.as_deref().map(str::to_owned),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serves_the_specs_of_the_catalogue() {
        let catalogue = Arc::new(Catalogue::new(uuid::Uuid::now_v7));
        let served = EntityTools::new(Arc::clone(&catalogue), Limits::default()).list();
        assert_eq!(served.len(), 40);
        for (served, spec) in served.iter().zip(catalogue.specs()) {
            assert_eq!(
                serde_json::to_value(&served.tool).unwrap(),
                serde_json::to_value(spec).unwrap()
            );
        }
    }

    /// Each error code appears in `docs/TOOLS.md`, and only a temporary failure is retryable.
    #[test]
    fn authentication_errors_have_documented_codes() {
        let tools = EntityTools::new(
            Arc::new(Catalogue::new(uuid::Uuid::now_v7)),
            Limits::default(),
        );
        for refusal in [
            AuthError::Missing,
            AuthError::Expired,
            AuthError::Malformed,
            AuthError::TenantMismatch,
            AuthError::KeysUnavailable,
        ] {
            let outcome = tools.refuse(refusal, "c");
            let value = outcome.value();
            let code = outcome.failed.unwrap().code;
            assert!(
                include_str!("../../docs/TOOLS.md").contains(&format!("`{code}`")),
                "{code}"
            );
            let (error, temporary) = (&value["error"], refusal == AuthError::KeysUnavailable);
            assert_eq!(
                (&error["retryable"], error["category"] == "unavailable"),
                (&Value::from(temporary), temporary),
                "{error}"
            );
        }
    }
}
