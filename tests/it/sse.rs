//! The transport of 2024-11-05: a stream to hear, and a path to speak to.

use serde_json::json;
use tokio::time::Instant;

use crate::entities::uid_of;
use crate::harness::client::{CallResult, LEGACY};
use crate::harness::sse_client::SseClient;
use crate::harness::{Client, Fault, Gate, HttpReply, Server, Stage, ToolClient, User, shared};
use crate::progress::{check_progress, entity, two_steps};

crate::tests![
    a_stale_version_is_a_conflict_in_every_revision,
    twenty_concurrent_streams_receive_only_their_own_messages,
    a_stream_accepts_refreshed_tokens,
    a_stream_refuses_messages_of_others,
    the_filter_of_a_stream_applies_to_its_messages,
    a_disconnect_ends_the_sessions,
    a_cancelled_call_gets_no_answer_and_leaves_no_session,
    reports_progress_on_the_stream,
    calls_in_flight_are_answered_before_exit,
    idle_streams_do_not_delay_shutdown,
    can_be_disabled,
];

async fn a_stale_version_is_a_conflict_in_every_revision() {
    for version in LEGACY {
        let stream = SseClient::start(&shared().acme, version).await;
        let tools = stream.ask("tools/list", json!({})).await;
        assert_eq!(
            tools["result"]["tools"].as_array().unwrap().len(),
            crate::surface::tool_count()
        );
        let note = stream
            .call("create_note", json!({"title": "t", "content": "c"}))
            .await
            .ok();
        let uid = uid_of(&note);
        let patch = |title: &str| {
            json!({
                "uid": uid,
                "updates": {"title": title},
                "if_match": note["version"],
            })
        };
        stream.call("patch_note", patch("one")).await.ok();
        stream
            .call("patch_note", patch("two"))
            .await
            .failed("conflict", "version_mismatch");
        stream.call("delete_note", json!({"uid": uid})).await.ok();
        stream.traffic().await;
    }
}

async fn twenty_concurrent_streams_receive_only_their_own_messages() {
    let one = async |number: usize| {
        let stream = SseClient::start(&shared().acme, LEGACY[number % LEGACY.len()]).await;
        for round in 0..5 {
            let title = format!("{number}-{round}");
            let note = json!({"title": title, "content": "c"});
            let note = stream.call("create_note", note).await.ok();
            assert_eq!(note["payload"]["title"], title);
        }
        let list = stream.call("list_notes", json!({})).await.ok();
        assert_eq!(list["items"].as_array().map(Vec::len), Some(5), "{list}");
        // One answer each, the handshake's and the list's among them.
        assert_eq!(stream.received().len(), 7);
        stream.traffic().await;
    };
    futures::future::join_all((0..20).map(one)).await;
}

async fn a_stream_accepts_refreshed_tokens() {
    let stream = SseClient::start(&shared().acme, "2024-11-05").await;
    let claims = json!({"sub": stream.user().sub, "exp": crate::harness::token::now_secs() + 1234});
    let fresh = User::with_claims(claims).token;
    assert_ne!(fresh, stream.user().token);
    let message = json!({
        "jsonrpc": "2.0",
        "id": 100,
        "method": "tools/call",
        "params": {"name": "list_notes", "arguments": {}},
    });
    let answer = stream.post(&fresh, &message).send().await.unwrap();
    assert_eq!(answer.status(), 202);
    assert_eq!(stream.answer(100).await["result"]["isError"], false);
    let traffic = stream.traffic().await;
    for record in &traffic.0 {
        assert_eq!(record.header("authorization"), format!("Bearer {fresh}"));
    }
    let expired = User::with_claims(json!({"sub": stream.user().sub, "exp": 1})).token;
    assert_eq!(
        HttpReply::of(stream.post(&expired, &message)).await.status,
        401
    );
}

async fn the_filter_of_a_stream_applies_to_its_messages() {
    let server = &shared().acme;
    let stream = SseClient::start_at(server, "/sse?toolsets=notes,tasks", LEGACY[0]).await;
    let listed = stream.ask("tools/list", json!({})).await;
    assert_eq!(listed["result"]["tools"].as_array().map(Vec::len), Some(16));
    // A message may leave out more, and bring nothing back.
    for (toolsets, left) in [("notes", 8), ("notes,chats", 8), ("chats", 0)] {
        let id = 1000 + left;
        let message =
            json!({ "jsonrpc": "2.0", "id": format!("{id}-{toolsets}"), "method": "tools/list" });
        let post = stream.post(&stream.user().token, &message);
        let posted = post
            .header("x-mcp-toolsets", toolsets)
            .send()
            .await
            .unwrap();
        assert_eq!(posted.status(), 202);
        let answer = stream.answered(&message["id"]).await;
        assert_eq!(
            answer["result"]["tools"].as_array().map(Vec::len),
            Some(left),
            "{toolsets}"
        );
    }
    let beyond = stream
        .ask("tools/call", json!({"name": "list_chats", "arguments": {}}))
        .await;
    assert_eq!(beyond["error"]["code"], -32602, "{beyond}");
    stream.traffic().await;

    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let typo = http.get(format!("{}/sse?toolsets=note", server.url));
    let typo = typo
        .bearer_auth(&server.new_user().token)
        .send()
        .await
        .unwrap();
    assert_eq!(typo.status(), 400);
    assert!(typo.text().await.unwrap().contains("there are: notes"));
}

async fn a_stream_refuses_messages_of_others() {
    let stream = SseClient::start(&shared().acme, "2024-11-05").await;
    let message = json!({
        "jsonrpc": "2.0",
        "id": 100,
        "method": "tools/call",
        "params": {"name": "list_notes", "arguments": {}},
    });
    let other = shared().acme.new_user();
    assert_eq!(
        HttpReply::of(stream.post(&other.token, &message))
            .await
            .status,
        404
    );
    let other_user = shared().globex.new_user();
    assert_eq!(
        HttpReply::of(stream.post(&other_user.token, &message))
            .await
            .status,
        403
    );
    assert_eq!(stream.received().len(), 1, "the handshake alone");
    for user in [stream.user(), &other, &other_user] {
        assert!(shared().acme.forwarder.so_far(user).0.is_empty());
    }
}

async fn a_disconnect_ends_the_sessions() {
    let stream = SseClient::start(&shared().acme, "2024-11-05").await;
    let (forwarder, user) = (&shared().acme.forwarder, stream.user().clone());
    for _ in 0..3 {
        forwarder.inject(&user, Stage::Operation, Fault::Hang);
        stream
            .begin("tools/call", json!({"name": "list_notes", "arguments": {}}))
            .await;
    }
    forwarder.until_seen(&user, Stage::Operation, 3).await;
    stream.close();
    forwarder.until_seen(&user, Stage::Ending, 3).await;
    forwarder.settled(&user).await;
}

async fn a_cancelled_call_gets_no_answer_and_leaves_no_session() {
    let stream = SseClient::start(&shared().acme, "2024-11-05").await;
    let forwarder = &shared().acme.forwarder;
    forwarder.inject(stream.user(), Stage::Operation, Fault::Hang);
    let cancelled = stream
        .begin("tools/call", json!({"name": "list_notes", "arguments": {}}))
        .await;
    forwarder
        .until_seen(stream.user(), Stage::Operation, 1)
        .await;
    let cancel = json!({
        "jsonrpc": "2.0",
        "method": "notifications/cancelled",
        "params": {"requestId": cancelled},
    });
    stream.send(&cancel).await;
    forwarder.until_seen(stream.user(), Stage::Ending, 1).await;
    stream.call("list_tasks", json!({})).await.ok();
    assert!(
        stream
            .received()
            .iter()
            .all(|message| message["id"] != cancelled)
    );
    stream.traffic().await;
}

async fn reports_progress_on_the_stream() {
    let stream = SseClient::start(&shared().acme, "2024-11-05").await;
    let params = two_steps(&stream, &entity(), &json!({"progressToken": "steps"})).await;
    let before = stream.received().len();
    let answer = stream.ask("tools/call", params).await;
    assert_eq!(
        answer["result"]["structuredContent"]["version"], 2,
        "{answer}"
    );
    let mut told = stream.received().split_off(before);
    assert_eq!(told.pop().as_ref(), Some(&answer), "the result comes last");
    check_progress(&told, "steps");
    stream.traffic().await;
}

async fn calls_in_flight_are_answered_before_exit() {
    let server = Server::start("acme", &shared().api).await;
    let stream = SseClient::start(&server, "2024-11-05").await;
    let gate = Gate::closed();
    server
        .forwarder
        .inject(stream.user(), Stage::Operation, Fault::Wait(gate.clone()));
    let arguments = json!({"title": "t", "content": "c"});
    let id = stream
        .begin(
            "tools/call",
            json!({"name": "create_note", "arguments": arguments}),
        )
        .await;
    server
        .forwarder
        .until_seen(stream.user(), Stage::Operation, 1)
        .await;
    server.process.signal("TERM");
    server.process.logged("SIGTERM", "level").await;
    gate.release();
    CallResult::read(&stream, "create_note", &arguments, stream.answer(id).await).ok();
    stream.ended_cleanly().await;
    let begun = Instant::now();
    assert_eq!(
        server.process.exit().await,
        Some(0),
        "{}",
        server.process.all_output()
    );
    assert!(
        begun.elapsed() < crate::shutdown::SOON,
        "{:?}",
        begun.elapsed()
    );
    let lines = server.forwarder.so_far(stream.user()).lines();
    assert_eq!(lines, ["open", "POST /v1/notes", "end"]);
}

async fn idle_streams_do_not_delay_shutdown() {
    let server = Server::start("acme", &shared().api).await;
    let streams =
        futures::future::join_all((0..10).map(|_| SseClient::start(&server, "2024-11-05"))).await;
    let begun = Instant::now();
    server.process.signal("TERM");
    assert_eq!(
        server.process.exit().await,
        Some(0),
        "{}",
        server.process.all_output()
    );
    assert!(
        begun.elapsed() < crate::shutdown::SOON,
        "{:?}",
        begun.elapsed()
    );
    for stream in streams {
        stream.ended_cleanly().await;
    }
}

async fn can_be_disabled() {
    let server = Server::with(
        "acme",
        &shared().api,
        &[("TOOLBRIDGE_SERVER_LEGACY_SSE", "false")],
    )
    .await;
    let client = Client::modern(&server);
    let asked = client.get("/sse").bearer_auth(&client.user.token);
    assert_eq!(HttpReply::of(asked).await.status, 404);
    client.call("list_notes", json!({})).await.ok();
    client.traffic().await;
    server.stop().await;
}
