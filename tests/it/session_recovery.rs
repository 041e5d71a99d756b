//! A session that is lost in the middle of a call is replaced once, and only once.

use serde_json::{Value, json};

use crate::entities::{self, OPERATIONS, stored, uid_of, with_parent, without};
use crate::harness::{Client, Fault, Gate, Stage, ToolClient, Traffic, shared};

crate::tests![
    every_tool_recovers_a_lost_session_once,
    a_second_session_loss_is_an_error,
    both_requests_of_an_update_share_one_recovery,
    recovers_a_session_that_the_api_forgot,
    recovers_from_a_wipe_during_a_call,
    other_conflicts_are_not_mistaken_for_a_lost_session,
];

/// The two ways in which the API says that a session is of no use any more.
fn refusals() -> [Fault; 2] {
    [
        Fault::json(
            428,
            &json!({"error": "no open session", "correlation_id": "x"}),
        ),
        Fault::Answer(
            409,
            vec![("x-sync-epoch", "2".to_owned())],
            json!({"error": "epoch_mismatch", "epoch": 2, "correlation_id": "x"}).to_string(),
        ),
    ]
}

/// Sessions opened, requests made in them, sessions ended.
fn counts(traffic: &Traffic) -> [usize; 3] {
    [Stage::Opening, Stage::Operation, Stage::Ending].map(|stage| traffic.count(stage))
}

async fn every_tool_recovers_a_lost_session_once() {
    for entity in entities::all() {
        for operation in OPERATIONS {
            for refusal in refusals() {
                let client = Client::modern(&shared().acme);
                let parent = entity.make_parent(&client).await;
                let uid = uid_of(&entity.make(&client, &parent).await.ok());
                let before = counts(&client.traffic().await);
                client
                    .server
                    .forwarder
                    .inject(&client.user, Stage::Operation, refusal);
                let arguments = entity.minimal_arguments(operation, &uid, &parent);
                let called = client.call(&entity.tool(operation), arguments).await;
                called.ok();
                let traffic = client.traffic().await;
                let after = counts(&traffic);
                let more = [0, 1, 2].map(|n| after[n] - before[n]);
                assert_eq!(more, [2, 2, 2], "{called}\n{traffic}");
                let [first, second] = traffic.operations().split_off(before[1])[..] else {
                    unreachable!("two requests were counted");
                };
                assert_eq!(
                    (first.line(), &first.body),
                    (second.line(), &second.body),
                    "the same once more"
                );
                assert_ne!(
                    first.header("x-sync-session"),
                    second.header("x-sync-session")
                );
            }
        }
    }
}

async fn a_second_session_loss_is_an_error() {
    for (one, other) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        for (tool, arguments) in [
            ("list_notes", json!({})),
            ("create_note", json!({"title": "t", "content": "c"})),
        ] {
            let client = Client::modern(&shared().acme);
            for which in [one, other] {
                let refusal = refusals().into_iter().nth(which).unwrap();
                client
                    .server
                    .forwarder
                    .inject(&client.user, Stage::Operation, refusal);
            }
            let called = client.call(tool, arguments).await;
            let error = called.failed("unavailable", "session_lost");
            assert_eq!(error["retryable"], true, "{called}");
            let traffic = client.traffic().await;
            assert_eq!(counts(&traffic), [2, 2, 2], "{traffic}");
        }
    }
}

async fn both_requests_of_an_update_share_one_recovery() {
    const WELL: bool = true;
    const LOST: bool = false;
    for entity in entities::all()
        .into_iter()
        .filter(|entity| entity.parent.is_some())
    {
        for (requests, code) in [
            (&[WELL, LOST][..], None),
            (&[WELL, LOST, LOST], Some("session_lost")),
            (&[LOST, WELL, LOST], Some("session_lost")),
        ] {
            let client = Client::modern(&shared().acme);
            let parent = entity.make_parent(&client).await;
            let uid = uid_of(&entity.make(&client, &parent).await.ok());
            let before = counts(&client.traffic().await);
            for well in requests {
                let [refusal, _] = refusals();
                let fault = if *well {
                    Fault::Wait(Gate::open())
                } else {
                    refusal
                };
                client
                    .server
                    .forwarder
                    .inject(&client.user, Stage::Operation, fault);
            }
            let arguments = without(
                &entity.minimal_arguments("update", &uid, &parent),
                entity.parent_arguments,
            );
            let called = client.call(&entity.tool("update"), arguments).await;
            match code {
                None => assert_eq!(stored(&called.ok()), with_parent(&entity.updated, &parent)),
                Some(code) => assert_eq!(called.error()["code"], code, "{called}"),
            }
            let after = counts(&client.traffic().await);
            assert_eq!(
                [0, 1, 2].map(|n| after[n] - before[n]),
                [2, 3, 2],
                "{called}"
            );
        }
    }
}

/// Does something to the session of a call that is on its way, then lets the call go on.
async fn during_a_call(client: &Client<'_>, happens: impl AsyncFnOnce(&str)) -> Value {
    let gate = Gate::closed();
    let seen = client.traffic().await.count(Stage::Operation);
    client
        .server
        .forwarder
        .inject(&client.user, Stage::Operation, Fault::Wait(gate.clone()));
    let meanwhile = async {
        let traffic = client
            .server
            .forwarder
            .until_seen(&client.user, Stage::Operation, seen + 1)
            .await;
        happens(traffic.operations()[seen].header("x-sync-session")).await;
        gate.release();
    };
    let calling = client.call("create_note", json!({"title": "t", "content": "c"}));
    let (called, ()) = tokio::join!(calling, meanwhile);
    called.ok()
}

async fn recovers_a_session_that_the_api_forgot() {
    let client = Client::modern(&shared().acme);
    let note = during_a_call(&client, async |session| {
        let path = format!("/v1/sync/sessions/{session}");
        let (status, _) = shared()
            .api
            .ask("acme", &client.user, "DELETE", &path, None)
            .await;
        assert_eq!(status, 204);
    })
    .await;
    let traffic = client.traffic().await;
    assert_eq!(counts(&traffic), [2, 2, 2], "{traffic}");
    assert_eq!(
        traffic.operations()[0].status,
        Some(428),
        "the API itself refused it"
    );
    assert_eq!(
        client.call("list_notes", json!({})).await.ok()["items"],
        json!([note])
    );
    client.traffic().await;
}

async fn recovers_from_a_wipe_during_a_call() {
    let client = Client::modern(&shared().acme);
    client
        .call("create_note", json!({"title": "t", "content": "c"}))
        .await
        .ok();
    let note = during_a_call(&client, async |_| {
        let wipe = json!({"confirm": "WIPE"});
        let direct = shared().api.direct_client("acme", &client.user).await;
        let (status, answer) = direct.ask("POST", "/v1/sync/wipe", Some(&wipe)).await;
        assert_eq!((status, &answer["epoch"]), (200, &json!(2)), "{answer}");
    })
    .await;
    let traffic = client.traffic().await;
    assert_eq!(
        traffic.operations().pop().unwrap().header("x-sync-epoch"),
        "2",
        "{traffic}"
    );
    assert_eq!(
        client.call("list_notes", json!({})).await.ok()["items"],
        json!([note])
    );
    client.traffic().await;
}

async fn other_conflicts_are_not_mistaken_for_a_lost_session() {
    let client = Client::modern(&shared().acme);
    let note = client
        .call("create_note", json!({"title": "t", "content": "c"}))
        .await
        .ok();
    let before = client.traffic().await.0.len();
    let conflict = Fault::json(409, &json!({"error": "locked"}));
    client
        .server
        .forwarder
        .inject(&client.user, Stage::Operation, conflict);
    let called = client
        .call("archive_note", json!({"uid": note["uid"]}))
        .await;
    called.failed("conflict", "conflict");
    assert_eq!(client.traffic().await.0.len() - before, 3, "{called}");
}
