//! A call that the token's scopes do not allow, refused in the form that an OAuth client acts on: 403 and a challenge
//! that names the scope (RFC 6750, section 3.1). `mcp` knows what a call needs; this only asks it.
//!
//! The call itself asks again, so whatever is read differently here than there is refused there, as a tool error.

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

/// From the part of the range that JSON-RPC leaves to servers and that MCP has not given a meaning of its own.
pub const INSUFFICIENT_SCOPE: i32 = -32010;

/// The refusal of a request, if scopes stand in its way. `id` is the request's: without one it is no request, and no
/// call is made for it anyway.
pub fn refusal(
    handler: &impl Handler,
    challenge: &Challenge,
    caller: &Caller,
    id: Option<Json<'_>>,
    message: &ValidMessage<'_>,
) -> Option<Response> {
    // Most tokens say nothing of scopes, and then the message is not read once more.
    if handler.is_unlimited(caller) {
        return None;
    }
    let id = id?;
    let is_call = message.method?.as_str()? == "tools/call";
    let params = message.params.filter(|_| is_call)?;
    let tool = params.member("name")?.as_str()?;
    let (scope, outcome) = handler.lacks_scope(&tool, caller)?;
    let said = challenge.insufficient_scope(&scope);
    let meta = params.member("_meta");
    let meta = meta.and_then(|meta| serde_json::from_str(meta.get()).ok());
    let code = outcome.failed.as_ref().map(|failed| failed.code.as_str());
    refused_for_scope(
        &tool,
        caller,
        &meta.unwrap_or_default(),
        code.unwrap_or(said.error),
    );
    tracing::info!(
        { fields::CORRELATION_ID } = &*caller.correlation_id,
        { fields::TOOL } = &*tool,
        { fields::USER } = &*caller.principal.subject,
        { fields::OUTCOME } = CallEnding::OutOfScope.as_str(),
        { fields::REASON } = said.error,
        "{tool} is out of the caller's reach"
    );
    let error = outcome.value().get("error").cloned().unwrap_or_default();
    let message = error
        .get("message")
        .and_then(|text| text.as_str())
        .unwrap_or(said.error);
    let correlation_id = CorrelationId(caller.correlation_id.clone());
    let mut response = response::rpc_error(
        said.status,
        INSUFFICIENT_SCOPE,
        message,
        Some(id),
        &correlation_id,
        Some(&error),
    );
    if let Some(Ok(value)) = said.www_authenticate.as_deref().map(HeaderValue::from_str) {
        response.headers_mut().insert(WWW_AUTHENTICATE, value);
    }
    Some(response)
}
