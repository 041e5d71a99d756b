//! Bytes that are no request, sent to both programs: each is refused or its connection closed, no
//! client is left waiting, and nothing is left behind.

mod requests;

use std::collections::BTreeMap;

use futures::StreamExt;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use self::requests::{Request, Rng, malformed, mutated};
use crate::harness::process::{HANG_TIMEOUT, Process};
use crate::harness::token::{now_ms, signature};
use crate::harness::{Api, Client, Era, SECRETS, Server, ToolClient, User};

crate::tests![
    refuses_malformed_requests,
    mutated_requests_are_answered_or_disconnected,
];

/// Mutated requests to each program; `TOOLBRIDGE_HOSTILE_REQUESTS` says how many else.
const USUAL: usize = 3_000;
const AT_ONCE: usize = 64;
const SEED: u64 = 20_261_124;
/// How HTTP says that a version or a coding is none that is spoken here. The only 5xx that are no
/// failure.
const OF_ANOTHER_KIND: [u16; 2] = [501, 505];
/// What an allocator may keep of it.
const MAX_GROWTH_KIB: u64 = 64 << 10;

/// One of the two programs, and what it is asked when all is well.
struct Target<'a> {
    address: String,
    process: &'a Process,
    good: Vec<Request>,
}

fn pair<'a>(api: &'a Api, server: &'a Server, user: &User) -> [Target<'a>; 2] {
    let token = format!("Authorization: Bearer {}", user.token);
    let now = now_ms().to_string();
    let seal = format!(
        "X-TB-Signature: {}",
        signature(&SECRETS.tenant, "acme", &now)
    );
    let now = format!("X-TB-Timestamp: {now}");
    let signed = [
        "Host: localhost",
        &token,
        "X-TB-Tenant-ID: acme",
        &now,
        &seal,
    ];
    let mcp = [
        "Host: localhost",
        &token,
        "Accept: application/json, text/event-stream",
        "Content-Type: application/json",
        "MCP-Protocol-Version: 2025-06-18",
    ];
    let create = json!({"name": "create_note", "arguments": {"title": "t", "content": "c"}});
    let create = Era::Legacy("2025-06-18")
        .message(1, "tools/call", create)
        .to_string();
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}).to_string();
    let target = |url: &str, process, good| Target {
        address: url.trim_start_matches("http://").to_owned(),
        process,
        good,
    };
    [
        target(
            &server.url,
            &server.process,
            vec![
                Request::new("POST", "/mcp", &mcp, &create),
                Request::new("POST", "/mcp", &mcp, &ping),
                Request::new("POST", "/messages?sessionId=none", &mcp, &ping),
                Request::new("GET", "/healthz", &mcp[..1], ""),
                Request::new("OPTIONS", "/mcp", &mcp[..1], ""),
            ],
        ),
        target(
            &api.url,
            &api.process,
            vec![
                Request::new(
                    "POST",
                    "/v1/notes",
                    &signed,
                    &json!({"title": "t"}).to_string(),
                ),
                Request::new("GET", "/v1/sync/info", &signed[..1], ""),
                Request::new("DELETE", "/v1/sync/sessions/none", &signed, ""),
            ],
        ),
    ]
}

async fn refuses_malformed_requests() {
    let api = Api::start().await;
    let server = Server::with("acme", &api, &[]).await;
    let user = server.new_user();
    for target in pair(&api, &server, &user) {
        let mut good = target.good[0].clone();
        good.headers.push("Connection: close".to_owned());
        for (name, bytes) in malformed(&good) {
            let said = target.send_and_read(&bytes, false).await;
            let statuses = statuses(&said);
            let refused =
                |status: &u16| (400..500).contains(status) || OF_ANOTHER_KIND.contains(status);
            let refused = statuses.iter().all(refused);
            assert!(refused, "{}: {name}: {statuses:?}", target.process.name);
        }
    }
    let client = Client::of(&server, Era::Modern, user);
    assert!(client.traffic().await.0.is_empty(), "nothing was sent");
    client.call("list_notes", json!({})).await.ok();
    client.traffic().await;
    api.until_no_session_is_open().await;
    server.stop().await;
    api.stop().await;
}

async fn mutated_requests_are_answered_or_disconnected() {
    let count =
        std::env::var("TOOLBRIDGE_HOSTILE_REQUESTS").map_or(USUAL, |count| count.parse().unwrap());
    let api = Api::start().await;
    let server = Server::with("acme", &api, &[]).await;
    let client = Client::modern(&server);
    client.call("list_notes", json!({})).await.ok();
    for target in pair(&api, &server, &client.user) {
        let mut rng = Rng::new(SEED);
        // What there is when all is well: connections between the two included.
        let (files, memory) = (target.process.open_files(), target.process.resident_kib());
        let inputs: Vec<_> = (0..count)
            .map(|_| mutated(&target.good, &mut rng))
            .collect();
        let received = futures::stream::iter(&inputs).map(|bytes| async {
            let said = target.send_and_read(bytes, true).await;
            let statuses = statuses(&said);
            let about = || String::from_utf8_lossy(&bytes[..bytes.len().min(600)]).into_owned();
            assert!(
                statuses
                    .iter()
                    .all(|status| *status < 500 || OF_ANOTHER_KIND.contains(status)),
                "{statuses:?}: {}",
                about()
            );
            statuses
        });
        let received: Vec<_> = received.buffer_unordered(AT_ONCE).collect().await;
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        for statuses in received {
            let first = statuses
                .first()
                .map_or_else(|| "closed".to_owned(), u16::to_string);
            *seen.entry(first).or_default() += 1;
        }
        // Between the two programs connections are kept for the next call.
        target.until_open_files_are(files + AT_ONCE).await;
        let grown = target.process.resident_kib().saturating_sub(memory);
        eprintln!(
            "{}: {count} requests: {seen:?}; {grown} KiB more",
            target.process.name
        );
        assert!(seen.len() > 3, "they have been of many kinds: {seen:?}");
        assert!(grown < MAX_GROWTH_KIB, "{grown} KiB");
    }
    client.call("list_notes", json!({})).await.ok();
    client.traffic().await;
    server.stop().await;
    api.stop().await;
}

impl Target<'_> {
    /// Everything that is answered until the connection closes. With `hang_up` nothing more will
    /// come, and it knows.
    async fn send_and_read(&self, bytes: &[u8], hang_up: bool) -> Vec<u8> {
        let exchange = async {
            let mut stream = TcpStream::connect(&self.address).await.unwrap();
            let (mut reading, mut writing) = stream.split();
            let mut said = Vec::new();
            let write = async {
                // It may have been closed after the first few bytes already.
                let _ = writing.write_all(bytes).await;
                if hang_up {
                    let _ = writing.shutdown().await;
                }
            };
            let read = async {
                let _ = reading.read_to_end(&mut said).await;
            };
            tokio::join!(write, read);
            said
        };
        let said = tokio::time::timeout(HANG_TIMEOUT, exchange).await;
        said.unwrap_or_else(|_| {
            panic!(
                "never let go: {}",
                String::from_utf8_lossy(&bytes[..bytes.len().min(600)])
            )
        })
    }

    async fn until_open_files_are(&self, files: usize) {
        let closing = async {
            while self.process.open_files() > files {
                tokio::task::yield_now().await;
            }
        };
        let in_time = tokio::time::timeout(HANG_TIMEOUT, closing).await;
        assert!(
            in_time.is_ok(),
            "{} files are open, not {files}",
            self.process.open_files()
        );
    }
}

/// Of every answer in these bytes.
fn statuses(said: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(said);
    let lines = text.split("HTTP/1.").skip(1);
    lines
        .filter_map(|line| line.get(2..5)?.parse().ok())
        .collect()
}
