//! JSON responses other than JSON-RPC results.

use axum::body::Body;
use axum::response::Response;
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

use super::middleware::correlation::CorrelationId;
use crate::auth::AuthError;
use crate::auth::challenge::Challenge;
use crate::foundation::json::Json;

pub const PARSE_ERROR: i32 = -32700;
pub const INVALID_REQUEST: i32 = -32600;
pub const INVALID_PARAMS: i32 = -32602;
pub const INTERNAL_ERROR: i32 = -32603;
/// The token is missing or invalid. Outside the codes that JSON-RPC and MCP reserve.
const UNAUTHORIZED: i32 = -31012;

pub fn json(status: StatusCode, body: &Value) -> Response {
    written(status, body.to_string())
}

/// A response whose JSON is already encoded.
pub fn written(status: StatusCode, json: impl Into<Body>) -> Response {
    let mut response = Response::new(json.into());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// An error outside JSON-RPC: unknown path, wrong method or refused host.
pub fn error(
    status: StatusCode,
    code: &str,
    message: &str,
    correlation_id: &CorrelationId,
) -> Response {
    json(
        status,
        &json!({ "error": code, "message": message, "correlation_id": correlation_id.as_str() }),
    )
}

/// A JSON-RPC error for a message that did not reach a method.
pub fn rpc_error(
    status: StatusCode,
    code: i32,
    message: &str,
    id: Option<Json<'_>>,
    correlation_id: &CorrelationId,
    data: Option<&Value>,
) -> Response {
    json(
        status,
        &rpc_error_message(code, message, id, correlation_id.as_str(), data),
    )
}

/// Builds a JSON-RPC error. The id is `null` if the request's could not be read; `data` defaults to
/// the correlation id.
pub fn rpc_error_message(
    code: i32,
    message: &str,
    id: Option<Json<'_>>,
    correlation_id: &str,
    data: Option<&Value>,
) -> Value {
    let id = id.and_then(Json::to_value).unwrap_or_default();
    let data = data
        .cloned()
        .unwrap_or_else(|| json!({ "correlation_id": correlation_id }));
    let error = json!({ "code": code, "message": message, "data": data });
    json!({ "jsonrpc": "2.0", "id": id, "error": error })
}

/// Adds `Retry-After` to a response.
pub fn retry_after(mut response: Response, seconds: u32) -> Response {
    response
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from(seconds));
    response
}

/// The response to a refused token. OAuth clients read the challenge. The body is a JSON-RPC error,
/// since some clients show users nothing else; it repeats `reason` and `correlation_id` at the top
/// level for clients that read no JSON-RPC.
pub fn refusal(
    refusal: AuthError,
    challenge: &Challenge,
    correlation_id: &CorrelationId,
) -> Response {
    let answer = challenge.answer(refusal);
    let (reason, correlation_id) = (refusal.reason(), correlation_id.as_str());
    let body = json!({
        "jsonrpc": "2.0",
        "id": null,
        "error": {
            "code": UNAUTHORIZED,
            "message": refusal.advice(),
            "data": { "reason": reason, "correlation_id": correlation_id },
        },
        "reason": reason,
        "correlation_id": correlation_id,
    });
    let mut response = json(answer.status, &body);
    if let Some(Ok(value)) = answer
        .www_authenticate
        .as_deref()
        .map(HeaderValue::from_str)
    {
        response.headers_mut().insert(WWW_AUTHENTICATE, value);
    }
    if answer.status == StatusCode::SERVICE_UNAVAILABLE {
        response = retry_after(response, 10);
    }
    response
}
