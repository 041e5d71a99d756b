//! Tenant signatures, line by line: tenant, timestamp, signature, the verifier's time. What
//! verifies was signed by the holder of the secret, lately; and what is signed here verifies.

#![allow(
    clippy::unwrap_used,
    reason = "a fuzz target reports a finding by a panic"
)]

use hmac::{Hmac, KeyInit, Mac};
use http::Method;
use sha2::Sha256;

use super::headers;
use super::headers::Headers;
use super::signature::version2::{Bound, Hashed};
use super::signature::{Signer, Versions, WINDOW_MS, verify};
use crate::foundation::secret::Secret;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

pub fn feed(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let mut lines = text.split('\n');
    let mut next = || lines.next().unwrap_or_default();
    let (tenant, timestamp, signature) = (next(), next(), next());
    let now_ms = next().parse::<u64>().unwrap_or_default();
    let secret = Secret::new(SECRET);
    if verify(&secret, tenant, timestamp, signature, now_ms) {
        assert_eq!(signature, expected_by_the_contract(tenant, timestamp));
        let signed_at: u64 = timestamp.parse().unwrap();
        assert!(signed_at.abs_diff(now_ms) <= WINDOW_MS);
    }
    // With the right signature only time and form are left to judge.
    let proper = !timestamp.is_empty()
        && timestamp.len() <= 19
        && timestamp.bytes().all(|byte| byte.is_ascii_digit());
    let timely = timestamp
        .parse::<u64>()
        .is_ok_and(|at| at.abs_diff(now_ms) <= WINDOW_MS);
    let right = expected_by_the_contract(tenant, timestamp);
    let expected = proper && timely && !tenant.is_empty();
    assert_eq!(verify(&secret, tenant, timestamp, &right, now_ms), expected);
    // Where the tenant ends is not for the timestamp to say.
    let (longer, shifted) = (
        format!("{tenant}:{timestamp}"),
        timestamp.get(1..).unwrap_or_default(),
    );
    assert!(!verify(&secret, &longer, shifted, &right, now_ms));

    let Ok(signer) = Signer::new(&secret, tenant, Versions::V1) else {
        return;
    };
    let mut signed = Headers::default();
    let request = Bound {
        method: &Method::GET,
        target: "/",
        body: input,
        token: &Hashed::of(input),
    };
    signer.sign(now_ms, &request, &mut signed);
    let signed = signed.to_map();
    let said = |name| std::str::from_utf8(signed.get(name).unwrap().as_bytes()).unwrap();
    let own = verify(
        &secret,
        said(headers::TENANT),
        said(headers::TIMESTAMP),
        said(headers::SIGNATURE),
        now_ms,
    );
    assert_eq!(
        own,
        !tenant.is_empty() && said(headers::TIMESTAMP).len() <= 19
    );
}

fn expected_by_the_contract(tenant: &str, timestamp: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(format!("{tenant}:{timestamp}").as_bytes());
    hex::encode(mac.finalize().into_bytes())
}
