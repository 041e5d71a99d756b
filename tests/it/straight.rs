//! The straight way and rmcp's own, held against each other: to the same question both give the same answer, byte for
//! byte. A member that nobody knows sends a question to rmcp and means nothing to it.

use serde_json::{Value, json};

use crate::entities::all;
use crate::harness::client::LEGACY;
use crate::harness::{Caller, Client, Era, Exchange, world};

crate::tests![
    both_ways_give_the_same_answer_in_every_era,
    both_ways_narrow_alike,
    what_only_looks_in_order_is_refused_as_ever,
];

async fn both_ways_give_the_same_answer_in_every_era() {
    for era in LEGACY.map(Era::Legacy).into_iter().chain([Era::Modern]) {
        let client = Client::new(&world().acme, era);
        let note = client
            .call(
                "create_note",
                json!({"title": "é \"quoted\" \\ \u{1f600}", "content": "line\nline\u{1}", "additional_fields": {"n": 1.50, "deep": [[{}]]}}),
            )
            .await
            .ok();
        let uid = &note["uid"];
        for (method, params) in [
            ("tools/list", json!({})),
            ("tools/call", json!({"name": "get_note", "arguments": {"uid": uid}})),
            ("tools/call", json!({"name": "list_notes", "arguments": {"limit": "3"}})),
            ("tools/call", json!({"name": "list_tasks"})),
            ("tools/call", json!({"name": "get_note", "arguments": {"uid": "x"}})),
            ("tools/call", json!({"name": "get_task", "arguments": {"uid": uid}})),
            (
                "tools/call",
                json!({"name": "update_note", "arguments": {"uid": uid, "title": "t", "content": "c", "if_match": 9}}),
            ),
        ] {
            both(&client, method, params, |request| request).await;
        }
    }
}

async fn both_ways_narrow_alike() {
    let client = Client::modern(&world().acme);
    let entity = all()[0].plural;
    for narrowing in [("x-mcp-toolsets", entity), ("x-mcp-readonly", "true")] {
        both(&client, "tools/list", json!({}), |request| {
            request.header(narrowing.0, narrowing.1)
        })
        .await;
        let left_out = json!({"name": "delete_chat", "arguments": {"uid": "x"}});
        both(&client, "tools/call", left_out, |request| {
            request.header(narrowing.0, narrowing.1)
        })
        .await;
    }
}

/// Each of these is a question that would be answered but for one thing.
async fn what_only_looks_in_order_is_refused_as_ever() {
    let client = Client::modern(&world().acme);
    let call = json!({"name": "list_notes", "arguments": {}});
    for (header, value) in [
        ("mcp-method", "tools/list"),
        ("mcp-name", "list_tasks"),
        ("mcp-protocol-version", "2025-11-25"),
        ("mcp-protocol-version", "2099-01-01"),
    ] {
        let wrong = |request: reqwest::RequestBuilder| {
            let mut request = request.build().unwrap();
            request.headers_mut().insert(header, value.parse().unwrap());
            reqwest::RequestBuilder::from_parts(reqwest::Client::new(), request)
        };
        let answer = both(&client, "tools/call", call.clone(), wrong).await;
        assert_eq!(answer.status, 400, "{header}: {answer}");
        let twice = |request: reqwest::RequestBuilder| request.header(header, value);
        let answer = both(&client, "tools/call", call.clone(), twice).await;
        assert!(answer.json()["error"].is_object(), "{header} twice: {answer}");
    }
    for params in [
        json!({"name": 7}),
        json!({"name": "list_notes", "arguments": []}),
        json!({"name": "list_notes", "arguments": "{}"}),
        json!({"name": "no_such_tool"}),
        json!({}),
    ] {
        let answer = both(&client, "tools/call", params.clone(), |request| request).await;
        assert!(answer.json()["error"].is_object(), "{params}: {answer}");
    }
}

/// Asks both ways, and hands back the one answer.
async fn both(
    client: &Client<'_>,
    method: &str,
    params: Value,
    change: impl Fn(reqwest::RequestBuilder) -> reqwest::RequestBuilder,
) -> Exchange {
    let mut roundabout = params.clone();
    roundabout["nobody_knows_this"] = json!(1);
    let straight = Exchange::of(change(client.request(method, params.clone()))).await;
    let roundabout = Exchange::of(change(client.request(method, roundabout))).await;
    assert_eq!(straight.status, roundabout.status, "{params}: {straight} {roundabout}");
    assert_eq!(straight.header("content-type"), roundabout.header("content-type"));
    assert_eq!(without_ids(&straight), without_ids(&roundabout), "{params}");
    straight
}

/// Each request has a correlation id of its own.
fn without_ids(exchange: &Exchange) -> String {
    exchange.text.replace(exchange.header("x-correlation-id"), "ID")
}
