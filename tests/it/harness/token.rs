//! People and their tokens, secrets, and the tenant's signature as the contract has it.

use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The secrets of this run. Both programs have them; no output may contain them.
pub struct Secrets {
    pub jwt: String,
    pub tenant: String,
    /// The MCP server's own at an authorization server.
    pub client: String,
}

/// The MCP server's name at an authorization server.
pub const CLIENT_ID: &str = "toolbridge-mcp";

impl Secrets {
    /// Name and secret as they go over the wire.
    pub fn client_basic(&self) -> String {
        STANDARD.encode(format!("{CLIENT_ID}:{}", self.client))
    }
}

pub static SECRETS: LazyLock<Secrets> = LazyLock::new(|| Secrets {
    jwt: new_secret(),
    tenant: new_secret(),
    client: new_secret(),
});

/// 64 random hexadecimal digits.
pub fn new_secret() -> String {
    format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}

pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

pub fn now_secs() -> u64 {
    now_ms() / 1000
}

/// A user, with a token.
#[derive(Clone)]
pub struct User {
    pub sub: String,
    pub token: String,
}

impl User {
    pub fn of(tenant: &str) -> Self {
        let sub = format!("user-{}", Uuid::new_v4().simple());
        Self::with_claims(json!({ "sub": sub, "tenant_id": tenant }))
    }

    /// Some claims; an expiry is added where there is none.
    pub fn with_claims(claims: Value) -> Self {
        let sub = claims["sub"].as_str().unwrap_or_default().to_owned();
        Self {
            sub,
            token: token(claims, &SECRETS.jwt),
        }
    }
}

pub fn token(mut claims: Value, secret: &str) -> String {
    let all = claims.as_object_mut().unwrap();
    all.entry("exp").or_insert_with(|| json!(now_secs() + 600));
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::default(), &claims, &key).unwrap()
}

/// Version 1 of the tenant signature, written down once more from the contract.
pub fn signature(secret: &str, tenant: &str, timestamp_ms: &str) -> String {
    hmac(secret, &format!("{tenant}:{timestamp_ms}"))
}

/// Version 2, likewise: of a request with these headers, of which those of this version need not be
/// there.
pub fn signature_v2(
    secret: &str,
    method: &str,
    target: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> [(&'static str, String); 3] {
    let header = |name: &str| {
        headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    };
    let (key_id, hash) = (
        hmac(secret, "toolbridge-key-id")[..16].to_owned(),
        sha256(body),
    );
    let token = header("authorization").trim_start_matches("Bearer ");
    let lines = [
        "toolbridge-v2",
        &key_id,
        header("x-tb-tenant-id"),
        header("x-tb-timestamp"),
        header("x-tb-nonce"),
        method,
        target,
        &hash,
        &sha256(token.as_bytes()),
    ];
    let signature = hmac(secret, &lines.join("\n"));
    [
        ("x-tb-key-id", key_id),
        ("x-tb-content-sha256", hash),
        ("x-tb-signature-v2", signature),
    ]
}

fn hmac(secret: &str, text: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

fn sha256(text: &[u8]) -> String {
    hex::encode(Sha256::digest(text))
}
