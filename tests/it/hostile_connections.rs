//! Many hostile connections: clients that are slow on purpose, clients that never read, and ten
//! thousand that send nothing. Other clients are served meanwhile, and nothing is left afterwards.

use futures::StreamExt;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::harness::process::HANG_TIMEOUT;
use crate::harness::{Api, Client, Era, Metrics, Server, ToolClient, shared};

crate::tests![
    slow_clients_do_not_delay_others,
    holds_and_releases_ten_thousand_idle_connections,
    unauthenticated_connections_do_not_exclude_others,
    heads_without_a_token_take_little_memory,
];

/// `TOOLBRIDGE_HOSTILE_IDLE` says how many else, as far as files may be opened.
const IDLE: usize = 10_000;
/// Of each kind.
const SLOW: usize = 60;
const AT_ONCE: usize = 100;
/// Connections of a client that makes one call after the other: the next may begin before the last
/// one's is back in the pool.
const OWN: usize = 2;
/// A connection that says nothing may cost no more than this.
const MAX_KIB_EACH: u64 = 32;

/// Sends this and then nothing, with the connection open.
async fn begun(server: &Server, bytes: Vec<u8>) -> TcpStream {
    let mut stream = TcpStream::connect(server.url.trim_start_matches("http://"))
        .await
        .unwrap();
    stream.write_all(&bytes).await.unwrap();
    stream
}

async fn until_connections_are(server: &Server, count: usize) {
    let name = "toolbridge_mcp_connections_open";
    let closing = async {
        while Metrics::of(server).await.sum(name, &[]) > count as f64 {
            tokio::task::yield_now().await;
        }
    };
    let in_time = tokio::time::timeout(HANG_TIMEOUT, closing).await.is_ok();
    let open = Metrics::of(server).await.sum(name, &[]);
    assert!(in_time, "{open} connections are open, not {count}");
}

async fn slow_clients_do_not_delay_others() {
    let api = Api::start().await;
    let server = Server::with("acme", &api, &[]).await;
    let victim = Client::modern(&server);
    victim.call("list_notes", json!({})).await.ok();
    let slow = server.new_user();
    let list = Era::Legacy("2025-06-18")
        .message(1, "tools/list", json!({}))
        .to_string();
    let head = |token: &str, length: usize| {
        format!(
            "POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nAccept: \
             application/json\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        )
    };
    // A list is some 30 KB: what is not read fills every buffer on the way, and then waits here.
    let greedy = format!("{}{list}", head(&slow.token, list.len())).repeat(300);
    let kinds = [
        ("nothing", String::new()),
        ("half a line", "POST /mc".to_owned()),
        (
            "half a head",
            "POST /mcp HTTP/1.1\r\nHost: localhost\r\nX-Slow: ".to_owned(),
        ),
        (
            "half a body",
            format!("{}{}", head(&slow.token, 1000), &list[..10]),
        ),
        (
            "half a body of nobody's",
            format!("{}{}", head("a.b.c", 1000), &list[..10]),
        ),
        (
            "half a chunk",
            head(&slow.token, 0).replace("Content-Length: 0", "Transfer-Encoding: chunked")
                + "3e8\r\n{",
        ),
        ("never reads", greedy),
    ];
    for (kind, bytes) in kinds {
        let before = server.process.resident_kib();
        let some =
            futures::stream::iter(0..SLOW).map(|_| begun(&server, bytes.clone().into_bytes()));
        let mut held: Vec<TcpStream> = some.buffer_unordered(SLOW).collect().await;
        // One more byte of each now and then changes nothing.
        for _ in 0..3 {
            for stream in held.iter_mut().filter(|_| kind.starts_with("half")) {
                let _ = stream.write_all(b"x").await;
            }
            for _ in 0..5 {
                victim.call("list_notes", json!({})).await.ok();
            }
        }
        let grown = server.process.resident_kib().saturating_sub(before);
        eprintln!("{SLOW} clients, {kind}: {grown} KiB more");
        drop(held);
        // What is left is the victim's own.
        until_connections_are(&server, OWN).await;
    }
    victim.call("list_notes", json!({})).await.ok();
    victim.traffic().await;
    assert!(
        server.forwarder.so_far(&slow).0.is_empty(),
        "a list asks the API nothing"
    );
    server.stop().await;
    api.stop().await;
}

async fn holds_and_releases_ten_thousand_idle_connections() {
    let wanted =
        std::env::var("TOOLBRIDGE_HOSTILE_IDLE").map_or(IDLE, |count| count.parse().unwrap());
    let idle = wanted.min(max_open_files().saturating_sub(2_000));
    let settings = [
        ("TOOLBRIDGE_SERVER_MAX_CONNECTIONS", "15000"),
        ("TOOLBRIDGE_SERVER_UNAUTHENTICATED_CONNECTIONS", "15000"),
    ];
    let server = Server::with("acme", &shared().api, &settings).await;
    let client = Client::modern(&server);
    client.call("list_notes", json!({})).await.ok();
    let before = server.process.resident_kib();
    // Every other one has asked something once, so that the server has buffers for it.
    let handshake = |number: usize| match number % 2 {
        0 => Vec::new(),
        _ => b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
    };
    let held = futures::stream::iter(0..idle).map(|number| begun(&server, handshake(number)));
    let held: Vec<TcpStream> = held.buffer_unordered(AT_ONCE).collect().await;
    Metrics::until(&server, "all of them to be in", |metrics| {
        metrics.sum("toolbridge_mcp_connections_open", &[]) >= held.len() as f64
    })
    .await;
    let grown = server.process.resident_kib().saturating_sub(before);
    for _ in 0..20 {
        client.call("list_notes", json!({})).await.ok();
    }
    // A new client is served as well.
    let another = Client::modern(&server);
    another.call("list_notes", json!({})).await.ok();
    eprintln!("{} idle connections: {grown} KiB", held.len());
    assert!(grown < MAX_KIB_EACH * held.len() as u64, "{grown} KiB");
    drop(held);
    until_connections_are(&server, 2 * OWN).await;
    client.call("list_notes", json!({})).await.ok();
    for client in [&client, &another] {
        client.traffic().await;
    }
    server.stop().await;
}

async fn unauthenticated_connections_do_not_exclude_others() {
    const CONNECTION_LIMIT: usize = 64;
    let servers = CONNECTION_LIMIT.to_string();
    let settings = [("TOOLBRIDGE_SERVER_MAX_CONNECTIONS", servers.as_str())];
    let server = Server::with("acme", &shared().api, &settings).await;
    let known = Client::modern(&server);
    known.call("list_notes", json!({})).await.ok();
    // More than there are places, so some wait before the door.
    let unauthenticated =
        (0..2 * CONNECTION_LIMIT).map(|_| begun(&server, b"POST /mcp HTTP/1.1\r\n".to_vec()));
    let unauthenticated = futures::future::join_all(unauthenticated).await;
    let new = Client::modern(&server);
    new.call("list_notes", json!({})).await.ok();
    let evicted = Metrics::of(&server).await.sum(
        "toolbridge_mcp_limit_refusals_total",
        &["limit=\"unauthenticated_connections\""],
    );
    assert!(evicted > CONNECTION_LIMIT as f64, "{evicted}");
    known.call("list_notes", json!({})).await.ok();
    drop(unauthenticated);
    for client in [&known, &new] {
        client.traffic().await;
    }
    server.stop().await;
}

async fn heads_without_a_token_take_little_memory() {
    const HEADS: usize = 3_000;
    const MOST_KIB: u64 = 56 << 10;
    let server = Server::with("acme", &shared().api, &[]).await;
    let known = Client::modern(&server);
    known.call("list_notes", json!({})).await.ok();
    let before = server.process.resident_kib();
    let head = format!("POST /mcp HTTP/1.1\r\nX-Long: {}", "x".repeat(15_000));
    let heads = futures::stream::iter(0..HEADS).map(|_| begun(&server, head.clone().into_bytes()));
    let attack = heads.buffer_unordered(AT_ONCE).collect::<Vec<_>>();
    let others = async {
        for _ in 0..20 {
            known.call("list_notes", json!({})).await.ok();
        }
    };
    let (held, ()) = futures::join!(attack, others);
    let new = Client::modern(&server);
    new.call("list_notes", json!({})).await.ok();
    let grown = server.process.peak_kib().saturating_sub(before);
    eprintln!("{HEADS} heads: {grown} KiB more");
    assert!(grown < MOST_KIB, "{grown} KiB");
    drop(held);
    for client in [&known, &new] {
        client.traffic().await;
    }
    server.stop().await;
}

/// By this process; the server has the same limit.
fn max_open_files() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))
        .unwrap();
    line.split_whitespace()
        .next()
        .unwrap()
        .parse()
        .unwrap_or(usize::MAX)
}
