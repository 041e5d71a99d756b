//! Test vectors shared with the API, and a verifier for tests.

use std::collections::BTreeSet;

use http::{HeaderMap, HeaderValue};
use serde_json::Value;

use super::*;
use crate::api::signature::{Signer as TenantSigner, Versions};
use crate::foundation::secret::Secret;

/// An arbitrary request.
pub fn a_request() -> Bound<'static> {
    static EMPTY: std::sync::LazyLock<Hashed> = std::sync::LazyLock::new(|| Hashed::of(b""));
    Bound {
        method: &Method::GET,
        target: "/readyz",
        body: b"",
        token: &EMPTY,
    }
}

/// Whether the headers prove this request at this time, as the API checks it, except for the reuse
/// of nonces.
pub fn verify(secrets: &[&str], sent: &HeaderMap, request: &Bound<'_>, now_ms: u64) -> bool {
    let header = |name| {
        let value: Option<&HeaderValue> = sent.get(name);
        value.map(HeaderValue::as_bytes).unwrap_or_default()
    };
    let is_hex = |text: &[u8], digits| {
        text.len() == digits && text.iter().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
    };
    let (tenant, timestamp, nonce) = (
        header(headers::TENANT),
        header(headers::TIMESTAMP),
        header(headers::NONCE),
    );
    let time = std::str::from_utf8(timestamp).unwrap();
    let in_time = !time.is_empty()
        && time.bytes().all(|c| c.is_ascii_digit())
        && time
            .parse::<u64>()
            .is_ok_and(|at| at.abs_diff(now_ms) <= WINDOW_MS);
    let well_formed = !tenant.is_empty() && tenant.len() <= 255 && is_hex(nonce, 32);
    if !in_time || !well_formed || header(headers::CONTENT_HASH) != Hashed::of(request.body).0 {
        return false;
    }
    let known = secrets
        .iter()
        .find(|secret| key_id(secret).as_bytes() == header(headers::KEY_ID));
    known.is_some_and(|secret| {
        let text = canonical(sent, request);
        let mut mac = keyed(secret);
        mac.update(text.as_bytes());
        hex_digits(mac) == header(headers::SIGNATURE_V2)
    })
}

fn canonical(sent: &HeaderMap, request: &Bound<'_>) -> String {
    let header = |name| {
        sent.get(name)
            .map_or("", |value: &HeaderValue| value.to_str().unwrap())
    };
    [
        "toolbridge-v2",
        header(headers::KEY_ID),
        header(headers::TENANT),
        header(headers::TIMESTAMP),
        header(headers::NONCE),
        request.method.as_str(),
        request.target,
        header(headers::CONTENT_HASH),
        std::str::from_utf8(&request.token.0).unwrap(),
    ]
    .join("\n")
}

fn vectors(list: &str) -> Vec<Value> {
    let file: Value = serde_json::from_str(include_str!(
        "../../../../tests/vectors/tenant-signature-v2.json"
    ))
    .unwrap();
    let list = file[list].as_array().unwrap().clone();
    assert!(!list.is_empty());
    list
}

fn text<'a>(vector: &'a Value, key: &str) -> &'a str {
    vector[key].as_str().unwrap()
}

/// Calls `check` with the request of a vector.
fn with_request<T>(vector: &Value, check: impl FnOnce(&Bound<'_>) -> T) -> T {
    check(&Bound {
        method: &text(vector, "method").parse().unwrap(),
        target: text(vector, "target"),
        body: text(vector, "body").as_bytes(),
        token: &Hashed::of(text(vector, "token").as_bytes()),
    })
}

#[test]
fn signs_as_the_api_does() {
    for vector in vectors("valid") {
        let signer = Signer::new(text(&vector, "secret"), text(&vector, "tenant_id"));
        let mut signed = Headers::default();
        with_request(&vector, |request| {
            signer.sign_with(
                text(&vector, "nonce").as_bytes(),
                text(&vector, "timestamp"),
                request,
                &mut signed,
            );
        });
        let signed = signed.to_map();
        for (name, key) in [
            (headers::KEY_ID, "key_id"),
            (headers::NONCE, "nonce"),
            (headers::CONTENT_HASH, "content_sha256"),
            (headers::SIGNATURE_V2, "signature"),
        ] {
            assert_eq!(signed[name], text(&vector, key), "{vector}");
        }
        assert_eq!(
            &Hashed::of(text(&vector, "token").as_bytes()).0[..],
            text(&vector, "token_sha256").as_bytes()
        );
    }
}

#[test]
fn verifies_as_the_api_does() {
    for (list, expected) in [("accepted", true), ("refused", false)] {
        for vector in vectors(list) {
            let secrets: Vec<&str> = vector["secrets"]
                .as_array()
                .unwrap()
                .iter()
                .map(|s| s.as_str().unwrap())
                .collect();
            let mut sent = HeaderMap::new();
            for (name, key) in [
                (headers::TENANT, "tenant_id"),
                (headers::TIMESTAMP, "timestamp"),
                (headers::KEY_ID, "key_id"),
                (headers::NONCE, "nonce"),
                (headers::CONTENT_HASH, "content_sha256"),
                (headers::SIGNATURE_V2, "signature"),
            ] {
                // A value that is not a valid header value cannot be sent.
                if let Ok(value) = HeaderValue::from_str(text(&vector, key)) {
                    sent.insert(name, value);
                }
            }
            let now_ms = vector["now_ms"].as_u64().unwrap();
            let verified =
                with_request(&vector, |request| verify(&secrets, &sent, request, now_ms));
            assert_eq!(verified, expected, "{}", vector["why"]);
        }
    }
}

fn headers_of(signer: &TenantSigner) -> HeaderMap {
    let mut signed = Headers::default();
    signer.sign(1_763_636_400_000, &a_request(), &mut signed);
    signed.to_map()
}

#[test]
fn sends_both_versions() {
    let signer = TenantSigner::new(&Secret::new("s"), "acme", Versions::Both).unwrap();
    let signed = headers_of(&signer);
    assert_eq!(signed.len(), 7);
    assert!(verify(&["s"], &signed, &a_request(), 1_763_636_400_000));
    let v2_only = headers_of(&TenantSigner::new(&Secret::new("s"), "acme", Versions::V2).unwrap());
    assert!(!v2_only.contains_key(headers::SIGNATURE));
    assert_eq!(v2_only.len(), 6);
}

#[test]
fn never_repeats_a_nonce() {
    let signer = TenantSigner::new(&Secret::new("s"), "acme", Versions::V2).unwrap();
    let nonces: BTreeSet<Vec<u8>> = (0..10_000)
        .map(|_| headers_of(&signer)[headers::NONCE].as_bytes().to_vec())
        .collect();
    assert_eq!(nonces.len(), 10_000);
}

#[test]
fn the_hash_of_an_empty_body_is_correct() {
    assert_eq!(&Hashed::of(b"").0[..], &EMPTY_HASH.0[..]);
}
