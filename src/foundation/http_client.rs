//! HTTP client for every outgoing request except those to the API over plain HTTP.

use reqwest::redirect::Policy;

/// Builds a client that sends each request once: no redirects, no retries, no `Referer`. Otherwise
/// the remote server would decide where a credential goes and how often a request is made.
///
/// The caller adds time limits, and `no_proxy` where a proxy from the environment must not see the
/// traffic.
pub fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .http1_only()
        .tcp_nodelay(true)
        .redirect(Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
}
