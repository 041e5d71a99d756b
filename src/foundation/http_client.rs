//! The HTTP client of everything that asks another server, other than the API over plain HTTP.

use reqwest::redirect::Policy;

/// A client that asks what it is told to ask, once. It follows no redirect and repeats nothing,
/// since either would let the other server decide where a credential goes or how often a request is
/// made, and it names no referrer.
///
/// The caller adds its time limits, and `no_proxy` where a proxy of the environment may not read
/// along.
pub fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .http1_only()
        .tcp_nodelay(true)
        .redirect(Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
}
