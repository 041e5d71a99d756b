//! Version 2 of the tenant signature: HMAC-SHA256 over all that makes a request what it is, one value per line.
//!
//! docs/API-CONTRACT.md has the lines. The first three are the same for every request and are absorbed once; what a
//! token hashes to is known to whoever sends several requests with it.

use hmac::{Hmac, Mac};
use http::Method;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{digits, hex_of, keyed};
use crate::api::headers;
use crate::api::headers::Headers;

/// How far the verifier's clock may be from the signer's.
pub const WINDOW_MS: u64 = 60_000;

const LABEL: &str = "toolbridge-v2";
const KEY_ID_LABEL: &str = "toolbridge-key-id";
const KEY_ID_DIGITS: usize = 16;

/// What most requests have for a body.
const HASH_OF_NOTHING: Hashed =
    Hashed(*b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");

/// What is signed of a request.
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

#[derive(Clone)]
pub struct Signer {
    key_id: String,
    /// Has seen the lines that are always the same.
    begun: Hmac<Sha256>,
}

impl Signer {
    pub fn new(secret: &str, tenant: &str) -> Self {
        let key_id = key_id(secret);
        let mut begun = keyed(secret);
        for line in [LABEL, &key_id, tenant] {
            begun.update(line.as_bytes());
            begun.update(b"\n");
        }
        Self { key_id, begun }
    }

    /// Writes the headers of this version; the nonce is made here.
    pub fn sign(&self, timestamp: &str, request: &Bound<'_>, into: &mut Headers) {
        // From a generator of each thread's own that is seeded by the system: unguessable, and cheap.
        let mut nonce = [0_u8; 32];
        Uuid::new_v4().simple().encode_lower(&mut nonce);
        self.sign_with(&nonce, timestamp, request, into);
    }

    fn sign_with(&self, nonce: &[u8], timestamp: &str, request: &Bound<'_>, into: &mut Headers) {
        let body = match request.body {
            [] => HASH_OF_NOTHING,
            body => Hashed::of(body),
        };
        let mut mac = self.begun.clone();
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
        into.put(&headers::SIGNATURE_V2, digits(mac));
    }
}

/// The name of a secret.
fn key_id(secret: &str) -> String {
    let mut mac = keyed(secret);
    mac.update(KEY_ID_LABEL.as_bytes());
    let mut id = hex::encode(mac.finalize().into_bytes());
    id.truncate(KEY_ID_DIGITS);
    id
}

#[cfg(test)]
pub mod tests;
