//! Version 2 of the tenant signature: HMAC-SHA256 over all that identifies a request, one value per
//! line.
//!
//! docs/API-CONTRACT.md lists the lines. The first three are the same for every request and are
//! hashed once; the hash of a token is computed once per call.

use hmac::{Hmac, Mac};
use http::Method;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{hex_digits, hex_of, keyed};
use crate::api::headers;
use crate::api::headers::Headers;

/// Maximum clock difference between signer and verifier.
pub const WINDOW_MS: u64 = 60_000;

const LABEL: &str = "toolbridge-v2";
const KEY_ID_LABEL: &str = "toolbridge-key-id";
const KEY_ID_LENGTH: usize = 16;

/// Hash of the empty body, which most requests have.
const EMPTY_HASH: Hashed =
    Hashed(*b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");

/// The parts of a request that the signature covers.
#[derive(Debug, Clone, Copy)]
pub struct Bound<'a> {
    pub method: &'a Method,
    /// Path and query, as in the request line.
    pub target: &'a str,
    pub body: &'a [u8],
    pub token: &'a Hashed,
}

/// SHA-256 in lower-case hex.
#[derive(Debug, Clone)]
pub struct Hashed([u8; 64]);

impl Hashed {
    pub fn of(text: &[u8]) -> Self {
        Self(hex_of(&Sha256::digest(text)))
    }
}

/// Signs requests with one secret, for one tenant.
#[derive(Clone)]
pub struct Signer {
    key_id: String,
    /// HMAC state after the constant lines.
    prefix: Hmac<Sha256>,
}

impl Signer {
    pub fn new(secret: &str, tenant: &str) -> Self {
        let key_id = key_id(secret);
        let mut prefix = keyed(secret);
        for line in [LABEL, &key_id, tenant] {
            prefix.update(line.as_bytes());
            prefix.update(b"\n");
        }
        Self { key_id, prefix }
    }

    /// Appends the headers of this version, with a new nonce.
    pub fn sign(&self, timestamp: &str, request: &Bound<'_>, into: &mut Headers) {
        // The generator is thread-local and seeded by the system: unpredictable, and cheap.
        let mut nonce = [0_u8; 32];
        Uuid::new_v4().simple().encode_lower(&mut nonce);
        self.sign_with(&nonce, timestamp, request, into);
    }

    fn sign_with(&self, nonce: &[u8], timestamp: &str, request: &Bound<'_>, into: &mut Headers) {
        let body = match request.body {
            [] => EMPTY_HASH,
            body => Hashed::of(body),
        };
        let mut mac = self.prefix.clone();
        for line in [
            timestamp.as_bytes(),
            nonce,
            request.method.as_str().as_bytes(),
            request.target.as_bytes(),
            &body.0,
        ] {
            mac.update(line);
            mac.update(b"\n");
        }
        mac.update(&request.token.0);
        into.put(&headers::KEY_ID, &self.key_id);
        into.put(&headers::NONCE, nonce);
        into.put(&headers::CONTENT_HASH, body.0);
        into.put(&headers::SIGNATURE_V2, hex_digits(mac));
    }
}

/// The public identifier of a secret.
fn key_id(secret: &str) -> String {
    let mut mac = keyed(secret);
    mac.update(KEY_ID_LABEL.as_bytes());
    let mut id = hex::encode(mac.finalize().into_bytes());
    id.truncate(KEY_ID_LENGTH);
    id
}

#[cfg(test)]
pub mod tests;
