//! One token exchange request, and the interpretation of its answer (RFC 8693, section 2; errors as
//! in RFC 6749, section 5.2).

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use url::form_urlencoded;

use super::{ExchangeError, Secret, Settings};
use crate::foundation::bounded_body;
use crate::foundation::bounded_body::BodyError;
use crate::foundation::http_client;
use crate::telemetry::fields;

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// Upper limit of a usable token.
const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// The meaning of the error codes. Nothing else of an error answer is used.
const CODES: [(&str, ExchangeError); 9] = [
    ("invalid_grant", ExchangeError::Refused),
    // RFC 8693, section 2.2.2: the code for an unacceptable subject token.
    ("invalid_request", ExchangeError::Refused),
    ("invalid_target", ExchangeError::Denied),
    ("invalid_scope", ExchangeError::Denied),
    ("access_denied", ExchangeError::Denied),
    ("invalid_client", ExchangeError::Misconfigured),
    ("unauthorized_client", ExchangeError::Misconfigured),
    ("unsupported_grant_type", ExchangeError::Misconfigured),
    ("temporarily_unavailable", ExchangeError::Unavailable),
];

/// Why no token can be exchanged: an invalid setting.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("token exchange needs a URL, an audience, a client id and a client secret")]
    Incomplete,
    #[error("the URL for token exchange is not an http or https URL")]
    Url,
    #[error("the HTTP client for token exchange cannot be built: {0}")]
    Client(reqwest::Error),
    #[error("the client's name and secret cannot be sent as a header")]
    ClientAuthentication,
}

/// The token endpoint, with the authentication of this client.
#[derive(Debug)]
pub struct Endpoint {
    http: reqwest::Client,
    url: reqwest::Url,
    authorization: HeaderValue,
    audience: String,
    scope: Option<String>,
    max_answer_bytes: usize,
}

/// A token for the API.
#[derive(Debug)]
pub struct Issued {
    pub token: Secret,
    /// As stated by the authorization server; counted from the time of the request.
    pub lifetime: Option<Duration>,
}

#[derive(Deserialize)]
struct Answer {
    access_token: Secret,
    token_type: String,
    issued_token_type: Option<String>,
    /// A number, or a string with a number from some servers.
    expires_in: Option<Value>,
}

#[derive(Deserialize)]
struct ErrorAnswer {
    error: String,
}

impl Endpoint {
    pub fn from_settings(settings: &Settings) -> Result<Self, SetupError> {
        let (Some(url), Some(audience), Some(id), Some(secret)) = (
            &settings.token_url,
            &settings.audience,
            &settings.client_id,
            &settings.client_secret,
        ) else {
            return Err(SetupError::Incomplete);
        };
        let builder = http_client::builder().timeout(settings.limits.timeout);
        let builder = match url.scheme() {
            "https" => builder.https_only(true),
            // A proxy could read the unencrypted request.
            "http" => builder.no_proxy(),
            _ => return Err(SetupError::Url),
        };
        Ok(Self {
            http: builder.build().map_err(SetupError::Client)?,
            url: url.clone(),
            authorization: basic(id, secret)?,
            audience: audience.clone(),
            scope: settings.scope.clone(),
            max_answer_bytes: settings.limits.max_answer_bytes,
        })
    }

    /// Exchanges the token `subject`.
    pub async fn request(&self, subject: &Secret) -> Result<Issued, ExchangeError> {
        let (status, body) = self.send(subject).await?;
        let outcome = read(status, &body);
        if let Err(error) = &outcome {
            tracing::warn!(
                { fields::STATUS } = status.as_u16(),
                %error,
                "a token could not be exchanged"
            );
        }
        outcome
    }

    async fn send(&self, subject: &Secret) -> Result<(StatusCode, Bytes), ExchangeError> {
        let unavailable = |error: reqwest::Error| {
            tracing::warn!(
                error = %error.without_url(),
                "the authorization server could not be asked"
            );
            ExchangeError::Unavailable
        };
        let request = self
            .http
            .post(self.url.clone())
            .header(AUTHORIZATION, self.authorization.clone())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json")
            .body(self.form(subject));
        let mut answer = request.send().await.map_err(unavailable)?;
        let body = bounded_body::read(&mut answer, self.max_answer_bytes).await;
        let body = body.map_err(|error| match error {
            BodyError::TooLarge { .. } => {
                tracing::warn!("the authorization server's answer is too large to be one");
                ExchangeError::Garbled
            }
            BodyError::Broken(error) => unavailable(error),
        })?;
        Ok((answer.status(), body))
    }

    fn form(&self, subject: &Secret) -> String {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", GRANT_TYPE)
            .append_pair("subject_token", subject.expose())
            .append_pair("subject_token_type", ACCESS_TOKEN)
            .append_pair("requested_token_type", ACCESS_TOKEN)
            .append_pair("audience", &self.audience);
        // Some servers identify an API by its URL, in this parameter (RFC 8707).
        if reqwest::Url::parse(&self.audience).is_ok_and(|url| url.has_host()) {
            form.append_pair("resource", &self.audience);
        }
        if let Some(scope) = &self.scope {
            form.append_pair("scope", scope);
        }
        form.finish()
    }
}

/// Encodes client authentication (RFC 6749, section 2.3.1): both parts are form-encoded, then
/// joined.
fn basic(id: &str, secret: &Secret) -> Result<HeaderValue, SetupError> {
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let credentials = format!("{}:{}", encoded(id), encoded(secret.expose()));
    let text = format!("Basic {}", STANDARD.encode(credentials));
    let mut value = HeaderValue::from_str(&text).map_err(|_| SetupError::ClientAuthentication)?;
    value.set_sensitive(true);
    Ok(value)
}

fn read(status: StatusCode, body: &[u8]) -> Result<Issued, ExchangeError> {
    if status == StatusCode::OK {
        return issued(body).ok_or(ExchangeError::Garbled);
    }
    if status.is_server_error() || matches!(status.as_u16(), 408 | 429) {
        return Err(ExchangeError::Unavailable);
    }
    let answer = serde_json::from_slice::<ErrorAnswer>(body).ok();
    let known = answer.and_then(|answer| CODES.iter().find(|(code, _)| *code == answer.error));
    Err(known.map_or(ExchangeError::Misconfigured, |(_, meaning)| *meaning))
}

fn issued(body: &[u8]) -> Option<Issued> {
    let answer: Answer = serde_json::from_slice(body).ok()?;
    let kind = answer.issued_token_type.as_deref();
    let usable = answer.token_type.eq_ignore_ascii_case("bearer")
        && kind.is_none_or(|kind| [ACCESS_TOKEN, JWT].contains(&kind))
        && is_bearer_text(answer.access_token.expose());
    let seconds = answer.expires_in.as_ref().and_then(|value| match value {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.as_u64().or_else(|| whole_seconds(number.as_f64()?)),
        _ => None,
    });
    usable.then_some(Issued {
        token: answer.access_token,
        lifetime: seconds.map(Duration::from_secs),
    })
}

/// Converts fractional seconds: some servers send 3600.0.
fn whole_seconds(seconds: f64) -> Option<u64> {
    Duration::try_from_secs_f64(seconds)
        .ok()
        .map(|duration| duration.as_secs())
}

/// Whether the text may follow `Bearer` in a header (RFC 6750, section 2.1).
fn is_bearer_text(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    !text.is_empty() && text.len() <= MAX_TOKEN_BYTES && text.bytes().all(allowed)
}
