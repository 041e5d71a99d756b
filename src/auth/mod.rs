//! Authentication: turns a bearer token into a [`Principal`], or into an [`AuthError`] with a
//! stable reason.
//!
//! This module knows neither MCP nor the API. `server` passes request headers in and turns errors
//! into HTTP answers with [`challenge`]; `mcp` receives the principal; `api` receives its
//! [`credential`], which it sends in the name of the caller. `jsonwebtoken` verifies signatures,
//! and [`claims`] checks claims, so that the clock is injected and every error has its own reason.

pub mod bearer;
pub mod challenge;
pub mod claims;
pub mod credential;
pub mod jwks;
pub mod scopes;
pub mod token_exchange;
pub mod verifier;

#[cfg(any(test, feature = "pieces"))]
#[path = "../../fuzz/targets/tokens.rs"]
pub mod hostile_tokens;
#[cfg(test)]
#[path = "../../tests/support/scripted_as.rs"]
pub mod scripted_as;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

pub use crate::foundation::token_secret::Secret;
pub use credential::Credential;
pub use scopes::Scopes;
pub use token_exchange::ExchangeError;
pub use verifier::Verifier;

/// How tokens are verified, and what the challenges contain.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The tenant that this process serves.
    pub tenant_id: String,
    /// The claim that names the tenant of a token.
    pub tenant_claim: String,
    /// Accepts HS256 tokens signed with this secret.
    pub hs256_secret: Option<Secret>,
    /// Accepts RS256, ES256 and EdDSA tokens signed with a key published at this URL.
    pub jwks_url: Option<String>,
    pub issuer: Option<String>,
    pub audience: Option<String>,
    /// Maximum clock difference between the issuer and this server.
    pub leeway: Duration,
    /// Longer tokens are refused without being parsed.
    pub max_token_bytes: usize,
    /// Age after which keys are fetched again. The old ones stay in use meanwhile.
    pub jwks_refresh_after: Duration,
    /// Minimum time between two fetches, whatever tokens require.
    pub jwks_min_interval: Duration,
    pub jwks_timeout: Duration,
    pub jwks_max_bytes: usize,
    /// The public URL of `/mcp`, the `resource` of RFC 9728.
    pub public_url: Option<String>,
    /// Servers that issue tokens. Without any, no metadata document is served.
    pub authorization_servers: Vec<String>,
    /// Scopes of a token that has no scope claim.
    pub unsaid_scopes: Scopes,
    /// Scopes that the challenge asks clients to request.
    pub scopes_asked: Vec<String>,
    /// All scopes that clients may request.
    pub scopes_supported: Vec<String>,
    /// Exchanges the tokens of callers for tokens of the API.
    pub exchange: Option<token_exchange::Settings>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            tenant_id: String::new(),
            tenant_claim: "tenant_id".to_owned(),
            hs256_secret: None,
            jwks_url: None,
            issuer: None,
            audience: None,
            leeway: Duration::from_secs(60),
            max_token_bytes: 8 * 1024,
            jwks_refresh_after: Duration::from_secs(600),
            jwks_min_interval: Duration::from_secs(10),
            jwks_timeout: Duration::from_secs(5),
            jwks_max_bytes: 256 * 1024,
            public_url: None,
            authorization_servers: Vec::new(),
            unsaid_scopes: Scopes::All,
            scopes_asked: Vec::new(),
            scopes_supported: Vec::new(),
            exchange: None,
        }
    }
}

/// A verified caller.
#[derive(Debug, Clone)]
pub struct Principal {
    pub subject: Arc<str>,
    pub scopes: Scopes,
    /// Unix time in seconds.
    pub expires_at: u64,
    /// Sent to the API, which verifies the caller again.
    pub credential: Credential,
}

/// Why authentication failed. [`AuthError::reason`] is stable; the message is for people and
/// reveals nothing about the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum AuthError {
    #[error("a bearer token is required")]
    Missing,
    #[error("the authorization header or the token in it is malformed")]
    Malformed,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    NotYetValid,
    #[error("the token's signature does not verify")]
    BadSignature,
    #[error("the token comes from another issuer")]
    WrongIssuer,
    #[error("the token is meant for another audience")]
    WrongAudience,
    #[error("the token was signed with an unknown key")]
    UnknownKey,
    #[error("the token's algorithm is not accepted")]
    Algorithm,
    /// A valid token of another tenant. A new token of the same kind does not help.
    #[error("the token belongs to another tenant")]
    TenantMismatch,
    /// A fault of this server, not of the caller: the keys have never been fetched.
    #[error("the token cannot be checked at the moment")]
    KeysUnavailable,
}

impl AuthError {
    /// The stable name of the reason.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::BadSignature => "bad_signature",
            Self::WrongIssuer => "wrong_issuer",
            Self::WrongAudience => "wrong_audience",
            Self::UnknownKey => "unknown_key",
            Self::Algorithm => "algorithm",
            Self::TenantMismatch => "tenant_mismatch",
            Self::KeysUnavailable => "keys_unavailable",
        }
    }

    /// The message, followed by advice for the caller.
    pub fn advice(self) -> String {
        let remedy = match self {
            Self::Missing => "sign in, or send the header \"Authorization: Bearer TOKEN\"",
            Self::Malformed => {
                "send the whole token, and only it, as \"Authorization: Bearer TOKEN\""
            }
            Self::Expired => "sign in again, or get a new one",
            Self::NotYetValid => "the clock of whoever made it may be ahead",
            Self::BadSignature | Self::WrongIssuer | Self::UnknownKey | Self::Algorithm => {
                "get one from where this server's tokens come from"
            }
            Self::WrongAudience | Self::TenantMismatch => {
                "get one for this server, or check the URL"
            }
            Self::KeysUnavailable => "try again in a moment",
        };
        format!("{self}: {remedy}")
    }
}
