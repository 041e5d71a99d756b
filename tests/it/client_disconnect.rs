//! Callers that leave in the middle of a call: no session of theirs stays behind.

use serde_json::json;

use crate::entities::uid_of;
use crate::harness::{Client, Era, Fault, Gate, Stage, StdioClient, ToolClient, shared};

crate::tests![
    a_disconnect_during_the_operation_ends_the_session,
    a_disconnect_while_opening_ends_the_session,
    a_disconnect_between_two_requests_ends_the_session,
    a_call_cancelled_over_stdio_gets_no_response_and_ends_its_session,
    closing_stdin_during_a_call_ends_the_session,
];

async fn a_disconnect_during_the_operation_ends_the_session() {
    for era in Era::all() {
        for (tool, arguments) in [
            ("list_notes", json!({})),
            ("create_note", json!({"title": "t", "content": "c"})),
        ] {
            let client = Client::new(&shared().acme, era);
            client
                .server
                .forwarder
                .inject(&client.user, Stage::Operation, Fault::Hang);
            let calling = tokio::spawn(client.calling(tool, arguments).send());
            client
                .server
                .forwarder
                .until_seen(&client.user, Stage::Operation, 1)
                .await;
            calling.abort();
            client
                .server
                .forwarder
                .until_seen(&client.user, Stage::Ending, 1)
                .await;
            let traffic = client.traffic().await;
            assert_eq!(
                (traffic.0.len(), traffic.count(Stage::Ending)),
                (3, 1),
                "{traffic}"
            );
        }
    }
}

async fn a_disconnect_while_opening_ends_the_session() {
    for era in Era::all() {
        let client = Client::new(&shared().acme, era);
        let gate = Gate::closed();
        client
            .server
            .forwarder
            .inject(&client.user, Stage::Opening, Fault::Wait(gate.clone()));
        let calling = tokio::spawn(client.calling("list_notes", json!({})).send());
        client
            .server
            .forwarder
            .until_seen(&client.user, Stage::Opening, 1)
            .await;
        calling.abort();
        assert!(calling.await.unwrap_err().is_cancelled());
        // Whether the server has noticed by now or not: the session that is opened for a
        // client that has gone is ended.
        gate.release();
        client
            .server
            .forwarder
            .until_seen(&client.user, Stage::Ending, 1)
            .await;
        client.traffic().await;
    }
}

async fn a_disconnect_between_two_requests_ends_the_session() {
    let client = Client::modern(&shared().acme);
    let chat = client.call("create_chat", json!({"title": "t"})).await.ok();
    let said = json!({"chat_uid": chat["uid"], "content": "c"});
    let uid = uid_of(&client.call("create_chat_message", said).await.ok());
    let seen = client.traffic().await;
    let gate = Gate::closed();
    client
        .server
        .forwarder
        .inject(&client.user, Stage::Operation, Fault::Wait(gate.clone()));
    client
        .server
        .forwarder
        .inject(&client.user, Stage::Operation, Fault::Hang);
    let update = json!({"uid": uid, "content": "new"});
    let calling = tokio::spawn(client.calling("update_chat_message", update).send());
    gate.release();
    let writing = seen.count(Stage::Operation) + 2;
    client
        .server
        .forwarder
        .until_seen(&client.user, Stage::Operation, writing)
        .await;
    calling.abort();
    client
        .server
        .forwarder
        .until_seen(&client.user, Stage::Ending, seen.count(Stage::Ending) + 1)
        .await;
    client.traffic().await;
    // What hung never came to the API.
    let now = client
        .call("get_chat_message", json!({"uid": uid}))
        .await
        .ok();
    assert_eq!(now["version"], 1);
    client.traffic().await;
}

async fn a_call_cancelled_over_stdio_gets_no_response_and_ends_its_session() {
    for era in [
        Era::Modern,
        Era::Legacy("2025-11-25"),
        Era::Legacy("2024-11-05"),
    ] {
        let stdio = StdioClient::start(&shared().acme, era).await;
        let forwarder = &stdio.server().forwarder;
        forwarder.inject(stdio.user(), Stage::Operation, Fault::Hang);
        let cancelled = stdio
            .begin("tools/call", json!({"name": "list_notes", "arguments": {}}))
            .await;
        forwarder
            .until_seen(stdio.user(), Stage::Operation, 1)
            .await;
        stdio
            .notify(
                "notifications/cancelled",
                json!({"requestId": cancelled, "reason": "changed my mind"}),
            )
            .await;
        forwarder.until_seen(stdio.user(), Stage::Ending, 1).await;
        stdio.traffic().await;
        stdio.call("list_tasks", json!({})).await.ok();
        let answered: Vec<_> = stdio
            .answers()
            .into_iter()
            .filter(|answer| answer["id"] == cancelled)
            .collect();
        assert!(answered.is_empty(), "{answered:?}");
        stdio.traffic().await;
        stdio.close().await;
    }
}

async fn closing_stdin_during_a_call_ends_the_session() {
    let stdio = StdioClient::start(&shared().acme, Era::Modern).await;
    let gate = Gate::closed();
    let forwarder = &stdio.server().forwarder;
    forwarder.inject(stdio.user(), Stage::Operation, Fault::Wait(gate.clone()));
    stdio
        .begin("tools/call", json!({"name": "list_notes", "arguments": {}}))
        .await;
    forwarder
        .until_seen(stdio.user(), Stage::Operation, 1)
        .await;
    stdio.process.close_stdin().await;
    gate.release();
    assert_eq!(
        stdio.process.exit().await,
        Some(0),
        "{}",
        stdio.process.all_output()
    );
    stdio.traffic().await;
}
