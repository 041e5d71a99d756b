//! Explanations of the reasons that servers report, for the operator who fixes them. An unknown
//! reason is shown as it is.

use std::time::{Duration, UNIX_EPOCH};

use url::Url;

use super::check::{Advice, Finding};
use crate::foundation::printable::is_unprintable;

/// Limit of text quoted from a server.
const MAX_QUOTE_CHARS: usize = 200;

pub const SEE_ITS_LOG: &str =
    "see its log (with Fly, \"flyctl logs\"): it may be starting, or stuck";
pub const SET_THE_CLOCK: &str = "set the wrong one right: \"timedatectl\" tells whether a clock is \
    kept; a container has the clock of its machine";

/// A reason, what it means, and how to fix it.
type Row = (&'static str, &'static str, &'static str);

/// Values of `reason` in the MCP server's `/readyz`.
const NOT_READY: &[Row] = &[
    (
        "api_unreachable",
        "the server cannot reach its REST API",
        "start the API; it is there? Then set TOOLBRIDGE_GO_API_BASE_URL to its address. In the \
         container, \"supervisorctl -c /etc/toolbridge/supervisord.conf status\" shows both \
         programs, and the log says why one has ended",
    ),
    (
        "api_timeout",
        "the REST API does not answer the server in time",
        "see the API's log: its database may be slow or away",
    ),
    (
        "api_not_ready",
        "the REST API says that it is not ready",
        "see the API's log: it cannot reach its database, or has no key to verify tokens with; \
         \"toolbridge-api healthcheck\" beside it says which",
    ),
    (
        "signature_refused",
        "the server and its REST API have different tenant secrets",
        "give both the same TENANT_HEADER_SECRET; TOOLBRIDGE_TENANT_HEADER_SECRET should not be \
         set beside it. \"toolbridge-mcp config show\" says where the server has its own from",
    ),
    (
        "signature_version",
        "the REST API does not take the version of the tenant signature that the server sends",
        "set TOOLBRIDGE_TENANT_SIGNATURE to \"both\", or to what the API demands (its \
         TENANT_SIGNATURE_DEMANDED)",
    ),
    (
        "signature_unchecked",
        "the REST API has no tenant secret, so it does not check tenant signatures",
        "set TENANT_HEADER_SECRET for both programs",
    ),
    (
        "clock_skew",
        "the clocks of the server and of its REST API are too far apart (version 1 of the \
         signature allows five minutes, version 2 one), so signatures are refused",
        SET_THE_CLOCK,
    ),
    (
        "keys_unavailable",
        "the keys that tokens are verified with could not be fetched",
        "check that JWT_JWKS_URL is right and can be reached from where the server runs",
    ),
    (
        "draining",
        "the server is leaving: a restart or a deploy is under way",
        "wait a moment and try again",
    ),
];

/// Values of `reason` for a rejected token.
const REFUSED: &[Row] = &[
    (
        "missing",
        "the token did not get there",
        "something on the way takes the Authorization header away: check the proxy",
    ),
    (
        "malformed",
        "what was given is no token",
        "give the whole of it, and only it",
    ),
    (
        "expired",
        "the token has expired",
        "get a new one; with a shared secret, \"toolbridge-mcp token --sub USER\" makes one",
    ),
    (
        "not_yet_valid",
        "the token is not valid yet",
        "set the clock of the token's issuer, or of the server: one of them is wrong",
    ),
    (
        "bad_signature",
        "the token is signed with another key than the server's",
        "make it with the server's JWT_HS256_SECRET, or get it from its authorization server",
    ),
    (
        "wrong_issuer",
        "the token is from another issuer",
        "get one whose \"iss\" is what JWT_ISSUER says, or correct JWT_ISSUER",
    ),
    (
        "wrong_audience",
        "the token is meant for another audience",
        "get one whose \"aud\" is what JWT_AUDIENCE says, or correct JWT_AUDIENCE",
    ),
    (
        "unknown_key",
        "the token names a key that the authorization server does not publish",
        "check JWT_JWKS_URL, and that the token is from the same server",
    ),
    (
        "algorithm",
        "the token is signed in a way that the server does not take",
        "HS256 goes with JWT_HS256_SECRET; RS256, ES256 and EdDSA with JWT_JWKS_URL",
    ),
    (
        "tenant_mismatch",
        "the token belongs to another tenant",
        "get one for this tenant, or check the URL",
    ),
    (
        "keys_unavailable",
        "the keys that the token would be verified with could not be fetched",
        "check that JWT_JWKS_URL is right and can be reached from where the server runs",
    ),
];

fn row(table: &[Row], reason: &str) -> Option<Advice> {
    let (_, what, fix) = table.iter().find(|(known, _, _)| *known == reason)?;
    Some(Advice::new(*what, *fix))
}

/// Explains a `reason` of `/readyz`, with further details.
pub fn not_ready(reason: &str, detail: &str) -> Finding {
    let known = row(NOT_READY, reason);
    let mut advice =
        known.unwrap_or_else(|| Advice::new(format!("it is not ready: {reason}"), SEE_ITS_LOG));
    if !detail.is_empty() {
        advice.what += &format!(" ({detail})");
    }
    Finding::Failed(advice)
}

/// Explains a `reason` of a rejected token, with further details.
pub fn token_refused(reason: &str, details: &[Option<String>], otherwise: &str) -> Finding {
    let known = row(REFUSED, reason);
    let mut advice = known
        .unwrap_or_else(|| Advice::new(format!("the token is refused: {otherwise}"), SEE_ITS_LOG));
    let details: Vec<&str> = details.iter().flatten().map(String::as_str).collect();
    if !details.is_empty() {
        advice.what += &format!(" ({})", details.join("; "));
    }
    Finding::Failed(advice)
}

pub fn no_such_name(name: &str) -> Advice {
    Advice::new(
        format!("{name}: there is no such name, or this machine cannot ask for names"),
        "check the spelling; a new name may take minutes to be known. \"getent hosts NAME\" asks \
         as this machine does; with Fly, \"flyctl apps list\" shows the apps that there are",
    )
}

pub fn nothing_listens(address: &str, why: &str) -> Advice {
    Advice::new(
        format!("nothing listens at {address} ({})", quote(why)),
        "start what should, or correct the address or the port; with Fly, see \"flyctl status\" \
         and \"flyctl logs\"",
    )
}

pub fn no_tls(url: &Url, why: &str) -> Advice {
    Advice::new(
        format!(
            "no secure connection to {} comes about ({})",
            shown(url),
            quote(why)
        ),
        certificate_fix(url.host_str().unwrap_or_default()),
    )
}

pub fn certificate_fix(host: &str) -> String {
    format!(
        "clients refuse it, too. With Fly, \"flyctl certs check {host}\" says what holds the \
         certificate up; elsewhere, renew it where TLS ends, and check that it is for this name. A \
         server that speaks plain http has an http:// URL"
    )
}

/// A URL as a user writes it: without the path of an endpoint.
pub fn shown(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// Text of a server, on one line and truncated.
pub fn quote(text: &str) -> String {
    let visible = text
        .chars()
        .map(|letter| if is_unprintable(letter) { ' ' } else { letter });
    visible
        .take(MAX_QUOTE_CHARS)
        .collect::<String>()
        .trim()
        .to_owned()
}

/// Formats a duration as `45 s`, `10 min`, `3 h` or `12 days`: rounded down, in the largest unit
/// with a value of at least two.
pub fn span(seconds: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(86_400, "days"), (3_600, "h"), (60, "min")];
    let large = UNITS.iter().find(|(unit, _)| seconds >= 2 * unit);
    large.map_or_else(
        || format!("{seconds} s"),
        |(unit, name)| format!("{} {name}", seconds / unit),
    )
}

/// The date of a Unix time.
pub fn date(seconds: u64) -> String {
    /// The year 10000, beyond the range of HTTP dates.
    const YEAR_10000: u64 = 253_402_300_800;
    if seconds >= YEAR_10000 {
        return "the end of time".to_owned();
    }
    // Has the form "Sun, 06 Nov 1994 08:49:37 GMT".
    let full = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds));
    full.get(5..16).unwrap_or(&full).to_owned()
}
