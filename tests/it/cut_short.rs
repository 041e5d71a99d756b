//! Callers that leave in the middle of a call: no session of theirs stays behind.

use serde_json::json;

use crate::entities::uid_of;
use crate::harness::{Caller, Client, Era, Gate, Mishap, Piped, Stage, world};

crate::tests![
    a_client_that_hangs_up_during_the_operation_leaves_no_session,
    a_client_that_hangs_up_while_its_session_is_opened_leaves_no_session,
    a_client_that_hangs_up_between_two_steps_leaves_no_session,
    a_call_that_is_cancelled_through_the_pipe_gets_no_answer_and_leaves_no_session,
    a_pipe_that_closes_in_the_middle_of_a_call_leaves_no_session,
];

async fn a_client_that_hangs_up_during_the_operation_leaves_no_session() {
    for era in Era::all() {
        for (tool, arguments) in [
            ("list_notes", json!({})),
            ("create_note", json!({"title": "t", "content": "c"})),
        ] {
            let client = Client::new(&world().acme, era);
            client
                .place
                .forwarder
                .next(&client.user, Stage::Operation, Mishap::Hang);
            let calling = tokio::spawn(client.calling(tool, arguments).send());
            client
                .place
                .forwarder
                .until_seen(&client.user, Stage::Operation, 1)
                .await;
            calling.abort();
            client
                .place
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

async fn a_client_that_hangs_up_while_its_session_is_opened_leaves_no_session() {
    for era in Era::all() {
        let client = Client::new(&world().acme, era);
        let gate = Gate::closed();
        client
            .place
            .forwarder
            .next(&client.user, Stage::Opening, Mishap::Wait(gate.clone()));
        let calling = tokio::spawn(client.calling("list_notes", json!({})).send());
        client
            .place
            .forwarder
            .until_seen(&client.user, Stage::Opening, 1)
            .await;
        calling.abort();
        assert!(calling.await.unwrap_err().is_cancelled());
        // Whether the sidecar has noticed by now or not: the session that is made for nobody is ended.
        gate.release();
        client
            .place
            .forwarder
            .until_seen(&client.user, Stage::Ending, 1)
            .await;
        client.traffic().await;
    }
}

async fn a_client_that_hangs_up_between_two_steps_leaves_no_session() {
    let client = Client::modern(&world().acme);
    let chat = client.call("create_chat", json!({"title": "t"})).await.ok();
    let said = json!({"chat_uid": chat["uid"], "content": "c"});
    let uid = uid_of(&client.call("create_chat_message", said).await.ok());
    let seen = client.traffic().await;
    let gate = Gate::closed();
    client
        .place
        .forwarder
        .next(&client.user, Stage::Operation, Mishap::Wait(gate.clone()));
    client
        .place
        .forwarder
        .next(&client.user, Stage::Operation, Mishap::Hang);
    let update = json!({"uid": uid, "content": "new"});
    let calling = tokio::spawn(client.calling("update_chat_message", update).send());
    gate.release();
    let writing = seen.count(Stage::Operation) + 2;
    client
        .place
        .forwarder
        .until_seen(&client.user, Stage::Operation, writing)
        .await;
    calling.abort();
    client
        .place
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

async fn a_call_that_is_cancelled_through_the_pipe_gets_no_answer_and_leaves_no_session() {
    for era in [
        Era::Modern,
        Era::Legacy("2025-11-25"),
        Era::Legacy("2024-11-05"),
    ] {
        let piped = Piped::start(&world().acme, era).await;
        let forwarder = &piped.place().forwarder;
        forwarder.next(piped.user(), Stage::Operation, Mishap::Hang);
        let cancelled = piped
            .begin("tools/call", json!({"name": "list_notes", "arguments": {}}))
            .await;
        forwarder
            .until_seen(piped.user(), Stage::Operation, 1)
            .await;
        piped
            .tell(
                "notifications/cancelled",
                json!({"requestId": cancelled, "reason": "changed my mind"}),
            )
            .await;
        forwarder.until_seen(piped.user(), Stage::Ending, 1).await;
        piped.traffic().await;
        piped.call("list_tasks", json!({})).await.ok();
        let answered: Vec<_> = piped
            .answers()
            .into_iter()
            .filter(|answer| answer["id"] == cancelled)
            .collect();
        assert!(answered.is_empty(), "{answered:?}");
        piped.traffic().await;
        piped.leave().await;
    }
}

async fn a_pipe_that_closes_in_the_middle_of_a_call_leaves_no_session() {
    let piped = Piped::start(&world().acme, Era::Modern).await;
    let gate = Gate::closed();
    let forwarder = &piped.place().forwarder;
    forwarder.next(piped.user(), Stage::Operation, Mishap::Wait(gate.clone()));
    piped
        .begin("tools/call", json!({"name": "list_notes", "arguments": {}}))
        .await;
    forwarder
        .until_seen(piped.user(), Stage::Operation, 1)
        .await;
    piped.process.close_stdin().await;
    gate.release();
    assert_eq!(
        piped.process.exit().await,
        Some(0),
        "{}",
        piped.process.story()
    );
    piped.traffic().await;
}
