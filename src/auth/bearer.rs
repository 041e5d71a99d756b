//! Taking the token out of the request: from exactly one `Authorization` header, never from the
//! URL.

use http::HeaderMap;
use http::header::AUTHORIZATION;
use memchr::memchr_iter;

use super::AuthError;

/// The token text, unverified. Two headers are refused, because another reader could pick
/// the other one and see another caller.
pub fn extract(headers: &HeaderMap, max_bytes: usize) -> Result<&str, AuthError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(AuthError::Missing)?;
    if values.next().is_some() {
        return Err(AuthError::Malformed);
    }
    let text = value.to_str().map_err(|_| AuthError::Malformed)?;
    let (scheme, token) = text.split_once(' ').ok_or(AuthError::Malformed)?;
    let token = token.trim_matches(' ');
    let wanted =
        scheme.eq_ignore_ascii_case("bearer") && token.len() <= max_bytes && is_compact_jws(token);
    if wanted {
        Ok(token)
    } else {
        Err(AuthError::Malformed)
    }
}

/// Three dot-separated parts of base64url, each of them non-empty (an empty signature is how `none`
/// is written).
pub fn is_compact_jws(token: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    // Checks every byte without an early exit, so that the loop is vectorized.
    let are_allowed = token.bytes().fold(true, |all, byte| all & is_allowed(byte));
    let mut dots = memchr_iter(b'.', token.as_bytes());
    let three_parts = match (dots.next(), dots.next(), dots.next()) {
        (Some(first), Some(second), None) => {
            0 < first && first + 1 < second && second + 1 < token.len()
        }
        _ => false,
    };
    are_allowed && three_parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers(values: &[&str]) -> HeaderMap {
        values
            .iter()
            .map(|value| (AUTHORIZATION, HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    #[test]
    fn takes_one_bearer_token() {
        for value in ["Bearer a.b.c", "bearer a.b.c", "BEARER  a.b.c "] {
            assert_eq!(extract(&headers(&[value]), 100), Ok("a.b.c"), "{value:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_token_is_three_parts_of_base64url(
            text in "[aZ9_.-]{0,5}[.][b_]{0,2}[.][aé+. /]{0,4}",
        ) {
            let is_part = |part: &str| {
                let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
                !part.is_empty() && part.chars().all(is_allowed)
            };
            let parts: Vec<_> = text.split('.').collect();
            let expected = parts.len() == 3 && parts.iter().all(|part| is_part(part));
            proptest::prop_assert_eq!(is_compact_jws(&text), expected, "{}", text);
        }
    }

    #[test]
    fn refuses_everything_else() {
        assert_eq!(extract(&headers(&[]), 100), Err(AuthError::Missing));
        let too_long = format!("Bearer a.b.{}", "c".repeat(100));
        for value in [
            "",
            "Bearer",
            "Bearer ",
            "a.b.c",
            "Basic a.b.c",
            "Bearer a.b",
            "Bearer a.b.",
            "Bearer a.b.c.d",
            "Bearer a.b.c x",
            "Bearer a.b.c, Bearer d.e.f",
            "Bearer\ta.b.c",
            &too_long,
        ] {
            assert_eq!(
                extract(&headers(&[value]), 100),
                Err(AuthError::Malformed),
                "{value:?}"
            );
        }
        assert_eq!(
            extract(&headers(&["Bearer a.b.c", "Bearer a.b.c"]), 100),
            Err(AuthError::Malformed)
        );
    }
}
