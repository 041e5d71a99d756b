//! Shutdown: calls that have begun are answered, sessions are ended, and no client is left waiting.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::harness::client::CallResult;
use crate::harness::{
    Api, Client, Era, Fault, Gate, HttpReply, Server, Stage, StdioClient, ToolClient, shared,
};

crate::tests![
    an_idle_server_exits_at_once,
    a_call_in_flight_is_answered_before_exit,
    a_call_that_outlives_the_drain_is_aborted_and_its_session_ended,
    a_second_signal_exits_at_once,
    a_signal_ends_the_session_of_a_stdio_call,
    drains_the_queue_of_sessions_to_close,
];

pub const SOON: Duration = Duration::from_secs(5);

async fn an_idle_server_exits_at_once() {
    for signal in ["TERM", "INT"] {
        let server = Server::start("acme", &shared().api).await;
        let client = Client::modern(&server);
        // The client keeps its connection, which must not hold the server back.
        client.call("list_notes", json!({})).await.ok();
        let begun = Instant::now();
        server.process.signal(signal);
        assert_eq!(
            server.process.exit().await,
            Some(0),
            "{}",
            server.process.all_output()
        );
        assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
        let traffic = client.traffic().await;
        assert_eq!(traffic.count(Stage::Ending), 1);
    }
}

async fn a_call_in_flight_is_answered_before_exit() {
    for era in Era::all() {
        let server = Server::start("acme", &shared().api).await;
        let client = Client::new(&server, era);
        let gate = Gate::closed();
        server
            .forwarder
            .inject(&client.user, Stage::Operation, Fault::Wait(gate.clone()));
        let arguments = json!({"title": "t", "content": "c"});
        let leaving = async {
            server
                .forwarder
                .until_seen(&client.user, Stage::Operation, 1)
                .await;
            server.process.signal("TERM");
            server.process.logged("SIGTERM", "level").await;
            // New connections are refused.
            while tokio::net::TcpStream::connect(server.url.trim_start_matches("http://"))
                .await
                .is_ok()
            {
                tokio::task::yield_now().await;
            }
            gate.release();
        };
        let calling = HttpReply::of(client.calling("create_note", arguments.clone()));
        let (answer, ()) = tokio::join!(calling, leaving);
        CallResult::read(&client, "create_note", &arguments, answer.json()).ok();
        let begun = Instant::now();
        assert_eq!(
            server.process.exit().await,
            Some(0),
            "{}",
            server.process.all_output()
        );
        assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
        assert_eq!(
            server.forwarder.so_far(&client.user).lines(),
            ["open", "POST /v1/notes", "end"]
        );
    }
}

async fn a_call_that_outlives_the_drain_is_aborted_and_its_session_ended() {
    const CALLS: usize = 10;
    let api = Api::start().await;
    let server = Server::with("acme", &api, &[("TOOLBRIDGE_SERVER_DRAIN_TIMEOUT", "2s")]).await;
    let client = Client::modern(&server);
    for _ in 0..CALLS {
        server
            .forwarder
            .inject(&client.user, Stage::Operation, Fault::Hang);
    }
    let calls: Vec<_> = (0..CALLS)
        .map(|_| tokio::spawn(client.calling("list_notes", json!({})).send()))
        .collect();
    let seen = server
        .forwarder
        .until_seen(&client.user, Stage::Operation, CALLS);
    assert_eq!(seen.await.count(Stage::Ending), 0);
    let begun = Instant::now();
    server.process.signal("TERM");
    let code = server.process.exit().await;
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    for call in calls {
        assert!(
            call.await.unwrap().is_err(),
            "the caller is not left waiting"
        );
    }
    assert_eq!(code, Some(0), "{}", server.process.all_output());
    let open = api.metric("toolbridge_api_sessions_open").await;
    api.stop().await;
    assert_eq!(
        open,
        0.0,
        "sessions were left behind:\n{}",
        server.process.all_output()
    );
}

async fn a_second_signal_exits_at_once() {
    let api = Api::start().await;
    let server = Server::start("acme", &api).await;
    let client = Client::modern(&server);
    server
        .forwarder
        .inject(&client.user, Stage::Operation, Fault::Hang);
    let calling = tokio::spawn(client.calling("list_notes", json!({})).send());
    server
        .forwarder
        .until_seen(&client.user, Stage::Operation, 1)
        .await;
    server.process.signal("TERM");
    server.process.logged("SIGTERM: finishing", "level").await;
    let begun = Instant::now();
    server.process.signal("TERM");
    assert_eq!(
        server.process.exit().await,
        Some(1),
        "{}",
        server.process.all_output()
    );
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    assert!(calling.await.unwrap().is_err());
    api.stop().await;
}

async fn a_signal_ends_the_session_of_a_stdio_call() {
    let stdio = StdioClient::start(&shared().acme, Era::Modern).await;
    let forwarder = &stdio.server().forwarder;
    forwarder.inject(stdio.user(), Stage::Operation, Fault::Hang);
    stdio
        .begin("tools/call", json!({"name": "list_notes", "arguments": {}}))
        .await;
    forwarder
        .until_seen(stdio.user(), Stage::Operation, 1)
        .await;
    let begun = Instant::now();
    stdio.process.signal("TERM");
    assert_eq!(
        stdio.process.exit().await,
        Some(0),
        "{}",
        stdio.process.all_output()
    );
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    let traffic = forwarder.so_far(stdio.user());
    assert_eq!(traffic.count(Stage::Ending), 1, "{traffic}");
}

async fn drains_the_queue_of_sessions_to_close() {
    let server = Server::start("acme", &shared().api).await;
    let client = Client::modern(&server);
    let gate = Gate::closed();
    for _ in 0..20 {
        server
            .forwarder
            .inject(&client.user, Stage::Ending, Fault::Wait(gate.clone()));
    }
    let calls = (0..20).map(|_| client.call("list_notes", json!({})));
    for called in futures::future::join_all(calls).await {
        called.ok();
    }
    // Every caller has its answer, no session is ended yet.
    server.process.signal("TERM");
    server.process.logged("SIGTERM", "level").await;
    gate.release();
    assert_eq!(
        server.process.exit().await,
        Some(0),
        "{}",
        server.process.all_output()
    );
    let traffic = server.forwarder.so_far(&client.user);
    assert_eq!(
        traffic.count(Stage::Ending),
        20,
        "{}",
        traffic.lines().join(", ")
    );
}
