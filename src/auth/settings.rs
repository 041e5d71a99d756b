//! The section `[auth]`, and the limits that are not configurable.

use std::time::Duration;

use serde::Deserialize;
use url::Url;

use super::{Scopes, token_exchange};
use crate::foundation::parse;
use crate::foundation::secret::Secret;

/// `default.toml` documents each setting and holds its default.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub hs256_secret: Option<Secret>,
    #[serde(default, deserialize_with = "parse::optional_url")]
    pub jwks_url: Option<Url>,
    pub issuer: Option<String>,
    pub audience: Option<String>,
    pub tenant_claim: String,
    #[serde(deserialize_with = "parse::duration")]
    pub leeway: Duration,
    pub authorization_servers: Vec<String>,
    pub scopeless_tokens: Scopeless,
    pub mode: TokenMode,
    #[serde(default)]
    pub exchange: token_exchange::Settings,
    #[serde(skip)]
    pub limits: Limits,
}

/// The token that the API receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenMode {
    /// The caller's token.
    Verify,
    /// A token that is issued for the API in exchange for the caller's.
    Exchange,
}

/// The permissions of a token without scope claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scopeless {
    All,
    None,
}

#[derive(Debug, Clone)]
pub struct Limits {
    /// Longer tokens are refused unread.
    pub max_token_bytes: usize,
    /// Age at which keys are fetched again. The old ones are used meanwhile.
    pub jwks_refresh_after: Duration,
    /// Minimum time between two fetches, whatever tokens ask for.
    pub jwks_min_interval: Duration,
    pub jwks_timeout: Duration,
    pub jwks_max_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_token_bytes: 8 * 1024,
            jwks_refresh_after: Duration::from_secs(600),
            jwks_min_interval: Duration::from_secs(10),
            jwks_timeout: Duration::from_secs(5),
            jwks_max_bytes: 256 * 1024,
        }
    }
}

impl Settings {
    /// The permissions of a token without scope claims.
    pub fn default_scopes(&self) -> Scopes {
        match self.scopeless_tokens {
            Scopeless::All => Scopes::All,
            Scopeless::None => Scopes::none(),
        }
    }

    /// The settings of the token exchange, if tokens are exchanged.
    pub fn token_exchange(&self) -> Option<&token_exchange::Settings> {
        (self.mode == TokenMode::Exchange).then_some(&self.exchange)
    }
}
