//! `Host` and `Origin`: a web page that somebody opens must not be able to talk to a server in their network.
//!
//! DNS rebinding needs a host name, so a request that is addressed to an IP address or to a loopback name passes;
//! other names must be configured. An `Origin` comes from browsers only: none is fine, the server's own is, a listed
//! one is, and `null` never is unless listed.

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

/// Who may be addressed, and from where.
#[derive(Debug, Clone, Default)]
pub struct HostOriginPolicy {
    any_host: bool,
    hosts: Vec<HostAndPort>,
    any_origin: bool,
    origins: Vec<String>,
}

/// A code and a sentence.
type OriginError = (&'static str, &'static str);

/// A host name or address in lower case, with a port when one was given.
#[derive(Debug, Clone, PartialEq, Eq)]
struct HostAndPort {
    host: String,
    port: Option<u16>,
}

impl HostOriginPolicy {
    pub fn from_settings(settings: &Settings) -> Self {
        let public = settings
            .public_url
            .as_deref()
            .and_then(|url| url.parse::<Uri>().ok());
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
                .map(|origin| as_browsers_write(origin))
                .collect(),
        }
    }

    /// One that looks at `Host` alone, for a port that browsers have no business at.
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

    /// Whether there are pages of other origins that may call.
    pub fn lists_origins(&self) -> bool {
        self.any_origin || !self.origins.is_empty()
    }

    /// The request's origin, when it is one that may call because it is configured.
    pub fn listed_origin(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let mut origins = headers.get_all(ORIGIN).iter();
        let origin = origins.next().filter(|_| origins.next().is_none())?;
        let text = origin.to_str().ok()?.to_ascii_lowercase();
        (self.any_origin || self.origins.contains(&text)).then(|| origin.clone())
    }

    /// What is wrong with the request's addresses, if anything.
    pub(crate) fn objection(&self, uri: &Uri, headers: &HeaderMap) -> Option<OriginError> {
        let host = host_of(uri, headers);
        if let Some(wrong) = self.host_objection(host.as_ref()) {
            return Some(wrong);
        }
        let mut origins = headers.get_all(ORIGIN).iter();
        let origin = origins.next()?;
        let allowed = origins.next().is_none()
            && origin
                .to_str()
                .is_ok_and(|origin| self.any_origin || self.welcomes(origin, host.as_ref()));
        (!allowed).then_some((
            "origin_not_allowed",
            "requests from this origin are not served here",
        ))
    }

    fn host_objection(&self, host: Option<&HostAndPort>) -> Option<OriginError> {
        match host {
            Some(host) if self.any_host || host.is_address_or_loopback() || self.knows(host) => {
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

    fn knows(&self, host: &HostAndPort) -> bool {
        self.hosts.iter().any(|known| {
            known.host == host.host && (known.port.is_none() || known.port == host.port)
        })
    }

    fn welcomes(&self, origin: &str, host: Option<&HostAndPort>) -> bool {
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
        // Behind a proxy that ends TLS, `Host` still names the port that the browser sees, or none.
        let own = |host: &HostAndPort, page: HostAndPort| {
            page.host == host.host
                && page.port.unwrap_or(default_port) == host.port.unwrap_or(default_port)
        };
        host.zip(HostAndPort::parse(authority))
            .is_some_and(|(host, page)| own(host, page))
    }
}

/// A URL of this server by the name that the request used. Behind the check that name is one of ours. A name is taken to
/// be served over https, as tokens demand; addresses and loopback names are not.
pub fn own_url(uri: &Uri, headers: &HeaderMap, path: &str) -> Option<String> {
    let place = host_of(uri, headers)?;
    let scheme = if place.is_address_or_loopback() {
        "http"
    } else {
        "https"
    };
    let host = if place.host.contains(':') {
        format!("[{}]", place.host)
    } else {
        place.host
    };
    let port = place
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

/// The default port is left out, and a name has no slash after it.
fn as_browsers_write(origin: &str) -> String {
    let parsed = url::Url::parse(origin).map(|url| url.origin());
    match parsed {
        Ok(origin) if origin.is_tuple() => origin.ascii_serialization(),
        _ => origin.to_ascii_lowercase(),
    }
}

fn host_of(uri: &Uri, headers: &HeaderMap) -> Option<HostAndPort> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next()?.to_str().ok()?;
    // A request line with a host of its own must not say something else than the header.
    let place = HostAndPort::parse(host).filter(|_| hosts.next().is_none())?;
    let agrees =
        |authority: &Authority| HostAndPort::new(authority.host(), authority.port_u16()) == place;
    uri.authority().is_none_or(agrees).then_some(place)
}

pub async fn check<F>(
    guard: &HostOriginPolicy,
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response
where
    F: Future<Output = Response>,
{
    match guard.objection(request.uri(), request.headers()) {
        Some(wrong) => refused(wrong, &request),
        None => next(request).await,
    }
}

/// For the page at `/`.
pub async fn check_page(
    State(guard): State<Arc<HostOriginPolicy>>,
    request: Request,
    next: Next,
) -> Response {
    check(&guard, request, |request| next.run(request)).await
}

/// For what any page may read: its origin does not matter.
pub async fn check_host(
    State(guard): State<Arc<HostOriginPolicy>>,
    request: Request,
    next: Next,
) -> Response {
    let host = host_of(request.uri(), request.headers());
    match guard.host_objection(host.as_ref()) {
        Some(wrong) => refused(wrong, &request),
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

    fn guard() -> HostOriginPolicy {
        HostOriginPolicy::from_settings(&Settings {
            allowed_hosts: vec!["acme.internal".into(), "ported.example:8443".into()],
            allowed_origins: vec!["https://app.example".into(), "null".into()],
            public_url: Some("https://acme.example/mcp".into()),
            ..Settings::default()
        })
    }

    fn objection(
        guard: &HostOriginPolicy,
        headers: &[(http::HeaderName, &str)],
    ) -> Option<&'static str> {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()))
            .collect();
        guard
            .objection(&Uri::from_static("/mcp"), &headers)
            .map(|(code, _)| code)
    }

    #[test]
    fn hosts() {
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
            assert_eq!(objection(&guard(), &[(HOST, host)]), None, "{host}");
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
                objection(&guard(), &[(HOST, host)]),
                Some("host_not_allowed"),
                "{host:?}"
            );
        }
        assert_eq!(objection(&guard(), &[]), Some("host_not_allowed"));
        assert_eq!(
            objection(&guard(), &[(HOST, "localhost"), (HOST, "localhost")]),
            Some("host_not_allowed")
        );
        let open = HostOriginPolicy::from_settings(&Settings {
            allowed_hosts: vec!["*".into()],
            ..Settings::default()
        });
        assert_eq!(objection(&open, &[(HOST, "evil.example")]), None);
    }

    #[test]
    fn a_request_line_must_agree_with_the_header() {
        let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static("localhost"))]);
        assert!(
            guard()
                .objection(&Uri::from_static("http://localhost/mcp"), &headers)
                .is_none()
        );
        assert!(
            guard()
                .objection(&Uri::from_static("http://evil.example/mcp"), &headers)
                .is_some()
        );
    }

    #[test]
    fn a_configured_origin_is_compared_as_browsers_write_it() {
        let listed = |configured: &str, origin: &str| {
            let guard = HostOriginPolicy::from_settings(&Settings {
                allowed_origins: vec![configured.to_owned()],
                ..Settings::default()
            });
            let headers = HeaderMap::from_iter([(ORIGIN, HeaderValue::from_str(origin).unwrap())]);
            guard.listed_origin(&headers).is_some()
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
    fn origins() {
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
            let verdict = objection(&guard(), &[(HOST, host), (ORIGIN, origin)]);
            assert_eq!(verdict.is_none(), allowed, "{origin} at {host}");
        }
        let plain = HostOriginPolicy::from_settings(&Settings::default());
        assert_eq!(
            objection(&plain, &[(HOST, "localhost"), (ORIGIN, "null")]),
            Some("origin_not_allowed")
        );
        let twice = [
            (HOST, "localhost"),
            (ORIGIN, "http://localhost"),
            (ORIGIN, "http://localhost"),
        ];
        assert_eq!(objection(&plain, &twice), Some("origin_not_allowed"));
    }
}
