//! What the API gets to see in a caller's name: the caller's own token, or one that was exchanged
//! for it.

use super::token_exchange::{Exchange, ExchangeError, Subject};
use crate::foundation::secret::Secret;

#[derive(Debug, Clone)]
pub enum Credential {
    /// API and server are one resource: the token was meant for both.
    Own(Secret),
    /// Asked for when the API is first needed.
    Exchanged(Exchange, Subject),
}

impl Credential {
    pub async fn token(&self) -> Result<Secret, ExchangeError> {
        match self {
            Self::Own(token) => Ok(token.clone()),
            Self::Exchanged(exchange, subject) => exchange.token_for(subject).await,
        }
    }

    /// The API did not accept it.
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
