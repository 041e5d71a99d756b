//! A token for the API in place of the caller's own (OAuth token exchange, RFC 8693).
//!
//! The caller's token has been verified by then; what comes back is the authorization server's word that this server may
//! act for that person at the API. It is asked for when the API is first needed, kept until shortly before it or the
//! caller's token expires, and asked for once however many calls wait for it ([`request`] is the asking itself).
//!
//! The key of what is kept is a fingerprint of the person and the token together, so that what was issued for one is never
//! found by another, and nothing that prints a key prints a token. A refusal is not kept: whoever was given access a
//! moment ago should not have to wait.

mod request;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use self::request::Endpoint;
pub use self::request::SetupError;
use crate::foundation::clock::Clock;
use crate::foundation::token_secret::Secret;
use crate::telemetry::{metrics, tasks};

#[derive(Debug, Clone)]
pub struct Settings {
    pub token_url: String,
    /// The API, as the authorization server calls it.
    pub audience: String,
    /// This server, as the authorization server knows it.
    pub client_id: String,
    pub client_secret: Secret,
    /// What to ask for; without it the authorization server decides.
    pub scope: Option<String>,
    /// For one answer.
    pub timeout: Duration,
    pub max_answer_bytes: usize,
    /// Tokens held at once.
    pub max_held: usize,
    /// A token is let go this long before it expires, so that none expires on its way.
    pub margin: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            token_url: String::new(),
            audience: String::new(),
            client_id: String::new(),
            client_secret: Secret::new(""),
            scope: None,
            timeout: Duration::from_secs(10),
            max_answer_bytes: 64 * 1024,
            max_held: 4096,
            margin: Duration::from_secs(30),
        }
    }
}

/// Why there is no token for the API. What the authorization server says beyond that is not repeated: it may quote what
/// it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// About the caller's token: a new one may do.
    #[error("the authorization server does not accept the caller's token")]
    Refused,
    /// About the person: they may not have this.
    #[error("the authorization server does not give the caller access to the API")]
    Denied,
    /// About this server, as it is set up here or there.
    #[error("the authorization server does not let this server exchange tokens")]
    Misconfigured,
    /// Passes by itself.
    #[error("the authorization server cannot be asked at the moment")]
    Unavailable,
    /// Not what the standard says an answer is.
    #[error("the authorization server's answer is no token that could be used")]
    Garbled,
}

impl ExchangeError {
    /// In one word, for figures.
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

/// Whose token is to be exchanged. It has been verified.
#[derive(Debug, Clone)]
pub struct Subject {
    pub user: Arc<str>,
    pub token: Secret,
    /// Unix time in seconds.
    pub expires_at: u64,
}

/// Cheap to clone; all clones share what is held.
#[derive(Debug, Clone)]
pub struct Exchange(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    endpoint: Endpoint,
    clock: Clock,
    max_held: usize,
    margin: Duration,
    known: Mutex<HashMap<Fingerprint, Entry>>,
}

#[derive(Debug)]
enum Entry {
    /// Whoever comes meanwhile waits for the same answer.
    Asking(Flight),
    Held {
        token: Secret,
        until: Instant,
    },
}

type Outcome = Result<Secret, ExchangeError>;
type Flight = Shared<BoxFuture<'static, Outcome>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Fingerprint([u8; 32]);

impl Fingerprint {
    fn of(subject: &Subject) -> Self {
        let mut hash = Sha256::new();
        // With its length, so that the end of the one cannot be the beginning of the other.
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
            max_held: settings.max_held,
            margin: settings.margin,
            known: Mutex::default(),
        })))
    }

    /// The token to show to the API in this person's name.
    pub async fn token_for(&self, subject: &Subject) -> Outcome {
        self.held_or_asked_for(subject).await
    }

    /// The API did not take it: the next call asks for a new one.
    pub fn forget(&self, subject: &Subject) {
        let fingerprint = Fingerprint::of(subject);
        let mut known = self.0.known();
        if matches!(known.get(&fingerprint), Some(Entry::Held { .. })) {
            known.remove(&fingerprint);
        }
    }

    fn held_or_asked_for(&self, subject: &Subject) -> Flight {
        let fingerprint = Fingerprint::of(subject);
        let mut known = self.0.known();
        match known.get(&fingerprint) {
            Some(Entry::Held { token, until }) if Instant::now() < *until => {
                return settled(Ok(token.clone()));
            }
            // One that has landed left its outcome in the map, unless it crashed.
            Some(Entry::Asking(flight)) if flight.peek().is_none() => return flight.clone(),
            _ => {}
        }
        known.remove(&fingerprint);
        if !make_room(&mut known, self.0.max_held) {
            return settled(Err(ExchangeError::Unavailable));
        }
        // In a task of its own: others may wait for it when the caller who began it has gone.
        let asking = tasks::spawn(
            "exchange",
            Arc::clone(&self.0).ask(fingerprint, subject.clone()),
        );
        let flight = async move {
            asking
                .await
                .ok()
                .flatten()
                .unwrap_or(Err(ExchangeError::Garbled))
        };
        let flight = flight.boxed().shared();
        known.insert(fingerprint, Entry::Asking(flight.clone()));
        flight
    }
}

impl Inner {
    fn known(&self) -> MutexGuard<'_, HashMap<Fingerprint, Entry>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(self: Arc<Self>, fingerprint: Fingerprint, subject: Subject) -> Outcome {
        let begun = Instant::now();
        let left = Duration::from_secs(subject.expires_at.saturating_sub(self.clock.now_secs()));
        let issued = self.endpoint.ask(&subject.token).await;
        metrics::token_exchanged(issued.as_ref().err().map_or("ok", |error| error.as_str()));
        let mut known = self.known();
        known.remove(&fingerprint);
        let issued = issued?;
        // An answer that does not say how long its token is good for is good for those who wait for it.
        let good_for = issued
            .lifetime
            .unwrap_or_default()
            .min(left)
            .saturating_sub(self.margin);
        if let Some(until) = begun
            .checked_add(good_for)
            .filter(|until| Instant::now() < *until)
        {
            let token = issued.token.clone();
            known.insert(fingerprint, Entry::Held { token, until });
        }
        Ok(issued.token)
    }
}

fn settled(outcome: Outcome) -> Flight {
    futures::future::ready(outcome).boxed().shared()
}

/// Lets go of what has expired and, if that is not enough, of what expires first. What is being asked for stays.
fn make_room(known: &mut HashMap<Fingerprint, Entry>, most: usize) -> bool {
    if known.len() < most {
        return true;
    }
    let now = Instant::now();
    known.retain(|_, entry| !matches!(entry, Entry::Held { until, .. } if *until <= now));
    let held = known.iter().filter_map(|(fingerprint, entry)| match entry {
        Entry::Held { until, .. } => Some((*until, *fingerprint)),
        Entry::Asking(_) => None,
    });
    if known.len() >= most
        && let Some((_, first)) = held.min_by_key(|(until, _)| *until)
    {
        known.remove(&first);
    }
    known.len() < most
}
