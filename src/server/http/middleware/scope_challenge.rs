//! Refuses a call that the token's scopes do not allow, as OAuth clients expect: 403 and a
//! challenge that names the scope (RFC 6750, section 3.1). `mcp` knows the scope that a call needs.
//!
//! The call checks its scope again, so a message that is read differently there fails as a tool
//! error.

use axum::response::Response;
use http::{HeaderValue, header::WWW_AUTHENTICATE};

use super::correlation::CorrelationId;
use crate::auth::challenge::Challenge;
use crate::foundation::json::Json;
use crate::mcp::{CallEnding, Caller, refused_for_scope};
use crate::server::http::response;
use crate::server::http::routes::router::Handler;
use crate::server::jsonrpc::validate::ValidMessage;
use crate::telemetry::fields;

/// Outside the codes that JSON-RPC and MCP reserve, -32768 to -32000.
pub const INSUFFICIENT_SCOPE: i32 = -31010;

/// The refusal of a request that lacks a scope, or `None`. A message without an `id` is a
/// notification, which makes no call.
pub fn refusal(
    handler: &impl Handler,
    challenge: &Challenge,
    caller: &Caller,
    id: Option<Json<'_>>,
    message: &ValidMessage<'_>,
) -> Option<Response> {
    // Most tokens carry no scopes; then the message is not parsed again.
    if handler.is_unlimited(caller) {
        return None;
    }
    let id = id?;
    let is_call = message.method?.as_str()? == "tools/call";
    let params = message.params.filter(|_| is_call)?;
    let tool = params.member("name")?.as_str()?;
    let (scope, outcome) = handler.missing_scope(&tool, caller)?;
    let answer = challenge.insufficient_scope(&scope);
    let meta = params.member("_meta");
    let meta = meta.and_then(|meta| serde_json::from_str(meta.get()).ok());
    let code = outcome.failed.as_ref().map(|failed| failed.code.as_str());
    refused_for_scope(
        &tool,
        caller,
        &meta.unwrap_or_default(),
        code.unwrap_or(answer.error),
    );
    tracing::info!(
        { fields::CORRELATION_ID } = &*caller.correlation_id,
        { fields::TOOL } = &*tool,
        { fields::USER } = &*caller.principal.subject,
        { fields::OUTCOME } = CallEnding::OutOfScope.as_str(),
        { fields::REASON } = answer.error,
        "{tool} is out of the caller's reach"
    );
    let error = outcome.value().get("error").cloned().unwrap_or_default();
    let message = error
        .get("message")
        .and_then(|text| text.as_str())
        .unwrap_or(answer.error);
    let correlation_id = CorrelationId(caller.correlation_id.clone());
    let mut response = response::rpc_error(
        answer.status,
        INSUFFICIENT_SCOPE,
        message,
        Some(id),
        &correlation_id,
        Some(&error),
    );
    if let Some(Ok(value)) = answer
        .www_authenticate
        .as_deref()
        .map(HeaderValue::from_str)
    {
        response.headers_mut().insert(WWW_AUTHENTICATE, value);
    }
    Some(response)
}
