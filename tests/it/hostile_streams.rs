//! Attempts to use the streams and sessions of another user: guessed, copied, in another spelling,
//! resumed, or after their owner has gone. For other users they do not exist, and no attempt
//! disturbs them.

use std::sync::LazyLock;

use http::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{
    Client, Era, HttpReply, Metrics, Server, SseClient, ToolClient, User, shared,
};

crate::tests![
    a_stream_is_found_only_by_its_id,
    a_stream_ends_with_its_connection,
    a_session_is_found_only_by_its_owner,
];

const VERSION: &str = "2025-06-18";
const GUESSES: usize = 300;

static HTTP: LazyLock<reqwest::Client> =
    LazyLock::new(|| reqwest::Client::builder().no_proxy().build().unwrap());

fn call(id: u64) -> Value {
    json!({
        "jsonrpc": "2.0",
        "id": id,
        "method": "tools/call",
        "params": {"name": "list_notes", "arguments": {}},
    })
}

/// Names that are nearly this one, and names that are none.
fn nearly(id: &str) -> Vec<String> {
    let mut all: Vec<String> = (0..GUESSES).map(|_| Uuid::new_v4().to_string()).collect();
    all.extend([
        String::new(),
        id.to_uppercase().replace(|c: char| c.is_ascii_digit(), "0"),
        id[..id.len() - 1].to_owned(),
        format!("{id}0"),
        format!("{id}/"),
        format!("{id}\u{200b}"),
        format!("{id},{id}"),
        format!("../{id}"),
        "*".to_owned(),
        "0".to_owned(),
        "null".to_owned(),
        "' OR 1=1 --".to_owned(),
        "x".repeat(10_000),
    ]);
    all
}

fn posted(url: &str, token: &str, message: &Value) -> reqwest::RequestBuilder {
    let request = HTTP.post(url).bearer_auth(token);
    request
        .header("content-type", "application/json")
        .body(message.to_string())
}

async fn a_stream_is_found_only_by_its_id() {
    let server = &shared().acme;
    let stream = SseClient::start(server, "2024-11-05").await;
    let (path, id) = stream.url().split_once("sessionId=").unwrap();
    let other = server.new_user();
    let received = stream.received().len();
    for guess in nearly(id) {
        let encoded: String = url::form_urlencoded::byte_serialize(guess.as_bytes()).collect();
        let url = format!("{path}sessionId={encoded}");
        for token in [&other.token, &stream.user().token] {
            let answer = HttpReply::of(posted(&url, token, &call(100))).await;
            assert!([400, 404].contains(&answer.status), "{guess}: {answer}");
        }
    }
    // Knowing the name does not help another user.
    let answer = HttpReply::of(posted(stream.url(), &other.token, &call(100))).await;
    assert_eq!(answer.status, 404, "{answer}");
    for (query, statuses) in [
        (
            format!("sessionId={id}&sessionId={}", Uuid::new_v4()),
            [400, 400],
        ),
        (format!("sessionId={id}&session%49d={id}"), [400, 400]),
        (format!("session_id={id}"), [400, 404]),
        (format!("sessionid={id}"), [400, 404]),
        (format!("mcp-session-id={id}"), [400, 404]),
    ] {
        let url = format!("{}{query}", path.trim_end_matches("sessionId="));
        let answer = HttpReply::of(posted(&url, &stream.user().token, &call(100))).await;
        assert!(statuses.contains(&answer.status), "{query}: {answer}");
    }
    // The name in a header or on the other path leads nowhere, for any user.
    for token in [&other.token, &stream.user().token] {
        let request = posted(&format!("{}/messages", server.url), token, &call(100));
        let answer = HttpReply::of(
            request
                .header("mcp-session-id", id)
                .header("last-event-id", id),
        )
        .await;
        assert_eq!(answer.status, 400, "{answer}");
    }
    // A listener who names the stream gets one of their own.
    let listening = HTTP.get(format!("{}/sse?sessionId={id}", server.url));
    let listening = listening
        .bearer_auth(&other.token)
        .header("last-event-id", id);
    let mut listening = listening.send().await.unwrap();
    let first = listening.chunk().await.unwrap().unwrap();
    assert!(!String::from_utf8_lossy(&first).contains(id));
    assert_eq!(stream.received().len(), received, "nothing was heard of it");
    stream.call("list_notes", json!({})).await.ok();
    stream.traffic().await;
    assert!(
        server.forwarder.so_far(&other).0.is_empty(),
        "nothing was sent for anybody else"
    );
}

async fn a_stream_ends_with_its_connection() {
    let server = Server::start("acme", &shared().api).await;
    let stream = SseClient::start(&server, "2024-11-05").await;
    let (url, user) = (stream.url().to_owned(), stream.user().clone());
    stream.close();
    Metrics::until(&server, "the stream to end", |metrics| {
        metrics.sum("toolbridge_mcp_connections_open", &[]) <= 1.0
    })
    .await;
    for token in [&user.token, &server.new_user().token] {
        let answer = HttpReply::of(posted(&url, token, &call(1))).await;
        assert_eq!(answer.status, 404, "{answer}");
    }
    // Nor does it come back with them.
    let again = SseClient::open(&server, "/sse", user.clone()).await;
    assert_ne!(again.url(), url);
    assert_eq!(
        HttpReply::of(posted(&url, &user.token, &call(1)))
            .await
            .status,
        404
    );
    assert!(again.received().is_empty());
    again.close();
    assert!(
        server.forwarder.so_far(&user).0.is_empty(),
        "nothing was sent"
    );
    server.stop().await;
}

async fn a_session_is_found_only_by_its_owner() {
    let server = Server::with(
        "acme",
        &shared().api,
        &[("TOOLBRIDGE_SERVER_SESSIONS", "stateful")],
    )
    .await;
    let era = Era::Legacy(VERSION);
    let owner = Client::new(&server, era);
    let handshake = era
        .message(0, "initialize", era.initialize_params())
        .to_string();
    let opened = owner.post().body(handshake).send().await.unwrap();
    let id = opened.headers()["mcp-session-id"]
        .to_str()
        .unwrap()
        .to_owned();
    drop(opened.text().await.unwrap());
    let within = |user: &User, method: Method, id: &str| {
        let request = HTTP.request(method, server.mcp()).bearer_auth(&user.token);
        request
            .header("accept", "application/json, text/event-stream")
            .header("content-type", "application/json")
            .header("mcp-protocol-version", VERSION)
            .header("mcp-session-id", id)
    };
    let other = server.new_user();
    for method in [Method::POST, Method::GET, Method::DELETE] {
        for last in ["0", "1", &id, "0/0", "-1", "x"] {
            let request = within(&other, method.clone(), &id).header("last-event-id", last);
            assert_eq!(
                HttpReply::of(request.body(call(1).to_string()))
                    .await
                    .status,
                404,
                "{method} {last}"
            );
        }
        let plain = |guess: &&String| guess.is_ascii() && guess.len() < 1000;
        for guess in nearly(&id).iter().filter(plain) {
            for user in [&other, &owner.user] {
                let answer =
                    HttpReply::of(within(user, method.clone(), guess).body(call(1).to_string()))
                        .await;
                assert_eq!(answer.status, 404, "{method} {guess}: {answer}");
            }
        }
    }
    // It has noticed nothing, until its owner ends it.
    let own = within(&owner.user, Method::POST, &id).body(call(1).to_string());
    let own = own.send().await.unwrap();
    assert_eq!(own.status(), 200);
    assert!(own.text().await.unwrap().contains("isError\":false"));
    let end = within(&owner.user, Method::DELETE, &id)
        .send()
        .await
        .unwrap();
    assert!(end.status().is_success());
    for method in [Method::POST, Method::GET, Method::DELETE] {
        let answer =
            HttpReply::of(within(&owner.user, method.clone(), &id).body(call(1).to_string())).await;
        assert_eq!(answer.status, 404, "{method}: {answer}");
    }
    owner.traffic().await;
    assert!(
        server.forwarder.so_far(&other).0.is_empty(),
        "nothing was sent for anybody else"
    );
    server.stop().await;
}
