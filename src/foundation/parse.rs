//! Parsers for durations, sizes, URLs and log filters.
//!
//! The error of each parser is the rest of a sentence that starts with the key: `… has no unit`.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error};
use url::Url;

/// A value for an error message, truncated and in quotes.
pub fn quoted(text: &str) -> String {
    const MAX_CHARS: usize = 60;
    let text = text.trim_matches('"');
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("\"{}…\"", text.get(..end).unwrap_or_default()),
        None => format!("\"{text}\""),
    }
}

/// Parses a duration such as `250ms`, `25s`, `1m30s` or `2h`. A number without a unit is refused,
/// because it is ambiguous.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let mut total = Duration::ZERO;
    let mut rest = text.trim();
    let bad = || format!("is {}, which is no duration", quoted(text));
    if rest.is_empty() {
        return Err(bad());
    }
    while !rest.is_empty() {
        let (number, after) = split_number(rest).ok_or_else(bad)?;
        let (unit, after) = after.split_at(
            after
                .find(|c: char| !c.is_ascii_alphabetic())
                .unwrap_or(after.len()),
        );
        let millis: u64 = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "" => return Err(format!("is {}, which has no unit", quoted(text))),
            _ => return Err(bad()),
        };
        let part = number
            .checked_mul(millis)
            .map(Duration::from_millis)
            .ok_or_else(bad)?;
        total = total.checked_add(part).ok_or_else(bad)?;
        rest = after.trim_start();
    }
    Ok(total)
}

/// Parses a size such as `65536`, `64KiB`, `1 MiB` or `2MB`. Units with an `i` are powers of 1024,
/// units without are powers of 1000.
pub fn parse_size(text: &str) -> Result<usize, String> {
    let bad = || format!("is {}, which is no size", quoted(text));
    let (number, unit) = split_number(text.trim()).ok_or_else(bad)?;
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return Err(bad()),
    };
    number
        .checked_mul(factor)
        .and_then(|bytes| usize::try_from(bytes).ok())
        .ok_or_else(bad)
}

fn split_number(text: &str) -> Option<(u64, &str)> {
    let (digits, rest) = text.split_at(
        text.find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len()),
    );
    digits.parse().ok().map(|number| (number, rest))
}

/// Parses an http or https URL. Credentials are refused because they would leak, and a fragment
/// because it would be lost when a path is appended.
pub fn parse_url(text: &str) -> Result<Url, String> {
    let shown = || {
        // A text with an `@` may contain a password, which must not be repeated.
        if text.contains('@') {
            "a URL".to_owned()
        } else {
            quoted(text)
        }
    };
    let url = Url::parse(text.trim())
        .map_err(|why| format!("is {}, which is no URL ({why})", shown()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("is {}, which is not an http or https URL", shown()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("is a URL with a user name or password in it".to_owned());
    }
    if url.fragment().is_some() {
        return Err(format!("is {}, which has a fragment", shown()));
    }
    Ok(url)
}

/// Parses a log level, or a filter of `target=level` parts.
///
/// A single word that is not a level is refused, because the filter syntax would treat `infoo` as a
/// target and log everything from it. Level names of other logging systems are accepted.
pub fn log_filter(text: &str) -> Result<String, String> {
    let parts: Vec<String> = text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| match part.split_once('=') {
            Some((target, level)) => log_level(level).map(|level| format!("{target}={level}")),
            None => log_level(part).map(str::to_owned),
        })
        .collect::<Result<_, _>>()?;
    if parts.is_empty() {
        return Err(format!("is {}, which is no log level", quoted(text)));
    }
    Ok(parts.join(","))
}

fn log_level(word: &str) -> Result<&'static str, String> {
    match word.trim().to_ascii_lowercase().as_str() {
        "off" => Ok("off"),
        "error" | "critical" | "fatal" => Ok("error"),
        "warn" | "warning" => Ok("warn"),
        "info" => Ok("info"),
        "debug" => Ok("debug"),
        "trace" => Ok("trace"),
        _ => Err(format!("has {}, which is no log level", quoted(word))),
    }
}

// The following functions are the parsers for serde. The layers have validated the text already, so
// their errors need not name an origin.

pub fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    parse_duration(&String::deserialize(from)?).map_err(D::Error::custom)
}

pub fn size<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    parse_size(&String::deserialize(from)?).map_err(D::Error::custom)
}

pub fn url<'de, D: Deserializer<'de>>(from: D) -> Result<Url, D::Error> {
    parse_url(&String::deserialize(from)?).map_err(D::Error::custom)
}

pub fn optional_url<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Url>, D::Error> {
    url(from).map(Some)
}

pub fn filter<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    log_filter(&String::deserialize(from)?).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit_and_may_have_several() {
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration(" 2h "), Ok(Duration::from_secs(7_200)));
        assert_eq!(
            parse_duration("25"),
            Err("is \"25\", which has no unit".to_owned())
        );
        for bad in [
            "",
            "s",
            "soon",
            "1x",
            "-1s",
            "1.5s",
            "99999999999999999999s",
            "18446744073709551615d",
        ] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_have_decimal_and_binary_units() {
        assert_eq!(parse_size("1MiB"), Ok(1_048_576));
        assert_eq!(parse_size("1 mb"), Ok(1_000_000));
        assert_eq!(parse_size("65536"), Ok(65_536));
        for bad in ["", "MiB", "1XB", "1.5MiB", "99999999999GiB"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_url_with_a_password_is_refused_and_not_repeated() {
        for bad in [
            "http://me:hunter2@host/",
            "http://me:hunter2@ho st/",
            "ftp://me:hunter2@host/",
        ] {
            let why = parse_url(bad).unwrap_err();
            assert!(!why.contains("hunter2"), "{why}");
        }
    }

    #[test]
    fn filters_accept_foreign_levels_and_refuse_typing_mistakes() {
        assert_eq!(log_filter("WARNING"), Ok("warn".to_owned()));
        assert_eq!(
            log_filter("info, toolbridge_mcp::auth=DEBUG"),
            Ok("info,toolbridge_mcp::auth=debug".to_owned())
        );
        assert_eq!(
            log_filter("infoo"),
            Err("has \"infoo\", which is no log level".to_owned())
        );
        assert!(log_filter(",").is_err());
    }
}
