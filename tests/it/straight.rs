//! The straight way and rmcp's own, held against each other: to the same question both give the same answer, byte for
//! byte. A member that nobody knows sends a question to rmcp and means nothing to it.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::entities::all;
use crate::harness::client::LEGACY;
use crate::harness::{Caller, Client, Era, Exchange, Piped, Place, Stream, User, world};

crate::tests![
    both_ways_give_the_same_answer_in_every_era,
    both_ways_give_the_same_answer_on_a_stream,
    both_ways_narrow_alike,
    both_ways_narrow_alike_on_a_stream,
    what_only_looks_in_order_is_refused_as_ever,
    refusals_are_the_same_on_every_path_at_any_rate,
];

async fn both_ways_give_the_same_answer_in_every_era() {
    for era in LEGACY.map(Era::Legacy).into_iter().chain([Era::Modern]) {
        let client = Client::new(&world().acme, era);
        for (method, params) in questions(&client).await {
            both(&client, method, params, |request| request).await;
        }
    }
}

async fn both_ways_give_the_same_answer_on_a_stream() {
    let place = &world().acme;
    for version in LEGACY {
        let stream = Stream::start(place, version).await;
        for (method, params) in questions(&stream).await {
            let [straight, roundabout] =
                both_on(&stream, method, params.clone(), |request| request).await;
            if method == "tools/list" {
                continue;
            }
            let [straight, roundabout] = [line_of(&straight).await, line_of(&roundabout).await];
            assert_eq!(straight, roundabout, "{params}");
            for (field, value) in [
                ("transport", "sse"),
                ("protocol", version),
                ("client", "suite"),
            ] {
                assert_eq!(straight[field], value, "{straight}");
            }
        }
        stream.traffic().await;
    }
}

/// With answers of every kind: the list, one and many items, and what the model reads of a failure.
async fn questions(caller: &impl Caller) -> Vec<(&'static str, Value)> {
    let note = caller
        .call(
            "create_note",
            json!({"title": "é \"quoted\" \\ \u{1f600}", "content": "line\nline\u{1}", "additional_fields": {"n": 1.50, "deep": [[{}]]}}),
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
            json!({"name": "update_note", "arguments": {"uid": uid, "title": "t", "content": "c", "if_match": 9}}),
        ),
    ]
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

async fn both_ways_narrow_alike_on_a_stream() {
    let entity = all()[0].plural;
    let stream = Stream::start_at(&world().acme, "/sse?toolsets=notes,chats", LEGACY[0]).await;
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
async fn what_only_looks_in_order_is_refused_as_ever() {
    let client = Client::modern(&world().acme);
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

/// Access is checked before the rate, so a caller without calls left reads of a tool out of reach what others read.
async fn refusals_are_the_same_on_every_path_at_any_rate() {
    let settings = [
        ("TOOLBRIDGE_SERVER_CALLS_PER_MINUTE", "1"),
        ("TOOLBRIDGE_SERVER_CALLS_BURST", "1"),
    ];
    let place = Place::with("acme", &world().api, &settings).await;
    let client = Client::new(&place, Era::Legacy("2025-06-18"));
    let stream = Stream::start(&place, "2024-11-05").await;
    let piped = Piped::start(&place, Era::Legacy("2025-06-18")).await;
    client.call("list_notes", json!({})).await.ok();
    stream.call("list_notes", json!({})).await.ok();
    piped.call("list_notes", json!({})).await.ok();

    let list = json!({"name": "list_notes", "arguments": {}});
    let code = |text: &str| text.contains("rate_limited");
    let limited = Exchange::of(client.request("tools/call", list.clone())).await;
    let by_rmcp = Exchange::of(client.request("tools/call", roundabout(&list))).await;
    assert!(
        code(&limited.text) && code(&by_rmcp.text),
        "{limited} {by_rmcp}"
    );
    for params in [list.clone(), roundabout(&list)] {
        let answer = stream.ask("tools/call", params).await.to_string();
        assert!(code(&answer), "{answer}");
    }
    let answer = piped.ask("tools/call", list).await.to_string();
    assert!(code(&answer), "{answer}");

    let delete = json!({"name": "delete_note", "arguments": {"uid": Uuid::nil()}});
    let read_only = |request| with(request, "x-mcp-readonly", "true");
    let refused = both(&client, "tools/call", delete.clone(), read_only).await;
    assert_eq!(refused.rpc_code(), -32602, "{refused}");
    both_on(&stream, "tools/call", delete, read_only).await;

    client.traffic().await;
    stream.traffic().await;
    piped.leave().await;
    place.stop().await;
}

/// Asks both ways, and hands back the one answer.
async fn both(
    client: &Client<'_>,
    method: &str,
    params: Value,
    change: impl Fn(reqwest::RequestBuilder) -> reqwest::RequestBuilder,
) -> Exchange {
    let straight = Exchange::of(change(client.request(method, params.clone()))).await;
    let roundabout = Exchange::of(change(client.request(method, roundabout(&params)))).await;
    assert_eq!(
        straight.status, roundabout.status,
        "{params}: {straight} {roundabout}"
    );
    assert_eq!(
        straight.header("content-type"),
        roundabout.header("content-type")
    );
    assert_eq!(without_ids(&straight), without_ids(&roundabout), "{params}");
    straight
}

/// The same on a stream. Hands back the correlation ids.
async fn both_on(
    stream: &Stream<'_>,
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
    let (straight, one) = ask(&params).await;
    let (by_rmcp, other) = ask(&roundabout(&params)).await;
    assert_eq!(
        straight.replace(&one, "ID"),
        by_rmcp.replace(&other, "ID"),
        "{params}"
    );
    [one, other]
}

fn roundabout(params: &Value) -> Value {
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
    let found = world().acme.sidecar.out.until(|line| {
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
fn without_ids(exchange: &Exchange) -> String {
    exchange
        .text
        .replace(exchange.header("x-correlation-id"), "ID")
}
