//! The published keys of an identity provider, cached.
//!
//! Three rules keep a provider's bad day, or a flood of tokens with invented key ids, from becoming
//! ours: at most one fetch runs at a time, fetches keep a least distance whatever tokens ask for,
//! and keys once known go on serving until a fetch that worked replaces them. A key that has been
//! withdrawn is therefore trusted until the next refresh.

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use parking_lot::RwLock;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::verifier::readable_members;
use super::{AuthError, Settings};
use crate::foundation::bounded_body::{self, BodyError};
use crate::foundation::http_client;
use crate::foundation::json::Json;
use crate::telemetry::{metrics, tasks};

/// A provider rotates two or three keys; more than this is not a key set that we would want to
/// search per request.
const MAX_KEYS: usize = 32;

/// Why the keys could not be fetched, for the log, or not be fetched ever, for the start.
#[derive(Debug, thiserror::Error)]
pub enum JwksError {
    #[error("the JWKS URL is not an http or https URL")]
    Url,
    #[error("the HTTP client for JWKS cannot be built: {0}")]
    Client(reqwest::Error),
    #[error("fetching the key set failed: {0}")]
    Fetch(reqwest::Error),
    #[error("the key set was answered with status {0}")]
    Status(u16),
    #[error("the key set is larger than {0} bytes")]
    TooLarge(usize),
    #[error("the key set is not a JSON object with a list of keys")]
    NotAKeySet,
    #[error("the key set holds no key for RS256, ES256 or EdDSA")]
    NoUsableKey,
}

#[derive(Debug, Clone)]
pub struct Jwks(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    url: reqwest::Url,
    http: reqwest::Client,
    refresh_after: Duration,
    min_interval: Duration,
    max_bytes: usize,
    known: RwLock<Option<Known>>,
    /// When the last fetch began. The lock is held during a fetch: that is what makes it the only
    /// one.
    last_attempt: Mutex<Option<Instant>>,
}

#[derive(Debug, Clone)]
struct Known {
    keys: Arc<[PublishedKey]>,
    since: Instant,
}

#[derive(Debug)]
pub(super) struct PublishedKey {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

impl Jwks {
    pub fn from_settings(settings: &Settings) -> Result<Option<Self>, JwksError> {
        let Some(url) = &settings.jwks_url else {
            return Ok(None);
        };
        if !matches!(url.scheme(), "http" | "https") {
            return Err(JwksError::Url);
        }
        // Proxies from the environment stay allowed here: unlike the API, an identity provider may
        // be far away. No redirect is followed: the source of the keys decides whose tokens are
        // good, and a redirect could lead to plain http or to another host.
        let http = http_client::builder()
            .timeout(settings.limits.jwks_timeout)
            .build()
            .map_err(JwksError::Client)?;
        Ok(Some(Self(Arc::new(Inner {
            url: url.clone(),
            http,
            refresh_after: settings.limits.jwks_refresh_after,
            min_interval: settings.limits.jwks_min_interval,
            max_bytes: settings.limits.jwks_max_bytes,
            known: RwLock::new(None),
            last_attempt: Mutex::new(None),
        }))))
    }

    pub async fn warm(&self) {
        let _ = self.refresh().await;
    }

    /// Whether keys are known; if not, they are asked for first.
    pub async fn ready(&self) -> bool {
        if self.known().is_none() {
            self.warm().await;
        }
        self.known().is_some()
    }

    /// The keys that may have signed a token with this key id and algorithm; never an empty list.
    pub async fn candidates(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Vec<DecodingKey>, AuthError> {
        if let Some(known) = self.known() {
            let found = known.find(id, algorithm);
            if !found.is_empty() {
                if known.since.elapsed() > self.0.refresh_after {
                    drop(self.refresh());
                }
                return Ok(found);
            }
        }
        let _ = self.refresh().await;
        let known = self.known().ok_or(AuthError::KeysUnavailable)?;
        let found = known.find(id, algorithm);
        if found.is_empty() {
            Err(AuthError::UnknownKey)
        } else {
            Ok(found)
        }
    }

    fn known(&self) -> Option<Known> {
        self.0.known.read().clone()
    }

    /// In a task of its own, so that a caller who disconnects does not cancel the fetch: otherwise
    /// any caller could prevent the keys from being fetched.
    fn refresh(&self) -> JoinHandle<Option<()>> {
        let jwks = self.clone();
        tasks::spawn("keys", async move { jwks.fetch_unless_recent().await })
    }

    /// A caller that arrives during a fetch waits for its outcome, and then finds it recent.
    async fn fetch_unless_recent(&self) {
        let mut last_attempt = self.0.last_attempt.lock().await;
        if last_attempt.is_some_and(|at| at.elapsed() < self.0.min_interval) {
            return;
        }
        *last_attempt = Some(Instant::now());
        let fetched = self.0.fetch().await;
        metrics::keys_refreshed(fetched.is_ok());
        match fetched {
            Ok(keys) => {
                let known = Known {
                    keys: keys.into(),
                    since: Instant::now(),
                };
                *self.0.known.write() = Some(known);
            }
            Err(error) => {
                tracing::warn!(%error, "the key set of the identity provider could not be fetched")
            }
        }
    }
}

impl Known {
    fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Vec<DecodingKey> {
        // Either side may leave the id out; then the algorithm alone decides, and the signature has
        // the last word.
        let fits = |key: &&PublishedKey| {
            key.algorithm == algorithm
                && (id.is_none() || key.id.is_none() || key.id.as_deref() == id)
        };
        self.keys
            .iter()
            .filter(fits)
            .map(|key| key.key.clone())
            .collect()
    }
}

impl Inner {
    async fn fetch(&self) -> Result<Vec<PublishedKey>, JwksError> {
        let mut response = self
            .http
            .get(self.url.clone())
            .send()
            .await
            .map_err(|error| JwksError::Fetch(error.without_url()))?;
        if response.status() != http::StatusCode::OK {
            return Err(JwksError::Status(response.status().as_u16()));
        }
        let body = bounded_body::read(&mut response, self.max_bytes).await;
        let body = body.map_err(|error| match error {
            BodyError::TooLarge { limit } => JwksError::TooLarge(limit),
            BodyError::Broken(error) => JwksError::Fetch(error.without_url()),
        })?;
        parse(&body)
    }
}

/// Keys that we cannot use are left out one by one: providers publish encryption keys and novelties
/// beside ours.
pub(super) fn parse(body: &[u8]) -> Result<Vec<PublishedKey>, JwksError> {
    let set = Json::parse(body).ok().filter(|set| set.is_object());
    let keys = set
        .and_then(|set| set.member("keys"))
        .filter(|keys| keys.is_array());
    let jwks = keys
        .ok_or(JwksError::NotAKeySet)?
        .elements()
        .filter_map(|key| {
            let members = readable_members(key.get().as_bytes())?;
            serde_json::from_value::<Jwk>(members.into()).ok()
        });
    let keys: Vec<PublishedKey> = jwks
        .filter_map(|jwk| PublishedKey::from_jwk(&jwk))
        .take(MAX_KEYS)
        .collect();
    if keys.is_empty() {
        Err(JwksError::NoUsableKey)
    } else {
        Ok(keys)
    }
}

impl PublishedKey {
    /// The algorithm follows from the key's own kind, so that a token cannot choose it. Symmetric
    /// keys have no business in a published set.
    fn from_jwk(jwk: &Jwk) -> Option<Self> {
        let (algorithm, name) = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
                (Algorithm::ES256, KeyAlgorithm::ES256)
            }
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
                (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
            }
            _ => return None,
        };
        let declared_otherwise = jwk
            .common
            .key_algorithm
            .is_some_and(|declared| declared != name);
        let not_for_signatures = jwk
            .common
            .public_key_use
            .as_ref()
            .is_some_and(|purpose| *purpose != PublicKeyUse::Signature);
        if declared_otherwise || not_for_signatures {
            return None;
        }
        Some(Self {
            id: jwk.common.key_id.clone(),
            algorithm,
            key: DecodingKey::from_jwk(jwk).ok()?,
        })
    }
}
