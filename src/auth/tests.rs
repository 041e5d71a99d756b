//! Token verification against a key server over loopback.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::*;
use crate::foundation::clock::Clock;
use crate::foundation::secret::Secret;

const NOW: u64 = 1_763_636_400;
const SECRET: &str = "a-shared-secret-of-at-least-32-bytes";

/// A signing key and its published half.
struct TestKey {
    signing: EncodingKey,
    algorithm: Algorithm,
    id: &'static str,
}

/// Out of the range of a double. Published without quotes.
const OUT_OF_RANGE: &str = "1e999";

impl TestKey {
    fn new(algorithm: Algorithm, id: &'static str) -> Self {
        let signing = match algorithm {
            Algorithm::RS256 => {
                let pair = aws_lc_rs::rsa::KeyPair::generate(KeySize::Rsa2048).unwrap();
                let der: aws_lc_rs::encoding::Pkcs8V1Der = pair.as_der().unwrap();
                EncodingKey::from_rsa_der(&to_pkcs1(der.as_ref()))
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
        Self {
            signing,
            algorithm,
            id,
        }
    }

    fn published(&self) -> Value {
        let mut jwk =
            serde_json::to_value(Jwk::from_encoding_key(&self.signing, self.algorithm).unwrap())
                .unwrap();
        jwk["kid"] = json!(self.id);
        jwk["use"] = json!("sig");
        // Some providers publish further members, some of them numbers.
        jwk["nbf"] = json!(1_763_636_400);
        jwk["score"] = json!(OUT_OF_RANGE);
        jwk
    }

    fn token(&self, claims: Value) -> String {
        let header = Header {
            kid: Some(self.id.to_owned()),
            ..Header::new(self.algorithm)
        };
        jsonwebtoken::encode(&header, &claims, &self.signing).unwrap()
    }
}

/// The RSA key in a PKCS#8 structure, whose prefix has 26 bytes for keys of this size.
fn to_pkcs1(pkcs8: &[u8]) -> Vec<u8> {
    pkcs8[26..].to_vec()
}

fn valid_claims() -> Value {
    json!({"sub": "user-1", "exp": NOW + 600})
}

fn hs256(secret: &str, claims: Value) -> String {
    jsonwebtoken::encode(
        &Header::default(),
        &claims,
        &EncodingKey::from_secret(secret.as_bytes()),
    )
    .unwrap()
}

fn encode_token(header: Value, claims: Value, signature: &[u8]) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!(
        "{}.{}.{}",
        part(&header),
        part(&claims),
        URL_SAFE_NO_PAD.encode(signature)
    )
}

fn verifier(settings: Settings) -> Verifier {
    Verifier::new(&settings, "acme", Clock::from_millis(|| NOW * 1000)).unwrap()
}

/// A key server whose document can be replaced, and which counts its requests.
#[derive(Clone, Default)]
struct KeyServer {
    document: Arc<Mutex<Option<String>>>,
    requests: Arc<AtomicUsize>,
    url: String,
}

impl KeyServer {
    async fn start(keys: &[&TestKey]) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks", listener.local_addr().unwrap());
        let server = Self {
            url,
            ..Self::default()
        };
        server.publish(keys).await;
        let state = server.clone();
        let answer = move || {
            let state = state.clone();
            async move {
                state.requests.fetch_add(1, Ordering::SeqCst);
                let document = state.document.lock().await.clone();
                document.ok_or(StatusCode::INTERNAL_SERVER_ERROR)
            }
        };
        let app = axum::Router::new().route("/jwks", axum::routing::get(answer));
        tokio::spawn(async move { axum::serve(listener, app).await });
        server
    }

    async fn publish(&self, keys: &[&TestKey]) {
        let mut keys: Vec<Value> = keys.iter().map(|key| key.published()).collect();
        keys.push(json!({"kty": "novel", "kid": "from-the-future"}));
        keys.push(json!({"kty": "oct", "kid": "symmetric", "k": URL_SAFE_NO_PAD.encode(SECRET)}));
        *self.document.lock().await = Some(
            json!({ "keys": keys })
                .to_string()
                .replace(&format!("\"{OUT_OF_RANGE}\""), OUT_OF_RANGE),
        );
    }

    async fn fail(&self) {
        *self.document.lock().await = None;
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    fn verifier(&self) -> Verifier {
        verifier(Settings {
            jwks_url: self.url.parse().ok(),
            ..Settings::default()
        })
    }
}

/// Advances the clock, then resumes it: a paused clock would fire time-outs during socket I/O.
async fn advance_clock(by: Duration) {
    tokio::time::pause();
    tokio::time::advance(by).await;
    tokio::time::resume();
}

async fn refusal(verifier: &Verifier, token: &str) -> Option<AuthError> {
    verifier.verify(token).await.err()
}

#[tokio::test]
async fn verifies_hs256_with_the_shared_secret() {
    let verifier = verifier(Settings {
        hs256_secret: Some(SECRET.into()),
        ..Settings::default()
    });
    let principal = verifier
        .verify(&hs256(SECRET, valid_claims()))
        .await
        .unwrap();
    assert_eq!(&*principal.subject, "user-1");
    assert!(
        !format!("{principal:?} {verifier:?}").contains("eyJ"),
        "Debug prints no token"
    );

    assert_eq!(
        refusal(&verifier, &hs256("another", valid_claims())).await,
        Some(AuthError::BadSignature)
    );
    let expired = hs256(SECRET, json!({"sub": "user-1", "exp": NOW - 61}));
    assert_eq!(refusal(&verifier, &expired).await, Some(AuthError::Expired));
    let foreign = hs256(
        SECRET,
        json!({"sub": "user-1", "exp": NOW, "tenant_id": "globex"}),
    );
    assert_eq!(
        refusal(&verifier, &foreign).await,
        Some(AuthError::TenantMismatch)
    );
    for garbage in ["", "a", "a.b.c", "..", "é.é.é", &"x.".repeat(10_000)] {
        assert_eq!(
            refusal(&verifier, garbage).await,
            Some(AuthError::Malformed),
            "{garbage:.20}"
        );
    }
}

/// Written by hand, because issuers format numbers in ways that the encoder of the tests does not.
#[tokio::test]
async fn parses_times_in_any_number_format() {
    let verifier = verifier(Settings {
        hs256_secret: Some(SECRET.into()),
        ..Settings::default()
    });
    for (times, expected) in [
        (r#""exp":1763636401"#, None),
        (r#""exp":1763636401.75"#, None),
        (r#""exp":1.763636401e9,"nbf":1763636400.5"#, None),
        (
            r#""exp":1763636401,"other":1e999,"deep":{"n":123456789012345678901234567890}"#,
            None,
        ),
        (r#""exp":1.5e9"#, Some(AuthError::Expired)),
        (r#""exp":9223372036854775807"#, None),
        (r#""exp":9223372036854775808"#, Some(AuthError::Malformed)),
        (r#""exp":18446744073709551615"#, Some(AuthError::Malformed)),
        (r#""exp":18446744073709551616"#, Some(AuthError::Malformed)),
        (r#""exp":1e999"#, Some(AuthError::Malformed)),
        (r#""exp":-1.0"#, Some(AuthError::Malformed)),
        (
            r#""exp":1763636401,"nbf":1e999"#,
            Some(AuthError::Malformed),
        ),
        (
            r#""exp":1763636401,"nbf":1763639999.0"#,
            Some(AuthError::NotYetValid),
        ),
    ] {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let signed = format!(
            "{}.{}",
            part(r#"{"alg":"HS256"}"#),
            part(&format!(r#"{{"sub":"u",{times}}}"#))
        );
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        let signature =
            jsonwebtoken::crypto::sign(signed.as_bytes(), &key, Algorithm::HS256).unwrap();
        assert_eq!(
            refusal(&verifier, &format!("{signed}.{signature}")).await,
            expected,
            "{times}"
        );
    }
}

#[tokio::test]
async fn accepts_published_keys_of_three_types() {
    let keys = [
        TestKey::new(Algorithm::RS256, "rsa"),
        TestKey::new(Algorithm::ES256, "ec"),
        TestKey::new(Algorithm::EdDSA, "ed"),
    ];
    let server = KeyServer::start(&[&keys[0], &keys[1], &keys[2]]).await;
    let verifier = server.verifier();
    for key in &keys {
        assert_eq!(
            refusal(&verifier, &key.token(valid_claims())).await,
            None,
            "{:?}",
            key.algorithm
        );
        let forged = TestKey::new(key.algorithm, key.id).token(valid_claims());
        assert_eq!(
            refusal(&verifier, &forged).await,
            Some(AuthError::BadSignature),
            "{:?}",
            key.algorithm
        );
    }
    let without_id = jsonwebtoken::encode(
        &Header::new(Algorithm::ES256),
        &valid_claims(),
        &keys[1].signing,
    )
    .unwrap();
    assert_eq!(
        refusal(&verifier, &without_id).await,
        None,
        "a token without a key id"
    );
    assert_eq!(server.requests(), 1, "one fetch serves all");
}

#[tokio::test]
async fn the_token_cannot_choose_the_algorithm() {
    let rsa = TestKey::new(Algorithm::RS256, "rsa");
    let server = KeyServer::start(&[&rsa]).await;
    let both = verifier(Settings {
        jwks_url: server.url.parse().ok(),
        hs256_secret: Some(SECRET.into()),
        ..Settings::default()
    });
    let only_jwks = server.verifier();

    for alg in ["none", "None", "NONE", "", "HS384", "RS1", "PS256", "ES384"] {
        let token = encode_token(json!({"alg": alg, "kid": "rsa"}), valid_claims(), b"x");
        for verifier in [&both, &only_jwks] {
            assert_eq!(
                refusal(verifier, &token).await,
                Some(AuthError::Algorithm),
                "{alg}"
            );
        }
    }
    // An HMAC with the public key as its secret, in the two forms that an attacker would try.
    let public = rsa.published();
    let modulus = URL_SAFE_NO_PAD
        .decode(public["n"].as_str().unwrap())
        .unwrap();
    for secret in [modulus, public.to_string().into_bytes()] {
        let header = Header {
            kid: Some("rsa".into()),
            ..Header::new(Algorithm::HS256)
        };
        let token =
            jsonwebtoken::encode(&header, &valid_claims(), &EncodingKey::from_secret(&secret))
                .unwrap();
        assert_eq!(
            refusal(&only_jwks, &token).await,
            Some(AuthError::Algorithm)
        );
        assert_eq!(refusal(&both, &token).await, Some(AuthError::BadSignature));
    }
    // A symmetric key that a provider publishes by mistake is not used.
    assert_eq!(
        refusal(&only_jwks, &hs256(SECRET, valid_claims())).await,
        Some(AuthError::Algorithm)
    );
    // A token that names a key of another type.
    let mismatched = Header {
        kid: Some("rsa".into()),
        ..Header::new(Algorithm::EdDSA)
    };
    let mismatched = jsonwebtoken::encode(
        &mismatched,
        &valid_claims(),
        &TestKey::new(Algorithm::EdDSA, "ed").signing,
    )
    .unwrap();
    assert_eq!(
        refusal(&only_jwks, &mismatched).await,
        Some(AuthError::UnknownKey)
    );
    // Tokens with critical extensions are refused.
    let critical = encode_token(
        json!({"alg": "HS256", "crit": ["b64"], "b64": false}),
        valid_claims(),
        b"x",
    );
    assert_eq!(refusal(&both, &critical).await, Some(AuthError::Algorithm));
    let critical = encode_token(json!({"alg": "HS256", "crit": null}), valid_claims(), b"x");
    assert_eq!(refusal(&both, &critical).await, Some(AuthError::Algorithm));
}

/// serde would read the struct from a list, and skip invalid UTF-8 in unknown members. Other
/// readers would see another token, or none.
#[tokio::test]
async fn requires_a_header_that_is_an_object_in_utf8() {
    let verifier = verifier(Settings {
        hs256_secret: Some(Secret::new(SECRET)),
        ..Settings::default()
    });
    let signed_with = |header: &[u8]| {
        let claims = valid_claims().to_string();
        let signed = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(claims)
        );
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        let signature =
            jsonwebtoken::crypto::sign(signed.as_bytes(), &key, Algorithm::HS256).unwrap();
        format!("{signed}.{signature}")
    };
    for (header, expected) in [
        (&b" {\"alg\":\"HS256\"}"[..], None),
        (b"[\"HS256\",\"x\"]", Some(AuthError::Malformed)),
        (
            b"{\"alg\":\"HS256\",\"x\":\"\xff\"}",
            Some(AuthError::Malformed),
        ),
    ] {
        assert_eq!(
            refusal(&verifier, &signed_with(header)).await,
            expected,
            "{header:?}"
        );
    }
}

#[tokio::test]
async fn follows_key_rotation_and_limits_fetches() {
    let (old, new) = (
        TestKey::new(Algorithm::ES256, "old"),
        TestKey::new(Algorithm::ES256, "new"),
    );
    let server = KeyServer::start(&[&old]).await;
    let verifier = server.verifier();
    assert_eq!(refusal(&verifier, &old.token(valid_claims())).await, None);
    server.publish(&[&new]).await;

    // Within the minimum interval, invented key ids cause no second fetch.
    for _ in 0..200 {
        let token = encode_token(
            json!({"alg": "ES256", "kid": "invented"}),
            valid_claims(),
            &[7; 64],
        );
        assert_eq!(
            refusal(&verifier, &token).await,
            Some(AuthError::UnknownKey)
        );
    }
    assert_eq!(server.requests(), 1);

    advance_clock(Duration::from_secs(11)).await;
    assert_eq!(
        refusal(&verifier, &new.token(valid_claims())).await,
        None,
        "the new key is found"
    );
    assert_eq!(
        refusal(&verifier, &old.token(valid_claims())).await,
        Some(AuthError::UnknownKey),
        "the old one is gone"
    );
    assert_eq!(server.requests(), 2);
}

#[tokio::test]
async fn many_callers_cause_one_fetch() {
    let key = TestKey::new(Algorithm::EdDSA, "ed");
    let server = KeyServer::start(&[&key]).await;
    let verifier = server.verifier();
    let token = key.token(valid_claims());
    let results = futures::future::join_all((0..50).map(|_| verifier.verify(&token))).await;
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn keeps_known_keys_while_the_key_server_fails() {
    let key = TestKey::new(Algorithm::EdDSA, "ed");
    let server = KeyServer::start(&[&key]).await;
    let verifier = server.verifier();
    let token = key.token(valid_claims());
    assert_eq!(refusal(&verifier, &token).await, None);
    server.fail().await;

    for _ in 0..5 {
        advance_clock(Duration::from_secs(3600)).await;
        assert_eq!(
            refusal(&verifier, &token).await,
            None,
            "a known key stays in use"
        );
        let foreign = encode_token(
            json!({"alg": "EdDSA", "kid": "other"}),
            valid_claims(),
            &[7; 64],
        );
        assert_eq!(
            refusal(&verifier, &foreign).await,
            Some(AuthError::UnknownKey)
        );
    }
}

#[tokio::test]
async fn reports_missing_keys_as_unavailable_and_fetches_again() {
    let key = TestKey::new(Algorithm::EdDSA, "ed");
    let server = KeyServer::start(&[&key]).await;
    server.fail().await;
    let verifier = server.verifier();
    let token = key.token(valid_claims());
    for _ in 0..20 {
        assert_eq!(
            refusal(&verifier, &token).await,
            Some(AuthError::KeysUnavailable)
        );
    }
    assert_eq!(server.requests(), 1);
    server.publish(&[&key]).await;
    advance_clock(Duration::from_secs(11)).await;
    assert_eq!(refusal(&verifier, &token).await, None);
}

#[tokio::test]
async fn a_dropped_call_does_not_cancel_the_fetch() {
    let key = TestKey::new(Algorithm::EdDSA, "ed");
    let server = KeyServer::start(&[&key]).await;
    let verifier = server.verifier();
    let token = key.token(valid_claims());
    assert!(
        futures::FutureExt::now_or_never(verifier.verify(&token)).is_none(),
        "the fetch has begun"
    );
    assert_eq!(refusal(&verifier, &token).await, None);
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn limits_the_size_of_the_key_set() {
    let server = KeyServer::start(&[]).await;
    *server.document.lock().await = Some(format!("{{\"keys\":[{}", "0,".repeat(1 << 20)));
    let token = TestKey::new(Algorithm::EdDSA, "ed").token(valid_claims());
    assert_eq!(
        refusal(&server.verifier(), &token).await,
        Some(AuthError::KeysUnavailable)
    );
}

#[tokio::test]
async fn follows_no_redirect_to_keys() {
    let key = TestKey::new(Algorithm::EdDSA, "ed");
    let redirect_target = KeyServer::start(&[&key]).await;
    let target = redirect_target.url.clone();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let redirect = move || std::future::ready(axum::response::Redirect::temporary(&target));
    let app = axum::Router::new().route("/", axum::routing::get(redirect));
    tokio::spawn(async move { axum::serve(listener, app).await });
    let verifier = verifier(Settings {
        jwks_url: url.parse().ok(),
        ..Settings::default()
    });
    assert_eq!(
        refusal(&verifier, &key.token(valid_claims())).await,
        Some(AuthError::KeysUnavailable)
    );
    assert_eq!(redirect_target.requests(), 0, "a redirect is not followed");
}
