//! Progress of calls that take several steps, for clients that ask for it and can receive it.

use serde_json::{Value, json};

use crate::entities::{self, Entity, stored, uid_of, with_parent, without};
use crate::harness::runner::in_every_era;
use crate::harness::{Client, Era, HttpReply, StdioClient, ToolClient, shared};

crate::tests![
    reports_progress_over_http,
    sends_no_progress_without_a_stream,
    reports_progress_over_stdio,
    sends_no_progress_without_a_progress_token,
];

/// The update of an item whose parent is to be kept: what takes two steps.
pub async fn two_steps(caller: &impl ToolClient, entity: &Entity, meta: &Value) -> Value {
    let parent = entity.make_parent(caller).await;
    let uid = uid_of(&entity.make(caller, &parent).await.ok());
    let arguments = without(
        &entity.minimal_arguments("update", &uid, &parent),
        entity.parent_arguments,
    );
    json!({"name": entity.tool("update"), "arguments": arguments, "_meta": meta})
}

pub fn entity() -> Entity {
    entities::by_key("chat_message")
}

/// Progress that rises and stays below its total, all of it for this token.
pub fn check_progress(told: &[Value], token: &str) {
    assert_eq!(told.len(), 2, "{told:?}");
    for (step, notification) in told.iter().enumerate() {
        assert_eq!(
            notification["method"], "notifications/progress",
            "{notification}"
        );
        let params = &notification["params"];
        assert_eq!(params["progressToken"], token, "{notification}");
        assert_eq!(
            (params["progress"].as_f64(), params["total"].as_f64()),
            (Some(step as f64), Some(2.0))
        );
        assert!(params["message"].is_string(), "{notification}");
    }
}

async fn reports_progress_over_http() {
    in_every_era(&shared().acme, async |client| {
        let params = two_steps(client, &entity(), &json!({"progressToken": "steps"})).await;
        let answer = HttpReply::of(client.request("tools/call", params)).await;
        assert!(
            answer
                .header("content-type")
                .starts_with("text/event-stream"),
            "{answer}"
        );
        let events = answer
            .text
            .lines()
            .filter_map(|line| line.strip_prefix("data:"));
        let messages: Vec<Value> = events
            .map(str::trim)
            .filter(|data| !data.is_empty())
            .map(|data| serde_json::from_str(data).unwrap())
            .collect();
        let (result, told) = messages.split_last().unwrap();
        check_progress(told, "steps");
        assert_eq!(result["id"], 1, "{answer}");
        let item = &result["result"]["structuredContent"];
        assert_eq!(item["version"], 2, "{answer}");
    })
    .await;
}

async fn sends_no_progress_without_a_stream() {
    in_every_era(&shared().acme, async |client| {
        let params = two_steps(client, &entity(), &json!({"progressToken": "steps"})).await;
        let mut request = client.request("tools/call", params).build().unwrap();
        request
            .headers_mut()
            .insert("accept", "application/json".parse().unwrap());
        let answer = reqwest::Client::new().execute(request).await.unwrap();
        assert!(
            answer.headers()["content-type"]
                .to_str()
                .unwrap()
                .starts_with("application/json")
        );
        let answer: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        assert_eq!(
            answer["result"]["structuredContent"]["version"], 2,
            "{answer}"
        );
    })
    .await;
}

async fn reports_progress_over_stdio() {
    for era in [
        Era::Modern,
        Era::Legacy("2025-11-25"),
        Era::Legacy("2024-11-05"),
    ] {
        let stdio = StdioClient::start(&shared().acme, era).await;
        let params = two_steps(&stdio, &entity(), &json!({"progressToken": "steps"})).await;
        let before = stdio.answers().len();
        let answer = stdio.ask("tools/call", params).await;
        assert_eq!(
            answer["result"]["structuredContent"]["version"], 2,
            "{answer}"
        );
        let mut told = stdio.answers().split_off(before);
        assert_eq!(told.pop().as_ref(), Some(&answer), "the result comes last");
        check_progress(&told, "steps");
        stdio.traffic().await;
        stdio.close().await;
    }
}

async fn sends_no_progress_without_a_progress_token() {
    let client = Client::modern(&shared().acme);
    let params = two_steps(&client, &entity(), &json!({})).await;
    let answer = client.ask("tools/call", params).await;
    let item = answer.result()["structuredContent"].clone();
    let parent = item["payload"]["chat_uid"].as_str().unwrap();
    assert_eq!(stored(&item), with_parent(&entity().updated, parent));
    // Nor is there anything to tell of a call that takes one step.
    let params =
        json!({"name": "list_notes", "arguments": {}, "_meta": {"progressToken": "steps"}});
    let answer = client.ask("tools/call", params).await;
    let text = &answer.text;
    assert!(!text.contains("notifications/progress"), "{answer}");
    client.traffic().await;
}
