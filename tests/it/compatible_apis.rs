//! APIs of the same family that are deployed already: they have `/healthz` and `/v1/sync/info` and
//! no `/readyz`, and some of their refusals are plain text. Most tests make the suite's API look
//! like one; `tests/support/family` is such an API, as a program.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::Command;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::harness::process::{Process, Stdout};
use crate::harness::{
    Api, Client, Era, Fault, Forwarder, SECRETS, Server, Stage, ToolClient, User, run, shared,
};

crate::tests![
    an_api_without_readyz_is_ready_when_it_runs,
    startup_fails_if_an_api_without_readyz_does_not_run,
    a_plain_text_error_gets_an_explanation,
    a_family_api_is_served_beyond_the_startup_timeout,
    calls_wait_until_their_user_may_open_a_session,
    a_user_without_access_reads_what_helps,
];

/// The family API in front of which a server is, and the server.
struct Family {
    server: Server,
    api: Process,
}

impl Family {
    /// A user may open `burst` sessions at once, and so many a minute.
    async fn start(burst: u32, per_minute: u32, settings: &[(&str, &str)]) -> Self {
        static PROGRAM: OnceCell<std::path::PathBuf> = OnceCell::const_new();
        let program = PROGRAM.get_or_init(|| async {
            let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("family-api");
            let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/family/main.go");
            let mut build = Command::new("go");
            build.args(["build", "-o"]).arg(&program).arg(source);
            assert!(build.status().await.unwrap().success(), "it does not build");
            program
        });
        let mut command = Command::new(program.await);
        command
            .env_clear()
            .env("JWT_HS256_SECRET", &SECRETS.jwt)
            .env("TENANT_HEADER_SECRET", &SECRETS.tenant)
            .env("SESSIONS_PER_MINUTE", per_minute.to_string())
            .env("SESSIONS_BURST", burst.to_string());
        let api = Process::start("family-api", command, Stdout::Answers);
        let url = api.out.until(|line| Some(line.to_owned())).await.unwrap();
        let forwarder = Forwarder::start(&url).await;
        let server = Server::with_forwarder(forwarder, "acme", settings).await;
        server
            .process
            .logged("ready: the API takes our calls", "duration_ms")
            .await;
        Self { server, api }
    }

    async fn stop(self) {
        self.server.stop().await;
        self.api.signal("KILL");
    }
}

async fn a_family_api_is_served_beyond_the_startup_timeout() {
    let begun = Instant::now();
    let startup = format!("{}s", STARTUP.as_secs());
    let family = Family::start(1000, 1000, &[("TOOLBRIDGE_API_STARTUP_TIMEOUT", &startup)]).await;
    let server = &family.server;
    tokio::time::sleep_until(begun + STARTUP + Duration::from_secs(1)).await;
    let client = Client::modern(server);
    assert_eq!(client.get("/readyz").send().await.unwrap().status(), 200);

    let note = json!({"title": "t", "content": "c"});
    let note = client.call("create_note", note).await.ok();
    let uid = &note["uid"];
    let patch = json!({"uid": uid, "updates": {"title": "u"}, "if_match": 1});
    client.call("patch_note", patch.clone()).await.ok();
    client
        .call("patch_note", patch)
        .await
        .failed("conflict", "version_mismatch");
    let whole = json!({"uid": uid, "title": "v", "content": "d"});
    client.call("update_note", whole).await.ok();
    let read = client.call("get_note", json!({"uid": uid})).await.ok();
    assert_eq!(read["payload"], json!({"title": "v", "content": "d"}));
    let listed = client.call("list_notes", json!({})).await.ok();
    assert_eq!(listed["items"][0]["uid"], *uid);
    client.call("archive_note", json!({"uid": uid})).await.ok();
    client.call("delete_note", json!({"uid": uid})).await.ok();
    client
        .call("get_note", json!({"uid": uid}))
        .await
        .failed("not_found", "note_deleted");
    client.traffic().await;

    let token = &server.new_user().token;
    let environment = [("TOOLBRIDGE_TOKEN", token.as_str())];
    let doctor = run(
        &["doctor", "--json"],
        server.environment().chain(environment),
    )
    .await;
    let report = doctor.done().json();
    for check in report["checks"].as_array().unwrap() {
        assert_ne!(check["outcome"], "failed", "{check}");
    }
    let smoke = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/smoke"))
        .arg(&server.url)
        .envs(environment)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&smoke.stdout).into_owned();
    assert!(smoke.status.success(), "{said}");
    family.stop().await;
}

/// Twice as many calls at once as the API lets a user open sessions for.
async fn calls_wait_until_their_user_may_open_a_session() {
    const BURST: u32 = 4;
    let family = Family::start(BURST, 60, &[]).await;
    let client = Client::modern(&family.server);
    let begun = Instant::now();
    let calls = (0..2 * BURST).map(|_| client.call("list_notes", json!({})));
    for called in futures::future::join_all(calls).await {
        called.ok();
    }
    let waited = begun.elapsed();
    let least = Duration::from_secs(u64::from(BURST));
    assert!(waited >= least - Duration::from_secs(1), "{waited:?}");
    client.traffic().await;
    family.stop().await;

    // What does not fit into the deadline is told to the model.
    let soon = [("TOOLBRIDGE_API_CALL_DEADLINE", "15s")];
    let family = Family::start(1, 1, &soon).await;
    let client = Client::modern(&family.server);
    client.call("list_notes", json!({})).await.ok();
    let called = client.call("list_notes", json!({})).await;
    let error = called.failed("rate_limited", "rate_limited");
    assert_eq!(error["retryable"], true, "{called}");
    let wait = error["retry_after_ms"].as_u64().unwrap();
    assert!((15_000..=60_000).contains(&wait), "{called}");
    client.traffic().await;
    family.stop().await;
}

async fn a_user_without_access_reads_what_helps() {
    let family = Family::start(1000, 1000, &[]).await;
    let outsider = User::with_claims(json!({"sub": "outsider-1", "tenant_id": "acme"}));
    let client = Client::of(&family.server, Era::Modern, outsider);
    let called = client.call("list_notes", json!({})).await;
    let error = called.failed("permission", "tenant_mismatch");
    let advice = error["suggested_action"].as_str().unwrap();
    assert!(
        advice.contains("ask an administrator for access"),
        "{called}"
    );
    client.traffic().await;
    family.stop().await;
}

/// Room for a machine with much to do; a server beside an API that it takes for not ready ends
/// itself after it.
const STARTUP: Duration = Duration::from_secs(10);

async fn an_api_without_readyz_is_ready_when_it_runs() {
    tokio::join!(runs_without_readyz(404), runs_without_readyz(405));
}

async fn runs_without_readyz(status: u16) {
    let startup = format!("{}s", STARTUP.as_secs());
    let begun = Instant::now();
    let forwarder = Forwarder::without_readyz(&shared().api.url, status).await;
    let server = Server::with_forwarder(
        forwarder,
        "acme",
        &[("TOOLBRIDGE_API_STARTUP_TIMEOUT", &startup)],
    )
    .await;
    server
        .process
        .logged("ready: the API takes our calls", "duration_ms")
        .await;
    let client = Client::modern(&server);
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

    let doctor = run(&["doctor", "--json"], server.environment())
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
    let url = [("TOOLBRIDGE_GO_API_BASE_URL", server.forwarder.url.as_str())];
    let health = run(&["healthcheck", "--timeout", "60s"], url).await.done();
    assert!(health.out.contains("/healthz answered 200"), "{health}");
    server.stop().await;
}

async fn startup_fails_if_an_api_without_readyz_does_not_run() {
    let api = Api::start().await;
    let forwarder = Forwarder::without_readyz(&api.url, 404).await;
    api.stop().await;
    let server = Server::with_forwarder(
        forwarder,
        "acme",
        &[("TOOLBRIDGE_API_STARTUP_TIMEOUT", "300ms")],
    )
    .await;
    assert_eq!(
        server.process.exit().await,
        Some(69),
        "{}",
        server.process.all_output()
    );
}

async fn a_plain_text_error_gets_an_explanation() {
    let server = &shared().acme;
    let client = Client::of(server, Era::Modern, server.new_user());
    let refuse = |stage, status, text| {
        server
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
