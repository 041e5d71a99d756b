//! What happens beyond a limit: who is refused, what they are told, and that nobody else notices.

use serde_json::json;

use crate::harness::{Client, Fault, Gate, Metrics, Server, Stage, ToolClient, shared};

crate::tests![
    rates_are_per_caller,
    connection_limits_are_per_caller,
    calls_over_the_limit_are_refused_at_once,
];

async fn refusals(server: &Server, limit: &str) -> f64 {
    let label = format!("limit=\"{limit}\"");
    Metrics::of(server)
        .await
        .sum("toolbridge_mcp_limit_refusals_total", &[&label])
}

async fn rates_are_per_caller() {
    const BURST: usize = 3;
    // So slow that nothing comes back while this runs.
    let settings = [
        ("TOOLBRIDGE_SERVER_CALLS_PER_MINUTE", "1"),
        ("TOOLBRIDGE_SERVER_CALLS_BURST", "3"),
    ];
    let server = Server::with("acme", &shared().api, &settings).await;
    let (ann, bob) = (Client::modern(&server), Client::modern(&server));
    for _ in 0..BURST {
        ann.call("list_notes", json!({})).await.ok();
    }
    for _ in 0..2 {
        let called = ann
            .call("create_note", json!({"title": "t", "content": "c"}))
            .await;
        let error = called.failed("rate_limited", "rate_limited");
        assert_eq!(error["retryable"], true, "{called}");
        let wait = error["retry_after_ms"].as_u64().unwrap();
        assert!((1..=60_000).contains(&wait), "{called}");
    }
    for _ in 0..BURST {
        bob.call("list_notes", json!({})).await.ok();
    }
    // What is no call of a tool is not limited, and another token of the same person is the same
    // person.
    ann.ask("tools/list", json!({})).await.result();
    assert_eq!(
        ann.traffic().await.count(Stage::Operation),
        BURST,
        "what was refused was not sent"
    );
    assert_eq!(refusals(&server, "rate").await, 2.0);
    bob.traffic().await;
    server.stop().await;
}

async fn connection_limits_are_per_caller() {
    let settings = [("TOOLBRIDGE_SERVER_CONNECTIONS_PER_PRINCIPAL", "2")];
    let server = Server::with("acme", &shared().api, &settings).await;
    let ann: Vec<_> = {
        let first = Client::modern(&server);
        let more = (0..2)
            .map(|_| Client::of(&server, first.era, first.user.clone()))
            .collect::<Vec<_>>();
        std::iter::once(first).chain(more).collect()
    };
    for client in &ann[..2] {
        client.call("list_notes", json!({})).await.ok();
    }
    let list = json!({"name": "list_notes", "arguments": {}});
    let refused = ann[2].ask("tools/call", list.clone()).await;
    assert_eq!(
        (refused.status, refused.header("connection")),
        (429, "close"),
        "{refused}"
    );
    assert_eq!(refused.json()["error"], "too_many_connections", "{refused}");
    assert_eq!(refusals(&server, "connections_per_principal").await, 1.0);
    let bob = Client::modern(&server);
    bob.call("list_notes", json!({})).await.ok();
    // Those that are held go on, and one that is closed makes room.
    let mut ann = ann;
    drop(ann.remove(0));
    Metrics::until(&server, "a connection to be closed", |metrics| {
        metrics.sum("toolbridge_mcp_connections_open", &[]) == 2.0
    })
    .await;
    for client in &ann {
        client.call("list_notes", json!({})).await.ok();
    }
    ann[0].traffic().await;
    bob.traffic().await;
    server.stop().await;
}

async fn calls_over_the_limit_are_refused_at_once() {
    let settings = [
        ("TOOLBRIDGE_API_MAX_CALLS", "1"),
        ("TOOLBRIDGE_API_QUEUE_LENGTH", "1"),
    ];
    let server = Server::with("acme", &shared().api, &settings).await;
    let (ann, bob, cleo) = (
        Client::modern(&server),
        Client::modern(&server),
        Client::modern(&server),
    );
    let gate = Gate::closed();
    server
        .forwarder
        .inject(&ann.user, Stage::Operation, Fault::Wait(gate.clone()));
    let first = ann.call("list_notes", json!({}));
    let second = async {
        server
            .forwarder
            .until_seen(&ann.user, Stage::Operation, 1)
            .await;
        bob.call("list_notes", json!({})).await
    };
    let third = async {
        Metrics::until(&server, "one to wait", |metrics| {
            metrics.sum("toolbridge_mcp_tool_calls_waiting", &[]) == 1.0
        })
        .await;
        let called = cleo
            .call("create_note", json!({"title": "t", "content": "c"}))
            .await;
        // Whose arguments are wrong is told so without waiting for anybody.
        cleo.call("get_note", json!({"uid": "none"}))
            .await
            .failed("validation", "invalid_argument");
        gate.release();
        called
    };
    let (first, second, third) = tokio::join!(first, second, third);
    first.ok();
    second.ok();
    let error = third.failed("unavailable", "overloaded");
    assert_eq!(
        (&error["retryable"], &error["retry_after_ms"]),
        (&json!(true), &json!(1000))
    );
    assert!(cleo.traffic().await.0.is_empty(), "nothing was sent");
    assert_eq!(refusals(&server, "queue_full").await, 1.0);
    cleo.call("create_note", json!({"title": "t", "content": "c"}))
        .await
        .ok();
    for client in [&ann, &bob, &cleo] {
        client.traffic().await;
    }
    server.stop().await;
}
