//! Who is calling: a bearer token becomes a [`Principal`], or one [`AuthError`] with a stable
//! reason.
//!
//! This module is independent of MCP and of the API's routes. `server` passes request headers in
//! and turns an error into an HTTP response with [`challenge`]; `mcp` receives the principal, and
//! `api` its [`credential`], which it sends in the caller's name. `jsonwebtoken` verifies only the
//! signature. The claims are checked in [`claims`], so that the clock is a parameter and each error
//! has its own reason.

pub mod bearer;
pub mod challenge;
pub mod claims;
pub mod credential;
pub mod jwks;
pub mod scopes;
pub mod settings;
pub mod token_exchange;
pub mod verifier;

#[cfg(any(test, feature = "internals"))]
#[path = "../../fuzz/targets/tokens.rs"]
pub mod hostile_tokens;
#[cfg(test)]
#[path = "../../tests/support/scripted_as.rs"]
pub mod scripted_as;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use credential::Credential;
pub use scopes::Scopes;
pub use settings::{Settings, TokenMode};
pub use token_exchange::ExchangeError;
pub use verifier::Verifier;

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
    /// Genuine, but for another tenant: the only refusal that a new token of the same kind does not
    /// fix.
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
