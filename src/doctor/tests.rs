use std::time::Duration;

use axum::Router;
use axum::response::Redirect;
use axum::routing::get;
use futures::FutureExt;
use serde_json::json;
use tokio::net::TcpListener;
use url::Url;

use super::check::{Advice, Check, Examined, Finding, Found, Outcome, check, examine};
use super::claims::Claims;
use super::http::{Http, Override};
use super::outside::{Outside, Target, plain_http_redirects};
use super::{Deployment, Inside, words};
use crate::foundation::clock::Clock;
use crate::foundation::deadline::Deadline;
use crate::foundation::secret::Secret;

const NOW: u64 = 1_763_636_400;

/// A deployment whose checks return the results listed here.
struct Scripted(Vec<Found>);

impl Scripted {
    fn next(&mut self) -> Found {
        self.0.remove(0)
    }
}

fn scripted(id: &'static str, needs: &'static [&'static str]) -> Check<Scripted> {
    check(id, id, needs, |it| async { it.next() }.boxed_local())
}

#[test]
fn dependencies_precede_the_checks_that_need_them() {
    fn well_formed<P: Deployment>() {
        let mut before = Vec::new();
        for check in P::CHECKS {
            assert!(!before.contains(&check.id), "{} is there twice", check.id);
            for need in check.needs {
                assert!(before.contains(need), "{} needs {need}", check.id);
            }
            before.push(check.id);
        }
    }
    well_formed::<Inside>();
    well_formed::<Outside>();
}

async fn examined<P>(
    deployment: &mut P,
    checks: &[Check<P>],
) -> Vec<(&'static str, Outcome, Option<&'static str>)> {
    let until = Deadline::after(Duration::from_secs(30));
    let mut reported = Vec::new();
    let all = examine(deployment, checks, until, &mut |examined: &mut Examined| {
        reported.push(examined.id)
    })
    .await;
    assert_eq!(
        reported,
        all.iter().map(|examined| examined.id).collect::<Vec<_>>()
    );
    all.iter()
        .map(|one| (one.id, one.outcome, one.because))
        .collect()
}

#[tokio::test]
async fn one_cause_is_one_finding() {
    let checks = [
        scripted("dns", &[]),
        scripted("port", &["dns"]),
        scripted("certificate", &["port"]),
        scripted("token", &[]),
        scripted("call", &["token", "port"]),
        scripted("clock", &["certificate"]),
    ];
    let mut deployment = Scripted(vec![
        Ok("fine".to_owned()),
        Err(Finding::failed("no", "do")),
        Err(Finding::skipped("none was given")),
    ]);
    assert_eq!(
        examined(&mut deployment, &checks).await,
        [
            ("dns", Outcome::Ok, None),
            ("port", Outcome::Failed, None),
            ("certificate", Outcome::Skipped, Some("port")),
            ("token", Outcome::Skipped, None),
            ("call", Outcome::Skipped, Some("token")),
            // A transitive skip has the same cause.
            ("clock", Outcome::Skipped, Some("port")),
        ]
    );
}

#[tokio::test]
async fn a_warning_does_not_skip_dependent_checks() {
    let checks = [
        scripted("certificate", &[]),
        scripted("call", &["certificate"]),
    ];
    let mut deployment = Scripted(vec![
        Err(Finding::warning("soon", "renew")),
        Ok("fine".to_owned()),
    ]);
    let found = examined(&mut deployment, &checks).await;
    assert_eq!(
        found,
        [
            ("certificate", Outcome::Warning, None),
            ("call", Outcome::Ok, None)
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn hanging_checks_are_limited_individually_and_in_total() {
    const HANGS: fn(&mut ()) -> futures::future::LocalBoxFuture<'_, Found> =
        |_| futures::future::pending().boxed_local();
    let hanging = |id| check(id, id, &[], HANGS);
    // Ten seconds for each check, thirty in total.
    let checks = ["one", "two", "three", "four", "five"].map(hanging);
    assert_eq!(
        examined(&mut (), &checks).await,
        [
            ("one", Outcome::Failed, None),
            ("two", Outcome::Failed, None),
            ("three", Outcome::Failed, None),
            ("four", Outcome::Skipped, Some("three")),
            ("five", Outcome::Skipped, Some("three")),
        ]
    );
}

#[test]
fn an_echoed_token_is_redacted() {
    let token = Secret::new("eyJhbGciOiJIUzI1NiJ9.e30.c2ln");
    let echo = format!("you sent Bearer {}", token.expose());
    let advice = Advice::new(echo.clone(), echo);
    let mut examined = Examined::new("token", "Token", Err(Finding::Failed(advice)));
    examined.hide(Some(&token));
    assert_eq!(examined.what, "you sent Bearer [token]");
    assert_eq!(examined.fix.as_deref(), Some("you sent Bearer [token]"));
}

#[test]
fn accepts_urls_with_and_without_mcp() {
    for (text, base, mcp) in [
        (
            "https://acme.example",
            "https://acme.example",
            "https://acme.example/mcp",
        ),
        (
            "https://acme.example/mcp",
            "https://acme.example",
            "https://acme.example/mcp",
        ),
        (
            "https://acme.example/mcp/?a=b",
            "https://acme.example",
            "https://acme.example/mcp",
        ),
        (
            "https://acme.example/v1",
            "https://acme.example/v1",
            "https://acme.example/v1/mcp",
        ),
        (
            "http://127.0.0.1:8001/",
            "http://127.0.0.1:8001",
            "http://127.0.0.1:8001/mcp",
        ),
    ] {
        let target = Target::at(text).unwrap();
        assert_eq!((target.shown(), target.mcp.as_str()), (base, mcp), "{text}");
    }
    assert!(Target::at("https://ada:secret@acme.example").is_err());
}

#[test]
fn parses_an_override_as_curl_does() {
    let read = |text: &str| text.parse::<Override>();
    let one = read("Acme.example:443:10.0.0.7").unwrap();
    assert!(one.is_for("acme.EXAMPLE", 443) && !one.is_for("acme.example", 80));
    assert_eq!(one.address.to_string(), "10.0.0.7");
    assert_eq!(
        read("a:443:[::1]").unwrap().address,
        read("a:443:::1").unwrap().address
    );
    for wrong in [
        "",
        "a",
        "a:443",
        "a:b:10.0.0.7",
        ":443:10.0.0.7",
        "a:443:b",
        "a:99999:10.0.0.7",
    ] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn shows_the_claim_that_was_rejected() {
    let clock = Clock::from_millis(|| NOW * 1000);
    let claims = |claims: serde_json::Value| {
        let key = jsonwebtoken::EncodingKey::from_secret(b"any");
        let token = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap();
        Claims::of(&Secret::new(token))
    };
    let token =
        claims(json!({"exp": NOW - 7200, "nbf": NOW + 90, "aud": ["a", "b"], "org": "globex"}));
    for (reason, says) in [
        ("expired", Some("2 h ago")),
        ("not_yet_valid", Some("it will be in 90 s")),
        ("wrong_audience", Some("its \"aud\" is [\"a\",\"b\"]")),
        ("wrong_issuer", Some("it has no \"iss\"")),
        ("tenant_mismatch", Some("its \"org\" is \"globex\"")),
        ("bad_signature", None),
    ] {
        assert_eq!(
            token.against(reason, "org", &clock).as_deref(),
            says,
            "{reason}"
        );
    }
    assert_eq!(token.validity(&clock), None);
    let fresh = claims(json!({"exp": NOW + 600}));
    assert_eq!(
        fresh.validity(&clock).as_deref(),
        Some("valid for 10 min more")
    );
    assert_eq!(fresh.against("expired", "org", &clock), None);
    for unread in ["", "a", "a.b.c", "a.!.c"] {
        assert_eq!(
            Claims::of(&Secret::new(unread)).validity(&clock),
            None,
            "{unread}"
        );
    }
}

#[test]
fn formats_durations_and_dates() {
    for (seconds, text) in [
        (0, "0 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7_199, "119 min"),
        (7_200, "2 h"),
        (200_000, "2 days"),
    ] {
        assert_eq!(words::span(seconds), text);
    }
    assert_eq!(words::date(784_111_777), "06 Nov 1994");
    assert_eq!(words::date(253_402_300_799), "31 Dec 9999");
    assert_eq!(words::date(u64::MAX), "the end of time");
}

#[tokio::test]
async fn plain_http_should_lead_to_https() {
    let app = Router::new()
        .route("/served", get(|| async { "ok" }))
        .route(
            "/secure",
            get(|| async { Redirect::permanent("https://acme.example/") }),
        )
        .route(
            "/elsewhere",
            get(|| async { Redirect::permanent("http://acme.example/") }),
        );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let serving = tokio::spawn(async move { axum::serve(listener, app).await });
    let http = Http::new(&[]).unwrap();
    let found = async |path: &str| plain_http_redirects(&http, &base.join(path).unwrap()).await;
    assert_eq!(found("secure").await, Ok("it leads to https".to_owned()));
    assert!(matches!(found("served").await, Err(Finding::Warning(_))));
    assert!(found("none").await.is_ok());
    assert!(found("elsewhere").await.is_ok());
    serving.abort();
    let _ = serving.await;
    assert_eq!(
        found("served").await,
        Ok("nothing is served there".to_owned())
    );
}
