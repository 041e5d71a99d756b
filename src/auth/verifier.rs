//! From token text to [`Principal`]: which key may speak for this token, does the signature hold,
//! are the claims ours.
//!
//! The token's header chooses among keys, never among rules: an algorithm is accepted only with the
//! kind of key that it was made for (HS256 with the shared secret, the others with a published key
//! of that very algorithm). So a public key cannot be used as an HMAC secret, and `none` names no
//! key at all.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::claims::ClaimRules;
use super::jwks::{Jwks, JwksError};
use super::token_exchange::{Exchange, SetupError, Subject};
use super::{AuthError, Credential, Principal, Settings, bearer};
use crate::foundation::clock::Clock;
use crate::foundation::json::Json;
use crate::foundation::secret::Secret;

/// Why no tokens could be checked at all: a mistake in the settings.
#[derive(Debug, thiserror::Error)]
pub enum VerifierError {
    #[error(transparent)]
    Keys(#[from] JwksError),
    #[error(transparent)]
    Exchange(#[from] SetupError),
}

/// Checks tokens. Shared by all requests; holds the key cache, and what tokens were exchanged for.
#[derive(Debug)]
pub struct Verifier {
    rules: ClaimRules,
    max_token_bytes: usize,
    clock: Clock,
    hs256: Option<DecodingKey>,
    jwks: Option<Jwks>,
    exchange: Option<Exchange>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// Extensions that the reader must understand; we understand none.
    #[serde(default, deserialize_with = "present")]
    crit: Option<Value>,
}

/// `null` is present too.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl Verifier {
    /// Checks tokens for a server of the tenant `tenant_id`.
    pub fn new(settings: &Settings, tenant_id: &str, clock: Clock) -> Result<Self, VerifierError> {
        let rules = ClaimRules {
            tenant_id: tenant_id.to_owned(),
            tenant_claim: settings.tenant_claim.clone(),
            issuer: settings.issuer.clone(),
            audience: settings.audience.clone(),
            leeway_secs: settings.leeway.as_secs(),
            default_scopes: settings.default_scopes(),
        };
        let exchange = settings.token_exchange();
        Ok(Self {
            exchange: exchange
                .map(|settings| Exchange::from_settings(settings, clock.clone()))
                .transpose()?,
            rules,
            max_token_bytes: settings.limits.max_token_bytes,
            clock,
            hs256: settings
                .hs256_secret
                .as_ref()
                .map(|secret| DecodingKey::from_secret(secret.expose().as_bytes())),
            jwks: Jwks::from_settings(settings)?,
        })
    }

    /// Verifies the bearer token of a request.
    pub async fn authenticate(&self, headers: &HeaderMap) -> Result<Principal, AuthError> {
        self.verify_compact(bearer::extract(headers, self.max_token_bytes)?)
            .await
    }

    /// Verifies a token that did not come with an HTTP request.
    pub async fn verify(&self, token: &str) -> Result<Principal, AuthError> {
        if token.len() > self.max_token_bytes || !bearer::is_compact_jws(token) {
            return Err(AuthError::Malformed);
        }
        self.verify_compact(token).await
    }

    /// Verifies a token that has the form of one.
    async fn verify_compact(&self, token: &str) -> Result<Principal, AuthError> {
        let (signed, signature) = token.rsplit_once('.').ok_or(AuthError::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(AuthError::Malformed)?;
        self.verify_signature(&decode(header)?, signed, signature)
            .await?;
        let claims = readable_members(&base64_decode(claims)?).ok_or(AuthError::Malformed)?;
        let token = Secret::new(token);
        let principal = self
            .rules
            .check(&claims, token.clone(), self.clock.now_secs())?;
        let Some(exchange) = &self.exchange else {
            return Ok(principal);
        };
        let subject = Subject {
            user: principal.subject.clone(),
            token,
            expires_at: principal.expires_at,
        };
        Ok(Principal {
            credential: Credential::Exchanged(exchange.clone(), subject),
            ..principal
        })
    }

    /// Fetches the published keys ahead of the first token, when there are any to fetch.
    pub async fn warm(&self) {
        if let Some(jwks) = &self.jwks {
            jwks.warm().await;
        }
    }

    /// Whether any token could be verified now. Published keys that were never fetched are asked
    /// for, as a token would.
    pub async fn ready(&self) -> bool {
        match &self.jwks {
            _ if self.hs256.is_some() => true,
            Some(jwks) => jwks.ready().await,
            None => false,
        }
    }

    async fn verify_signature(
        &self,
        header: &Header,
        signed: &str,
        signature: &str,
    ) -> Result<(), AuthError> {
        if header.crit.is_some() {
            return Err(AuthError::Algorithm);
        }
        let holds = |key: &DecodingKey, algorithm| {
            jsonwebtoken::crypto::verify(signature, signed.as_bytes(), key, algorithm)
                .unwrap_or(false)
        };
        let verified = match (header.alg.as_str(), &self.hs256, &self.jwks) {
            ("HS256", Some(secret), _) => holds(secret, Algorithm::HS256),
            (published, _, Some(jwks)) => {
                let algorithm = published_algorithm(published).ok_or(AuthError::Algorithm)?;
                let keys = jwks.candidates(header.kid.as_deref(), algorithm).await?;
                keys.iter().any(|key| holds(key, algorithm))
            }
            _ => return Err(AuthError::Algorithm),
        };
        if verified {
            Ok(())
        } else {
            Err(AuthError::BadSignature)
        }
    }
}

/// The algorithms that a published key may have.
pub(super) fn published_algorithm(name: &str) -> Option<Algorithm> {
    match name {
        "RS256" => Some(Algorithm::RS256),
        "ES256" => Some(Algorithm::ES256),
        "EdDSA" => Some(Algorithm::EdDSA),
        _ => None,
    }
}

fn decode<T: serde::de::DeserializeOwned>(part: &str) -> Result<T, AuthError> {
    object(&base64_decode(part)?).ok_or(AuthError::Malformed)
}

fn base64_decode(part: &str) -> Result<Vec<u8>, AuthError> {
    URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| AuthError::Malformed)
}

/// The members of an object. In place of one that no number type can hold stands `false`, which no
/// claim can be: issuers say much that is of no interest here, and that must not make the whole
/// unreadable.
pub(super) fn readable_members(json: &[u8]) -> Option<Map<String, Value>> {
    let object = Json::parse(json).ok().filter(|json| json.is_object())?;
    let members = object.members();
    Some(
        members
            .map(|(name, value)| {
                (
                    name.into_owned(),
                    value.to_value().unwrap_or(Value::Bool(false)),
                )
            })
            .collect(),
    )
}

/// Parses a JSON object. serde would also read a struct from a list, and skip bytes that are not
/// UTF-8, which other readers of the token would understand differently.
pub(super) fn object<T: serde::de::DeserializeOwned>(json: &[u8]) -> Option<T> {
    let text = std::str::from_utf8(json).ok()?;
    let is_object = text.trim_ascii_start().starts_with('{');
    serde_json::from_str(text).ok().filter(|_| is_object)
}
