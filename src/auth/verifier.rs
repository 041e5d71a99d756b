//! Verifies tokens: selects the key, checks the signature, and checks the claims.
//!
//! The token header selects a key, never a rule: an algorithm is accepted only with its own kind of
//! key (HS256 with the shared secret, the others with a published key of that algorithm). A public
//! key can therefore not be used as an HMAC secret, and `none` matches no key.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::claims::Demands;
use super::jwks::{Jwks, JwksError};
use super::token_exchange::{Exchange, SetupError, Subject};
use super::{AuthError, Credential, Principal, Settings, bearer};
use crate::foundation::clock::Clock;
use crate::foundation::json::Json;
use crate::foundation::token_secret::Secret;

/// Why no verifier can be built: an invalid setting.
#[derive(Debug, thiserror::Error)]
pub enum VerifierError {
    #[error(transparent)]
    Keys(#[from] JwksError),
    #[error(transparent)]
    Exchange(#[from] SetupError),
}

/// Verifies tokens. Shared by all requests; holds the caches of keys and exchanged tokens.
#[derive(Debug)]
pub struct Verifier {
    demands: Demands,
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
    /// Extensions that a verifier must understand. None are supported.
    #[serde(default, deserialize_with = "present")]
    crit: Option<Value>,
}

/// Makes `null` count as present.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl Verifier {
    pub fn new(settings: &Settings, clock: Clock) -> Result<Self, VerifierError> {
        let demands = Demands {
            tenant_id: settings.tenant_id.clone(),
            tenant_claim: settings.tenant_claim.clone(),
            issuer: settings.issuer.clone(),
            audience: settings.audience.clone(),
            leeway_secs: settings.leeway.as_secs(),
            unsaid_scopes: settings.unsaid_scopes.clone(),
        };
        let exchange = settings.exchange.as_ref();
        Ok(Self {
            exchange: exchange
                .map(|settings| Exchange::from_settings(settings, clock.clone()))
                .transpose()?,
            demands,
            max_token_bytes: settings.max_token_bytes,
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

    /// Verifies a token that has been checked to be a compact JWS.
    async fn verify_compact(&self, token: &str) -> Result<Principal, AuthError> {
        let (signed, signature) = token.rsplit_once('.').ok_or(AuthError::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(AuthError::Malformed)?;
        self.verify_signature(&decode(header)?, signed, signature)
            .await?;
        let claims = readable_members(&base64_decode(claims)?).ok_or(AuthError::Malformed)?;
        let token = Secret::new(token);
        let principal = self
            .demands
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

    /// Fetches the published keys, if any are configured, ahead of the first token.
    pub async fn warm(&self) {
        if let Some(jwks) = &self.jwks {
            jwks.warm().await;
        }
    }

    /// Whether a token could be verified now. Fetches published keys if none are known.
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
        let verifies = |key: &DecodingKey, algorithm| {
            jsonwebtoken::crypto::verify(signature, signed.as_bytes(), key, algorithm)
                .unwrap_or(false)
        };
        let verified = match (header.alg.as_str(), &self.hs256, &self.jwks) {
            ("HS256", Some(secret), _) => verifies(secret, Algorithm::HS256),
            (published, _, Some(jwks)) => {
                let algorithm = published_algorithm(published).ok_or(AuthError::Algorithm)?;
                let keys = jwks.candidates(header.kid.as_deref(), algorithm).await?;
                keys.iter().any(|key| verifies(key, algorithm))
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

/// The algorithm with this name, if published keys may have it.
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

/// The members of an object. Replaces values that cannot be parsed, such as numbers out of range,
/// with `false`, which is valid for no claim: unused claims must not make the whole token invalid.
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

/// Deserializes `json` only if it is valid UTF-8 and an object. serde also reads a struct from a
/// list and skips invalid UTF-8 in unknown members; other readers of the token do neither.
pub(super) fn object<T: serde::de::DeserializeOwned>(json: &[u8]) -> Option<T> {
    let text = std::str::from_utf8(json).ok()?;
    let is_object = text.trim_ascii_start().starts_with('{');
    serde_json::from_str(text).ok().filter(|_| is_object)
}
