//! Would the API serve a call now, as far as that can be known without a user's token?
//!
//! The API checks the token before the signature, so a signature cannot be tried on an ordinary route without being
//! somebody, and being somebody would create a user. But every request from here is signed, the one to `/readyz` too, and
//! our API says there what it makes of the signature. Servers of the family say nothing; of them the clock is looked
//! at, which is what makes right signatures fail in practice.

use std::time::{Duration, UNIX_EPOCH};

use http::Method;
use serde::Deserialize;

use super::client::{Answer, Client, Identity};
use super::exchange::Failure;
use super::signature::{Signer, WINDOW_MS, version2};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    #[error("the API cannot be reached")]
    Unreachable,
    #[error("the API does not answer in time")]
    Silent,
    #[error("the API says that it is not ready (status {0})")]
    Status(u16),
    #[error("the API refuses our tenant signature: its TENANT_HEADER_SECRET is another one")]
    SignatureRefused,
    #[error("the API does not take the version of the tenant signature that is sent")]
    SignatureVersion,
    #[error("the API does not check tenant signatures: its TENANT_HEADER_SECRET is not set")]
    SignatureUnchecked,
    #[error("the API's clock is {0} s away from ours, so it would refuse our signatures")]
    ClockSkew(u64),
}

impl NotReady {
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable => "api_unreachable",
            Self::Silent => "api_timeout",
            Self::Status(_) => "api_not_ready",
            Self::SignatureRefused => "signature_refused",
            Self::SignatureVersion => "signature_version",
            Self::SignatureUnchecked => "signature_unchecked",
            Self::ClockSkew(_) => "clock_skew",
        }
    }
}

#[derive(Deserialize)]
struct Ready<'a> {
    #[serde(rename = "tenantSignature")]
    tenant_signature: Option<&'a str>,
}

#[derive(Deserialize)]
struct Info<'a> {
    #[serde(rename = "tenantSignature", borrow)]
    tenant_signature: Checked<'a>,
}

#[derive(Deserialize)]
struct Checked<'a> {
    #[serde(borrow)]
    versions: Vec<&'a str>,
}

pub(super) async fn check(client: &Client, within: Duration) -> Result<(), NotReady> {
    let nobody = Identity::empty();
    let asked = client.request_bare(&nobody, Method::GET, "/readyz".to_owned(), within);
    let answer = asked.await.map_err(|failure| match failure {
        Failure::TimedOut { .. } => NotReady::Silent,
        _ => NotReady::Unreachable,
    })?;
    if answer.reply.status != 200 {
        return Err(NotReady::Status(answer.reply.status));
    }
    let skew = clock_skew(&answer, client.now_ms());
    clocks_agree(skew, WINDOW_MS)?;
    match signature_is_taken(&answer) {
        Err(NotReady::SignatureRefused) => {
            let asked = client.request_bare(&nobody, Method::GET, "/v1/sync/info".to_owned(), within);
            let info = asked.await.map(|answer| answer.reply.body).unwrap_or_default();
            Err(why_refused(client.signer(), skew, &info))
        }
        taken => taken,
    }
}

/// Of a refused signature the API says no more; what is known otherwise says which of the usual reasons it has.
fn why_refused(signer: &Signer, skew: Option<u64>, info: &[u8]) -> NotReady {
    // An API that knows version 2 goes by that alone where it is sent.
    if signer.sends_one_of(&["v2"])
        && let Err(skew) = clocks_agree(skew, version2::WINDOW_MS)
    {
        return skew;
    }
    match serde_json::from_slice::<Info<'_>>(info) {
        Ok(info) if !signer.sends_one_of(&info.tenant_signature.versions) => NotReady::SignatureVersion,
        _ => NotReady::SignatureRefused,
    }
}

/// Without the second proof the API would serve calls, but file them under whatever tenant the token claims.
fn signature_is_taken(answer: &Answer) -> Result<(), NotReady> {
    let said: Option<Ready<'_>> = serde_json::from_slice(&answer.reply.body).ok();
    match said.and_then(|ready| ready.tenant_signature) {
        Some("refused") => Err(NotReady::SignatureRefused),
        Some("off") => Err(NotReady::SignatureUnchecked),
        _ => Ok(()),
    }
}

/// How far its clock is from ours, in milliseconds: every HTTP server says what time it is.
fn clock_skew(answer: &Answer, now_ms: u64) -> Option<u64> {
    let date = answer.fields.get(http::header::DATE)?.to_str().ok()?;
    let since = httpdate::parse_http_date(date).ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(u64::try_from(since.as_millis()).ok()?.abs_diff(now_ms))
}

fn clocks_agree(skew: Option<u64>, window_ms: u64) -> Result<(), NotReady> {
    match skew {
        Some(skew) if skew > window_ms => Err(NotReady::ClockSkew(skew / 1000)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::exchange::Reply;

    #[test]
    fn the_apis_word_on_the_signature_counts() {
        for (body, expected) in [
            (r#"{"status":"ready","tenantSignature":"accepted"}"#, Ok(())),
            (
                r#"{"status":"ready","tenantSignature":"refused"}"#,
                Err(NotReady::SignatureRefused),
            ),
            (
                r#"{"status":"ready","tenantSignature":"off"}"#,
                Err(NotReady::SignatureUnchecked),
            ),
            // Servers of the family say nothing of it, each in its own way.
            (r#"{"status":"ready"}"#, Ok(())),
            (r#"{"tenantSignature":7}"#, Ok(())),
            ("ok", Ok(())),
            ("", Ok(())),
        ] {
            let reply = Reply {
                status: 200,
                body: body.into(),
                retry_after: None,
                has_next: false,
                doubtful: false,
            };
            let answer = Answer {
                reply,
                fields: http::HeaderMap::new(),
            };
            assert_eq!(signature_is_taken(&answer), expected, "{body}");
        }
    }

    #[test]
    fn a_refusal_is_put_down_to_what_is_known() {
        use crate::upstream::Versions::{Both, V1, V2};
        const ANY: &str = r#"{"tenantSignature":{"required":true,"versions":["v1","v2"]}}"#;
        const DEMANDS_V2: &str = r#"{"tenantSignature":{"required":true,"versions":["v2"]}}"#;
        const FAMILY: &str = r#"{"tenantSignature":{"versions":["v1"]}}"#;
        for (sent, skew, info, expected) in [
            (Both, Some(1_000), ANY, NotReady::SignatureRefused),
            (Both, None, DEMANDS_V2, NotReady::SignatureRefused),
            (Both, Some(60_000), ANY, NotReady::SignatureRefused),
            (Both, Some(61_000), ANY, NotReady::ClockSkew(61)),
            (V2, Some(61_000), ANY, NotReady::ClockSkew(61)),
            (V1, Some(61_000), ANY, NotReady::SignatureRefused),
            (V1, Some(1_000), DEMANDS_V2, NotReady::SignatureVersion),
            (V2, Some(1_000), FAMILY, NotReady::SignatureVersion),
            (V1, Some(1_000), "", NotReady::SignatureRefused),
            (
                V1,
                None,
                r#"{"tenantSignature":{"versions":[1]}}"#,
                NotReady::SignatureRefused,
            ),
        ] {
            let signer = Signer::new(&crate::auth::Secret::new("s"), "acme", sent).unwrap();
            assert_eq!(
                why_refused(&signer, skew, info.as_bytes()),
                expected,
                "{sent:?} {skew:?} {info}"
            );
        }
    }
}
