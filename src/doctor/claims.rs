//! What a token says of itself, read without a key: enough to tell why it was refused, never to believe it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::words::{quote, span};
use crate::foundation::clock::Clock;
use crate::foundation::token_secret::Secret;

/// Empty where the token cannot be read.
#[derive(Debug, Default)]
pub struct Claims(Map<String, Value>);

impl Claims {
    pub fn of(token: &Secret) -> Self {
        let claims = || {
            let part = token.expose().split('.').nth(1)?;
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
        };
        Self(claims().unwrap_or_default())
    }

    /// Seconds from now until a date of the token; negative when it is over.
    fn until(&self, claim: &str, clock: &Clock) -> Option<i64> {
        let date = self
            .0
            .get(claim)?
            .as_f64()
            .filter(|secs| (0.0..1e15).contains(secs))? as i64;
        Some(date - i64::try_from(clock.now_secs()).ok()?)
    }

    /// "valid for 50 min more"
    pub fn validity(&self, clock: &Clock) -> Option<String> {
        let left = self.until("exp", clock).filter(|left| *left > 0)?;
        Some(format!("valid for {} more", span(left.unsigned_abs())))
    }

    /// What the token has where the reason says that something else was wanted; `tenant_claim` as far as it is known.
    pub fn against(&self, reason: &str, tenant_claim: &str, clock: &Clock) -> Option<String> {
        let says = |claim: &str| match self.0.get(claim) {
            None | Some(Value::Null) => format!("it has no \"{claim}\""),
            Some(value) => format!("its \"{claim}\" is {}", quote(&value.to_string())),
        };
        match reason {
            "expired" => {
                let ago = self
                    .until("exp", clock)
                    .filter(|until| *until <= 0)?
                    .unsigned_abs();
                Some(format!("{} ago", span(ago)))
            }
            "not_yet_valid" => {
                let left = self
                    .until("nbf", clock)
                    .filter(|until| *until > 0)?
                    .unsigned_abs();
                Some(format!("it will be in {}", span(left)))
            }
            "wrong_issuer" => Some(says("iss")),
            "wrong_audience" => Some(says("aud")),
            "tenant_mismatch" => Some(says(tenant_claim)),
            _ => None,
        }
    }
}
