//! Smuggling: whatever a caller writes into the head or the parameters of a request, the API hears
//! what the server says and nothing else. These go over a bare socket, since no client would send
//! them.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use url::form_urlencoded;

use crate::api_requests::check_signature;
use crate::entities::{OPERATIONS, all};
use crate::harness::process::HANG_TIMEOUT;
use crate::harness::{CONTENT, Client, Era, Server, Stage, ToolClient, User, shared};

crate::tests![
    forwards_no_client_headers,
    refuses_ambiguous_requests,
    accepts_a_token_only_in_the_authorization_header,
    arguments_do_not_become_headers,
    a_uid_cannot_change_the_path,
    a_cursor_cannot_change_the_query,
];

const VERSION: &str = "2025-06-18";

fn body(user: &User) -> String {
    let create = json!({"name": "create_note", "arguments": {"title": user.sub, "content": "c"}});
    Era::Legacy(VERSION)
        .message(1, "tools/call", create)
        .to_string()
}

/// A head as it is, with what every good request has after it, and a body.
async fn status(server: &Server, token: Option<&str>, more: &[u8], body: &str) -> u16 {
    let mut bytes = b"POST /mcp HTTP/1.1\r\n".to_vec();
    bytes.extend_from_slice(more);
    if let Some(token) = token {
        bytes.extend_from_slice(format!("Authorization: Bearer {token}\r\n").as_bytes());
    }
    let framed = !String::from_utf8_lossy(more).contains("Transfer-Encoding");
    if framed {
        bytes.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
    }
    bytes.extend_from_slice(b"Content-Type: application/json\r\nAccept: application/json\r\n\r\n");
    bytes.extend_from_slice(body.as_bytes());
    let mut said = Vec::new();
    let exchange = async {
        let mut stream = TcpStream::connect(server.url.trim_start_matches("http://"))
            .await
            .unwrap();
        let _ = stream.write_all(&bytes).await;
        let mut buffer = [0; 4096];
        loop {
            let ended = said.windows(4).position(|four| four == b"\r\n\r\n");
            match ended {
                // A request with "Expect" is asked for its body first.
                Some(at) if said.starts_with(b"HTTP/1.1 100") => drop(said.drain(..at + 4)),
                Some(_) => break,
                None => match stream.read(&mut buffer).await {
                    Ok(count @ 1..) => said.extend_from_slice(&buffer[..count]),
                    _ => break,
                },
            }
        }
    };
    tokio::time::timeout(HANG_TIMEOUT, exchange)
        .await
        .expect("an answer");
    let text = String::from_utf8_lossy(&said);
    text.get(9..12)
        .and_then(|status| status.parse().ok())
        .unwrap_or(0)
}

async fn forwards_no_client_headers() {
    let server = &shared().acme;
    let host = "Host: localhost\r\n";
    for more in [
        "X-TB-Tenant-ID: globex\r\nX-TB-Tenant-ID: acme\r\n",
        "x-tb-tenant-id: globex\r\nX-TB-TENANT-ID: globex\r\n",
        "X_TB_Tenant_ID: globex\r\nX-TB_Tenant-ID: globex\r\nX.TB.Tenant.ID: globex\r\n",
        "X-TB-Tenant-ID:globex\r\nX-TB-Timestamp:\t1\r\nX-TB-Signature:\r\n",
        "X-Sync-Session: 11111111-1111-4111-8111-111111111111\r\nX-Sync-Epoch: 99\r\nX-Sync-Epoch: \
         98\r\n",
        "Connection: X-TB-Tenant-ID, Authorization, X-Sync-Session, keep-alive\r\nX-TB-Tenant-ID: \
         globex\r\n",
        "Connection: close, X-Correlation-ID\r\nX-Correlation-ID: kept\r\nX-Correlation-ID: \
         twice\r\n",
        "X-Forwarded-For: 10.0.0.1, 127.0.0.1\r\nX-Forwarded-Host: evil.example\r\nForwarded: \
         for=127.0.0.1;host=evil.example\r\n",
        "X-Original-URL: /v1/sync/wipe\r\nX-Rewrite-URL: /v1/sync/wipe\r\nX-HTTP-Method-Override: \
         DELETE\r\nX-Method-Override: PUT\r\n",
        "If-Match: *\r\nIf-None-Match: *\r\nRange: bytes=0-1\r\nIdempotency-Key: 1\r\nTE: \
         trailers\r\n",
        "Cookie: token=x; X-TB-Tenant-ID=globex\r\nX-Auth-Token: x\r\nProxy-Authorization: Bearer \
         a.b.c\r\nX-Authorization: Bearer a.b.c\r\n",
        "Traceparent: 00-00000000000000000000000000000000-b7ad6b7169203331-01\r\nTracestate: \
         a=b\r\nBaggage: X-TB-Tenant-ID=globex\r\n",
        "Via: 1.1 evil\r\nMax-Forwards: 0\r\nUpgrade: h2c\r\nHTTP2-Settings: \
         AAMAAABkAAQAoAAAAAIAAAAA\r\nConnection: Upgrade, HTTP2-Settings\r\n",
        "Expect: 100-continue\r\nPrefer: respond-async\r\nAlt-Used: evil.example\r\nEarly-Data: \
         1\r\n",
    ] {
        let client = Client::new(server, Era::Legacy(VERSION));
        let head = format!("{host}{more}");
        let status = status(
            server,
            Some(&client.user.token),
            head.as_bytes(),
            &body(&client.user),
        )
        .await;
        assert_eq!(status, 200, "{more}");
        let traffic = server
            .forwarder
            .until_seen(&client.user, Stage::Ending, 1)
            .await;
        assert_eq!(traffic.lines(), ["open", "POST /v1/notes", "end"], "{more}");
        for record in &traffic.0 {
            check_signature(record, "acme");
            assert_eq!(
                record.header("authorization"),
                format!("Bearer {}", client.user.token)
            );
            assert!(
                !["kept", "twice"].contains(&record.header("x-correlation-id")),
                "two ids are none"
            );
            for (name, value) in &record.headers {
                let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
                assert!(
                    !value.contains("globex") && !value.contains("evil"),
                    "{name}: {value}"
                );
            }
        }
        client.traffic().await;
    }
}

async fn refuses_ambiguous_requests() {
    let server = &shared().acme;
    let client = Client::new(server, Era::Legacy(VERSION));
    let other = server.new_user().token;
    let twins = format!("Host: localhost\r\nAuthorization: Bearer {other}\r\n");
    let joined = format!("Host: localhost\r\nAuthorization: Bearer {other},\r\n");
    for (more, statuses) in [
        (twins.as_bytes(), &[401_u16][..]),
        (joined.as_bytes(), &[401]),
        (b"Host: localhost\r\nHost: localhost\r\n", &[400, 403]),
        (b"Host: localhost\r\nHost: evil.example\r\n", &[400, 403]),
        (b"Host: localhost, evil.example\r\n", &[400, 403]),
        (b"Host: localhost@evil.example\r\n", &[400, 403]),
        (b"Host: localhost/evil\r\n", &[400, 403]),
        (b"Host:\r\n", &[400, 403]),
        (b"X-No-Host: 1\r\n", &[400, 403]),
        (
            b"Host: localhost\r\n X-TB-Tenant-ID: globex\r\n",
            &[400, 403],
        ),
        (
            b"Host: localhost\r\nX-A: 1\r\n\tX-TB-Tenant-ID: globex\r\n",
            &[400],
        ),
        (b"Host: localhost\r\nX-TB-Tenant-ID : globex\r\n", &[400]),
        (b"Host: localhost\r\nContent-Type: text/plain\r\n", &[400]),
        (
            b"Host: localhost\r\nMCP-Protocol-Version: 2025-06-18\r\nMCP-Protocol-Version: \
             2026-07-28\r\n",
            &[400],
        ),
        (
            b"Host: localhost\r\nOrigin: http://localhost\r\nOrigin: http://localhost\r\n",
            &[403],
        ),
        (
            b"Host: localhost\r\nX-MCP-Readonly: false\r\nX-MCP-Readonly: true\r\n",
            &[400],
        ),
        (
            b"Host: localhost\r\nContent-Encoding: gzip\r\nContent-Encoding: identity\r\n",
            &[400],
        ),
        (
            b"Host: localhost\r\nContent-Encoding: identity\r\nContent-Encoding: gzip\r\n",
            &[400],
        ),
    ] {
        let status = status(server, Some(&client.user.token), more, &body(&client.user)).await;
        assert!(
            statuses.contains(&status),
            "{status}: {:?}",
            String::from_utf8_lossy(more)
        );
    }
    assert!(client.traffic().await.0.is_empty(), "nothing was sent");
}

async fn accepts_a_token_only_in_the_authorization_header() {
    let server = &shared().acme;
    let client = Client::new(server, Era::Legacy(VERSION));
    let User { token, .. } = &client.user;
    let body = body(&client.user);
    let trailer = format!(
        "{:x}\r\n{body}\r\n0\r\nAuthorization: Bearer {token}\r\n\r\n",
        body.len()
    );
    for (head, body) in [
        (
            format!(
                "Cookie: Authorization=Bearer {token}; token={token}; access_token={token}\r\n"
            ),
            &body,
        ),
        (format!("Proxy-Authorization: Bearer {token}\r\n"), &body),
        (
            format!(
                "X-Authorization: Bearer {token}\r\nX-Access-Token: \
                 {token}\r\nX-Forwarded-Authorization: Bearer {token}\r\n"
            ),
            &body,
        ),
        (
            format!("Authorisation: Bearer {token}\r\nAuthorization_: Bearer {token}\r\n"),
            &body,
        ),
        (
            format!("Sec-WebSocket-Protocol: bearer, {token}\r\n"),
            &body,
        ),
        (
            format!("Referer: http://localhost/mcp?access_token={token}\r\n"),
            &body,
        ),
        (
            "Transfer-Encoding: chunked\r\nTrailer: Authorization\r\n".to_owned(),
            &trailer,
        ),
    ] {
        let head = format!("Host: localhost\r\n{head}");
        assert_eq!(
            status(server, None, head.as_bytes(), body).await,
            401,
            "{}",
            &head[..60]
        );
    }
    for path in ["mcp", "sse"] {
        for name in ["access_token", "token", "authorization", "jwt"] {
            let url = format!("{}/{path}?{name}={token}", server.url);
            let request = reqwest::Client::new()
                .post(url)
                .body(body.clone())
                .send()
                .await
                .unwrap();
            assert!([401, 405].contains(&request.status().as_u16()), "{name}");
        }
    }
    assert!(client.traffic().await.0.is_empty(), "nothing was sent");
}

async fn arguments_do_not_become_headers() {
    let server = &shared().acme;
    let smuggled = json!({
        "X-TB-Tenant-ID": "globex", "x-tb-signature": "00",
        "headers": {"Authorization": "Bearer a.b.c"}, "authorization": "Bearer a.b.c",
        "x-sync-session": "11111111-1111-4111-8111-111111111111",
        "traceparent": "00-x-y\r\nX-TB-Tenant-ID: globex", "tracestate": "evil=1",
        "baggage": "evil=1", "correlation_id": "evil\r\nX-Evil: 1", "progressToken": "a\r\nX-Evil: \
            1",
    });
    for era in Era::all() {
        let client = Client::new(server, era);
        let params = json!({
            "name": "create_note",
            "arguments": {"title": "t", "content": "c"},
            "_meta": smuggled,
        });
        let answer = client.ask("tools/call", params).await;
        assert_eq!(answer.status, 200, "{answer}");
        let traffic = client.traffic().await;
        assert_eq!(
            traffic.lines(),
            ["open", "POST /v1/notes", "end"],
            "{era:?}"
        );
        for record in &traffic.0 {
            check_signature(record, "acme");
            for (name, value) in &record.headers {
                let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
                assert!(
                    !value.contains("globex") && !value.to_lowercase().contains("evil"),
                    "{name}: {value}"
                );
            }
            assert!(!String::from_utf8_lossy(&record.body).contains("globex"));
        }
    }
}

const UID: &str = "0192f0c8-7b1a-7cc0-8a1e-3f2b6f0d9a11";

/// What may stand before, after or in place of a UID.
fn tricks() -> Vec<String> {
    let around = [
        ("", "/archive"),
        ("", "/../../sync/wipe"),
        ("../", ""),
        ("..%2f", ""),
        ("%2e%2e/", ""),
        ("", "%00"),
        ("", "\0"),
        ("", "?includeDeleted=true"),
        ("", "#"),
        ("", ";x=1"),
        ("", "\r\nX-TB-Tenant-ID: globex"),
        ("", " HTTP/1.1\r\n\r\nDELETE /v1/notes"),
        ("/", ""),
        ("\\", ""),
        ("\u{202e}", ""),
        ("", "\u{200b}"),
        ("\u{feff}", ""),
        ("", "é"),
        ("", "0"),
        ("0x", ""),
        ("", ","),
        ("http://evil.example/", ""),
    ];
    let mut all: Vec<String> = around
        .iter()
        .map(|(before, after)| format!("{before}{UID}{after}"))
        .collect();
    all.extend([
        "..".to_owned(),
        ".".to_owned(),
        "*".to_owned(),
        "' OR 1=1 --".to_owned(),
        "../sync/sessions".to_owned(),
        "x".repeat(100_000),
        "%30192f0c8-7b1a-7cc0-8a1e-3f2b6f0d9a11".to_owned(),
        // Digits and hyphens of other scripts.
        UID.replace('0', "\u{ff10}"),
        UID.replace('0', "\u{0660}"),
        UID.replace('-', "\u{2010}"),
        UID.replace('a', "\u{0430}"),
        UID.replace('-', "/"),
        UID[..35].to_owned(),
    ]);
    all
}

/// Where an argument names an item: every one of them, in every tool that takes it.
async fn a_uid_cannot_change_the_path() {
    let client = Client::modern(&shared().acme);
    let mut tried = 0;
    for entity in all() {
        for operation in OPERATIONS {
            let tool = entity.tool(operation);
            let good = entity.minimal_arguments(operation, UID, UID);
            let uids = good
                .as_object()
                .unwrap()
                .iter()
                .filter(|(_, value)| **value == json!(UID));
            let names: Vec<_> = uids.map(|(name, _)| name.clone()).collect();
            for (name, trick) in names
                .iter()
                .flat_map(|name| tricks().into_iter().map(move |trick| (name, trick)))
            {
                let mut arguments = good.clone();
                arguments[name] = json!(trick);
                let called = client.call(&tool, arguments).await;
                let error = called.failed("validation", "invalid_argument");
                assert_eq!(error["details"]["argument"], *name, "{called}");
                tried += 1;
            }
        }
    }
    assert!(tried > 1_000, "{tried}");
    assert!(client.traffic().await.0.is_empty(), "nothing was sent");
}

/// A cursor is the API's own word, so it is handed back as it is: in one value of the query.
async fn a_cursor_cannot_change_the_query() {
    let server = &shared().acme;
    for entity in all() {
        let client = Client::modern(server);
        // A word of its own in each, since none may turn up in a log.
        let cursors: Vec<String> = tricks()
            .into_iter()
            .map(|trick| format!("{trick}{CONTENT}"))
            .collect();
        let cursors: Vec<_> = cursors
            .into_iter()
            .filter(|cursor| cursor.len() < 1_000)
            .collect();
        for cursor in &cursors {
            client
                .call(&entity.tool("list"), json!({"cursor": cursor}))
                .await
                .error();
        }
        let traffic = client.traffic().await;
        let sent = traffic.operations();
        assert_eq!(sent.len(), cursors.len(), "{traffic}");
        for (record, cursor) in sent.into_iter().zip(&cursors) {
            assert_eq!(
                record.line().split('?').next(),
                Some(&*format!("GET /v1/{}", entity.plural))
            );
            let said: Vec<_> = form_urlencoded::parse(record.query.as_bytes())
                .into_owned()
                .collect();
            let meant = [("limit", "50"), ("cursor", cursor), ("order", "newest")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()));
            assert_eq!(said, meant);
        }
        for record in &traffic.0 {
            check_signature(record, "acme");
        }
    }
    let value: Value = json!("x".repeat(5_000));
    let client = Client::modern(server);
    client
        .call("list_notes", json!({"cursor": value}))
        .await
        .failed("validation", "invalid_argument");
    assert!(client.traffic().await.0.is_empty(), "nothing was sent");
}
