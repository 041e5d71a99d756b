//! The URL that a person gives, made into the one that messages are posted to.

use url::{Host, Url};

/// Why a URL is not used. A token goes there, so it has to be the right one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadTarget {
    #[error("it is no URL: write it like https://HOST/mcp")]
    NotAUrl,
    #[error("it must begin with https:// or http://")]
    Scheme,
    #[error(
        "it has a user name or a password, which would be seen by others: the token goes into TOOLBRIDGE_TOKEN"
    )]
    User,
    #[error("it ends in #…, which is never sent: leave that out")]
    Fragment,
    #[error(
        "over plain http, anyone on the way can read the token: use https, or --allow-http if you must"
    )]
    PlainHttp,
}

pub fn target(text: &str, allow_http: bool) -> Result<Url, BadTarget> {
    let mut url = Url::parse(text).map_err(|_| BadTarget::NotAUrl)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(BadTarget::Scheme);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(BadTarget::User);
    }
    if url.fragment().is_some() {
        return Err(BadTarget::Fragment);
    }
    if url.scheme() == "http" && !allow_http && !is_loopback(&url) {
        return Err(BadTarget::PlainHttp);
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
    fn a_url_without_a_path_is_that_of_mcp() {
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
    fn a_token_goes_nowhere_where_it_could_be_read() {
        for (text, why) in [
            ("acme.example", BadTarget::NotAUrl),
            ("", BadTarget::NotAUrl),
            ("localhost:8001", BadTarget::Scheme),
            ("ftp://acme.example", BadTarget::Scheme),
            ("https://ada:secret@acme.example", BadTarget::User),
            ("https://acme.example/mcp#x", BadTarget::Fragment),
            ("http://acme.example/mcp", BadTarget::PlainHttp),
            ("http://10.0.0.1:8001", BadTarget::PlainHttp),
            ("http://localhost.evil.example", BadTarget::PlainHttp),
        ] {
            assert_eq!(target(text, false), Err(why), "{text}");
        }
        assert!(target("http://10.0.0.1:8001", true).is_ok());
    }
}
