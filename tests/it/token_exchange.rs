//! An MCP server that exchanges its callers' tokens: the API gets others, and only the right ones.
//!
//! The authorization server is a scripted one. What it issues the real API accepts, since it signs
//! with the API's secret.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::harness::token::{CLIENT_ID, now_secs, token};
use crate::harness::{
    CONTENT, Client, Era, HttpReply, Metrics, SECRETS, Server, StdioClient, ToolClient, User, run,
    shared,
};
use crate::scripted_as::{ScriptedAs, Step, TokenRequest};

crate::tests![
    the_api_receives_an_exchanged_token_for_each_user,
    concurrent_calls_share_one_exchange,
    a_failure_of_the_authorization_server_is_a_tool_error,
    a_refused_call_exchanges_nothing,
    missing_exchange_settings_stop_startup,
];

/// Marks what the authorization server has issued.
const ISSUED: &str = "issued_by";

fn claims(token: &str) -> Value {
    use base64::Engine;
    let middle = token.split('.').nth(1).unwrap();
    let text = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(middle)
        .unwrap();
    serde_json::from_slice(&text).unwrap()
}

async fn authorization_server() -> ScriptedAs {
    ScriptedAs::start(|request: &TokenRequest| {
        let subject = claims(request.field("subject_token"));
        let issued = json!({
            "sub": subject["sub"], "tenant_id": subject["tenant_id"], "exp": now_secs() + 300,
            ISSUED: "exchange",
        });
        json!({
            "access_token": token(issued, &SECRETS.jwt),
            "token_type": "Bearer",
            "expires_in": 300,
        })
    })
    .await
}

async fn server(issuer: &ScriptedAs, more: &[(&str, &str)]) -> Server {
    let url = issuer.url();
    let settings = [
        ("TOOLBRIDGE_AUTH_MODE", "exchange"),
        ("TOOLBRIDGE_AUTH_EXCHANGE_TOKEN_URL", &url),
        ("TOOLBRIDGE_AUTH_EXCHANGE_AUDIENCE", "toolbridge-api"),
        ("TOOLBRIDGE_AUTH_EXCHANGE_CLIENT_ID", CLIENT_ID),
        ("TOOLBRIDGE_AUTH_EXCHANGE_CLIENT_SECRET", &SECRETS.client),
    ];
    Server::with("acme", &shared().api, &[&settings, more].concat()).await
}

/// Every token that the API got from this person's calls is one that was issued for this person.
async fn has_client_credentials(client: &impl ToolClient) {
    let traffic = client.traffic().await.0;
    assert!(!traffic.is_empty());
    for record in &traffic {
        let shown = record
            .header("authorization")
            .strip_prefix("Bearer ")
            .unwrap();
        let claims = claims(shown);
        assert_eq!(
            (&claims["sub"], &claims[ISSUED]),
            (&json!(client.user().sub), &json!("exchange"))
        );
        assert_ne!(shown, client.user().token);
    }
}

async fn the_api_receives_an_exchanged_token_for_each_user() {
    let issuer = authorization_server().await;
    // At this level each library says what it does; what it said is looked at when all is done.
    let level = "trace,rmcp=trace,hyper=trace,hyper_util=trace,reqwest=trace";
    let more = [
        ("TOOLBRIDGE_AUTH_EXCHANGE_SCOPE", "a b"),
        ("TOOLBRIDGE_LOG_LEVEL", level),
    ];
    let server = server(&issuer, &more).await;
    let people: Vec<_> = Era::all().map(|era| Client::new(&server, era)).collect();
    for person in &people {
        let note = json!({"title": format!("{CONTENT} {}", person.user.sub), "content": CONTENT});
        person.call("create_note", note).await.ok();
    }
    for person in &people {
        let page = person.call("list_notes", json!({})).await.ok();
        let title = json!(format!("{CONTENT} {}", person.user.sub));
        assert_eq!(page["items"].as_array().unwrap().len(), 1, "{page}");
        assert_eq!(
            page["items"][0]["payload"]["title"], title,
            "their own note, and no other's"
        );
        has_client_credentials(person).await;
    }
    let request = issuer.requests();
    assert_eq!(
        request.len(),
        people.len(),
        "once for each, however many calls"
    );
    for request in &request {
        assert_eq!(
            request.headers["authorization"],
            format!("Basic {}", SECRETS.client_basic()).as_str()
        );
        assert_eq!(
            (request.field("audience"), request.field("scope")),
            ("toolbridge-api", "a b")
        );
    }
    let stdio = StdioClient::start(&server, Era::Modern).await;
    stdio.call("list_notes", json!({})).await.ok();
    has_client_credentials(&stdio).await;
    stdio.close().await;
    run(&["call", "list_notes", "--as", "ada"], server.environment())
        .await
        .done();
    server.stop().await;
}

async fn concurrent_calls_share_one_exchange() {
    let issuer = authorization_server().await;
    let server = server(&issuer, &[]).await;
    let gate = Arc::new(Notify::new());
    issuer.then([Step::Gate(Arc::clone(&gate))]);
    let client = Client::modern(&server);
    let calls = futures::future::join_all((0..10).map(|_| client.call("list_notes", json!({}))));
    gate.notify_one();
    for called in calls.await {
        called.ok();
    }
    assert_eq!(issuer.requests().len(), 1);
    has_client_credentials(&client).await;
    server.stop().await;
}

async fn a_failure_of_the_authorization_server_is_a_tool_error() {
    let issuer = authorization_server().await;
    let server = server(&issuer, &[("TOOLBRIDGE_API_CALL_DEADLINE", "3s")]).await;
    let client = Client::modern(&server);
    let said = format!("{CONTENT} says {}", client.user.token);
    for (step, category, code) in [
        (
            Step::refuse(400, "invalid_grant", &said),
            "authentication",
            "token_not_exchanged",
        ),
        (
            Step::refuse(400, "invalid_target", &said),
            "permission",
            "exchange_denied",
        ),
        (
            Step::refuse(401, "invalid_client", &said),
            "internal",
            "exchange_failed",
        ),
        (
            Step::refuse(400, &said, &said),
            "internal",
            "exchange_failed",
        ),
        (
            Step::Answer(200, said.clone()),
            "internal",
            "exchange_failed",
        ),
        (
            Step::Answer(503, said.clone()),
            "unavailable",
            "exchange_unavailable",
        ),
        (Step::Redirect(issuer.url()), "internal", "exchange_failed"),
        (Step::BreakOff, "unavailable", "exchange_unavailable"),
        (Step::Hang, "unavailable", "exchange_unavailable"),
    ] {
        issuer.then([step.clone()]);
        let person = Client::modern(&server);
        let called = person
            .call("create_note", json!({"title": CONTENT, "content": CONTENT}))
            .await;
        let error = called.failed(category, code);
        assert_eq!(error["retryable"], category == "unavailable", "{called}");
        assert!(!called.answer.to_string().contains(CONTENT), "{called}");
        assert!(person.traffic().await.0.is_empty(), "nothing was sent");
    }
    client.call("list_notes", json!({})).await.ok();
    client.traffic().await;
    let metrics = Metrics::of(&server).await;
    for (outcome, expected) in [
        ("ok", 1.0),
        ("refused", 1.0),
        ("denied", 1.0),
        ("misconfigured", 3.0),
        // The one that hangs is still being asked.
        ("unavailable", 2.0),
        ("garbled", 1.0),
    ] {
        let label = format!("outcome=\"{outcome}\"");
        let found = metrics.sum("toolbridge_mcp_token_exchanges_total", &[&label]);
        let slack = if outcome == "unavailable" { 1.0 } else { 0.0 };
        assert!(
            (expected..=expected + slack).contains(&found),
            "{found} × {outcome}"
        );
    }
    server.stop().await;
}

async fn a_refused_call_exchanges_nothing() {
    let issuer = authorization_server().await;
    let server = server(&issuer, &[]).await;
    let client = Client::modern(&server);
    client
        .call("get_note", json!({"uid": "none"}))
        .await
        .failed("validation", "invalid_argument");
    client.ask("tools/list", json!({})).await.result();
    let reader =
        User::with_claims(json!({"sub": "ada", "tenant_id": "acme", "scope": "toolbridge:read"}));
    let reader = Client::of(&server, Era::Modern, reader);
    assert_eq!(
        HttpReply::of(reader.calling("create_note", json!({})))
            .await
            .status,
        403
    );
    let other_user = Client::of(&server, Era::Modern, shared().globex.new_user());
    assert_eq!(
        HttpReply::of(other_user.calling("list_notes", json!({})))
            .await
            .status,
        403
    );
    assert!(issuer.requests().is_empty());
    server.stop().await;
}

async fn missing_exchange_settings_stop_startup() {
    let usual = || {
        shared()
            .acme
            .environment()
            .chain([("TOOLBRIDGE_AUTH_MODE", "exchange")])
    };
    let stopped = run(&["serve"], usual()).await;
    assert_eq!(stopped.code, 64, "{stopped}");
    assert!(
        stopped.err.contains("auth.exchange.token_url is not set"),
        "{stopped}"
    );
    let far = (
        "TOOLBRIDGE_AUTH_EXCHANGE_TOKEN_URL",
        "http://login.example.com/token",
    );
    let stopped = run(&["serve"], usual().chain([far])).await;
    assert!(
        stopped.code == 64 && stopped.err.contains("is plain http"),
        "{stopped}"
    );
    let words = [
        "config",
        "check",
        "--set",
        "auth.exchange.client_secret=hush",
    ];
    let stopped = run(&words, usual()).await;
    assert!(
        stopped.code == 64 && !stopped.err.contains("hush"),
        "{stopped}"
    );
}
