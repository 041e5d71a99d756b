//! Tokens: as they come, and with a header and claims of anybody's making under a good signature.
//! Who is let in holds the secret, and is who the claims say, by a second reading of them. After a
//! word of its own the input is a key set.

#![allow(
    clippy::unwrap_used,
    reason = "a fuzz target reports a finding by a panic"
)]

use std::cell::LazyCell;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::FutureExt;
use hmac::{Hmac, KeyInit, Mac};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use serde_json::{Map, Value};
use sha2::Sha256;

use super::scopes::Scopes;
use super::{AuthError, Principal, Settings, Verifier, bearer, jwks};
use crate::foundation::clock::Clock;
use crate::foundation::json::Json;
use crate::foundation::secret::Secret;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const NOW: u64 = 1_763_636_400;
const LEEWAY: f64 = 60.0;
const KEY_SET: &[u8] = b"keys\n";
const MAX_KEYS: usize = 32;

thread_local! {
    static VERIFIER: LazyCell<Verifier> = LazyCell::new(|| {
        let settings = Settings {
            hs256_secret: Some(Secret::new(SECRET)),
            issuer: Some("https://login.example.com/".into()),
            audience: Some("https://acme.example.com/mcp".into()),
            ..Settings::default()
        };
        Verifier::new(&settings, "acme", Clock::from_millis(|| NOW * 1000)).unwrap()
    });
}

pub fn feed(input: &[u8]) {
    if let Some(set) = input.strip_prefix(KEY_SET) {
        if let Ok(keys) = jwks::parse(set) {
            assert!((1..=MAX_KEYS).contains(&keys.len()));
            assert!(Json::parse(set).unwrap().is_object());
        }
        return;
    }
    from_request(input);
    let Some(at) = input.iter().position(|byte| *byte == b'\n') else {
        return;
    };
    let (header, claims) = input.split_at(at);
    let claims = claims.get(1..).unwrap_or_default();
    let signed = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(claims)
    );
    let token = format!("{signed}.{}", seal(&signed));
    if let Ok(principal) = verified(&token) {
        is_as_claimed(&principal, header, claims);
    }
    // One bit makes it another token.
    let other = format!("{signed}.{}", seal(&format!("{signed} ")));
    assert!(verified(&other).is_err());
}

/// The whole header's value, and the token in it.
fn from_request(input: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(input) else {
        return;
    };
    let mut headers = HeaderMap::from_iter([(AUTHORIZATION, value.clone())]);
    if let Ok(token) = bearer::extract(&headers, 8 * 1024) {
        assert!(bearer::is_compact_jws(token) && input.len() >= token.len());
        if verified(token).is_ok() {
            let (signed, signature) = token.rsplit_once('.').unwrap();
            assert_eq!(signature, seal(signed), "let in without the secret");
        }
    }
    headers.append(AUTHORIZATION, value);
    assert_eq!(
        bearer::extract(&headers, 8 * 1024),
        Err(AuthError::Malformed)
    );
}

fn is_as_claimed(principal: &Principal, header: &[u8], claims: &[u8]) {
    let header: Map<String, Value> = serde_json::from_slice(header).unwrap();
    assert!(
        header.get("alg").and_then(Value::as_str) == Some("HS256") && !header.contains_key("crit")
    );
    let claims: Map<String, Value> = serde_json::from_slice(claims).unwrap();
    let claim = |name: &str| claims.get(name).filter(|value| !value.is_null());
    let subject = claim("sub").and_then(Value::as_str).unwrap();
    assert_eq!(&*principal.subject, subject);
    assert!((1..=255).contains(&subject.len()) && !subject.contains(char::is_control));
    let seconds = |name: &str| claim(name).map(|value| value.as_f64().unwrap());
    let now = NOW as f64;
    assert!(seconds("exp").unwrap() > now - LEEWAY - 1.0);
    assert!(seconds("nbf").is_none_or(|from| from < now + LEEWAY + 1.0));
    assert_eq!(claim("iss").unwrap(), "https://login.example.com/");
    assert!(
        claim("aud")
            .unwrap()
            .to_string()
            .contains("\"https://acme.example.com/mcp\"")
    );
    assert!(claim("tenant_id").is_none_or(|tenant| tenant == "acme"));
    let silent = ["scope", "scp", "permissions"]
        .iter()
        .all(|name| !claims.contains_key(*name));
    assert_eq!(
        principal.scopes == Scopes::All,
        silent,
        "only who says nothing is not limited"
    );
}

fn verified(token: &str) -> Result<Principal, AuthError> {
    // A secret of ours is never waited for.
    VERIFIER.with(|verifier| verifier.verify(token).now_or_never().unwrap())
}

fn seal(signed: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(signed.as_bytes());
    URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
}
