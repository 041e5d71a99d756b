//! The head of a request: a target in the first line, then a header in each. Whoever passes the
//! guard has named one host that is ours; what is taken over from a caller is of the form that it
//! claims; a narrowing never brings anything back; and nothing that only this server may say goes
//! further.

#![allow(
    clippy::unwrap_used,
    reason = "a fuzz target reports a finding by a panic"
)]

use std::cell::LazyCell;

use http::header::{ACCEPT, AUTHORIZATION, HOST, ORIGIN};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use super::Settings;
use super::http::middleware::host_origin::{HostOriginPolicy, own_url};
use super::http::middleware::tool_filter;
use super::http::middleware::tool_filter::{READ_ONLY, TOOLSETS};
use super::http::middleware::{authenticate, correlation};
use super::http::request_body;
use super::http::routes::mcp_post::Accepted;
use crate::api::Features;
use crate::auth::Scopes;
use crate::mcp::{ToolFilter, ToolRegistry};
use crate::tools::{self, Limits};

const PUBLIC_URL: &str = "acme.example";
const LISTED: &str = "https://app.example";

thread_local! {
    static POLICY: LazyCell<HostOriginPolicy> = LazyCell::new(|| {
        HostOriginPolicy::from_settings(&Settings {
            allowed_origins: vec![LISTED.into()],
            public_url: format!("https://{PUBLIC_URL}").parse().ok(),
            ..Settings::default()
        })
    });
    static REGISTRY: LazyCell<ToolRegistry> = LazyCell::new(|| {
        ToolRegistry::new(&tools::all(Limits::default()), &ToolFilter::default(), Features::ALL)
    });
}

pub fn feed(input: &[u8]) {
    let mut lines = input.split(|byte| *byte == b'\n');
    let Ok(uri) = Uri::try_from(lines.next().unwrap_or_default()) else {
        return;
    };
    let mut headers = HeaderMap::new();
    for line in lines {
        let Some(at) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let (name, value) = line.split_at(at);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        let read = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value));
        if let (Ok(name), Ok(value)) = read {
            headers.append(name, value);
        }
    }
    check_host_and_origin(&uri, &headers);
    check_correlation_id(&headers);
    check_tool_filter(&uri, &headers);
    let _ = request_body::check(&headers);
    let accepted = Accepted::read(&headers);
    assert!(headers.contains_key(ACCEPT) || (accepted.json && !accepted.streams));
    authenticate::strip(&mut headers);
    let ours = |name: &HeaderName| {
        let name = name.as_str();
        *name == *AUTHORIZATION.as_str() || name.starts_with("x-tb-") || name.starts_with("x-sync-")
    };
    assert!(!headers.keys().any(ours));
}

fn check_host_and_origin(uri: &Uri, headers: &HeaderMap) {
    if POLICY
        .with(|policy| policy.violation(uri, headers))
        .is_some()
    {
        return;
    }
    let hosts: Vec<_> = headers.get_all(HOST).iter().collect();
    assert_eq!(hosts.len(), 1);
    // By the reading of URLs that browsers have.
    let own = own_url(uri, headers, "/mcp").unwrap();
    let Ok(read) = url::Url::parse(&own) else {
        return;
    };
    let own = match read.host().unwrap() {
        url::Host::Domain(name) => {
            let name = name.trim_end_matches('.');
            name == PUBLIC_URL || name == "localhost" || name.ends_with(".localhost")
        }
        url::Host::Ipv4(_) | url::Host::Ipv6(_) => true,
    };
    assert!(own, "{read}");
    let origins: Vec<_> = headers.get_all(ORIGIN).iter().collect();
    assert!(origins.len() <= 1);
    let Some(origin) = origins.first() else {
        return;
    };
    let origin = origin.to_str().unwrap().to_ascii_lowercase();
    let same = || {
        let page = url::Url::parse(&origin).ok()?;
        let host = |url: &url::Url| {
            url.host_str()
                .map(|host| host.trim_end_matches('.').to_owned())
        };
        Some(host(&page)? == host(&read)?)
    };
    assert!(
        origin == LISTED || same().unwrap_or(true),
        "{origin} at {read}"
    );
}

fn check_correlation_id(headers: &HeaderMap) {
    if let Some(id) = correlation::taken_over(headers) {
        assert!((1..=128).contains(&id.len()));
        assert!(!id.contains(|c: char| !c.is_ascii_alphanumeric() && !"._:-".contains(c)));
    }
    if let Some(carried) = correlation::traceparent(headers) {
        let parts: Vec<_> = carried.split('-').map(str::len).collect();
        assert_eq!(parts, [2, 32, 16, 2]);
        assert!(!carried.contains(|c: char| !c.is_ascii_hexdigit() && c != '-'));
    }
}

fn check_tool_filter(uri: &Uri, headers: &HeaderMap) {
    REGISTRY.with(|registry| {
        let Ok(access) =
            tool_filter::requested_access(|filter| registry.apply_filter(filter), uri, headers)
        else {
            return;
        };
        let left = registry.tools(registry.accessible(access, &Scopes::All));
        let said = |name: &HeaderName| {
            headers
                .get(name)
                .map(|value| value.to_str().unwrap().to_ascii_lowercase())
        };
        let query = uri.query().unwrap_or_default();
        let silent = !headers.contains_key(&TOOLSETS)
            && !headers.contains_key(&READ_ONLY)
            && !query.contains("tool")
            && !query.contains("read")
            && !query.contains('%');
        assert!(left.len() == registry.served().count() || !silent);
        if said(&READ_ONLY).is_some_and(|text| ["1", "true"].contains(&text.trim())) {
            assert!(left.iter().all(|tool| !registry.writes(&tool.name)));
        }
        if let Some(toolsets) = said(&TOOLSETS) {
            let named = toolsets
                .split(',')
                .filter(|name| !name.trim().is_empty())
                .count();
            assert!((1..=8 * named).contains(&left.len()) || left.is_empty());
        }
    });
}
