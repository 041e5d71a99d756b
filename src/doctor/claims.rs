//! The claims of a token, read without verification: enough to explain a rejection, never to trust
//! it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::words::{quote, span};
use crate::foundation::clock::Clock;
use crate::foundation::secret::Secret;

/// Empty if the token is unreadable.
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

    /// Seconds until a timestamp claim; negative if it has passed.
    fn until(&self, claim: &str, clock: &Clock) -> Option<i64> {
        let date = self
            .0
            .get(claim)?
            .as_f64()
            .filter(|secs| (0.0..1e15).contains(secs))? as i64;
        Some(date - i64::try_from(clock.now_secs()).ok()?)
    }

    /// Such as "valid for 50 min more".
    pub fn validity(&self, clock: &Clock) -> Option<String> {
        let left = self.until("exp", clock).filter(|left| *left > 0)?;
        Some(format!("valid for {} more", span(left.unsigned_abs())))
    }

    /// The actual value of the claim that `reason` complains about. `tenant_claim` is the name of
    /// the tenant claim, if known.
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
