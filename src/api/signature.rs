//! Tenant signature. Version 1, in this module, is HMAC-SHA256 over `{tenant}:{timestamp}` in
//! lower-case hex. Version 2, in [`version2`], covers the whole request. An API checks the versions
//! that it knows.
//!
//! Every request is signed with the wall-clock time at which it is sent, so a corrected clock takes
//! effect at once. The verifier exists for tests only, which share vectors with the API.

pub mod version2;

use hmac::{Hmac, KeyInit, Mac};
use http::HeaderValue;
use http::header::InvalidHeaderValue;
use serde::Deserialize;
use sha2::Sha256;

use self::version2::Bound;
use super::headers;
use super::headers::Headers;
use crate::foundation::secret::Secret;

/// Maximum clock difference between signer and verifier in version 1.
pub const WINDOW_MS: u64 = 300_000;

/// Maximum length of a timestamp; more digits would not fit 64 bits.
#[cfg(any(test, feature = "internals"))]
const MAX_TIMESTAMP_DIGITS: usize = 19;

/// The versions of the signature to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Versions {
    Both,
    V1,
    V2,
}

/// Signs requests in the name of a tenant. The HMAC key schedule is computed once.
#[derive(Clone)]
pub struct Signer {
    tenant: HeaderValue,
    v1: Option<Hmac<Sha256>>,
    v2: Option<version2::Signer>,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer")
            .field("tenant", &self.tenant)
            .finish_non_exhaustive()
    }
}

impl Signer {
    pub fn new(
        secret: &Secret,
        tenant: &str,
        versions: Versions,
    ) -> Result<Self, InvalidHeaderValue> {
        let v1 = || {
            let mut keyed = keyed(secret.expose());
            keyed.update(tenant.as_bytes());
            keyed.update(b":");
            keyed
        };
        Ok(Self {
            tenant: HeaderValue::from_str(tenant)?,
            v1: (versions != Versions::V2).then(v1),
            v2: (versions != Versions::V1).then(|| version2::Signer::new(secret.expose(), tenant)),
        })
    }

    /// Appends the tenant headers.
    pub fn sign(&self, now_ms: u64, request: &Bound<'_>, into: &mut Headers) {
        let mut buffer = itoa::Buffer::new();
        let timestamp = buffer.format(now_ms);
        if let Some(v1) = &self.v1 {
            let mut mac = v1.clone();
            mac.update(timestamp.as_bytes());
            into.put(&headers::SIGNATURE, hex_digits(mac));
        }
        if let Some(v2) = &self.v2 {
            v2.sign(timestamp, request, into);
        }
        into.put(&headers::TENANT, &self.tenant);
        into.put(&headers::TIMESTAMP, timestamp);
    }

    /// Whether a version in `versions`, named as by the API, is sent.
    pub fn sends_one_of(&self, versions: &[impl AsRef<str>]) -> bool {
        versions.iter().any(|version| match version.as_ref() {
            "v1" => self.v1.is_some(),
            "v2" => self.v2.is_some(),
            _ => false,
        })
    }
}

/// The signature in hex.
fn hex_digits(mac: Hmac<Sha256>) -> [u8; 64] {
    hex_of(&mac.finalize().into_bytes())
}

fn hex_of(bytes: &[u8]) -> [u8; 64] {
    let mut digits = [b' '; 64];
    // 32 bytes are 64 digits. For any other length the API would refuse the result.
    let _ = hex::encode_to_slice(bytes, &mut digits);
    digits
}

/// Whether `signature` is valid for `tenant` at this time. The API's side of the contract, for
/// tests.
#[cfg(any(test, feature = "internals"))]
pub fn verify(
    secret: &Secret,
    tenant: &str,
    timestamp: &str,
    signature: &str,
    now_ms: u64,
) -> bool {
    let digits_only = !timestamp.is_empty()
        && timestamp.len() <= MAX_TIMESTAMP_DIGITS
        && timestamp.bytes().all(|byte| byte.is_ascii_digit());
    let Some(signed_at) = timestamp.parse::<u64>().ok().filter(|_| digits_only) else {
        return false;
    };
    if tenant.is_empty()
        || signed_at.abs_diff(now_ms) > WINDOW_MS
        || signature.len() != 64
        || signature.bytes().any(|b| b.is_ascii_uppercase())
    {
        return false;
    }
    let mut mac = keyed(secret.expose());
    mac.update(tenant.as_bytes());
    mac.update(b":");
    mac.update(timestamp.as_bytes());
    hex::decode(signature).is_ok_and(|signature| mac.verify_slice(&signature).is_ok())
}

fn keyed(secret: &str) -> Hmac<Sha256> {
    // HMAC accepts keys of any length; the error of `new_from_slice` applies to other MACs.
    Hmac::new_from_slice(secret.as_bytes()).unwrap_or_else(|_| Hmac::new(&Default::default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn vectors(list: &str) -> Vec<Value> {
        let file: Value =
            serde_json::from_str(include_str!("../../tests/vectors/tenant-signature.json"))
                .unwrap();
        let list = file[list].as_array().unwrap().clone();
        assert!(!list.is_empty());
        list
    }

    fn text<'a>(vector: &'a Value, key: &str) -> &'a str {
        vector[key].as_str().unwrap()
    }

    #[test]
    fn signs_as_the_api_does() {
        for vector in vectors("valid") {
            let (secret, tenant) = (
                Secret::new(text(&vector, "secret")),
                text(&vector, "tenant_id"),
            );
            let (timestamp, expected) = (text(&vector, "timestamp_ms"), text(&vector, "signature"));
            let now_ms: u64 = timestamp.parse().unwrap();
            assert!(
                verify(&secret, tenant, timestamp, expected, now_ms),
                "{vector}"
            );
            // The signer writes no leading zeros; a vector with them is for verifiers only.
            if timestamp == now_ms.to_string() {
                let mut signed = Headers::default();
                let signer = Signer::new(&secret, tenant, Versions::V1).unwrap();
                signer.sign(now_ms, &version2::tests::a_request(), &mut signed);
                let signed = signed.to_map();
                assert_eq!(signed.len(), 3, "version 2 is left out: {signed:?}");
                assert_eq!(signed[headers::SIGNATURE], expected, "{vector}");
                assert_eq!(signed[headers::TIMESTAMP], timestamp);
                assert_eq!(signed[headers::TENANT], tenant);
            }
        }
    }

    #[test]
    fn verifies_as_the_api_does() {
        for (list, expected) in [("accepted", true), ("refused", false)] {
            for vector in vectors(list) {
                let secret = Secret::new(text(&vector, "secret"));
                let now_ms = vector["now_ms"].as_u64().unwrap();
                let verified = verify(
                    &secret,
                    text(&vector, "tenant_id"),
                    text(&vector, "timestamp"),
                    text(&vector, "signature"),
                    now_ms,
                );
                assert_eq!(verified, expected, "{}", vector["why"]);
            }
        }
    }

    #[test]
    fn does_not_print_the_secret() {
        let signer = Signer::new(&Secret::new("hunter2"), "acme", Versions::Both).unwrap();
        assert_eq!(format!("{signer:?}"), "Signer { tenant: \"acme\", .. }");
    }
}
