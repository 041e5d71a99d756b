//! OAuth token exchange (RFC 8693): obtains a token for the API in place of the caller's token.
//!
//! The caller's token has been verified before. The issued token certifies that this server may act
//! for that person at the API. It is requested with the first request to the API, kept until
//! shortly before it or the caller's token expires, and requested once for all concurrent calls;
//! [`request`] implements the request.
//!
//! The cache key is a hash of the person and the token, so that a token is never returned for
//! another person, and no printed key contains a token. Errors are not cached, so that newly
//! granted access takes effect at once.

mod request;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use parking_lot::{Mutex, MutexGuard};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use url::Url;

use self::request::Endpoint;
pub use self::request::SetupError;
use crate::foundation::clock::Clock;
use crate::foundation::parse;
use crate::foundation::secret::Secret;
use crate::telemetry::{metrics, tasks};

/// The section `[auth.exchange]`, which only [`TokenMode::Exchange`](super::TokenMode) uses. That
/// mode requires all but `scope`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    #[serde(deserialize_with = "parse::optional_url")]
    pub token_url: Option<Url>,
    /// The name of the API at the authorization server.
    pub audience: Option<String>,
    /// The name of this server at the authorization server.
    pub client_id: Option<String>,
    pub client_secret: Option<Secret>,
    /// The scope to request; without it the authorization server decides.
    pub scope: Option<String>,
    #[serde(skip)]
    pub limits: Limits,
}

#[derive(Debug, Clone)]
pub struct Limits {
    /// Timeout of one request.
    pub timeout: Duration,
    pub max_answer_bytes: usize,
    /// Maximum number of cached tokens.
    pub max_held: usize,
    /// Time before its expiry at which a token is discarded, so that none expires in transit.
    pub margin: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            max_answer_bytes: 64 * 1024,
            max_held: 4096,
            margin: Duration::from_secs(30),
        }
    }
}

/// Why no token was issued. The description that the authorization server sends is not passed on,
/// because it may quote the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// Concerns the token of the caller: a new one may be accepted.
    #[error("the authorization server does not accept the caller's token")]
    Refused,
    /// Concerns the person, who has no access.
    #[error("the authorization server does not give the caller access to the API")]
    Denied,
    /// Concerns this server: its settings here or at the authorization server are wrong.
    #[error("the authorization server does not let this server exchange tokens")]
    Misconfigured,
    /// Temporary.
    #[error("the authorization server cannot be asked at the moment")]
    Unavailable,
    /// The answer violates RFC 8693.
    #[error("the authorization server's answer is no token that could be used")]
    Garbled,
}

impl ExchangeError {
    /// Label of the metric.
    fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Denied => "denied",
            Self::Misconfigured => "misconfigured",
            Self::Unavailable => "unavailable",
            Self::Garbled => "garbled",
        }
    }
}

/// The person and the token to exchange. The token has been verified.
#[derive(Debug, Clone)]
pub struct Subject {
    pub user: Arc<str>,
    pub token: Secret,
    /// Unix time in seconds.
    pub expires_at: u64,
}

/// Exchanges and caches tokens. Cheap to clone; clones share the cache.
#[derive(Debug, Clone)]
pub struct Exchange(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    endpoint: Endpoint,
    clock: Clock,
    max_held: usize,
    margin: Duration,
    cache: Mutex<HashMap<Fingerprint, Entry>>,
}

#[derive(Debug)]
enum Entry {
    /// A running request, shared by all calls that wait for it.
    InFlight(SharedRequest),
    Cached {
        token: Secret,
        until: Instant,
    },
}

type Outcome = Result<Secret, ExchangeError>;
type SharedRequest = Shared<BoxFuture<'static, Outcome>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Fingerprint([u8; 32]);

impl Fingerprint {
    fn of(subject: &Subject) -> Self {
        let mut hash = Sha256::new();
        // The length makes the boundary between user and token unambiguous.
        hash.update((subject.user.len() as u64).to_be_bytes());
        hash.update(subject.user.as_bytes());
        hash.update(subject.token.expose().as_bytes());
        Self(hash.finalize().into())
    }
}

impl Exchange {
    pub fn from_settings(settings: &Settings, clock: Clock) -> Result<Self, SetupError> {
        Ok(Self(Arc::new(Inner {
            endpoint: Endpoint::from_settings(settings)?,
            clock,
            max_held: settings.limits.max_held,
            margin: settings.limits.margin,
            cache: Mutex::default(),
        })))
    }

    /// The token to send to the API in the name of this person.
    pub async fn token_for(&self, subject: &Subject) -> Outcome {
        self.cached_or_requested(subject).await
    }

    /// Discards the token after the API refused it, so that the next call requests a new one.
    pub fn forget(&self, subject: &Subject) {
        let fingerprint = Fingerprint::of(subject);
        let mut cache = self.0.cache();
        if matches!(cache.get(&fingerprint), Some(Entry::Cached { .. })) {
            cache.remove(&fingerprint);
        }
    }

    fn cached_or_requested(&self, subject: &Subject) -> SharedRequest {
        let fingerprint = Fingerprint::of(subject);
        let mut cache = self.0.cache();
        match cache.get(&fingerprint) {
            Some(Entry::Cached { token, until }) if Instant::now() < *until => {
                return ready(Ok(token.clone()));
            }
            // A completed request has stored its outcome, unless its task panicked.
            Some(Entry::InFlight(shared)) if shared.peek().is_none() => return shared.clone(),
            _ => {}
        }
        cache.remove(&fingerprint);
        if !evict(&mut cache, self.0.max_held) {
            return ready(Err(ExchangeError::Unavailable));
        }
        // Runs in a task of its own, because other calls may wait for it after the first one has
        // left.
        let task = tasks::spawn(
            "token_exchange",
            Arc::clone(&self.0).request(fingerprint, subject.clone()),
        );
        let shared = async move {
            task.await
                .ok()
                .flatten()
                .unwrap_or(Err(ExchangeError::Garbled))
        };
        let shared = shared.boxed().shared();
        cache.insert(fingerprint, Entry::InFlight(shared.clone()));
        shared
    }
}

impl Inner {
    fn cache(&self) -> MutexGuard<'_, HashMap<Fingerprint, Entry>> {
        self.cache.lock()
    }

    async fn request(self: Arc<Self>, fingerprint: Fingerprint, subject: Subject) -> Outcome {
        let started = Instant::now();
        let left = Duration::from_secs(subject.expires_at.saturating_sub(self.clock.now_secs()));
        let issued = self.endpoint.request(&subject.token).await;
        metrics::token_exchanged(issued.as_ref().err().map_or("ok", |error| error.as_str()));
        let mut cache = self.cache();
        cache.remove(&fingerprint);
        let issued = issued?;
        // A token without a lifetime is used only by the calls that wait for it.
        let lifetime = issued
            .lifetime
            .unwrap_or_default()
            .min(left)
            .saturating_sub(self.margin);
        if let Some(until) = started
            .checked_add(lifetime)
            .filter(|until| Instant::now() < *until)
        {
            let token = issued.token.clone();
            cache.insert(fingerprint, Entry::Cached { token, until });
        }
        Ok(issued.token)
    }
}

fn ready(outcome: Outcome) -> SharedRequest {
    futures::future::ready(outcome).boxed().shared()
}

/// Evicts expired tokens and, if necessary, the one that expires first. Running requests stay.
/// Returns whether an entry is free.
fn evict(cache: &mut HashMap<Fingerprint, Entry>, max: usize) -> bool {
    if cache.len() < max {
        return true;
    }
    let now = Instant::now();
    cache.retain(|_, entry| !matches!(entry, Entry::Cached { until, .. } if *until <= now));
    let held = cache.iter().filter_map(|(fingerprint, entry)| match entry {
        Entry::Cached { until, .. } => Some((*until, *fingerprint)),
        Entry::InFlight(_) => None,
    });
    if cache.len() >= max
        && let Some((_, first)) = held.min_by_key(|(until, _)| *until)
    {
        cache.remove(&first);
    }
    cache.len() < max
}
