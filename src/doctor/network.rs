//! Checks of the connection to a server: name, port, certificate and clock.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use url::{Host, Url};

use super::certificate;
use super::check::{Finding, Found};
use super::http::{HttpAnswer, Override};
use super::words;
use crate::api::signature::WINDOW_MS;
use crate::foundation::clock::Clock;

/// Timeout per address; a name may have several.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A warning at this time means that renewal has failed: certificates are usually renewed a month
/// before they expire.
const EXPIRES_SOON: u64 = 14 * 86_400;

/// Synchronised clocks differ by less, even measured over a slow connection.
const MAX_CLOCK_SKEW: u64 = 30;

/// The addresses of a URL's host, at least one.
pub async fn resolve(url: &Url, overrides: &[Override]) -> Result<Vec<SocketAddr>, Finding> {
    let port = url.port_or_known_default().unwrap_or(0);
    let host = url.host_str().unwrap_or_default();
    if let Some(given) = overrides.iter().find(|given| given.is_for(host, port)) {
        return Ok(vec![SocketAddr::new(given.address, port)]);
    }
    let found: Vec<SocketAddr> = match url.host() {
        Some(Host::Ipv4(address)) => vec![(address, port).into()],
        Some(Host::Ipv6(address)) => vec![(address, port).into()],
        _ => lookup_host((host, port))
            .await
            .map(Iterator::collect)
            .unwrap_or_default(),
    };
    match found.as_slice() {
        [] => Err(Finding::Failed(words::no_such_name(host))),
        _ => Ok(found),
    }
}

pub fn resolved(url: &Url, addresses: &[SocketAddr]) -> String {
    let host = url.host_str().unwrap_or_default();
    let list: Vec<String> = addresses
        .iter()
        .map(|address| address.ip().to_string())
        .collect();
    match url.host() {
        Some(Host::Domain(_)) => format!("{host} is {}", list.join(", ")),
        _ => format!("{host} is an address; no name has to be looked up"),
    }
}

/// Whether a server listens on one of the addresses.
pub async fn connect(shown: &str, addresses: &[SocketAddr]) -> Found {
    let mut why = String::new();
    for address in addresses {
        match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(_)) => return Ok(format!("something listens at {address}")),
            Ok(Err(error)) => why = error.to_string(),
            Err(_) => why = format!("{} does not answer", address.ip()),
        }
    }
    Err(Finding::Failed(words::nothing_listens(shown, &why)))
}

/// Judges the remaining validity of the trusted certificate of `answer`.
pub fn trusted(answer: &HttpAnswer, url: &Url, clock: &Clock) -> Found {
    let ends = answer
        .certificate
        .as_deref()
        .and_then(certificate::not_after);
    let Some(ends) = ends else {
        return Ok("the certificate is trusted".to_owned());
    };
    let left = ends.saturating_sub(clock.now_secs());
    let date = words::date(ends);
    if left > EXPIRES_SOON {
        return Ok(format!(
            "the certificate is trusted, and valid until {date}"
        ));
    }
    Err(Finding::warning(
        format!(
            "the certificate is valid for {} more, until {date}",
            words::span(left)
        ),
        words::certificate_fix(url.host_str().unwrap_or_default()),
    ))
}

/// Compares two clocks with the difference that they may have.
pub fn clocks(whose: &str, answer: &HttpAnswer, clock: &Clock) -> Found {
    let Some(ahead) = answer.clock_ahead(clock) else {
        return Err(Finding::skipped(format!(
            "{whose} does not say what time it is"
        )));
    };
    let apart = ahead.unsigned_abs();
    let direction = if ahead > 0 { "ahead of" } else { "behind" };
    let window = WINDOW_MS / 1000;
    let what = format!(
        "{whose}'s clock is {} {direction} this machine's",
        words::span(apart)
    );
    if apart > window {
        let what = format!(
            "{what}; signatures and tokens are good for {} at most",
            words::span(window)
        );
        return Err(Finding::failed(what, words::SET_THE_CLOCK));
    }
    if apart > MAX_CLOCK_SKEW {
        return Err(Finding::warning(what, words::SET_THE_CLOCK));
    }
    Ok(format!(
        "{whose}'s clock and this machine's agree to {} s",
        apart.max(1)
    ))
}
