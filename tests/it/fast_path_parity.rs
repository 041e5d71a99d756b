//! The fast path and rmcp give the same answer to the same request, byte for byte. An unknown
//! member, which means nothing to rmcp, sends a request to it.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::entities::all;
use crate::harness::client::LEGACY;
use crate::harness::{
    Client, Era, HttpReply, Server, SseClient, StdioClient, ToolClient, User, shared,
};

crate::tests![
    both_paths_answer_alike_in_every_era,
    both_paths_answer_alike_on_a_stream,
    both_paths_filter_alike,
    both_paths_filter_alike_on_a_stream,
    both_paths_refuse_nearly_valid_requests,
    refusals_are_identical_on_every_path_at_any_rate,
];

async fn both_paths_answer_alike_in_every_era() {
    for era in LEGACY.map(Era::Legacy).into_iter().chain([Era::Modern]) {
        let client = Client::new(&shared().acme, era);
        for (method, params) in requests(&client).await {
            both(&client, method, params, |request| request).await;
        }
    }
}

async fn both_paths_answer_alike_on_a_stream() {
    let server = &shared().acme;
    for version in LEGACY {
        let stream = SseClient::start(server, version).await;
        for (method, params) in requests(&stream).await {
            let [fast, by_rmcp] = both_on(&stream, method, params.clone(), |request| request).await;
            if method == "tools/list" {
                continue;
            }
            let [fast, by_rmcp] = [line_of(&fast).await, line_of(&by_rmcp).await];
            assert_eq!(fast, by_rmcp, "{params}");
            for (field, value) in [
                ("transport", "sse"),
                ("protocol", version),
                ("client", "suite"),
            ] {
                assert_eq!(fast[field], value, "{fast}");
            }
        }
        stream.traffic().await;
    }
}

/// With answers of every kind: the list, one and many items, and what the model reads of a failure.
async fn requests(caller: &impl ToolClient) -> Vec<(&'static str, Value)> {
    let note = caller
        .call(
            "create_note",
            json!({
                "title": "é \"quoted\" \\ \u{1f600}",
                "content": "line\nline\u{1}",
                "additional_fields": {"n": 1.50, "deep": [[{}]]},
            }),
        )
        .await
        .ok();
    let uid = &note["uid"];
    vec![
        ("tools/list", json!({})),
        (
            "tools/call",
            json!({"name": "get_note", "arguments": {"uid": uid}}),
        ),
        (
            "tools/call",
            json!({"name": "list_notes", "arguments": {"limit": "3"}}),
        ),
        ("tools/call", json!({"name": "list_tasks"})),
        (
            "tools/call",
            json!({"name": "get_note", "arguments": {"uid": "x"}}),
        ),
        (
            "tools/call",
            json!({"name": "get_task", "arguments": {"uid": uid}}),
        ),
        (
            "tools/call",
            json!({
                "name": "update_note",
                "arguments": {"uid": uid, "title": "t", "content": "c", "if_match": 9},
            }),
        ),
    ]
}

async fn both_paths_filter_alike() {
    let client = Client::modern(&shared().acme);
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

async fn both_paths_filter_alike_on_a_stream() {
    let entity = all()[0].plural;
    let stream = SseClient::start_at(&shared().acme, "/sse?toolsets=notes,chats", LEGACY[0]).await;
    let reader = json!({"sub": stream.user().sub, "tenant_id": "acme", "scope": "toolbridge:read"});
    let reader = format!("Bearer {}", User::with_claims(reader).token);
    for (name, value) in [
        ("x-mcp-toolsets", entity),
        ("x-mcp-readonly", "true"),
        ("authorization", &reader),
    ] {
        for (method, params) in [
            ("tools/list", json!({})),
            (
                "tools/call",
                json!({"name": "delete_chat", "arguments": {"uid": "x"}}),
            ),
            ("tools/call", json!({"name": "list_tasks"})),
        ] {
            both_on(&stream, method, params, |request| {
                with(request, name, value)
            })
            .await;
        }
    }
}

/// Each of these is a question that would be answered but for one thing.
async fn both_paths_refuse_nearly_valid_requests() {
    let client = Client::modern(&shared().acme);
    let call = json!({"name": "list_notes", "arguments": {}});
    for (header, value) in [
        ("mcp-method", "tools/list"),
        ("mcp-name", "list_tasks"),
        ("mcp-protocol-version", "2025-11-25"),
        ("mcp-protocol-version", "2099-01-01"),
    ] {
        let wrong = |request| with(request, header, value);
        let answer = both(&client, "tools/call", call.clone(), wrong).await;
        assert_eq!(answer.status, 400, "{header}: {answer}");
        let twice = |request: reqwest::RequestBuilder| request.header(header, value);
        let answer = both(&client, "tools/call", call.clone(), twice).await;
        assert!(
            answer.json()["error"].is_object(),
            "{header} twice: {answer}"
        );
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

/// Access is checked before the rate, so a caller without calls left reads of a tool out of reach
/// what others read.
async fn refusals_are_identical_on_every_path_at_any_rate() {
    let settings = [
        ("TOOLBRIDGE_SERVER_CALLS_PER_MINUTE", "1"),
        ("TOOLBRIDGE_SERVER_CALLS_BURST", "1"),
    ];
    let server = Server::with("acme", &shared().api, &settings).await;
    let client = Client::new(&server, Era::Legacy("2025-06-18"));
    let stream = SseClient::start(&server, "2024-11-05").await;
    let stdio = StdioClient::start(&server, Era::Legacy("2025-06-18")).await;
    client.call("list_notes", json!({})).await.ok();
    stream.call("list_notes", json!({})).await.ok();
    stdio.call("list_notes", json!({})).await.ok();

    let list = json!({"name": "list_notes", "arguments": {}});
    let code = |text: &str| text.contains("rate_limited");
    let limited = HttpReply::of(client.request("tools/call", list.clone())).await;
    let by_rmcp = HttpReply::of(client.request("tools/call", through_rmcp(&list))).await;
    assert!(
        code(&limited.text) && code(&by_rmcp.text),
        "{limited} {by_rmcp}"
    );
    for params in [list.clone(), through_rmcp(&list)] {
        let answer = stream.ask("tools/call", params).await.to_string();
        assert!(code(&answer), "{answer}");
    }
    let answer = stdio.ask("tools/call", list).await.to_string();
    assert!(code(&answer), "{answer}");

    let delete = json!({"name": "delete_note", "arguments": {"uid": Uuid::nil()}});
    let read_only = |request| with(request, "x-mcp-readonly", "true");
    let refused = both(&client, "tools/call", delete.clone(), read_only).await;
    assert_eq!(refused.rpc_code(), -32602, "{refused}");
    both_on(&stream, "tools/call", delete, read_only).await;

    client.traffic().await;
    stream.traffic().await;
    stdio.close().await;
    server.stop().await;
}

/// Asks both ways, and hands back the one answer.
async fn both(
    client: &Client<'_>,
    method: &str,
    params: Value,
    change: impl Fn(reqwest::RequestBuilder) -> reqwest::RequestBuilder,
) -> HttpReply {
    let fast = HttpReply::of(change(client.request(method, params.clone()))).await;
    let by_rmcp = HttpReply::of(change(client.request(method, through_rmcp(&params)))).await;
    assert_eq!(fast.status, by_rmcp.status, "{params}: {fast} {by_rmcp}");
    assert_eq!(fast.header("content-type"), by_rmcp.header("content-type"));
    assert_eq!(without_ids(&fast), without_ids(&by_rmcp), "{params}");
    fast
}

/// The same on a stream. Hands back the correlation ids.
async fn both_on(
    stream: &SseClient<'_>,
    method: &str,
    params: Value,
    change: impl Fn(reqwest::RequestBuilder) -> reqwest::RequestBuilder,
) -> [String; 2] {
    let ask = async |params: &Value| {
        let about = Uuid::new_v4().to_string();
        let message = json!({"jsonrpc": "2.0", "id": about, "method": method, "params": params});
        let post = stream.post(&stream.user().token, &message);
        let posted = change(post.header("x-correlation-id", &about))
            .send()
            .await
            .unwrap();
        assert_eq!(posted.status(), 202, "{params}");
        (stream.text_of_the_answer(&message["id"]).await, about)
    };
    let (fast, one) = ask(&params).await;
    let (by_rmcp, other) = ask(&through_rmcp(&params)).await;
    assert_eq!(
        fast.replace(&one, "ID"),
        by_rmcp.replace(&other, "ID"),
        "{params}"
    );
    [one, other]
}

fn through_rmcp(params: &Value) -> Value {
    let mut params = params.clone();
    params["nobody_knows_this"] = json!(1);
    params
}

fn with(
    request: reqwest::RequestBuilder,
    header: &'static str,
    value: &str,
) -> reqwest::RequestBuilder {
    let mut request = request.build().unwrap();
    request.headers_mut().insert(header, value.parse().unwrap());
    reqwest::RequestBuilder::from_parts(reqwest::Client::new(), request)
}

/// What is logged of a call, without what differs from call to call.
async fn line_of(correlation_id: &str) -> Value {
    let found = shared().acme.process.out.until(|line| {
        // Reading all that the whole suite has logged would take a while.
        let line = line.contains(correlation_id).then_some(line)?;
        let mut line: Value = serde_json::from_str(line).ok()?;
        let fields = line.as_object_mut()?;
        let is_it =
            fields.remove("correlation_id")? == correlation_id && fields.contains_key("outcome");
        fields.retain(|name, _| name != "time" && !name.ends_with("_ms"));
        is_it.then_some(line)
    });
    found.await.expect("a line")
}

/// Each request has a correlation id of its own.
fn without_ids(exchange: &HttpReply) -> String {
    exchange
        .text
        .replace(exchange.header("x-correlation-id"), "ID")
}
