//! Tokens of an authorization server: one key set, which the MCP server and the API both read.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use axum::routing::get;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::entities::with;
use crate::harness::token::{now_secs, token};
use crate::harness::{Api, Client, Era, HttpReply, Metrics, Server, ToolClient, User};

crate::tests![both_programs_accept_published_keys];

pub const ISSUER: &str = "https://login.example.com/";
pub const AUDIENCE: &str = "https://acme.example.com/mcp";

pub struct Key {
    pub algorithm: Algorithm,
    pub signing: EncodingKey,
}

impl Key {
    pub fn new(algorithm: Algorithm) -> Self {
        let signing = match algorithm {
            Algorithm::RS256 => {
                let pair = aws_lc_rs::rsa::KeyPair::generate(KeySize::Rsa2048).unwrap();
                let der: aws_lc_rs::encoding::Pkcs8V1Der = pair.as_der().unwrap();
                // PKCS #8 puts 26 bytes before the PKCS #1 key that is wanted here.
                EncodingKey::from_rsa_der(&der.as_ref()[26..])
            }
            Algorithm::ES256 => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
                EncodingKey::from_ec_der(pair.to_pkcs8v1().unwrap().as_ref())
            }
            _ => {
                let pair = Ed25519KeyPair::generate().unwrap();
                EncodingKey::from_ed_der(pair.to_pkcs8v1().unwrap().as_ref())
            }
        };
        Self { algorithm, signing }
    }

    pub fn id(&self) -> String {
        format!("{:?}", self.algorithm)
    }

    pub fn published(&self) -> Value {
        let key = Jwk::from_encoding_key(&self.signing, self.algorithm).unwrap();
        let more = json!({"kid": self.id(), "use": "sig"});
        with(&serde_json::to_value(key).unwrap(), &more)
    }

    pub fn token(&self, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = Some(self.id());
        jsonwebtoken::encode(&header, claims, &self.signing).unwrap()
    }
}

/// The keys at an address, for as long as the task runs.
pub async fn publish(keys: &[Key]) -> (String, JoinHandle<std::io::Result<()>>) {
    let set = json!({"keys": keys.iter().map(Key::published).collect::<Vec<_>>()}).to_string();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/keys", listener.local_addr().unwrap());
    let published =
        axum::Router::new().route("/keys", get(move || std::future::ready(set.clone())));
    (
        url,
        tokio::spawn(async move { axum::serve(listener, published).await }),
    )
}

async fn both_programs_accept_published_keys() {
    let keys = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA].map(Key::new);
    let (url, serving) = publish(&keys).await;

    let settings = [
        ("JWT_HS256_SECRET", ""),
        ("JWT_JWKS_URL", &url),
        ("JWT_ISSUER", ISSUER),
        ("JWT_AUDIENCE", AUDIENCE),
    ];
    let api = Api::with(&settings).await;
    let server = Server::with("acme", &api, &settings).await;
    let good = json!({
        "sub": "ada",
        "iss": ISSUER,
        "aud": AUDIENCE,
        "exp": now_secs() + 600,
        "tenant_id": "acme",
    });
    let as_ada = |token: String| {
        let sub = "ada".to_owned();
        Client::of(&server, Era::Modern, User { sub, token })
    };
    for key in &keys {
        let client = as_ada(key.token(&good));
        client
            .call("create_note", json!({"title": key.id(), "content": "c"}))
            .await
            .ok();
        client.traffic().await;

        for (wrong, reason) in [
            (
                key.token(&with(&good, &json!({"iss": "https://evil.example"}))),
                "wrong_issuer",
            ),
            (
                key.token(&with(&good, &json!({"aud": "another"}))),
                "wrong_audience",
            ),
            (
                key.token(&with(&good, &json!({"exp": now_secs() - 100}))),
                "expired",
            ),
            (Key::new(key.algorithm).token(&good), "bad_signature"),
        ] {
            let answer = HttpReply::of(as_ada(wrong).calling("list_notes", json!({}))).await;
            assert_eq!(
                (answer.status, &answer.json()["reason"]),
                (401, &json!(reason)),
                "{answer}"
            );
        }
    }
    // The published half of a key is no secret to sign with.
    let public = keys[1].published().to_string();
    for secret in [public.as_str(), ""] {
        let answer =
            HttpReply::of(as_ada(token(good.clone(), secret)).calling("list_notes", json!({})))
                .await;
        assert_eq!(answer.status, 401, "{answer}");
    }
    let metrics = Metrics::of(&server).await;
    for (name, label, expected) in [
        ("key_refreshes_total", "outcome=\"ok\"", 1.0),
        ("key_refreshes_total", "outcome=\"failed\"", 0.0),
        ("auth_failures_total", "reason=\"wrong_issuer\"", 3.0),
        ("auth_failures_total", "reason=\"wrong_audience\"", 3.0),
        ("auth_failures_total", "reason=\"expired\"", 3.0),
    ] {
        let found = metrics.sum(&format!("toolbridge_mcp_{name}"), &[label]);
        assert_eq!(found, expected, "{name} {label}");
    }
    api.until_no_session_is_open().await;
    server.stop().await;
    api.stop().await;
    serving.abort();
}
