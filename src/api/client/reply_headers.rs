//! Parses headers of the API's answers. Compatible APIs may send dates, invalid values or none.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderValue;

/// Upper limit of `Retry-After`, larger than any useful wait.
const MAX_WAIT: Duration = Duration::from_secs(3600);

/// Parses `Retry-After`: seconds or a date (RFC 9110, section 10.2.3), capped at an hour.
pub fn retry_after(value: &HeaderValue, now_ms: u64) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    let wait = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number that overflows is a very long wait.
        text.parse().map_or(MAX_WAIT, Duration::from_secs)
    } else {
        let date = httpdate::parse_http_date(text).ok()?;
        let now: SystemTime = UNIX_EPOCH.checked_add(Duration::from_millis(now_ms))?;
        date.duration_since(now).unwrap_or(Duration::ZERO)
    };
    Some(wait.min(MAX_WAIT))
}

/// Whether a link in this `Link` value (RFC 8288) has the relation `next`.
pub fn links_next(value: &HeaderValue) -> bool {
    let Ok(text) = value.to_str() else {
        return false;
    };
    let mut rest = text;
    // Parameters extend to the next `<`. A quoted `<` only ends the search early.
    while let Some((_, after_open)) = rest.split_once('<') {
        let Some((_target, parameters)) = after_open.split_once('>') else {
            return false;
        };
        let (current, remaining) = match parameters.find('<') {
            Some(next) => parameters.split_at(next),
            None => (parameters, ""),
        };
        if current.split([';', ',']).any(is_rel_next) {
            return true;
        }
        rest = remaining;
    }
    false
}

fn is_rel_next(parameter: &str) -> bool {
    let Some((name, value)) = parameter.split_once('=') else {
        return false;
    };
    name.trim().eq_ignore_ascii_case("rel")
        && value
            .trim()
            .trim_matches('"')
            .split_ascii_whitespace()
            .any(|rel| rel.eq_ignore_ascii_case("next"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_accepts_only_seconds_and_dates() {
        let now_ms = 1_763_636_400_000; // Thu, 20 Nov 2025 11:00:00 GMT
        for (text, expected) in [
            ("0", Some(0)),
            ("30", Some(30)),
            (" 30 ", Some(30)),
            ("86400", Some(3600)),
            ("99999999999999999999999999", Some(3600)),
            ("Thu, 20 Nov 2025 11:00:05 GMT", Some(5)),
            ("Thu, 20 Nov 2025 10:00:00 GMT", Some(0)),
            ("Fri, 20 Nov 2099 11:00:00 GMT", Some(3600)),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
        ] {
            let value = HeaderValue::from_str(text).unwrap();
            assert_eq!(
                retry_after(&value, now_ms),
                expected.map(Duration::from_secs),
                "{text:?}"
            );
        }
        assert_eq!(
            retry_after(&HeaderValue::from_bytes(b"\xff").unwrap(), now_ms),
            None
        );
    }

    #[test]
    fn finds_the_link_to_the_next_page() {
        for (text, expected) in [
            ("</v1/notes?cursor=x>; rel=\"next\"", true),
            ("<x>; rel=next", true),
            ("<x>;rel=\"prev next\"", true),
            ("<x>; title=\"a\"; REL=\"Next\"", true),
            ("<x>; rel=\"prev\", <y>; rel=\"next\"", true),
            ("<x>; rel=\"prev\"", false),
            ("<rel=next>", false),
            ("<x>; rel=\"nextish\"", false),
            ("<x", false),
            ("rel=\"next\"", false),
            ("", false),
        ] {
            assert_eq!(
                links_next(&HeaderValue::from_str(text).unwrap()),
                expected,
                "{text:?}"
            );
        }
    }
}
