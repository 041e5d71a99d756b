//! One caller who sends, asks for and leaves unread as much as the server lets them: its memory
//! stays within bounds, and the calls of others are answered meanwhile.

use std::collections::BTreeMap;

use futures::StreamExt;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::harness::{Api, Client, Era, HttpReply, Metrics, Server, SseClient, ToolClient, shared};

crate::tests![
    wide_documents_stay_within_the_budget,
    unread_answers_stay_within_the_budget,
    bodies_that_are_announced_and_not_sent_keep_nobody_out,
    notifications_on_streams_stay_within_the_budget,
];

/// What the process may hold at its peak. Without a budget each of the tests takes several times as
/// much.
const MAX_KIB: u64 = 160 << 10;
const CONNECTIONS: usize = 40;
const UNREAD: usize = 200;

fn peak(server: &Server) -> u64 {
    let peak = server.process.peak_kib();
    assert!(peak < MAX_KIB, "{} MiB at the peak", peak >> 10);
    peak
}

fn message(era: Era, params: &str) -> String {
    let message = era.message(1, "tools/call", json!({}));
    message.to_string().replace("{}", params)
}

async fn wide_documents_stay_within_the_budget() {
    let api = Api::start().await;
    let server = Server::with("acme", &api, &[]).await;
    let (mallory, ann) = (
        Client::new(&server, Era::Legacy("2025-06-18")),
        Client::modern(&server),
    );
    let zeros = format!("[{}0]", "0,".repeat(500_000));
    let arguments = format!(r#"{{"title":"t","content":"c","additional_fields":{{"z":{zeros}}}}}"#);
    let messages = [
        format!(r#"{{"name":"create_note","arguments":{arguments}}}"#),
        format!(
            r#"{{"name":"create_note","arguments":{arguments},"_meta":{{"progressToken":1}}}}"#
        ),
        format!(r#"{{"name":"list_notes","_meta":{{"x":{zeros}}}}}"#),
        format!(r#"{{"name":"list_notes","arguments":{zeros}}}"#),
    ];
    let messages = messages.map(|params| message(mallory.era, &params));
    let attack = futures::stream::iter(0..3 * CONNECTIONS).map(|number| {
        let request = mallory
            .post()
            .header("mcp-protocol-version", mallory.era.version());
        HttpReply::of(request.body(messages[number % messages.len()].clone()))
    });
    let attack = async {
        let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
        let mut answers = attack.buffer_unordered(CONNECTIONS);
        while let Some(exchange) = answers.next().await {
            *statuses.entry(exchange.status).or_default() += 1;
        }
        statuses
    };
    let others = async {
        for _ in 0..20 {
            ann.call("list_notes", json!({})).await.ok();
            assert_eq!(HttpReply::of(ann.get("/healthz")).await.status, 200);
        }
    };
    let (statuses, ()) = futures::join!(attack, others);
    eprintln!(
        "wide documents: {statuses:?}, {} MiB at the peak",
        peak(&server) >> 10
    );
    let expected = |status: &u16| [200, 413, 429, 503].contains(status);
    assert!(statuses.keys().all(expected), "{statuses:?}");
    // What was taken has been given back, so each message is answered for what it is.
    let note: Value = serde_json::from_str(&arguments).unwrap();
    mallory.call("create_note", note).await.ok();
    let wide = mallory
        .post()
        .header("mcp-protocol-version", mallory.era.version());
    let wide = HttpReply::of(wide.body(messages[2].clone())).await;
    assert_eq!(wide.status, 413, "{wide}");
    // Under load an end may be sent twice, so sessions are counted where they are kept.
    api.until_no_session_is_open().await;
    server.stop().await;
    api.stop().await;
}

async fn unread_answers_stay_within_the_budget() {
    let api = Api::start().await;
    let server = Server::with("acme", &api, &[]).await;
    let (mallory, ann) = (
        Client::new(&server, Era::Legacy("2025-06-18")),
        Client::modern(&server),
    );
    for _ in 0..9 {
        let note = json!({"title": "t", "content": "x".repeat(900_000)});
        mallory.call("create_note", note).await.ok();
    }
    let list = message(
        mallory.era,
        r#"{"name":"list_notes","arguments":{"full":true,"limit":1}}"#,
    );
    let request = format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Type: \
         application/json\r\nAccept: application/json\r\nContent-Length: {}\r\n\r\n{list}",
        mallory.user.token,
        list.len()
    );
    let address = server.url.trim_start_matches("http://");
    let mut unread = Vec::new();
    for _ in 0..UNREAD {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        unread.push(stream);
    }
    for _ in 0..20 {
        ann.call("list_notes", json!({})).await.ok();
        assert_eq!(HttpReply::of(ann.get("/healthz")).await.status, 200);
    }
    // What the kernel has not taken is part of the caller's share, which comes back with the
    // connections.
    drop(unread);
    loop {
        let again = mallory
            .call("list_notes", json!({"full": true, "limit": 1}))
            .await;
        if !again.is_error() {
            break;
        }
        again.failed("unavailable", "overloaded");
    }
    eprintln!(
        "{UNREAD} unread answers: {} MiB at the peak",
        peak(&server) >> 10
    );
    // Under load an end may be sent twice, so sessions are counted where they are kept.
    api.until_no_session_is_open().await;
    server.stop().await;
    api.stop().await;
}

async fn bodies_that_are_announced_and_not_sent_keep_nobody_out() {
    const HALF_SENT: usize = 12;
    let server = Server::with("acme", &shared().api, &[]).await;
    let ann = Client::modern(&server);
    let address = server.url.trim_start_matches("http://");
    let mut held = Vec::new();
    for user in [server.new_user(), server.new_user(), server.new_user()] {
        let half = format!(
            "POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{{",
            user.token,
            1 << 20
        );
        for _ in 0..HALF_SENT {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(half.as_bytes()).await.unwrap();
            held.push(stream);
        }
    }
    // The first of each have reserved what they may; the last of each are refused for it.
    let refused = "toolbridge_mcp_limit_refusals_total";
    Metrics::until(&server, "the share of each to be taken", |metrics| {
        metrics.sum(refused, &["limit=\"request_memory\""]) >= 3.0
    })
    .await;
    let note = json!({"title": "t", "content": "x".repeat(900_000)});
    ann.call("create_note", note).await.ok();
    drop(held);
    server.stop().await;
}

/// Values that take many times the memory of their text once they are read into a document.
async fn notifications_on_streams_stay_within_the_budget() {
    const STREAMS: usize = 32;
    const POSTS: usize = 3_000;
    // With the streams, fewer connections than one caller may have.
    const AT_ONCE: usize = 400;
    let server = Server::with("acme", &shared().api, &[]).await;
    let ann = Client::modern(&server);
    let (user, era) = (server.new_user(), Era::Legacy("2024-11-05"));
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        let stream = SseClient::open(&server, "/sse", user.clone()).await;
        stream.ask("initialize", era.initialize_params()).await;
        streams.push(stream);
    }
    let object = format!(r#"{{"{}":1}}"#, "k".repeat(240));
    let objects = vec![object; 220].join(",");
    let flood =
        format!(r#"{{"jsonrpc":"2.0","method":"notifications/x","params":{{"x":[{objects}]}}}}"#);
    let flood: Value = serde_json::from_str(&flood).unwrap();
    let attack = futures::stream::iter(0..POSTS)
        .map(|number| HttpReply::of(streams[number % STREAMS].post(&user.token, &flood)))
        .buffer_unordered(AT_ONCE)
        .for_each(|exchange| {
            assert!([202, 429, 503].contains(&exchange.status), "{exchange}");
            futures::future::ready(())
        });
    let others = async {
        for _ in 0..20 {
            ann.call("list_notes", json!({})).await.ok();
        }
    };
    futures::join!(attack, others);
    eprintln!(
        "{POSTS} notifications: {} MiB at the peak",
        peak(&server) >> 10
    );
    for stream in streams {
        stream.close();
    }
    server.stop().await;
}
