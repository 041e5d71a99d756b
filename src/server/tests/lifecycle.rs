//! Connection limits and timeouts, disconnecting clients, and draining.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::*;
use crate::api::scripted_api::Step;

fn get_note() -> String {
    message(
        "tools/call",
        json!({"name": "get_note", "arguments": {"uid": UID}}),
    )
    .to_string()
}

#[tokio::test]
async fn a_disconnect_cancels_the_call_and_ends_its_session() {
    let stack = Stack::start().await;
    for modern in [false, true] {
        stack.api.then([Step::Hang]);
        let before = stack.api.seen().len();
        let request = if modern {
            stack.modern(
                "tools/call",
                json!({"name": "get_note", "arguments": {"uid": UID}}),
            )
        } else {
            stack.post().body(get_note())
        };
        let calling = tokio::spawn(request.send());
        stack.api.until_seen(before + 2).await;
        calling.abort();
        stack.api.until_seen(before + 3).await;
        stack.api.until_no_session().await;
    }
    let drained = stack.stop().await;
    assert_eq!(
        drained.sessions,
        Counts {
            opened: 2,
            ended: 2,
            abandoned: 0
        }
    );
}

#[tokio::test]
async fn a_drain_finishes_requests_in_flight_and_refuses_new_ones() {
    let mut stack = Stack::start().await;
    assert_eq!(
        stack
            .http
            .get(stack.url("/readyz"))
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
    let gate = Arc::new(Notify::new());
    stack.api.then([Step::Gate(Arc::clone(&gate))]);
    let calling = tokio::spawn(stack.post().body(get_note()).send());
    stack.api.until_seen(3).await; // readiness, the session, the call
    stack.shutdown.take();

    // The listener closes, so a connection attempt is refused.
    let refused = async {
        while TcpStream::connect(stack.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), refused)
        .await
        .unwrap();
    assert!(!stack.serving.is_finished());
    gate.notify_one();
    let answer = json_of(calling.await.unwrap().unwrap()).await;
    assert_eq!(answer["result"]["isError"], false);
    let drained = stack.stop().await;
    assert_eq!(drained, drained_completely(1));
}

#[tokio::test]
async fn serves_new_connections_during_notice() {
    let notice = Duration::from_millis(500);
    let mut stack = Stack::start_with_drain(Drain {
        notice,
        within: Duration::from_secs(10),
    })
    .await;
    stack.call("get_note", json!({"uid": UID})).await;
    stack.shutdown.take();
    let draining = async {
        loop {
            let response = stack.http.get(stack.url("/readyz")).send().await.unwrap();
            if response.status() == 503 {
                return response;
            }
        }
    };
    let draining = tokio::time::timeout(Duration::from_secs(5), draining)
        .await
        .unwrap();
    assert_eq!(draining.headers()["connection"], "close");
    assert_eq!(json_of(draining).await["reason"], "draining");
    // A new connection is served, and closed after its response.
    let new_client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = stack.post().body(get_note()).build().unwrap();
    let answer = new_client.execute(request).await.unwrap();
    assert_eq!(answer.headers()["connection"], "close");
    assert_eq!(json_of(answer).await["result"]["isError"], false);
    assert_eq!(stack.stop().await, drained_completely(2));
}

#[tokio::test]
async fn serves_connections_in_the_backlog() {
    for round in 0..8 {
        let mut stack = Stack::start().await;
        // No await lets the server run here, so it accepts none of these before the shutdown
        // signal.
        let request =
            format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Round: {round}\r\n\r\n");
        let waiting: Vec<_> = (0..5)
            .map(|_| {
                let mut stream = std::net::TcpStream::connect(stack.address).unwrap();
                std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
                stream
            })
            .collect();
        stack.shutdown.take();
        for stream in waiting {
            stream.set_nonblocking(true).unwrap();
            let mut answer = [0; 12];
            let mut stream = TcpStream::from_std(stream).unwrap();
            stream.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"HTTP/1.1 200");
        }
        assert!(stack.stop().await.finished);
    }
}

#[tokio::test]
async fn limits_the_drain() {
    let stack = Stack::with(
        Settings::default(),
        auth_settings(),
        all_tools(),
        Duration::from_secs(1),
    )
    .await;
    stack.api.then([Step::Hang]);
    let calling = tokio::spawn(stack.post().body(get_note()).send());
    stack.api.until_seen(2).await;
    let drained = tokio::time::timeout(Duration::from_secs(5), stack.stop())
        .await
        .unwrap();
    // Part of the time is reserved for closing the session of the call that was cut off.
    assert_eq!(
        drained,
        Drained {
            finished: false,
            sessions: Counts {
                opened: 1,
                ended: 1,
                abandoned: 0
            }
        }
    );
    assert!(calling.await.unwrap().is_err(), "the call is cut off");
}

/// A disconnected probe causes no second request to the API, and a failed result is cached too.
#[tokio::test]
async fn a_disconnected_probe_is_not_repeated() {
    let api = ScriptedApi::start().await;
    let readiness = || {
        Arc::new(Readiness::new(
            verifier(),
            api_client(&api),
            Duration::from_secs(3600),
        ))
    };
    let ask = |readiness: &Arc<Readiness>| {
        let readiness = Arc::clone(readiness);
        tokio::spawn(async move { readiness.check().await })
    };
    let gate = Arc::new(tokio::sync::Notify::new());
    api.then_probing([Step::Gate(Arc::clone(&gate))]);
    let slow = readiness();
    for _ in 0..20 {
        let asking = ask(&slow);
        api.until_seen(1).await;
        asking.abort();
        assert!(asking.await.unwrap_err().is_cancelled());
    }
    let (one, other) = (ask(&slow), ask(&slow));
    gate.notify_one();
    assert_eq!((one.await.unwrap(), other.await.unwrap()), (Ok(()), Ok(())));
    assert_eq!(api.lines(), ["GET /readyz", "GET /v1/sync/info"]);

    api.then_probing([Step::text(503, "not now")]);
    let failing = readiness();
    for _ in 0..20 {
        assert_eq!(failing.check().await.unwrap_err().0, "api_not_ready");
    }
    assert_eq!(api.lines().len(), 3);
}

#[tokio::test]
async fn caches_the_readiness_of_the_api() {
    let stack = Stack::start().await;
    let request =
        futures::future::join_all((0..50).map(|_| stack.http.get(stack.url("/readyz")).send()))
            .await;
    assert!(
        request
            .into_iter()
            .all(|response| response.unwrap().status() == 200)
    );
    assert_eq!(stack.api.lines(), ["GET /readyz", "GET /v1/sync/info"]);

    let vacant = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let settings = api::Settings {
        base_url: format!("http://{vacant}").parse().unwrap(),
        ..api::Settings::default()
    };
    let unreachable = Readiness::new(
        verifier(),
        api_client_with(settings),
        Duration::from_secs(1),
    );
    assert_eq!(unreachable.check().await.unwrap_err().0, "api_unreachable");
    unreachable.begin_draining();
    assert_eq!(unreachable.check().await.unwrap_err().0, "draining");
}

#[tokio::test]
async fn times_out_slow_heads_and_bodies() {
    let brief = Duration::from_millis(100);
    let stack = Stack::with_settings(Settings {
        timeouts: Timeouts {
            header: brief,
            body: brief,
            ..Timeouts::default()
        },
        ..Settings::default()
    })
    .await;
    for head in ["", "POST /mcp HTTP/1.1\r\nHost: localhost\r\nX-Slow: "] {
        let mut stream = TcpStream::connect(stack.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        let closed =
            tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut rest)).await;
        assert!(closed.is_ok(), "{head:?} is still connected");
    }
    let mut stream = TcpStream::connect(stack.address).await.unwrap();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Type: \
         application/json\r\nContent-Length: 100\r\n\r\n{{",
        token()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert!(
        answer.starts_with(b"HTTP/1.1 408"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
}

#[tokio::test]
async fn limits_connections() {
    let stack = Stack::with_settings(Settings {
        max_connections: 1,
        ..Settings::default()
    })
    .await;
    let first = TcpStream::connect(stack.address).await.unwrap();
    let mut second = TcpStream::connect(stack.address).await.unwrap();
    second
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = [0; 12];
    let waiting =
        tokio::time::timeout(Duration::from_millis(100), second.read_exact(&mut answer)).await;
    assert!(waiting.is_err(), "the second is served beside the first");
    drop(first);
    tokio::time::timeout(Duration::from_secs(5), second.read_exact(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
}

#[tokio::test]
async fn evicts_only_unauthenticated_connections() {
    let stack = Stack::with_settings(Settings {
        max_connections: 2,
        timeouts: Timeouts {
            unauthenticated_grace: Duration::from_millis(50),
            ..Timeouts::default()
        },
        ..Settings::default()
    })
    .await;
    let ask = |token: &str| {
        let message = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
        format!(
            "POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer \
             {token}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{message}",
            message.len()
        )
    };
    let answered = async |stream: &mut TcpStream, text: String, status: &str| {
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = vec![0; 12];
        let read =
            tokio::time::timeout(Duration::from_secs(5), stream.read_exact(&mut answer)).await;
        read.expect("no answer").unwrap();
        assert_eq!(
            String::from_utf8(answer).unwrap(),
            format!("HTTP/1.1 {status}")
        );
    };
    let connect = async || TcpStream::connect(stack.address).await.unwrap();
    let mut known = connect().await;
    answered(&mut known, ask(&token()), "200").await;
    // Each connection sends nothing, half a head or a bad token, and is evicted for the next.
    let mut before: Option<TcpStream> = None;
    for bytes in ["", "POST /mcp HTTP/1.1\r\nHost: loc", &ask("not.a.token")] {
        let mut unauthenticated = connect().await;
        unauthenticated.write_all(bytes.as_bytes()).await.unwrap();
        if let Some(mut before) = before.replace(unauthenticated) {
            let mut rest = Vec::new();
            let closed =
                tokio::time::timeout(Duration::from_secs(5), before.read_to_end(&mut rest)).await;
            assert!(
                closed.is_ok(),
                "a stranger is still there, and nobody else gets in"
            );
        }
    }
    let mut another = connect().await;
    answered(&mut another, ask(&token()), "200").await;
    // Now both connections are authenticated, and neither is evicted.
    let mut late = connect().await;
    late.write_all(ask(&token()).as_bytes()).await.unwrap();
    let waiting = tokio::time::timeout(Duration::from_millis(200), late.read_u8()).await;
    assert!(waiting.is_err(), "somebody lost their place");
    for stream in [&mut known, &mut another] {
        stream.write_all(ask(&token()).as_bytes()).await.unwrap();
        assert!(stream.read_u8().await.is_ok());
    }
}

#[tokio::test]
async fn limits_request_heads() {
    let stack = Stack::start().await;
    for (bytes, answer) in [(12 * 1024, "HTTP/1.1 200"), (32 * 1024, "HTTP/1.1 431")] {
        let mut stream = TcpStream::connect(stack.address).await.unwrap();
        let head = format!(
            "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Large: {}\r\n\r\n",
            "x".repeat(bytes)
        );
        let (mut reading, mut writing) = stream.split();
        let mut status = [0; 12];
        // The server may stop reading early, so reading and writing run concurrently.
        let (_, read) = tokio::join!(
            writing.write_all(head.as_bytes()),
            reading.read_exact(&mut status)
        );
        read.unwrap();
        assert_eq!(
            std::str::from_utf8(&status).unwrap(),
            answer,
            "{bytes} bytes"
        );
    }
}

#[tokio::test]
async fn no_task_outlives_its_call() {
    let api = ScriptedApi::start().await;
    // Without idle API connections, every remaining task belongs to a call.
    let settings = api::Settings {
        max_idle: 0,
        ..api_settings(&api)
    };
    let mut stack = Stack::before(
        api,
        settings,
        Settings::default(),
        auth_settings(),
        all_tools(),
        without_notice(Duration::from_secs(10)),
    )
    .await;
    stack.http = reqwest::Client::builder()
        .no_proxy()
        .pool_max_idle_per_host(0)
        .build()
        .unwrap();
    let modern = || {
        stack.modern(
            "tools/call",
            json!({"name": "get_note", "arguments": {"uid": UID}}),
        )
    };
    let alive = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    let before = alive();
    for round in 0..20 {
        let request = if round % 2 == 0 {
            modern()
        } else {
            stack.post().body(get_note())
        };
        assert_eq!(request.send().await.unwrap().status(), 200);
        stack.api.until_no_session().await;
        stack.api.then([Step::Hang]);
        let seen = stack.api.seen().len();
        let calling = tokio::spawn(modern().send());
        stack.api.until_seen(seen + 2).await;
        calling.abort();
        stack.api.until_seen(seen + 3).await;
        stack.api.until_no_session().await;
    }
    let none_left = async {
        while alive() > before {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let settled = tokio::time::timeout(Duration::from_secs(10), none_left).await;
    assert!(settled.is_ok(), "{} tasks, {before} before", alive());
}

#[tokio::test]
async fn half_a_request_does_not_delay_the_drain() {
    let mut stack = Stack::start().await;
    let body = format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Type: \
         application/json\r\nContent-Length: 100\r\n\r\n{{",
        token()
    );
    let mut streams = Vec::new();
    for begun in [
        "P",
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
        &body,
    ] {
        let mut stream = TcpStream::connect(stack.address).await.unwrap();
        stream.write_all(begun.as_bytes()).await.unwrap();
        streams.push(stream);
    }
    // A call in flight, for which the drain waits longer.
    let gate = Arc::new(Notify::new());
    stack.api.then([Step::Gate(Arc::clone(&gate))]);
    let calling = tokio::spawn(stack.post().body(get_note()).send());
    stack.api.until_seen(2).await;
    stack.shutdown.take();
    for mut stream in streams {
        let mut rest = Vec::new();
        tokio::time::timeout(Duration::from_secs(4), stream.read_to_end(&mut rest))
            .await
            .unwrap()
            .ok();
    }
    assert!(!stack.serving.is_finished());
    gate.notify_one();
    assert_eq!(
        json_of(calling.await.unwrap().unwrap()).await["result"]["isError"],
        false
    );
    let drained = tokio::time::timeout(Duration::from_secs(4), stack.stop())
        .await
        .unwrap();
    assert!(drained.finished);
}

#[tokio::test]
async fn disconnects_a_client_that_reads_no_responses() {
    let stack = Stack::with_settings(Settings {
        max_connections: 1,
        timeouts: Timeouts {
            write: Duration::from_millis(200),
            ..Timeouts::default()
        },
        ..Settings::default()
    })
    .await;
    let mut greedy = TcpStream::connect(stack.address).await.unwrap();
    let list = message("tools/list", json!({})).to_string();
    let request = format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Type: \
         application/json\r\nContent-Length: {}\r\n\r\n{list}",
        token(),
        list.len()
    );
    // Writes until the server stops reading and closes the connection.
    let writing = async { while greedy.write_all(request.as_bytes()).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(20), writing)
        .await
        .unwrap();
    let answer = stack.http.get(stack.url("/healthz")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn refuses_an_oversized_declared_length_at_once() {
    let stack = Stack::start().await;
    let mut stream = TcpStream::connect(stack.address).await.unwrap();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Type: \
         application/json\r\nContent-Length: 99999999\r\n\r\n",
        token()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    tokio::time::timeout(Duration::from_secs(5), stream.read_exact(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
}

/// A client that sends its whole request before it reads the response.
#[tokio::test]
async fn delivers_the_response_despite_an_unread_body() {
    let stack = Stack::start().await;
    let length = 16 << 20;
    let known = format!("Authorization: Bearer {}\r\n", token());
    let mut stream = TcpStream::connect(stack.address).await.unwrap();
    for (who, expected) in [("", "HTTP/1.1 401"), (known.as_str(), "HTTP/1.1 413")] {
        for (framing, start, end) in [
            (format!("Content-Length: {length}"), String::new(), ""),
            (
                "Transfer-Encoding: chunked".to_owned(),
                format!("{length:x}\r\n"),
                "\r\n0\r\n\r\n",
            ),
        ] {
            let head = format!(
                "POST /mcp HTTP/1.1\r\nHost: localhost\r\n{who}Content-Type: \
                 application/json\r\n{framing}\r\n\r\n{start}"
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(&vec![b' '; length]).await.unwrap();
            stream.write_all(end.as_bytes()).await.unwrap();
            let answer = one_answer(&mut stream).await;
            assert!(answer.starts_with(expected), "{framing}: {answer}");
        }
    }
    // The connection remains usable.
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    assert!(one_answer(&mut stream).await.starts_with("HTTP/1.1 200"));
    // A connection that closes after the response still delivers it.
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: \
         {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![b' '; length]).await.unwrap();
    assert!(one_answer(&mut stream).await.starts_with("HTTP/1.1 401"));
}

#[tokio::test]
async fn stops_waiting_for_an_unread_body_after_its_timeout() {
    let brief = Duration::from_millis(200);
    let stack = Stack::with_settings(Settings {
        timeouts: Timeouts {
            body: brief,
            ..Timeouts::default()
        },
        ..Settings::default()
    })
    .await;
    let asks = "Expect: 100-continue\r\n";
    // A client that sends `Expect` gets the response at once and sends no body.
    for (asks, least) in [("", brief), (asks, Duration::ZERO)] {
        let begun = tokio::time::Instant::now();
        let mut stream = TcpStream::connect(stack.address).await.unwrap();
        let head =
            format!("POST /mcp HTTP/1.1\r\nHost: localhost\r\n{asks}Content-Length: 10\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tokio::time::timeout(Duration::from_secs(10), stream.read_to_string(&mut answer))
            .await
            .expect("closed by the server")
            .unwrap();
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
        assert!(begun.elapsed() >= least);
    }
}

/// Reads one response with a declared length.
async fn one_answer(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&answer).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return text;
            }
        }
        let reading = tokio::time::timeout(Duration::from_secs(10), stream.read_buf(&mut answer));
        assert!(reading.await.unwrap().unwrap() > 0, "closed after: {text}");
    }
}

#[tokio::test]
async fn is_not_ready_without_keys() {
    let vacant = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let auth = auth::Settings {
        hs256_secret: None,
        jwks_url: format!("http://{vacant}/keys").parse().ok(),
        ..auth_settings()
    };
    let stack = Stack::with(
        Settings::default(),
        auth,
        all_tools(),
        Duration::from_secs(1),
    )
    .await;
    let answer = stack.http.get(stack.url("/readyz")).send().await.unwrap();
    assert_eq!(answer.status(), 503);
    assert_eq!(json_of(answer).await["reason"], "keys_unavailable");
}
