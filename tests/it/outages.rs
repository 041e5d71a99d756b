//! An API that is away, or silent, or that hangs up: what the caller is told, and what comes after.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use crate::entities::{self, uid_of, without};
use crate::harness::{Api, Client, Fault, Gate, HttpReply, Server, Stage, ToolClient, shared};

crate::tests![
    an_unreachable_api_is_an_error_until_it_returns,
    an_api_that_is_out_of_service_is_reported_as_such,
    a_silent_api_times_out_at_the_deadline,
    a_read_whose_answer_is_lost_is_retried,
    a_lost_answer_to_a_write_is_an_unknown_outcome,
    a_retried_create_makes_one_item,
    a_create_whose_answers_are_all_lost_names_its_uid,
    a_duplicated_create_makes_one_item,
    a_uid_of_another_item_is_a_conflict,
];

/// Calls are over soon, one way or the other.
const HASTY: [(&str, &str); 2] = [
    ("TOOLBRIDGE_API_CALL_DEADLINE", "700ms"),
    ("TOOLBRIDGE_API_CONNECT_TIMEOUT", "300ms"),
];

async fn an_unreachable_api_is_an_error_until_it_returns() {
    let api = Api::start().await;
    let server = Server::without_forwarder("acme", &api, &[]).await;
    let client = Client::modern(&server);
    let note = client
        .call("create_note", json!({"title": "t", "content": "c"}))
        .await
        .ok();
    api.until_no_session_is_open().await;
    assert_eq!(HttpReply::of(client.get("/readyz")).await.status, 200);

    api.process.stop().await;
    for (tool, arguments) in [
        ("get_note", json!({"uid": note["uid"]})),
        ("create_note", json!({"title": "t", "content": "c"})),
        ("list_tasks", json!({})),
    ] {
        let called = client.call(tool, arguments).await;
        let error = called.failed("unavailable", "api_unreachable");
        assert_eq!(error["retryable"], true, "{called}");
    }
    assert_eq!(
        HttpReply::of(client.get("/healthz")).await.status,
        200,
        "the server itself is well"
    );
    ready_becomes(&client, 503).await;

    let api = api.restart().await;
    ready_becomes(&client, 200).await;
    let read = client
        .call("get_note", json!({"uid": note["uid"]}))
        .await
        .ok();
    assert_eq!(
        read, note,
        "the same server works again, and nothing is lost"
    );
    api.until_no_session_is_open().await;
    server.stop().await;
    api.stop().await;
}

/// The result of a readiness check is kept for a moment.
async fn ready_becomes(client: &Client<'_>, status: u16) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let answer = HttpReply::of(client.get("/readyz")).await;
        if answer.status == status {
            return;
        }
        assert!(Instant::now() < deadline, "{answer}");
    }
}

async fn an_api_that_is_out_of_service_is_reported_as_such() {
    let client = Client::modern(&shared().acme);
    for stage in [Stage::Opening, Stage::Operation] {
        for (tool, arguments) in [
            ("list_notes", json!({})),
            ("create_note", json!({"title": "t", "content": "c"})),
        ] {
            // Longer than anybody here would wait for it.
            let headers = vec![("retry-after", "30".to_owned())];
            let away = Fault::Answer(
                503,
                headers,
                json!({"error": "storage is unavailable"}).to_string(),
            );
            client.server.forwarder.inject(&client.user, stage, away);
            let called = client.call(tool, arguments).await;
            let error = called.failed("unavailable", "api_unavailable");
            assert_eq!(
                (&error["retryable"], &error["retry_after_ms"]),
                (&json!(true), &json!(30_000)),
                "{called}"
            );
        }
    }
    client.traffic().await;
}

async fn a_silent_api_times_out_at_the_deadline() {
    let server = Server::with("acme", &shared().api, &HASTY).await;
    for (stage, tool, arguments, code, retryable) in [
        (Stage::Opening, "list_notes", json!({}), "api_timeout", true),
        (
            Stage::Opening,
            "create_note",
            json!({"title": "t", "content": "c"}),
            "api_timeout",
            true,
        ),
        (
            Stage::Operation,
            "list_notes",
            json!({}),
            "api_timeout",
            true,
        ),
        (
            Stage::Operation,
            "create_note",
            json!({"title": "t", "content": "c"}),
            "unknown_outcome",
            false,
        ),
        (
            Stage::Operation,
            "archive_task",
            json!({"uid": Uuid::now_v7()}),
            "unknown_outcome",
            false,
        ),
        (
            Stage::Operation,
            "update_comment",
            json!({"uid": Uuid::now_v7(), "content": "c"}),
            "api_timeout",
            true,
        ),
    ] {
        let client = Client::modern(&server);
        client
            .server
            .forwarder
            .inject(&client.user, stage, Fault::Hang);
        let begun = Instant::now();
        let called = client.call(tool, arguments).await;
        let error = called.failed("timeout", code);
        assert_eq!(error["retryable"], retryable, "{called}");
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "{:?}",
            begun.elapsed()
        );
        let traffic = client.traffic().await;
        let opened = usize::from(stage == Stage::Operation);
        assert_eq!(traffic.count(Stage::Ending), opened, "{traffic}");
    }
    server.stop().await;
}

async fn a_read_whose_answer_is_lost_is_retried() {
    let client = Client::modern(&shared().acme);
    for fault in [Fault::LoseAnswer, Fault::TruncateAnswer] {
        let before = client.traffic().await.count(Stage::Operation);
        client
            .server
            .forwarder
            .inject(&client.user, Stage::Operation, fault);
        let page = client.call("list_notes", json!({})).await.ok();
        assert_eq!(page, json!({"items": []}));
        assert_eq!(client.traffic().await.count(Stage::Operation) - before, 2);
    }
}

async fn a_lost_answer_to_a_write_is_an_unknown_outcome() {
    let client = Client::modern(&shared().acme);
    for entity in entities::all() {
        let parent = entity.make_parent(&client).await;
        // Those that are not known to do no more when they are carried out twice.
        for operation in ["update", "patch", "process"] {
            for gateway in [false, true] {
                let uid = uid_of(&entity.make(&client, &parent).await.ok());
                let fault = match gateway {
                    true => Fault::Replace(502, "<html>Bad Gateway</html>".to_owned()),
                    false => Fault::LoseAnswer,
                };
                client
                    .server
                    .forwarder
                    .inject(&client.user, Stage::Operation, fault);
                let called = client
                    .call(
                        &entity.tool(operation),
                        entity.minimal_arguments(operation, &uid, &parent),
                    )
                    .await;
                let error = called.failed("unavailable", "unknown_outcome");
                assert_eq!(
                    (&error["retryable"], &error["details"]["uid"]),
                    (&json!(false), &json!(uid)),
                    "{called}"
                );
                // It names the tool that can tell, and indeed it did take effect.
                let check = error["suggested_action"].as_str().unwrap();
                assert!(
                    check.contains(&entity.tool("get")) && check.contains(&uid),
                    "{called}"
                );
                let now = client
                    .call(
                        &entity.tool("get"),
                        json!({"uid": uid, "include_deleted": true}),
                    )
                    .await
                    .ok();
                assert_eq!(now["version"], 2, "{now}");
            }
        }
    }
    client.traffic().await;
}

async fn only_item(client: &Client<'_>, list: &str) -> Value {
    let page = client.call(list, json!({})).await.ok();
    assert_eq!(page["items"].as_array().map(Vec::len), Some(1), "{page}");
    page["items"][0].clone()
}

async fn a_retried_create_makes_one_item() {
    for entity in entities::all() {
        let client = Client::modern(&shared().acme);
        let parent = entity.make_parent(&client).await;
        lose_answers(&client, 1);
        // It is sent again, the API has its UID already, and what it has is what was sent.
        let made = entity.make(&client, &parent).await.ok();
        assert_eq!(
            only_item(&client, &entity.tool("list")).await["uid"],
            made["uid"],
            "{made}"
        );
        client.traffic().await;
    }
}

async fn a_create_whose_answers_are_all_lost_names_its_uid() {
    for entity in entities::all() {
        let client = Client::modern(&shared().acme);
        let parent = entity.make_parent(&client).await;
        lose_answers(&client, 3);
        let called = entity.make(&client, &parent).await;
        let error = called.failed("unavailable", "unknown_outcome");
        // Following the advice of the error finds the item, so no second one is created.
        let uid = error["details"]["uid"].as_str().unwrap();
        assert!(
            error["suggested_action"].as_str().unwrap().contains(uid),
            "{called}"
        );
        let found = client
            .call(&entity.tool("get"), json!({"uid": uid}))
            .await
            .ok();
        assert_eq!(
            only_item(&client, &entity.tool("list")).await["uid"],
            found["uid"]
        );
        client.traffic().await;
    }
}

fn lose_answers(client: &Client<'_>, how_many: usize) {
    for _ in 0..how_many {
        client
            .server
            .forwarder
            .inject(&client.user, Stage::Operation, Fault::LoseAnswer);
    }
}

async fn a_duplicated_create_makes_one_item() {
    for entity in entities::all() {
        let client = Client::modern(&shared().acme);
        let parent = entity.make_parent(&client).await;
        let seen = client.traffic().await.0.len();
        client
            .server
            .forwarder
            .inject(&client.user, Stage::Operation, Fault::SendTwice);
        let made = entity.make(&client, &parent).await.ok();
        let sent = client.traffic().await.lines().split_off(seen);
        let path = entity.path(&uid_of(&made));
        assert_eq!(
            sent,
            [
                "open",
                &format!("POST /v1/{}", entity.plural),
                &format!("GET {path}"),
                "end"
            ]
        );
        assert_eq!(
            without(
                &only_item(&client, &entity.tool("list")).await,
                &["payload"]
            ),
            without(&made, &["payload"])
        );
        client.traffic().await;
    }
}

async fn a_uid_of_another_item_is_a_conflict() {
    let client = Client::modern(&shared().acme);
    let gate = Gate::closed();
    client
        .server
        .forwarder
        .inject(&client.user, Stage::Operation, Fault::Wait(gate.clone()));
    let occupied = async {
        let traffic = client
            .server
            .forwarder
            .until_seen(&client.user, Stage::Operation, 1)
            .await;
        let uid = traffic.operations()[0].json()["uid"].clone();
        let theirs = json!({"uid": uid, "title": "theirs", "content": "theirs"});
        let (status, _) = shared()
            .api
            .ask("acme", &client.user, "POST", "/v1/notes", Some(&theirs))
            .await;
        assert_eq!(status, 201);
        gate.release();
    };
    let ours = client.call("create_note", json!({"title": "ours", "content": "ours"}));
    let (called, ()) = tokio::join!(ours, occupied);
    called.failed("conflict", "already_exists");
    assert_eq!(
        only_item(&client, "list_notes").await["payload"]["title"],
        "theirs"
    );
    client.traffic().await;
}
