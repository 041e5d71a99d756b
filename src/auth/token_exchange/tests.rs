//! Token exchange with a scripted authorization server over loopback.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::FutureExt;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::*;
use crate::auth::scripted_as::{ScriptedAs, Step, TokenRequest};

const NOW: u64 = 1_763_636_400;
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// Issues tokens that name the exchanged token and the number of the request.
async fn server() -> ScriptedAs {
    server_with(json!({"expires_in": 3600})).await
}

async fn server_with(more: Value) -> ScriptedAs {
    let count = std::sync::atomic::AtomicUsize::new(0);
    ScriptedAs::start(move |request: &TokenRequest| {
        let number = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let token = format!("{}-{number}", request.field("subject_token"));
        let mut body = json!({
            "access_token": token,
            "token_type": "Bearer",
            "issued_token_type": ACCESS_TOKEN,
        });
        let members = body.as_object_mut().unwrap();
        members.extend(more.as_object().unwrap().clone());
        body
    })
    .await
}

fn settings(server: &ScriptedAs) -> Settings {
    Settings {
        token_url: server.url().parse().ok(),
        audience: Some("api".into()),
        client_id: Some("sidecar".into()),
        client_secret: Some(Secret::new("hush")),
        ..Settings::default()
    }
}

fn exchange(settings: &Settings) -> Exchange {
    Exchange::from_settings(settings, Clock::from_millis(|| NOW * 1000)).unwrap()
}

fn subject(user: &str, token: &str) -> Subject {
    Subject {
        user: user.into(),
        token: Secret::new(token),
        expires_at: NOW + 7200,
    }
}

async fn token(exchange: &Exchange, subject: &Subject) -> String {
    exchange
        .token_for(subject)
        .await
        .unwrap()
        .expose()
        .to_owned()
}

/// Advances the clock, then resumes it: a paused clock would fire time-outs during socket I/O.
async fn advance_clock(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

#[tokio::test]
async fn sends_the_parameters_of_rfc_8693() {
    let server = server().await;
    let special = Settings {
        client_id: Some("side:car+é".into()),
        client_secret: Some(Secret::new("a b%c&d")),
        scope: Some("notes tasks".into()),
        ..settings(&server)
    };
    for (audience, resource) in [
        ("api", ""),
        ("https://api.example/", "https://api.example/"),
        ("urn:api", ""),
    ] {
        let settings = Settings {
            audience: Some(audience.into()),
            ..special.clone()
        };
        token(&exchange(&settings), &subject("ada", "a.b.c")).await;
        let request = server.requests().pop().unwrap();
        for (name, value) in [
            (
                "grant_type",
                "urn:ietf:params:oauth:grant-type:token-exchange",
            ),
            ("subject_token", "a.b.c"),
            ("subject_token_type", ACCESS_TOKEN),
            ("requested_token_type", ACCESS_TOKEN),
            ("audience", audience),
            ("resource", resource),
            ("scope", "notes tasks"),
            // The client authenticates by header only.
            ("client_id", ""),
            ("client_secret", ""),
        ] {
            assert_eq!(request.field(name), value, "{name}");
        }
        let header = request.headers["authorization"].to_str().unwrap();
        let basic = STANDARD
            .decode(header.strip_prefix("Basic ").unwrap())
            .unwrap();
        assert_eq!(
            String::from_utf8(basic).unwrap(),
            "side%3Acar%2B%C3%A9:a+b%25c%26d"
        );
        assert_eq!(
            request.headers["content-type"],
            "application/x-www-form-urlencoded"
        );
    }
}

#[tokio::test]
async fn caches_a_token_until_shortly_before_its_expiry() {
    let server = server().await;
    let exchange = exchange(&settings(&server));
    let ada = subject("ada", "a.b.c");
    assert_eq!(token(&exchange, &ada).await, "a.b.c-0");
    advance_clock(3560).await;
    assert_eq!(token(&exchange, &ada).await, "a.b.c-0");
    advance_clock(15).await;
    assert_eq!(
        token(&exchange, &ada).await,
        "a.b.c-1",
        "discarded 30 seconds before its expiry"
    );
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn the_earlier_expiry_counts() {
    let server = server().await;
    let exchange = exchange(&settings(&server));
    let short_lived = Subject {
        expires_at: NOW + 100,
        ..subject("ada", "a.b.c")
    };
    assert_eq!(token(&exchange, &short_lived).await, "a.b.c-0");
    advance_clock(60).await;
    assert_eq!(token(&exchange, &short_lived).await, "a.b.c-0");
    advance_clock(15).await;
    assert_eq!(token(&exchange, &short_lived).await, "a.b.c-1");
}

#[tokio::test]
async fn does_not_cache_tokens_without_lifetime() {
    for (more, kept) in [
        (json!({}), false),
        (json!({"expires_in": null}), false),
        (json!({"expires_in": 0}), false),
        (json!({"expires_in": 30}), false),
        (json!({"expires_in": -5}), false),
        (json!({"expires_in": "soon"}), false),
        (json!({"expires_in": "3600"}), true),
        (json!({"expires_in": 31}), true),
        (json!({"expires_in": u64::MAX}), true),
    ] {
        let server = server_with(more.clone()).await;
        let exchange = exchange(&settings(&server));
        let ada = subject("ada", "a.b.c");
        let (first, second) = (token(&exchange, &ada).await, token(&exchange, &ada).await);
        assert_eq!(first == second, kept, "{more}");
    }
}

#[tokio::test]
async fn separates_tokens_by_user_and_token() {
    let server = server().await;
    let exchange = exchange(&settings(&server));
    let users = [
        subject("ada", "a.b.c"),
        subject("ada", "a.b.d"),
        subject("bob", "b.b.c"),
        // Impossible in practice: one token for two people, and a shifted boundary between user and
        // token.
        subject("bob", "a.b.c"),
        subject("adaa", ".b.c"),
    ];
    let tokens =
        futures::future::join_all(users.iter().map(|user_name| token(&exchange, user_name))).await;
    for (user_name, issued) in users.iter().zip(&tokens) {
        assert!(issued.starts_with(user_name.token.expose()), "{issued}");
        assert_eq!(
            token(&exchange, user_name).await,
            *issued,
            "cached for the person it was issued to"
        );
    }
    assert_eq!(
        tokens
            .iter()
            .collect::<std::collections::BTreeSet<_>>()
            .len(),
        users.len()
    );
    assert_eq!(server.requests().len(), users.len());
}

#[tokio::test]
async fn concurrent_calls_share_one_request() {
    let server = server().await;
    let exchange = exchange(&settings(&server));
    let ada = subject("ada", "a.b.c");
    let fifty_calls = || futures::future::join_all((0..50).map(|_| exchange.token_for(&ada)));
    server.then([Step::refuse(400, "invalid_grant", "x")]);
    assert!(
        fifty_calls().await.iter().all(Result::is_err),
        "errors are shared too"
    );
    assert_eq!(server.requests().len(), 1);
    assert!(
        fifty_calls().await.iter().all(Result::is_ok),
        "errors are not cached"
    );
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn a_dropped_call_does_not_cancel_the_request() {
    let server = server().await;
    let gate = Arc::new(Notify::new());
    server.then([Step::Gate(Arc::clone(&gate))]);
    let exchange = exchange(&settings(&server));
    let ada = subject("ada", "a.b.c");
    assert!(
        exchange.token_for(&ada).now_or_never().is_none(),
        "the request has begun"
    );
    gate.notify_one();
    assert_eq!(token(&exchange, &ada).await, "a.b.c-0");
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn limits_the_number_of_cached_tokens() {
    let server = server().await;
    let exchange = exchange(&Settings {
        limits: Limits {
            max_held: 3,
            ..Limits::default()
        },
        ..settings(&server)
    });
    let short_lived = Subject {
        expires_at: NOW + 600,
        ..subject("brief", "brief")
    };
    token(&exchange, &short_lived).await;
    for number in 0..5 {
        token(&exchange, &subject("ada", &format!("t{number}"))).await;
        assert!(exchange.0.cache().len() <= 3);
    }
    let count = server.requests().len();
    token(&exchange, &subject("ada", "t4")).await;
    assert_eq!(server.requests().len(), count, "the last one is cached");
    token(&exchange, &short_lived).await;
    assert_eq!(
        server.requests().len(),
        count + 1,
        "the first to expire was evicted"
    );

    // When running requests fill the cache, no further request is made.
    let exchange = super::Exchange::from_settings(
        &Settings {
            limits: Limits {
                max_held: 1,
                ..Limits::default()
            },
            ..settings(&server)
        },
        Clock::from_millis(|| NOW * 1000),
    );
    let exchange = exchange.unwrap();
    server.then([Step::Hang]);
    assert!(exchange.token_for(&short_lived).now_or_never().is_none());
    let refused = exchange.token_for(&subject("ada", "t0")).await.err();
    assert_eq!(refused, Some(ExchangeError::Unavailable));
}

#[tokio::test]
async fn requests_a_new_token_after_forget() {
    let server = server().await;
    let exchange = exchange(&settings(&server));
    let (ada, bob) = (subject("ada", "a.b.c"), subject("bob", "b.b.c"));
    let (first, other) = (token(&exchange, &ada).await, token(&exchange, &bob).await);
    exchange.forget(&ada);
    assert_ne!(token(&exchange, &ada).await, first);
    assert_eq!(token(&exchange, &bob).await, other);
}

#[tokio::test]
async fn classifies_every_failure() {
    use ExchangeError::*;
    let server = server().await;
    let exchange = exchange(&Settings {
        limits: Limits {
            timeout: Duration::from_secs(1),
            ..Limits::default()
        },
        ..settings(&server)
    });
    let good = json!({"access_token": "x.y.z", "token_type": "Bearer", "expires_in": 3600});
    let with = |name: &str, value: Value| {
        let mut body = good.clone();
        body[name] = value;
        Step::Answer(200, body.to_string())
    };
    let redirect_target =
        ScriptedAs::start(|_| json!({"access_token": "x", "token_type": "Bearer"})).await;
    for (step, expected) in [
        (Step::refuse(400, "invalid_grant", "x"), Refused),
        (Step::refuse(400, "invalid_request", "x"), Refused),
        (Step::refuse(400, "invalid_target", "x"), Denied),
        (Step::refuse(403, "access_denied", "x"), Denied),
        (Step::refuse(401, "invalid_client", "x"), Misconfigured),
        (
            Step::refuse(400, "unsupported_grant_type", "x"),
            Misconfigured,
        ),
        (Step::refuse(400, "something_new", "x"), Misconfigured),
        (Step::refuse(503, "invalid_grant", "x"), Unavailable),
        (Step::Answer(404, "<html>".into()), Misconfigured),
        (Step::Answer(429, String::new()), Unavailable),
        (Step::Answer(500, String::new()), Unavailable),
        (Step::Answer(204, String::new()), Misconfigured),
        (Step::Redirect(redirect_target.url()), Misconfigured),
        (Step::Hang, Unavailable),
        (Step::BreakOff, Unavailable),
        (Step::Answer(200, String::new()), Garbled),
        (Step::Answer(200, "[]".into()), Garbled),
        (
            Step::Answer(200, "{\"token_type\":\"Bearer\"}".into()),
            Garbled,
        ),
        (
            Step::Answer(200, format!("{{\"x\":\"{}\"}}", "x".repeat(1 << 20))),
            Garbled,
        ),
        (with("token_type", json!("N_A")), Garbled),
        (with("token_type", json!("DPoP")), Garbled),
        (
            with(
                "issued_token_type",
                json!("urn:ietf:params:oauth:token-type:refresh_token"),
            ),
            Garbled,
        ),
        (with("access_token", json!("")), Garbled),
        (with("access_token", json!("x y")), Garbled),
        (with("access_token", json!("x\r\ny: z")), Garbled),
        (with("access_token", json!("é")), Garbled),
        (with("access_token", json!("x".repeat(20_000))), Garbled),
        (with("access_token", json!(7)), Garbled),
    ] {
        server.then([step.clone()]);
        let outcome = exchange.token_for(&subject("ada", "a.b.c")).await;
        assert_eq!(outcome.err(), Some(expected), "{step:.200?}");
    }
    assert!(
        redirect_target.requests().is_empty(),
        "a redirect is not followed"
    );
    server.then([with(
        "issued_token_type",
        json!("urn:ietf:params:oauth:token-type:jwt"),
    )]);
    assert_eq!(token(&exchange, &subject("ada", "a.b.c")).await, "x.y.z");
    // No server listens on this port.
    let unused = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", unused.local_addr().unwrap());
    drop(unused);
    let unreachable = super::Exchange::from_settings(
        &Settings {
            token_url: url.parse().ok(),
            ..settings(&server)
        },
        Clock::system(),
    );
    let outcome = unreachable
        .unwrap()
        .token_for(&subject("ada", "a.b.c"))
        .await;
    assert_eq!(outcome.err(), Some(Unavailable));
}

#[tokio::test]
async fn no_output_contains_a_token_or_secret() {
    let server = server().await;
    let settings = settings(&server);
    let exchange = exchange(&settings);
    let ada = subject("ada", "a.b.c");
    let issued = exchange.token_for(&ada).await;
    let shown = format!("{settings:?} {exchange:?} {ada:?} {issued:?}");
    for secret in ["a.b.c", "hush", "Basic", "c2lkZWNhcjpodXNo"] {
        assert!(!shown.contains(secret), "{secret}: {shown}");
    }
}

#[tokio::test]
async fn refuses_invalid_settings() {
    let server = server().await;
    let start = |settings| Exchange::from_settings(&settings, Clock::system());
    let not_http = start(Settings {
        token_url: "ftp://login.example/token".parse().ok(),
        ..settings(&server)
    });
    assert!(matches!(not_http, Err(SetupError::Url)));
    let incomplete = start(Settings {
        client_secret: None,
        ..settings(&server)
    });
    assert!(matches!(incomplete, Err(SetupError::Incomplete)));
}
