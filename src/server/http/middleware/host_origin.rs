//! Checks `Host` and `Origin`, which keeps web pages from reaching a server in their visitor's
//! network.
//!
//! DNS rebinding needs a host name, so requests addressed to an IP address or a loopback name pass,
//! and other names must be configured. Only browsers send `Origin`: a request may have none, the
//! server's own or a configured one; `null` is refused unless configured.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::{HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, StatusCode, Uri};

use super::correlation::CorrelationId;
use crate::server::Settings;
use crate::server::http::response;

/// The accepted hosts and origins.
#[derive(Debug, Clone, Default)]
pub struct HostOriginPolicy {
    any_host: bool,
    hosts: Vec<HostAndPort>,
    any_origin: bool,
    origins: Vec<String>,
}

/// An error code and its message.
type OriginError = (&'static str, &'static str);

/// A host name or address in lower case, with its port if one was given.
#[derive(Debug, Clone, PartialEq, Eq)]
struct HostAndPort {
    host: String,
    port: Option<u16>,
}

impl HostOriginPolicy {
    pub fn from_settings(settings: &Settings) -> Self {
        let public = settings
            .public_url
            .as_ref()
            .and_then(|url| url.as_str().parse::<Uri>().ok());
        let public_host = public
            .as_ref()
            .and_then(Uri::host)
            .map(|host| HostAndPort::new(host, None));
        let listed = settings
            .allowed_hosts
            .iter()
            .filter_map(|host| HostAndPort::parse(host));
        Self {
            any_host: settings.allowed_hosts.iter().any(|host| host == "*"),
            hosts: listed.chain(public_host).collect(),
            any_origin: settings.allowed_origins.iter().any(|origin| origin == "*"),
            origins: settings
                .allowed_origins
                .iter()
                .map(|origin| normalize_origin(origin))
                .collect(),
        }
    }

    /// A policy that checks only `Host`, for a port that browsers do not use.
    pub fn of_hosts(hosts: &[String]) -> Self {
        Self {
            any_host: hosts.iter().any(|host| host == "*"),
            hosts: hosts
                .iter()
                .filter_map(|host| HostAndPort::parse(host))
                .collect(),
            ..Self::default()
        }
    }

    /// Whether pages of other origins may call.
    pub fn lists_origins(&self) -> bool {
        self.any_origin || !self.origins.is_empty()
    }

    /// The request's origin, if it is configured.
    pub fn listed_origin(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let mut origins = headers.get_all(ORIGIN).iter();
        let origin = origins.next().filter(|_| origins.next().is_none())?;
        let text = origin.to_str().ok()?.to_ascii_lowercase();
        (self.any_origin || self.origins.contains(&text)).then(|| origin.clone())
    }

    /// Why `Host` or `Origin` is refused; `None` if both are accepted.
    pub(crate) fn violation(&self, uri: &Uri, headers: &HeaderMap) -> Option<OriginError> {
        let host = host_of(uri, headers);
        if let Some(error) = self.host_error(host.as_ref()) {
            return Some(error);
        }
        let mut origins = headers.get_all(ORIGIN).iter();
        let origin = origins.next()?;
        let allowed = origins.next().is_none()
            && origin
                .to_str()
                .is_ok_and(|origin| self.any_origin || self.allows_origin(origin, host.as_ref()));
        (!allowed).then_some((
            "origin_not_allowed",
            "requests from this origin are not served here",
        ))
    }

    fn host_error(&self, host: Option<&HostAndPort>) -> Option<OriginError> {
        match host {
            Some(host) if self.any_host || host.is_address_or_loopback() || self.has_host(host) => {
                None
            }
            Some(_) => Some((
                "host_not_allowed",
                "requests for this host name are not served here",
            )),
            None => Some((
                "host_not_allowed",
                "exactly one valid Host header is required",
            )),
        }
    }

    fn has_host(&self, host: &HostAndPort) -> bool {
        self.hosts.iter().any(|known| {
            known.host == host.host && (known.port.is_none() || known.port == host.port)
        })
    }

    fn allows_origin(&self, origin: &str, host: Option<&HostAndPort>) -> bool {
        let origin = origin.to_ascii_lowercase();
        if self.origins.contains(&origin) {
            return true;
        }
        let Some((scheme, authority)) = origin.split_once("://") else {
            return false;
        };
        let default_port = match scheme {
            "http" => 80,
            "https" => 443,
            _ => return false,
        };
        // Behind a TLS-terminating proxy, `Host` still names the port that the browser sees, or
        // none.
        let own = |host: &HostAndPort, page: HostAndPort| {
            page.host == host.host
                && page.port.unwrap_or(default_port) == host.port.unwrap_or(default_port)
        };
        host.zip(HostAndPort::parse(authority))
            .is_some_and(|(host, page)| own(host, page))
    }
}

/// The URL of `path` under the request's own host, which the check has accepted. Assumes https for
/// names, as tokens require it, and http for addresses and loopback names.
pub fn own_url(uri: &Uri, headers: &HeaderMap, path: &str) -> Option<String> {
    let target = host_of(uri, headers)?;
    let scheme = if target.is_address_or_loopback() {
        "http"
    } else {
        "https"
    };
    let host = if target.host.contains(':') {
        format!("[{}]", target.host)
    } else {
        target.host
    };
    let port = target
        .port
        .map_or_else(String::new, |port| format!(":{port}"));
    Some(format!("{scheme}://{host}{port}{path}"))
}

impl HostAndPort {
    fn new(host: &str, port: Option<u16>) -> Self {
        Self {
            host: host
                .trim_matches(['[', ']'])
                .trim_end_matches('.')
                .to_ascii_lowercase(),
            port,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let authority: Authority = text.parse().ok()?;
        let plain = !text.contains('@') && !authority.host().is_empty();
        plain.then(|| Self::new(authority.host(), authority.port_u16()))
    }

    fn is_address_or_loopback(&self) -> bool {
        self.host == "localhost"
            || self.host.ends_with(".localhost")
            || self.host.parse::<IpAddr>().is_ok()
    }
}

/// Normalizes an origin as browsers do: no default port, no trailing slash.
fn normalize_origin(origin: &str) -> String {
    let parsed = url::Url::parse(origin).map(|url| url.origin());
    match parsed {
        Ok(origin) if origin.is_tuple() => origin.ascii_serialization(),
        _ => origin.to_ascii_lowercase(),
    }
}

fn host_of(uri: &Uri, headers: &HeaderMap) -> Option<HostAndPort> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next()?.to_str().ok()?;
    // An absolute request target must agree with the header.
    let target = HostAndPort::parse(host).filter(|_| hosts.next().is_none())?;
    let agrees =
        |authority: &Authority| HostAndPort::new(authority.host(), authority.port_u16()) == target;
    uri.authority().is_none_or(agrees).then_some(target)
}

pub async fn check<F>(
    policy: &HostOriginPolicy,
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response
where
    F: Future<Output = Response>,
{
    match policy.violation(request.uri(), request.headers()) {
        Some(error) => refused(error, &request),
        None => next(request).await,
    }
}

/// Middleware for the page at `/`.
pub async fn check_page(
    State(policy): State<Arc<HostOriginPolicy>>,
    request: Request,
    next: Next,
) -> Response {
    check(&policy, request, |request| next.run(request)).await
}

/// Middleware for public paths, whose origin does not matter.
pub async fn check_host(
    State(policy): State<Arc<HostOriginPolicy>>,
    request: Request,
    next: Next,
) -> Response {
    let host = host_of(request.uri(), request.headers());
    match policy.host_error(host.as_ref()) {
        Some(error) => refused(error, &request),
        None => next.run(request).await,
    }
}

fn refused((code, message): OriginError, request: &Request) -> Response {
    let correlation_id = CorrelationId::of(request);
    tracing::info!(
        correlation_id = correlation_id.as_str(),
        reason = code,
        "a request was refused: {message}"
    );
    response::error(StatusCode::FORBIDDEN, code, message, &correlation_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> HostOriginPolicy {
        HostOriginPolicy::from_settings(&Settings {
            allowed_hosts: vec!["acme.internal".into(), "ported.example:8443".into()],
            allowed_origins: vec!["https://app.example".into(), "null".into()],
            public_url: "https://acme.example".parse().ok(),
            ..Settings::default()
        })
    }

    fn violation(
        policy: &HostOriginPolicy,
        headers: &[(http::HeaderName, &str)],
    ) -> Option<&'static str> {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()))
            .collect();
        policy
            .violation(&Uri::from_static("/mcp"), &headers)
            .map(|(code, _)| code)
    }

    #[test]
    fn accepts_configured_and_local_hosts() {
        for host in [
            "localhost",
            "localhost:8001",
            "LOCALHOST",
            "127.0.0.1:8001",
            "[::1]:8001",
            "10.1.2.3",
            "acme.example",
            "Acme.Example:443",
            "acme.example.",
            "acme.internal:1",
            "ported.example:8443",
        ] {
            assert_eq!(violation(&policy(), &[(HOST, host)]), None, "{host}");
        }
        for host in [
            "evil.example",
            "ported.example",
            "acme.example.evil.example",
            "",
            "a b",
            "x@localhost",
            "notlocalhost",
            "127.0.0.1.evil.example",
        ] {
            assert_eq!(
                violation(&policy(), &[(HOST, host)]),
                Some("host_not_allowed"),
                "{host:?}"
            );
        }
        assert_eq!(violation(&policy(), &[]), Some("host_not_allowed"));
        assert_eq!(
            violation(&policy(), &[(HOST, "localhost"), (HOST, "localhost")]),
            Some("host_not_allowed")
        );
        let open = HostOriginPolicy::from_settings(&Settings {
            allowed_hosts: vec!["*".into()],
            ..Settings::default()
        });
        assert_eq!(violation(&open, &[(HOST, "evil.example")]), None);
    }

    #[test]
    fn refuses_a_request_target_that_differs_from_host() {
        let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static("localhost"))]);
        assert!(
            policy()
                .violation(&Uri::from_static("http://localhost/mcp"), &headers)
                .is_none()
        );
        assert!(
            policy()
                .violation(&Uri::from_static("http://evil.example/mcp"), &headers)
                .is_some()
        );
    }

    #[test]
    fn normalizes_configured_origins_as_browsers_do() {
        let listed = |configured: &str, origin: &str| {
            let policy = HostOriginPolicy::from_settings(&Settings {
                allowed_origins: vec![configured.to_owned()],
                ..Settings::default()
            });
            let headers = HeaderMap::from_iter([(ORIGIN, HeaderValue::from_str(origin).unwrap())]);
            policy.listed_origin(&headers).is_some()
        };
        for (configured, origin, expected) in [
            ("https://app.example/", "https://app.example", true),
            ("https://App.Example:443", "https://app.example", true),
            ("http://localhost:6274", "http://localhost:6274", true),
            ("http://localhost:6274", "http://localhost", false),
            (
                "https://app.example",
                "https://app.example.evil.example",
                false,
            ),
            ("*", "https://any.example", true),
            ("null", "null", true),
        ] {
            assert_eq!(
                listed(configured, origin),
                expected,
                "{configured} {origin}"
            );
        }
    }

    #[test]
    fn accepts_own_and_configured_origins() {
        for (host, origin, allowed) in [
            ("acme.example", "https://acme.example", true),
            ("acme.example", "https://acme.example:443", true),
            ("localhost:8001", "http://localhost:8001", true),
            ("acme.example", "https://app.example", true),
            ("acme.example", "HTTPS://APP.EXAMPLE", true),
            ("acme.example", "null", true),
            ("acme.example", "https://app.example:8443", false),
            ("acme.example", "http://app.example", false),
            ("acme.example", "https://evil.example", false),
            ("localhost:8001", "http://localhost:3000", false),
            ("localhost:8001", "http://localhost", false),
            ("acme.example", "acme.example", false),
            ("acme.example", "file://acme.example", false),
            ("acme.example", "", false),
        ] {
            let violated = violation(&policy(), &[(HOST, host), (ORIGIN, origin)]);
            assert_eq!(violated.is_none(), allowed, "{origin} at {host}");
        }
        let plain = HostOriginPolicy::from_settings(&Settings::default());
        assert_eq!(
            violation(&plain, &[(HOST, "localhost"), (ORIGIN, "null")]),
            Some("origin_not_allowed")
        );
        let twice = [
            (HOST, "localhost"),
            (ORIGIN, "http://localhost"),
            (ORIGIN, "http://localhost"),
        ];
        assert_eq!(violation(&plain, &twice), Some("origin_not_allowed"));
    }
}
