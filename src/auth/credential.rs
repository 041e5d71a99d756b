//! The credential sent to the API in the name of a caller: the caller's token, or one exchanged for
//! it.

use super::token_exchange::{Exchange, ExchangeError, Subject};
use crate::foundation::token_secret::Secret;

/// See the [module](self).
#[derive(Debug, Clone)]
pub enum Credential {
    /// API and MCP server are one resource: the token is meant for both.
    Own(Secret),
    /// Requested with the first request to the API.
    Exchanged(Exchange, Subject),
}

impl Credential {
    pub async fn token(&self) -> Result<Secret, ExchangeError> {
        match self {
            Self::Own(token) => Ok(token.clone()),
            Self::Exchanged(exchange, subject) => exchange.token_for(subject).await,
        }
    }

    /// Discards an exchanged token that the API did not accept.
    pub fn forget(&self) {
        if let Self::Exchanged(exchange, subject) = self {
            exchange.forget(subject);
        }
    }
}

impl From<&Secret> for Credential {
    fn from(token: &Secret) -> Self {
        Self::Own(token.clone())
    }
}
