//! Converts the URL that the user gives to the one that messages are posted to.

use url::{Host, Url};

/// Why a URL is rejected. The token is sent there, so it must be the right URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    #[error("it is no URL: write it like https://HOST/mcp")]
    NotAUrl,
    #[error("it must begin with https:// or http://")]
    Scheme,
    #[error(
        "it has a user name or a password, which would be seen by others: the token goes into \
         TOOLBRIDGE_TOKEN"
    )]
    User,
    #[error("it ends in #…, which is never sent: leave that out")]
    Fragment,
    #[error(
        "over plain http, anyone on the way can read the token: use https, or --allow-http if you \
         must"
    )]
    PlainHttp,
}

pub fn target(text: &str, allow_http: bool) -> Result<Url, TargetError> {
    let mut url = Url::parse(text).map_err(|_| TargetError::NotAUrl)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(TargetError::Scheme);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(TargetError::User);
    }
    if url.fragment().is_some() {
        return Err(TargetError::Fragment);
    }
    if url.scheme() == "http" && !allow_http && !is_loopback(&url) {
        return Err(TargetError::PlainHttp);
    }
    if url.path() == "/" {
        url.set_path("/mcp");
    }
    Ok(url)
}

pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.to_canonical().is_loopback(),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_without_a_path_gets_the_path_of_mcp() {
        for (text, url) in [
            ("https://acme.example", "https://acme.example/mcp"),
            ("https://acme.example/", "https://acme.example/mcp"),
            ("https://acme.example/mcp", "https://acme.example/mcp"),
            (
                "https://acme.example/v1/mcp?a=b",
                "https://acme.example/v1/mcp?a=b",
            ),
            ("http://127.0.0.1:8001", "http://127.0.0.1:8001/mcp"),
            ("http://[::1]:8001/", "http://[::1]:8001/mcp"),
            (
                "http://[::ffff:127.0.0.1]:8001",
                "http://[::ffff:7f00:1]:8001/mcp",
            ),
            ("http://localhost:8001", "http://localhost:8001/mcp"),
        ] {
            assert_eq!(target(text, false).unwrap().as_str(), url);
        }
    }

    #[test]
    fn refuses_urls_that_would_expose_the_token() {
        for (text, why) in [
            ("acme.example", TargetError::NotAUrl),
            ("", TargetError::NotAUrl),
            ("localhost:8001", TargetError::Scheme),
            ("ftp://acme.example", TargetError::Scheme),
            ("https://ada:secret@acme.example", TargetError::User),
            ("https://acme.example/mcp#x", TargetError::Fragment),
            ("http://acme.example/mcp", TargetError::PlainHttp),
            ("http://10.0.0.1:8001", TargetError::PlainHttp),
            ("http://localhost.evil.example", TargetError::PlainHttp),
        ] {
            assert_eq!(target(text, false), Err(why), "{text}");
        }
        assert!(target("http://10.0.0.1:8001", true).is_ok());
    }
}
