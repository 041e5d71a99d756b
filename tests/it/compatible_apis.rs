//! APIs of the same family that are deployed already: they have `/healthz` and `/v1/sync/info` and
//! no `/readyz`, and some of their refusals are plain text.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::harness::{Api, Client, Era, Fault, Forwarder, Sidecar, Stage, ToolClient, run, world};

crate::tests![
    an_api_without_readyz_is_ready_when_it_runs,
    startup_fails_if_an_api_without_readyz_does_not_run,
    a_plain_text_error_gets_an_explanation,
];

/// Room for a machine with much to do; a server beside an API that it takes for not ready ends
/// itself after it.
const STARTUP: Duration = Duration::from_secs(10);

async fn an_api_without_readyz_is_ready_when_it_runs() {
    tokio::join!(runs_without_readyz(404), runs_without_readyz(405));
}

async fn runs_without_readyz(status: u16) {
    let startup = format!("{}s", STARTUP.as_secs());
    let begun = Instant::now();
    let forwarder = Forwarder::without_readyz(&world().api.url, status).await;
    let sidecar = Sidecar::with_forwarder(
        forwarder,
        "acme",
        &[("TOOLBRIDGE_API_STARTUP_TIMEOUT", &startup)],
    )
    .await;
    sidecar
        .process
        .logged("ready: the API takes our calls", "duration_ms")
        .await;
    let client = Client::modern(&sidecar);
    assert_eq!(client.get("/readyz").send().await.unwrap().status(), 200);

    // From now on a server that still waits for its API has ended itself.
    tokio::time::sleep_until(begun + STARTUP + Duration::from_secs(1)).await;
    let note = json!({"title": "t", "content": crate::harness::CONTENT});
    let note = client.call("create_note", note).await.ok();
    let read = client
        .call("get_note", json!({"uid": note["uid"]}))
        .await
        .ok();
    assert_eq!(read["uid"], note["uid"]);
    client
        .call("delete_note", json!({"uid": note["uid"]}))
        .await
        .ok();
    client.traffic().await;

    let doctor = run(&["doctor", "--json"], sidecar.environment())
        .await
        .done();
    let report = doctor.json();
    let of = |id: &str| -> Value {
        let all = report["checks"].as_array().unwrap();
        all.iter().find(|check| check["id"] == id).unwrap().clone()
    };
    assert_eq!(
        of("api_ready")["what"],
        "it runs; it has no /readyz, so /healthz was asked",
        "{doctor}"
    );
    for id in [
        "api_ready",
        "api_clock",
        "signature",
        "api_token",
        "round_trip",
        "server_ready",
    ] {
        assert_eq!(of(id)["outcome"], "ok", "{id}: {doctor}");
    }
    // A server that is off leaves its API to look at.
    let url = [("TOOLBRIDGE_GO_API_BASE_URL", sidecar.forwarder.url.as_str())];
    let health = run(&["healthcheck", "--timeout", "60s"], url).await.done();
    assert!(health.out.contains("/healthz answered 200"), "{health}");
    sidecar.stop().await;
}

async fn startup_fails_if_an_api_without_readyz_does_not_run() {
    let api = Api::start().await;
    let forwarder = Forwarder::without_readyz(&api.url, 404).await;
    api.stop().await;
    let sidecar = Sidecar::with_forwarder(
        forwarder,
        "acme",
        &[("TOOLBRIDGE_API_STARTUP_TIMEOUT", "300ms")],
    )
    .await;
    assert_eq!(
        sidecar.process.exit().await,
        Some(69),
        "{}",
        sidecar.process.all_output()
    );
}

async fn a_plain_text_error_gets_an_explanation() {
    let sidecar = &world().acme;
    let client = Client::of(sidecar, Era::Modern, sidecar.new_user());
    let refuse = |stage, status, text| {
        sidecar
            .forwarder
            .inject(&client.user, stage, Fault::text(status, text))
    };
    for (stage, status, text, category, code, words) in [
        (
            Stage::Opening,
            403,
            "not authorized for requested tenant\n",
            "permission",
            "tenant_mismatch",
            "ask an administrator for access",
        ),
        (
            Stage::Operation,
            403,
            "not authorized for requested tenant\n",
            "permission",
            "tenant_mismatch",
            "ask an administrator for access",
        ),
        (
            Stage::Operation,
            403,
            "forbidden\n",
            "permission",
            "permission_denied",
            "repeating the call will not help",
        ),
        (
            Stage::Opening,
            401,
            "unauthorized\n",
            "authentication",
            "token_rejected",
            "sign in again",
        ),
        (
            Stage::Operation,
            401,
            "unauthorized\n",
            "authentication",
            "token_rejected",
            "sign in again",
        ),
    ] {
        refuse(stage, status, text);
        let called = client.call("list_notes", json!({})).await;
        let error = called.failed(category, code);
        assert_eq!(error["details"]["status"], status, "{called}");
        assert!(
            error["suggested_action"].as_str().unwrap().contains(words),
            "{called}"
        );
    }
    client.traffic().await;
}
