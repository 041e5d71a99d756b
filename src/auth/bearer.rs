//! Taking the token out of the request: from exactly one `Authorization` header, never from the
//! URL.

use http::HeaderMap;
use http::header::AUTHORIZATION;

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
    let is_part = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    token.split('.').count() == 3 && token.split('.').all(is_part)
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
