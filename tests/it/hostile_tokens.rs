//! Tokens that pass for others: each is shown to both programs, the API with a good signature of
//! the tenant's, and neither takes it.

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::entities::with;
use crate::harness::token::{now_ms, now_secs, signature};
use crate::harness::{
    Api, Client, Era, Fault, Gate, HttpReply, SECRETS, Server, SseClient, Stage, ToolClient, User,
};
use crate::key_set::{AUDIENCE, ISSUER, Key, publish};

crate::tests![
    both_programs_refuse_manipulated_tokens,
    the_api_refuses_a_token_that_expired_during_the_call,
    a_stream_refuses_messages_with_an_expired_token,
];

fn part(text: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(text)
}

/// Signed as HS256 would have it, with whatever passes for a secret.
fn hs256(header: &str, claims: &str, secret: &[u8]) -> String {
    let signed = format!("{}.{}", part(header), part(claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
    mac.update(signed.as_bytes());
    format!(
        "{signed}.{}",
        BASE64_URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
    )
}

/// Signed with a key, whatever the header says.
fn by(key: &Key, header: &str, claims: &str) -> String {
    let signed = format!("{}.{}", part(header), part(claims));
    let seal = jsonwebtoken::crypto::sign(signed.as_bytes(), &key.signing, key.algorithm).unwrap();
    format!("{signed}.{seal}")
}

/// What is wrong, and the token.
fn confusions(keys: &[Key; 3], good: &Value) -> Vec<(String, String)> {
    let [rsa, ec, ed] = keys;
    let claims = good.to_string();
    let mut all: Vec<(String, String)> = Vec::new();
    let mut add = |what: String, token: String| all.push((what, token));
    for name in ["none", "None", "NONE", "nOnE", "", "HS256 ", "hs256"] {
        let head = part(&json!({"alg": name, "kid": "RS256"}).to_string());
        for seal in ["", "AA", "."] {
            add(
                format!("alg {name:?}, sealed {seal:?}"),
                format!("{head}.{}.{seal}", part(&claims)),
            );
        }
    }
    // A key that everybody knows, in every form in which it might be taken for a secret.
    for key in keys {
        let published = key.published();
        let texts = ["n", "x", "y", "kid"]
            .iter()
            .filter_map(|name| published[*name].as_str());
        let mut secrets: Vec<Vec<u8>> = texts.map(|text| text.as_bytes().to_vec()).collect();
        let raw: Vec<_> = secrets
            .iter()
            .filter_map(|text| BASE64_URL_SAFE_NO_PAD.decode(text).ok())
            .collect();
        secrets.extend(raw);
        secrets.extend([
            published.to_string().into_bytes(),
            Vec::new(),
            b"null".to_vec(),
        ]);
        for (number, secret) in secrets.iter().enumerate() {
            let head = json!({"alg": "HS256", "kid": key.id()}).to_string();
            add(
                format!("HS256 by a public key, {} {number}", key.id()),
                hs256(&head, &claims, secret),
            );
        }
    }
    for alg in [
        "RS384", "RS512", "PS256", "HS384", "HS512", "ES384", "ES256K", "EdDSA", "ES256", "rs256",
        "RS256\0", " RS256",
    ] {
        let head = json!({"alg": alg, "kid": "RS256"}).to_string();
        add(
            format!("an RSA signature as {alg:?}"),
            by(rsa, &head, &claims),
        );
    }
    for (key, alg, id) in [
        (ec, "RS256", "RS256"),
        (ec, "RS256", "ES256"),
        (ed, "ES256", "ES256"),
        (ed, "ES256", "EdDSA"),
        (rsa, "EdDSA", "EdDSA"),
        (rsa, "ES256", "RS256"),
        (ec, "ES256", "RS256"),
        (ed, "EdDSA", "RS256"),
    ] {
        let head = json!({"alg": alg, "kid": id}).to_string();
        add(
            format!("{} as {alg} under the name of {id}", key.id()),
            by(key, &head, &claims),
        );
    }
    let other_user = Key::new(Algorithm::ES256);
    let own = other_user.published();
    for (what, more) in [
        ("kid: a path", json!({"kid": "../../../../dev/null"})),
        ("kid: a URL", json!({"kid": "http://127.0.0.1:1/keys"})),
        ("kid: SQL", json!({"kid": "' UNION SELECT 'k' --"})),
        ("kid: a command", json!({"kid": "|id; $(id)"})),
        ("kid: huge", json!({"kid": "k".repeat(4_000)})),
        ("kid: NUL", json!({"kid": "ES256\0"})),
        ("kid: empty", json!({"kid": ""})),
        ("kid: a number", json!({"kid": 7})),
        ("kid: a list", json!({"kid": ["ES256"]})),
        ("kid: right", json!({"kid": "ES256"})),
        ("kid: none", json!({})),
        ("a key of its own", json!({"jwk": own, "kid": own["kid"]})),
        (
            "a key set of its own",
            json!({"jku": "https://evil.example/keys", "kid": "x"}),
        ),
        (
            "certificates of its own",
            json!({"x5u": "https://evil.example/c", "x5c": ["AAAA"], "kid": "x"}),
        ),
    ] {
        let head = with(&json!({"alg": "ES256"}), &more).to_string();
        add(what.to_owned(), by(&other_user, &head, &claims));
    }
    for (what, more) in [
        ("crit", json!({"crit": ["exp"]})),
        ("crit: empty", json!({"crit": []})),
        ("crit: null", json!({"crit": null})),
        ("unencoded", json!({"b64": false, "crit": ["b64"]})),
    ] {
        let head = with(&json!({"alg": "ES256", "kid": "ES256"}), &more).to_string();
        add(what.to_owned(), by(ec, &head, &claims));
    }
    for (what, head) in [
        ("no alg", r#"{"kid":"ES256"}"#),
        ("alg: null", r#"{"alg":null,"kid":"ES256"}"#),
        ("alg: a list", r#"{"alg":["ES256"],"kid":"ES256"}"#),
        (
            "alg: first none",
            r#"{"alg":"ES256","kid":"ES256","alg":"none"}"#,
        ),
        ("a header that is a list", r#"["ES256","ES256"]"#),
        ("a header that is a text", r#""ES256""#),
        (
            "a header that goes on",
            r#"{"alg":"ES256","kid":"ES256"}{}"#,
        ),
    ] {
        add(what.to_owned(), by(ec, head, &claims));
    }
    let head = json!({"alg": "ES256", "kid": "ES256"}).to_string();
    let fine = by(ec, &head, &claims);
    for (what, more) in [
        (
            "another audience",
            json!({"aud": "https://globex.example.com/mcp"}),
        ),
        (
            "an audience that begins so",
            json!({"aud": format!("{AUDIENCE}/")}),
        ),
        (
            "an audience in another case",
            json!({"aud": AUDIENCE.to_uppercase()}),
        ),
        ("audiences without ours", json!({"aud": ["a", "b"]})),
        ("no audiences", json!({"aud": []})),
        (
            "an audience that is an object",
            json!({"aud": {AUDIENCE: true}}),
        ),
        ("audience: null", json!({"aud": null})),
        ("another issuer", json!({"iss": "https://evil.example/"})),
        (
            "an issuer without its slash",
            json!({"iss": ISSUER.trim_end_matches('/')}),
        ),
        ("a list of issuers", json!({"iss": [ISSUER]})),
        ("another tenant", json!({"tenant_id": "globex"})),
        ("another tenant's case", json!({"tenant_id": "ACME"})),
        ("a list of tenants", json!({"tenant_id": ["acme"]})),
        ("an empty tenant", json!({"tenant_id": ""})),
        ("not valid yet", json!({"nbf": now_secs() + 3_600})),
        ("nbf: a text", json!({"nbf": "1"})),
        ("expired", json!({"exp": now_secs() - 120})),
        (
            "exp: a text",
            json!({"exp": (now_secs() + 600).to_string()}),
        ),
        ("exp: null", json!({"exp": null})),
        ("exp: negative", json!({"exp": -1})),
        ("nobody", json!({"sub": ""})),
        ("sub: null", json!({"sub": null})),
        ("sub: a list", json!({"sub": ["ada"]})),
        ("sub: a control", json!({"sub": "ada\n"})),
        ("sub: NUL", json!({"sub": "ada\0"})),
        ("sub: huge", json!({"sub": "a".repeat(256)})),
    ] {
        add(
            what.to_owned(),
            by(ec, &head, &with(good, &more).to_string()),
        );
    }
    add("claims that are a token".to_owned(), by(ec, &head, &fine));
    add(
        "claims that are a list".to_owned(),
        by(ec, &head, &format!("[{claims}]")),
    );
    add(
        "claims that go on".to_owned(),
        by(ec, &head, &format!("{claims}{{}}")),
    );
    let (signed, seal) = fine.rsplit_once('.').unwrap();
    let raw = BASE64_URL_SAFE_NO_PAD.decode(seal).unwrap();
    for (what, seal) in [
        ("no signature", String::new()),
        (
            "a signature of zeros",
            BASE64_URL_SAFE_NO_PAD.encode([0; 64]),
        ),
        (
            "half a signature",
            BASE64_URL_SAFE_NO_PAD.encode(&raw[..32]),
        ),
        (
            "a signature that goes on",
            BASE64_URL_SAFE_NO_PAD.encode([&raw[..], &[0]].concat()),
        ),
        ("a padded signature", format!("{seal}==")),
        (
            "a signature in the other alphabet",
            format!("{}+/", BASE64_STANDARD.encode(&raw)),
        ),
        ("a space after it", format!("{seal} x")),
    ] {
        add(what.to_owned(), format!("{signed}.{seal}"));
    }
    add("five parts".to_owned(), format!("{fine}.{seal}.{seal}"));
    add("two tokens".to_owned(), format!("{fine} {fine}"));
    add(
        "huge".to_owned(),
        format!("{signed}.{}", "A".repeat(20_000)),
    );
    all
}

async fn both_programs_refuse_manipulated_tokens() {
    let keys = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA].map(Key::new);
    let (url, serving) = publish(&keys).await;
    // Both kinds of keys at once, which is where they can be mistaken for each other.
    let settings = [
        ("JWT_JWKS_URL", url.as_str()),
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
    let mut ada = Client::of(
        &server,
        Era::Modern,
        User {
            sub: "ada".to_owned(),
            token: String::new(),
        },
    );
    for key in &keys {
        ada.user.token = key.token(&good);
        ada.call("list_notes", json!({})).await.ok();
    }
    let sent = ada.traffic().await.0.len();
    let confusions = confusions(&keys, &good);
    let both = confusions.len();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    assert!(both > 100, "{both}");
    for (what, token) in confusions {
        ada.user.token = token.clone();
        let answer = HttpReply::of(ada.calling("list_notes", json!({}))).await;
        assert!(
            [400, 401, 403, 431].contains(&answer.status),
            "{what}: {answer}"
        );
        let status = at_the_api(&http, &api, &token).await;
        assert!([401, 403].contains(&status), "{what}: {status} by the API");
    }
    assert_eq!(ada.traffic().await.0.len(), sent, "nothing of it was sent");
    eprintln!("{both} tokens, each at two doors");
    api.until_no_session_is_open().await;
    server.stop().await;
    api.stop().await;
    serving.abort();
}

/// With everything else in order.
async fn at_the_api(http: &reqwest::Client, api: &Api, token: &str) -> u16 {
    let now = now_ms().to_string();
    let request = http
        .post(format!("{}/v1/sync/sessions", api.url))
        .header("authorization", format!("Bearer {token}"))
        .header("x-tb-tenant-id", "acme")
        .header("x-tb-timestamp", &now)
        .header("x-tb-signature", signature(&SECRETS.tenant, "acme", &now));
    request.send().await.unwrap().status().as_u16()
}

/// A user whose token both programs accept for a moment longer: clocks may differ by a minute.
fn nearly_expired(tenant: &str) -> User {
    let sub = format!("user-{}", uuid::Uuid::new_v4().simple());
    User::with_claims(json!({"sub": sub, "tenant_id": tenant, "exp": now_secs() - 56}))
}

async fn until_refused(client: &Client<'_>) {
    let refused = async {
        while client.ask("tools/list", json!({})).await.status != 401 {
            tokio::task::yield_now().await;
        }
    };
    let in_time = tokio::time::timeout(crate::harness::process::HANG_TIMEOUT, refused).await;
    assert!(in_time.is_ok(), "the token never expires");
}

async fn the_api_refuses_a_token_that_expired_during_the_call() {
    let api = Api::start().await;
    let server = Server::start("acme", &api).await;
    let client = Client::of(&server, Era::Modern, nearly_expired("acme"));
    let gate = Gate::closed();
    server
        .forwarder
        .inject(&client.user, Stage::Operation, Fault::Wait(gate.clone()));
    let call = client.call("create_note", json!({"title": "t", "content": "c"}));
    let meanwhile = async {
        server
            .forwarder
            .until_seen(&client.user, Stage::Operation, 1)
            .await;
        until_refused(&client).await;
        gate.release();
    };
    let (called, ()) = tokio::join!(call, meanwhile);
    assert_eq!(called.error()["category"], "authentication", "{called}");
    let same = User::with_claims(json!({"sub": client.user.sub, "tenant_id": "acme"}));
    let fresh = Client::of(&server, Era::Modern, same);
    assert_eq!(
        fresh.call("list_notes", json!({})).await.ok(),
        json!({"items": []})
    );
    // A token whose time is over is still good for ending what it opened.
    let traffic = fresh.traffic().await;
    let answers = traffic
        .0
        .iter()
        .map(|record| (record.stage(), record.status.unwrap()));
    let endings: Vec<_> = answers
        .filter(|(stage, _)| *stage == Stage::Ending)
        .collect();
    assert_eq!(endings, [(Stage::Ending, 204); 2], "{traffic}");
    server.stop().await;
    api.stop().await;
}

async fn a_stream_refuses_messages_with_an_expired_token() {
    let api = Api::start().await;
    let server = Server::start("acme", &api).await;
    let user = nearly_expired("acme");
    let stream = SseClient::open(&server, "/sse", user.clone()).await;
    stream
        .ask("initialize", Era::Legacy("2024-11-05").initialize_params())
        .await;
    until_refused(&Client::of(&server, Era::Modern, user.clone())).await;
    let list = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/list"});
    for _ in 0..3 {
        let answer = HttpReply::of(stream.post(&user.token, &list)).await;
        assert_eq!(
            (answer.status, &answer.json()["reason"]),
            (401, &json!("expired")),
            "{answer}"
        );
    }
    assert_eq!(stream.received().len(), 1, "the handshake alone");
    // Its owner signs in again, and goes on where they were.
    let fresh = User::with_claims(json!({"sub": user.sub, "tenant_id": "acme"}));
    assert_eq!(
        stream
            .post(&fresh.token, &list)
            .send()
            .await
            .unwrap()
            .status(),
        202
    );
    stream.answer(7).await;
    stream.close();
    server.stop().await;
    api.stop().await;
}
