//! Would the API serve a call now, as far as that can be known without a user's token?
//!
//! The API checks the token before the signature, so nobody can try a signature without being somebody, and being
//! somebody would create a user. What can be seen from outside is what makes signatures fail in practice: the
//! versions that the API takes, and its clock. Servers of the family without `/v1/sync/info` are believed.

use std::time::{Duration, UNIX_EPOCH};

use http::Method;
use serde::Deserialize;

use super::client::{Answer, Client, Identity};
use super::exchange::Failure;
use super::signature::WINDOW_MS;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    #[error("the API cannot be reached")]
    Unreachable,
    #[error("the API does not answer in time")]
    Silent,
    #[error("the API says that it is not ready (status {0})")]
    Status(u16),
    #[error("the API does not take tenant signatures of version 1")]
    SignatureVersion,
    #[error("the API's clock is {0} s away from ours, so it would refuse our signatures")]
    ClockSkew(u64),
}

impl NotReady {
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable => "api_unreachable",
            Self::Silent => "api_timeout",
            Self::Status(_) => "api_not_ready",
            Self::SignatureVersion => "signature_version",
            Self::ClockSkew(_) => "clock_skew",
        }
    }
}

#[derive(Deserialize)]
struct Info {
    #[serde(rename = "tenantSignature")]
    tenant_signature: Option<TenantSignature>,
}

#[derive(Deserialize)]
struct TenantSignature {
    versions: Option<Vec<u64>>,
}

pub(super) async fn check(client: &Client, within: Duration) -> Result<(), NotReady> {
    let ready = get(client, "/readyz", within).await.map_err(|failure| match failure {
        Failure::TimedOut { .. } => NotReady::Silent,
        _ => NotReady::Unreachable,
    })?;
    if ready.reply.status != 200 {
        return Err(NotReady::Status(ready.reply.status));
    }
    clocks_agree(&ready, client.now_ms())?;
    match get(client, "/v1/sync/info", within).await {
        Ok(info) if info.reply.status == 200 => takes_our_version(&info),
        _ => Ok(()),
    }
}

async fn get(client: &Client, path: &str, within: Duration) -> Result<Answer, Failure> {
    client
        .send_bare(&Identity::empty(), Method::GET, path.to_owned(), within)
        .await
}

/// Every HTTP server says what time it is.
fn clocks_agree(answer: &Answer, now_ms: u64) -> Result<(), NotReady> {
    let date = answer
        .fields
        .get(http::header::DATE)
        .and_then(|value| httpdate::parse_http_date(value.to_str().ok()?).ok());
    let theirs = date.and_then(|date| u64::try_from(date.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok());
    match theirs.map(|theirs| theirs.abs_diff(now_ms)) {
        Some(skew) if skew > WINDOW_MS => Err(NotReady::ClockSkew(skew / 1000)),
        _ => Ok(()),
    }
}

fn takes_our_version(answer: &Answer) -> Result<(), NotReady> {
    let info: Option<Info> = serde_json::from_slice(&answer.reply.body).ok();
    let versions = info.and_then(|info| info.tenant_signature?.versions);
    if versions.is_some_and(|versions| !versions.contains(&1)) {
        Err(NotReady::SignatureVersion)
    } else {
        Ok(())
    }
}
