//! What leaves the server for the API, and what never does.

use serde_json::json;

use crate::harness::token::{now_ms, signature, signature_v2};
use crate::harness::{Client, Era, HttpReply, Record, SECRETS, Server, Stage, ToolClient, shared};

crate::tests![
    every_request_is_signed_and_belongs_to_one_call,
    nothing_else_of_the_client_reaches_the_api,
    a_correlation_id_of_the_client_appears_on_both_sides,
    each_call_has_its_own_session,
    limits_open_sessions,
];

/// Everything that may stand in the head of a request to the API.
const HEADERS: [&str; 19] = [
    "accept",
    "authorization",
    "content-length",
    "content-type",
    "host",
    "idempotency-key",
    "if-match",
    "traceparent",
    "x-correlation-id",
    "x-sync-epoch",
    "x-sync-session",
    "x-tb-content-sha256",
    "x-tb-key-id",
    "x-tb-nonce",
    "x-tb-signature",
    "x-tb-signature-v2",
    "x-tb-tenant-id",
    "x-tb-timeout-ms",
    "x-tb-timestamp",
];

/// What is true of every single request that carries a token, whatever the test.
pub fn check_signature(record: &Record, tenant: &str) {
    let said = |name: &str| {
        let mut values = record.headers.get_all(name).iter();
        let value = values
            .next()
            .map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(values.count(), 0, "{name} comes twice in {}", record.line());
        value.unwrap_or_default()
    };
    let line = record.line();
    for name in record.headers.keys() {
        assert!(
            HEADERS.contains(&name.as_str()),
            "{name} was sent with {line}"
        );
    }
    let timestamp = said("x-tb-timestamp");
    assert_eq!(said("x-tb-tenant-id"), tenant, "{line}");
    assert_eq!(
        said("x-tb-signature"),
        signature(&SECRETS.tenant, tenant, &timestamp),
        "{line}"
    );
    let (method, target) = (record.method.as_str(), record.target());
    for (name, expected) in signature_v2(
        &SECRETS.tenant,
        method,
        &target,
        &record.headers,
        &record.body,
    ) {
        assert_eq!(said(name), expected, "{name} of {line}");
    }
    let age = record.at_ms.abs_diff(timestamp.parse().unwrap());
    assert!(
        age < 5_000,
        "{line} was signed {age} ms away from when it came"
    );
    let told: u64 = said("x-tb-timeout-ms").parse().unwrap();
    assert!((1..=600_000).contains(&told), "{line} has {told} ms");
    assert!(said("authorization").starts_with("Bearer "), "{line}");
    assert!(!said("x-correlation-id").is_empty(), "{line}");
    let in_session = record.stage() == Stage::Operation;
    for name in ["x-sync-session", "x-sync-epoch"] {
        assert_eq!(said(name).is_empty(), !in_session, "{name} of {line}");
    }
}

async fn every_request_is_signed_and_belongs_to_one_call() {
    let client = Client::modern(&shared().acme);
    let begun = now_ms();
    let note = client
        .call("create_note", json!({"title": "t", "content": "c"}))
        .await
        .ok();
    // A session is ended behind the caller's back, which may be after the next call has begun.
    client.traffic().await;
    client
        .call(
            "patch_note",
            json!({"uid": note["uid"], "updates": {"x": 1}, "if_match": 1}),
        )
        .await
        .ok();
    let traffic = client.traffic().await;
    assert_eq!(traffic.0.len(), 6, "{traffic}");
    for call in traffic.0.chunks(3) {
        for record in call {
            check_signature(record, "acme");
            assert!(record.at_ms >= begun);
            assert_eq!(
                record.header("authorization"),
                format!("Bearer {}", client.user.token)
            );
            assert_eq!(
                record.header("x-correlation-id"),
                call[0].header("x-correlation-id")
            );
        }
        let session = call[1].header("x-sync-session");
        assert_eq!(
            call[2].path,
            format!("/v1/sync/sessions/{session}"),
            "the same session is ended"
        );
        assert_eq!(call[1].header("x-sync-epoch"), "1");
    }
    assert_eq!(traffic.0[4].header("if-match").trim_matches('"'), "1");
    assert_ne!(
        traffic.0[0].header("x-correlation-id"),
        traffic.0[3].header("x-correlation-id")
    );
    assert_ne!(
        traffic.0[1].header("x-sync-session"),
        traffic.0[4].header("x-sync-session")
    );
}

async fn nothing_else_of_the_client_reaches_the_api() {
    let hostile = [
        ("x-tb-tenant-id", "globex"),
        ("x-tb-timestamp", "1"),
        ("x-tb-signature", "00"),
        ("x-tb-key-id", "0000000000000000"),
        ("x-tb-nonce", "00000000000000000000000000000000"),
        ("x-tb-content-sha256", "00"),
        ("x-tb-signature-v2", "00"),
        ("x-tb-anything", "at all"),
        ("x-sync-session", "11111111-1111-4111-8111-111111111111"),
        ("x-sync-epoch", "99"),
        ("x-sync-anything", "at all"),
        ("cookie", "session=stolen"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-proto", "https"),
        ("forwarded", "for=10.0.0.1"),
        ("x-real-ip", "10.0.0.1"),
        ("proxy-authorization", "Basic eDp5"),
        ("x-authorization", "Bearer a.b.c"),
        ("if-match", "7"),
        ("idempotency-key", "1"),
        ("te", "trailers"),
        ("expect", "nothing"),
        ("user-agent", "evil/1"),
        ("accept-language", "tlh"),
        ("traceparent", "not a trace"),
        ("tracestate", "evil=1"),
        ("baggage", "evil=1"),
    ];
    for era in Era::all() {
        let client = Client::new(&shared().acme, era);
        let mut request = client.calling("create_note", json!({"title": "t", "content": "c"}));
        for (name, value) in hostile {
            request = request.header(name, value);
        }
        let answer = HttpReply::of(request).await;
        assert_eq!(answer.result()["isError"], false, "{answer}");
        let traffic = client.traffic().await;
        assert_eq!(traffic.lines(), ["open", "POST /v1/notes", "end"]);
        for record in &traffic.0 {
            check_signature(record, "acme");
            for (name, value) in hostile {
                assert_ne!(
                    record.header(name),
                    value,
                    "{name} was handed on with {}",
                    record.line()
                );
            }
            for name in ["traceparent", "if-match"] {
                assert_eq!(record.header(name), "", "{name}");
            }
        }
    }
}

async fn a_correlation_id_of_the_client_appears_on_both_sides() {
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for (given, kept) in [
        ("from-the-client.1_2:3", true),
        ("no spaces", false),
        ("<script>", false),
        (&"x".repeat(129), false),
    ] {
        let client = Client::modern(&shared().acme);
        let request = client.calling(
            "get_note",
            json!({"uid": "01890a5d-ac96-774b-bcce-b302099a8057"}),
        );
        let request = request
            .header("x-correlation-id", given)
            .header("traceparent", trace);
        let answer = HttpReply::of(request).await;
        let echoed = answer.header("x-correlation-id").to_owned();
        assert_eq!(echoed == given, kept, "{answer}");
        let said = answer.result()["content"][0]["text"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let error = &serde_json::from_str::<serde_json::Value>(&said).unwrap()["error"];
        assert_eq!(error["correlation_id"], echoed, "{answer}");
        for record in &client.traffic().await.0 {
            assert_eq!(record.header("x-correlation-id"), echoed);
            assert_eq!(record.header("traceparent"), trace);
        }
        for program in [&shared().acme.process, &shared().api.process] {
            let named = |line: &str| line.contains(&format!("\"{echoed}\"")).then_some(());
            assert!(
                program.out.until(named).await.is_some(),
                "{} does not log {echoed}",
                program.name
            );
        }
    }
}

async fn each_call_has_its_own_session() {
    let client = Client::modern(&shared().acme);
    let calls = (0..20).map(|_| client.call("list_notes", json!({})));
    for called in futures::future::join_all(calls).await {
        assert_eq!(called.ok(), json!({"items": []}));
    }
    let traffic = client.traffic().await;
    let sessions: std::collections::BTreeSet<_> = traffic
        .operations()
        .iter()
        .map(|record| record.header("x-sync-session").to_owned())
        .collect();
    assert_eq!((sessions.len(), traffic.0.len()), (20, 60));
}

async fn limits_open_sessions() {
    const MAX_SESSIONS: usize = 3;
    // All of them get their turn, however slow the machine is.
    let settings = [
        ("TOOLBRIDGE_API_MAX_SESSIONS", "3"),
        ("TOOLBRIDGE_API_QUEUE_WAIT", "20s"),
    ];
    let server = Server::with("acme", &shared().api, &settings).await;
    let client = Client::modern(&server);
    let calls = (0..40).map(|_| client.call("list_notes", json!({})));
    for called in futures::future::join_all(calls).await {
        called.ok();
    }
    let traffic = client.traffic().await;
    assert_eq!(traffic.0.len(), 120);
    let (mut open, mut most) = (0, 0);
    for record in &traffic.0 {
        match record.stage() {
            Stage::Opening => open += 1,
            Stage::Operation => {}
            Stage::Ending => open -= 1,
        }
        most = most.max(open);
    }
    assert_eq!(most, MAX_SESSIONS, "{traffic}");
    server.stop().await;
}
