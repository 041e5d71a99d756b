//! Readiness check: whether the API would serve a call now, as far as that can be known without a
//! token of a user.
//!
//! The API checks the token before the signature, so a signature cannot be tested on an ordinary
//! route without a valid token, which would create a user. Every request is signed, however, and
//! the API of this project reports in `/readyz` whether it accepts the signature. Compatible APIs
//! do not; for them the clock is compared, because clock skew is the usual reason why valid
//! signatures are refused.
//!
//! Compatible APIs may lack `/readyz`. After a 404 or 405 there, `/healthz` tells whether the
//! server runs, and `/v1/sync/info` what it requires of signatures.

use std::time::{Duration, UNIX_EPOCH};

use http::Method;
use serde::Deserialize;

use super::client::{ApiAnswer, Client, Identity};
use super::features::Features;
use super::request::ApiError;
use super::signature::{Signer, WINDOW_MS, version2};
use crate::foundation::deadline::Deadline;

/// Why the API would not serve a call now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotReadyError {
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

impl NotReadyError {
    /// The stable name of the reason.
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

/// The parts of `/v1/sync/info` that are used. All are optional, because compatible APIs omit some.
#[derive(Default, Deserialize)]
struct Info {
    time: Option<String>,
    #[serde(rename = "tenantSignature", default)]
    tenant_signature: TenantSignature,
    #[serde(default)]
    features: Vec<String>,
}

#[derive(Default, Deserialize)]
struct TenantSignature {
    required: Option<bool>,
    versions: Option<Vec<String>>,
}

impl Info {
    /// A body of another form yields the default, which is empty.
    fn read(body: &[u8]) -> Self {
        serde_json::from_slice(body).unwrap_or_default()
    }

    /// Whether the API accepts a version that `signer` sends. True if it does not list its
    /// versions.
    fn accepts(&self, signer: &Signer) -> bool {
        let versions = self.tenant_signature.versions.as_deref();
        versions.is_none_or(|versions| signer.sends_one_of(versions))
    }
}

/// Whether this status of `/readyz` only means that the route does not exist.
pub fn has_no_readyz(status: u16) -> bool {
    matches!(status, 404 | 405)
}

/// Checks the API within the given time.
pub(crate) async fn check(client: &Client, within: Duration) -> Result<(), NotReadyError> {
    let deadline = Deadline::after(within);
    let answer = get(client, "/readyz", deadline).await?;
    if has_no_readyz(answer.reply.status) {
        return check_without_readyz(client, deadline).await;
    }
    if answer.reply.status != 200 {
        return Err(NotReadyError::Status(answer.reply.status));
    }
    let skew = clock_skew(&answer, client.now_ms());
    clocks_agree(skew, WINDOW_MS)?;
    match check_signature(&answer) {
        Err(NotReadyError::SignatureRefused) => {
            let info = get(client, "/v1/sync/info", deadline).await;
            let info = info.map(|answer| answer.reply.body).unwrap_or_default();
            Err(why_refused(client.signer(), skew, &Info::read(&info)))
        }
        accepted => accepted,
    }
}

/// The features of the API. `None` if it did not answer.
pub(crate) async fn features(client: &Client, within: Duration) -> Option<Features> {
    let answer = get(client, "/v1/sync/info", Deadline::after(within)).await;
    let reply = answer.ok()?.reply;
    match reply.status {
        200 => {
            let info = Info::read(&reply.body);
            Some(Features::named(info.features.iter().map(String::as_str)))
        }
        // A compatible API without this route has no features.
        404 | 405 => Some(Features::NONE),
        _ => None,
    }
}

/// Checks a server that has no `/readyz`.
async fn check_without_readyz(client: &Client, deadline: Deadline) -> Result<(), NotReadyError> {
    let (health, info) = tokio::join!(
        get(client, "/healthz", deadline),
        get(client, "/v1/sync/info", deadline)
    );
    let health = health?;
    if health.reply.status != 200 {
        return Err(NotReadyError::Status(health.reply.status));
    }
    // The server runs. Without its description nothing more is known, so it counts as ready.
    let info = info.ok().filter(|answer| answer.reply.status == 200);
    let info = info.map_or_else(Info::default, |answer| Info::read(&answer.reply.body));
    let now_ms = client.now_ms();
    let skew = info_skew(&info, now_ms).or_else(|| clock_skew(&health, now_ms));
    judge_info(client.signer(), skew, &info)
}

async fn get(client: &Client, path: &str, deadline: Deadline) -> Result<ApiAnswer, NotReadyError> {
    let identity = Identity::empty();
    let answer = client.request_bare(
        &identity,
        Method::GET,
        path.to_owned(),
        deadline.remaining(),
    );
    answer.await.map_err(|failure| match failure {
        ApiError::TimedOut { .. } => NotReadyError::Silent,
        _ => NotReadyError::Unreachable,
    })
}

/// Judges a server that has not tested the signature, by its clock and its description.
fn judge_info(signer: &Signer, skew: Option<u64>, info: &Info) -> Result<(), NotReadyError> {
    // An API that knows version 2 ignores version 1 when both are sent.
    let lists_v2 = |versions: &Vec<String>| versions.iter().any(|version| version == "v2");
    let uses_v2 = signer.sends_one_of(&["v2"])
        && info
            .tenant_signature
            .versions
            .as_ref()
            .is_some_and(lists_v2);
    clocks_agree(
        skew,
        if uses_v2 {
            version2::WINDOW_MS
        } else {
            WINDOW_MS
        },
    )?;
    if info.tenant_signature.required == Some(false) {
        return Err(NotReadyError::SignatureUnchecked);
    }
    if info.accepts(signer) {
        Ok(())
    } else {
        Err(NotReadyError::SignatureVersion)
    }
}

/// The API does not say why it refused a signature; clock and versions narrow it down.
fn why_refused(signer: &Signer, skew: Option<u64>, info: &Info) -> NotReadyError {
    // An API that knows version 2 ignores version 1 when both are sent, and has the smaller window.
    if signer.sends_one_of(&["v2"])
        && let Err(skew) = clocks_agree(skew, version2::WINDOW_MS)
    {
        return skew;
    }
    if info.accepts(signer) {
        NotReadyError::SignatureRefused
    } else {
        NotReadyError::SignatureVersion
    }
}

/// Whether the API accepts the signature. An API that does not check it would serve calls, but for
/// any tenant that the token claims.
fn check_signature(answer: &ApiAnswer) -> Result<(), NotReadyError> {
    let ready: Option<Ready<'_>> = serde_json::from_slice(&answer.reply.body).ok();
    match ready.and_then(|ready| ready.tenant_signature) {
        Some("refused") => Err(NotReadyError::SignatureRefused),
        Some("off") => Err(NotReadyError::SignatureUnchecked),
        _ => Ok(()),
    }
}

/// Difference between the clock of the server, by its `Date` header, and ours, in milliseconds.
fn clock_skew(answer: &ApiAnswer, now_ms: u64) -> Option<u64> {
    let date = answer.fields.get(http::header::DATE)?.to_str().ok()?;
    let since = httpdate::parse_http_date(date)
        .ok()?
        .duration_since(UNIX_EPOCH)
        .ok()?;
    Some(u64::try_from(since.as_millis()).ok()?.abs_diff(now_ms))
}

/// Like [`clock_skew`], by the `time` of `/v1/sync/info`, which no proxy rewrites.
fn info_skew(info: &Info, now_ms: u64) -> Option<u64> {
    let time = humantime::parse_rfc3339(info.time.as_deref()?).ok()?;
    let since = time.duration_since(UNIX_EPOCH).ok()?;
    Some(u64::try_from(since.as_millis()).ok()?.abs_diff(now_ms))
}

fn clocks_agree(skew: Option<u64>, window_ms: u64) -> Result<(), NotReadyError> {
    match skew {
        Some(skew) if skew > window_ms => Err(NotReadyError::ClockSkew(skew / 1000)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::request::Reply;

    #[test]
    fn reads_whether_the_api_accepts_the_signature() {
        for (body, expected) in [
            (r#"{"status":"ready","tenantSignature":"accepted"}"#, Ok(())),
            (
                r#"{"status":"ready","tenantSignature":"refused"}"#,
                Err(NotReadyError::SignatureRefused),
            ),
            (
                r#"{"status":"ready","tenantSignature":"off"}"#,
                Err(NotReadyError::SignatureUnchecked),
            ),
            // Compatible APIs do not report it, in various ways.
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
                maybe_applied: false,
            };
            let answer = ApiAnswer {
                reply,
                fields: http::HeaderMap::new(),
            };
            assert_eq!(check_signature(&answer), expected, "{body}");
        }
    }

    #[test]
    fn without_readyz_judges_by_description_and_clock() {
        use crate::api::Versions::{Both, V1, V2};
        const ONLY_V1: &str = r#"{"tenantSignature":{"required":true,"versions":["v1"]}}"#;
        const DEMANDS_V2: &str = r#"{"tenantSignature":{"required":true,"versions":["v2"]}}"#;
        const OFF: &str = r#"{"tenantSignature":{"required":false,"versions":["v1"]}}"#;
        for (sent, skew, info, expected) in [
            (Both, Some(1_000), ONLY_V1, Ok(())),
            (Both, Some(299_000), ONLY_V1, Ok(())),
            (Both, None, ONLY_V1, Ok(())),
            (Both, Some(1_000), "", Ok(())),
            (Both, Some(1_000), r#"{"name":"toolbridge"}"#, Ok(())),
            (
                Both,
                Some(301_000),
                ONLY_V1,
                Err(NotReadyError::ClockSkew(301)),
            ),
            (Both, Some(301_000), "", Err(NotReadyError::ClockSkew(301))),
            (
                V2,
                Some(61_000),
                DEMANDS_V2,
                Err(NotReadyError::ClockSkew(61)),
            ),
            (
                V2,
                Some(1_000),
                ONLY_V1,
                Err(NotReadyError::SignatureVersion),
            ),
            (
                V1,
                Some(61_000),
                DEMANDS_V2,
                Err(NotReadyError::SignatureVersion),
            ),
            (
                Both,
                Some(1_000),
                OFF,
                Err(NotReadyError::SignatureUnchecked),
            ),
        ] {
            let signer =
                Signer::new(&crate::foundation::secret::Secret::new("s"), "acme", sent).unwrap();
            assert_eq!(
                judge_info(&signer, skew, &Info::read(info.as_bytes())),
                expected,
                "{sent:?} {skew:?} {info}"
            );
        }
    }

    #[test]
    fn reads_the_clock_of_the_description() {
        let skew = |info: &str| info_skew(&Info::read(info.as_bytes()), 1_795_000_250_000);
        assert_eq!(skew(r#"{"time":"2026-11-18T11:10:45.123Z"}"#), Some(4_877));
        assert_eq!(skew(r#"{"time":"soon"}"#), None);
        assert_eq!(skew("{}"), None);
    }

    #[test]
    fn explains_a_refusal_by_clock_and_versions() {
        use crate::api::Versions::{Both, V1, V2};
        const ANY: &str = r#"{"tenantSignature":{"required":true,"versions":["v1","v2"]}}"#;
        const DEMANDS_V2: &str = r#"{"tenantSignature":{"required":true,"versions":["v2"]}}"#;
        const ONLY_V1: &str = r#"{"tenantSignature":{"versions":["v1"]}}"#;
        for (sent, skew, info, expected) in [
            (Both, Some(1_000), ANY, NotReadyError::SignatureRefused),
            (Both, None, DEMANDS_V2, NotReadyError::SignatureRefused),
            (Both, Some(60_000), ANY, NotReadyError::SignatureRefused),
            (Both, Some(61_000), ANY, NotReadyError::ClockSkew(61)),
            (V2, Some(61_000), ANY, NotReadyError::ClockSkew(61)),
            (V1, Some(61_000), ANY, NotReadyError::SignatureRefused),
            (V1, Some(1_000), DEMANDS_V2, NotReadyError::SignatureVersion),
            (V2, Some(1_000), ONLY_V1, NotReadyError::SignatureVersion),
            (V1, Some(1_000), "", NotReadyError::SignatureRefused),
            (
                V1,
                None,
                r#"{"tenantSignature":{"versions":[1]}}"#,
                NotReadyError::SignatureRefused,
            ),
        ] {
            let signer =
                Signer::new(&crate::foundation::secret::Secret::new("s"), "acme", sent).unwrap();
            assert_eq!(
                why_refused(&signer, skew, &Info::read(info.as_bytes())),
                expected,
                "{sent:?} {skew:?} {info}"
            );
        }
    }
}
