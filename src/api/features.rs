//! What the API offers beyond the routes of every compatible API, by the `features` of
//! `/v1/sync/info`. Tools and arguments that need a feature are offered only where it is there.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// How long a list of features is used. An API that is replaced behind this server is noticed
/// within that time.
const TTL: Duration = Duration::from_secs(30);

/// How long after a failure the features are not asked for again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A set of features.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Features(u8);

impl Features {
    pub const NONE: Self = Self(0);
    /// Items have `createdAt`.
    pub const CREATED: Self = Self(1);
    /// Lists have an order, and can be limited to one parent.
    pub const ORDER: Self = Self(1 << 1);
    /// `POST /v1/search`.
    pub const SEARCH: Self = Self(1 << 2);
    /// `GET /v1/overview`.
    pub const OVERVIEW: Self = Self(1 << 3);
    /// Earlier versions of items, and restore.
    pub const VERSIONS: Self = Self(1 << 4);
    /// `POST /v1/batch`.
    pub const BATCH: Self = Self(1 << 5);
    /// Every feature that this server has a use for.
    pub const ALL: Self = Self(u8::MAX);

    /// The features with these names. Unknown ones are ignored.
    pub fn named<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        names.into_iter().fold(Self::NONE, |known, name| {
            known.and_also(match name {
                "created" => Self::CREATED,
                "order" => Self::ORDER,
                "search" => Self::SEARCH,
                "overview" => Self::OVERVIEW,
                "versions" => Self::VERSIONS,
                "batch" => Self::BATCH,
                _ => Self::NONE,
            })
        })
    }

    #[must_use]
    pub const fn and_also(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those that are in `other` too.
    #[must_use]
    pub const fn and_in(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Every combination of these features.
    pub fn combinations(self) -> impl Iterator<Item = Self> {
        (0..=self.0).map(Self).filter(move |some| self.has(*some))
    }

    /// Whether all of `other` are there.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// The features that the API had when it was asked last.
#[derive(Debug, Default)]
pub struct KnownFeatures {
    state: Mutex<State>,
    /// Held while the API is asked, so that others can wait for the answer.
    pub asking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    features: Option<Features>,
    /// When they were asked for last.
    asked: Option<Instant>,
}

impl KnownFeatures {
    /// The features, or `None` if the API has never named any.
    pub fn get(&self) -> Option<Features> {
        self.state.lock().features
    }

    /// Whether it is time to ask. If it is, the caller is expected to do so: others are told that
    /// it is not. Called with [`asking`](Self::asking) held.
    pub fn is_due(&self) -> bool {
        let mut state = self.state.lock();
        let pause = if state.features.is_some() {
            TTL
        } else {
            RETRY_AFTER
        };
        let due = state.asked.is_none_or(|asked| asked.elapsed() >= pause);
        if due {
            state.asked = Some(Instant::now());
        }
        due
    }

    pub fn set(&self, features: Features) {
        self.state.lock().features = Some(features);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_features_are_ignored() {
        let features = Features::named(["search", "telepathy", "order"]);
        assert!(features.has(Features::SEARCH.and_also(Features::ORDER)));
        assert!(!features.has(Features::OVERVIEW));
        assert_eq!(Features::named([]), Features::NONE);
    }

    #[tokio::test(start_paused = true)]
    async fn asks_again_after_a_while() {
        let known = KnownFeatures::default();
        assert!(known.is_due());
        assert!(!known.is_due(), "the first caller asks");
        tokio::time::advance(RETRY_AFTER).await;
        assert!(known.is_due(), "the last attempt failed");
        known.set(Features::SEARCH);
        tokio::time::advance(RETRY_AFTER).await;
        assert!(!known.is_due());
        tokio::time::advance(TTL).await;
        assert!(known.is_due());
        assert_eq!(known.get(), Some(Features::SEARCH));
    }
}
