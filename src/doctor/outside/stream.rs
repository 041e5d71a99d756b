//! Checks that responses are not buffered on the way. The server's stream begins with an event at
//! once and never ends; a buffering proxy withholds it, and every progress notification with it.

use std::time::Duration;

use tokio::time::Instant;
use url::Url;

use crate::doctor::check::{Finding, Found};
use crate::doctor::http::{Http, HttpAnswer, RequestError};
use crate::foundation::secret::Secret;

/// The server itself takes milliseconds.
const FIRST_EVENT_TIMEOUT: Duration = Duration::from_secs(3);

pub async fn arrives_unbuffered(http: &Http, url: &Url, token: &Secret) -> Found {
    let since = Instant::now();
    let Ok(first) = tokio::time::timeout(FIRST_EVENT_TIMEOUT, first_part(http, url, token)).await
    else {
        return Err(Finding::failed(
            format!(
                "the first event of a stream did not come within {} s: something on the way holds \
                 answers back until they are complete",
                FIRST_EVENT_TIMEOUT.as_secs()
            ),
            "switch buffering off in the proxy: \"proxy_buffering off;\" in nginx, \
             \"flush_interval -1\" in Caddy; a CDN should pass this host on untouched",
        ));
    };
    match first {
        Ok(None) => Ok(format!(
            "the first event came after {} ms",
            since.elapsed().as_millis()
        )),
        Ok(Some(answer)) => Err(match answer.status.as_u16() {
            404 => Finding::skipped("this server has none (server.legacy_sse is off)"),
            429 | 503 => Finding::warning(
                format!("no more of them are given: {}", answer.in_words()),
                "close some, or raise server.sse_streams and server.sse_streams_per_principal",
            ),
            _ => Finding::failed(
                format!("{url}: {}", answer.in_words()),
                "check what stands between this URL and the server",
            ),
        }),
        Err(none) => Err(none.into_finding(url)),
    }
}

/// `None` if the first bytes of a stream have arrived; otherwise the response, which is not a
/// stream.
async fn first_part(
    http: &Http,
    url: &Url,
    token: &Secret,
) -> Result<Option<HttpAnswer>, RequestError> {
    let mut response = http.open(url, token).await?;
    if !response.status().is_success() {
        return HttpAnswer::read(response).await.map(Some);
    }
    match response.chunk().await {
        Ok(Some(_)) => Ok(None),
        _ => Err(RequestError::Lost),
    }
}
