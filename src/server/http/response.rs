//! The JSON bodies of everything that is not a JSON-RPC result.

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
/// A token that is missing or does not do.
const UNAUTHORIZED: i32 = -32012;

pub fn json(status: StatusCode, body: &Value) -> Response {
    written(status, body.to_string())
}

/// The same of JSON that has been written already.
pub fn written(status: StatusCode, json: impl Into<Body>) -> Response {
    let mut response = Response::new(json.into());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// An answer outside of JSON-RPC: wrong place, wrong method, wrong host.
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

/// A JSON-RPC error for a message that never reached a method.
pub fn rpc_error(
    status: StatusCode,
    code: i32,
    message: &str,
    id: Option<Json<'_>>,
    about: &CorrelationId,
    data: Option<&Value>,
) -> Response {
    json(
        status,
        &rpc_error_message(code, message, id, about.as_str(), data),
    )
}

/// The id is the request's, when it could be read; `data` is the correlation id unless there is more to say.
pub fn rpc_error_message(
    code: i32,
    message: &str,
    id: Option<Json<'_>>,
    about: &str,
    data: Option<&Value>,
) -> Value {
    let id = id.and_then(Json::to_value).unwrap_or_default();
    let data = data
        .cloned()
        .unwrap_or_else(|| json!({ "correlation_id": about }));
    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message, "data": data } })
}

/// Beside an answer that says "later".
pub fn retry_after(mut response: Response, seconds: u32) -> Response {
    response
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from(seconds));
    response
}

/// A refused token. What OAuth clients read is in the challenge; the body is a JSON-RPC error, since there are clients that
/// show their user nothing else. `reason` and `correlation_id` stand beside it, for whoever reads no JSON-RPC.
pub fn refusal(
    refusal: AuthError,
    challenge: &Challenge,
    correlation_id: &CorrelationId,
) -> Response {
    let answer = challenge.answer(refusal);
    let (reason, about) = (refusal.reason(), correlation_id.as_str());
    let body = json!({
        "jsonrpc": "2.0",
        "id": null,
        "error": {
            "code": UNAUTHORIZED,
            "message": refusal.advice(),
            "data": { "reason": reason, "correlation_id": about },
        },
        "reason": reason,
        "correlation_id": about,
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
