//! Who is calling: a bearer token becomes a [`Principal`], or one [`AuthError`] with a stable
//! reason.
//!
//! Nothing here knows of MCP or of what the API does. `transport` hands over request headers and
//! turns a refusal into an HTTP answer with the help of [`challenge`]; `mcp` receives the
//! principal, and `upstream` its [`credential`], which is what the API is shown in the caller's
//! name. The one trick: the signature is left to `jsonwebtoken`, the claims are read here
//! ([`claims`]), so that the clock comes from outside and every refusal has a name of its own.

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

/// How tokens are checked and what a refused caller is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The tenant that this process serves.
    pub tenant_id: String,
    /// The claim in which a token may name its tenant.
    pub tenant_claim: String,
    /// Accepts HS256 tokens made with this secret.
    pub hs256_secret: Option<Secret>,
    /// Accepts RS256, ES256 and EdDSA tokens of the keys found there.
    pub jwks_url: Option<String>,
    pub issuer: Option<String>,
    pub audience: Option<String>,
    /// How far the clocks of issuer and sidecar may differ.
    pub leeway: Duration,
    /// Longer tokens are refused unread.
    pub max_token_bytes: usize,
    /// Keys older than this are fetched anew, while the old ones go on serving.
    pub jwks_refresh_after: Duration,
    /// The least time between two fetches, whatever tokens ask for.
    pub jwks_min_interval: Duration,
    pub jwks_timeout: Duration,
    pub jwks_max_bytes: usize,
    /// The public URL of `/mcp`, the `resource` of RFC 9728.
    pub public_url: Option<String>,
    /// Where a client gets a token. With none of them there is no metadata document.
    pub authorization_servers: Vec<String>,
    /// What a token may do that says nothing of scopes.
    pub default_scopes: Scopes,
    /// What a client without a token is told to ask for.
    pub scopes_requested: Vec<String>,
    /// All that can be asked for.
    pub scopes_supported: Vec<String>,
    /// Exchanges callers' tokens for others before the API sees them.
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
            default_scopes: Scopes::All,
            scopes_requested: Vec::new(),
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
    /// The API verifies the caller again, by this.
    pub credential: Credential,
}

/// Why a caller is not let in. [`AuthError::reason`] is stable; the message is for people and says
/// nothing of the token.
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
    /// Genuine, and still not for this place: the only refusal that a new token of the same kind
    /// cannot mend.
    #[error("the token belongs to another tenant")]
    TenantMismatch,
    /// Our failing, not the caller's: the keys have never been fetched.
    #[error("the token cannot be checked at the moment")]
    KeysUnavailable,
}

impl AuthError {
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

    /// What happened, and what to do about it.
    pub fn advice(self) -> String {
        let to_do = match self {
            Self::Missing => "sign in, or send the header \"Authorization: Bearer TOKEN\"",
            Self::Malformed => {
                "send the whole token, and only it, as \"Authorization: Bearer TOKEN\""
            }
            Self::Expired => "sign in again, or get a new one",
            Self::NotYetValid => "the clock of its issuer may be ahead",
            Self::BadSignature | Self::WrongIssuer | Self::UnknownKey | Self::Algorithm => {
                "get one from where this server's tokens come from"
            }
            Self::WrongAudience | Self::TenantMismatch => {
                "get one for this server, or check the URL"
            }
            Self::KeysUnavailable => "try again in a moment",
        };
        format!("{self}: {to_do}")
    }
}
