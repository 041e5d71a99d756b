//! HTTP+SSE of 2024-11-05, from the socket to a scripted API.

use reqwest::{Response, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::messages::FaultyToolset;
use super::*;
use crate::api::scripted_api::Step;

/// An open stream, and the events received on it.
struct Stream {
    response: Response,
    buffer: String,
    path: String,
    token: String,
}

impl Stack {
    async fn get_sse(&self, token: &str) -> Response {
        let request = self.http.get(self.url("/sse")).bearer_auth(token);
        request.send().await.unwrap()
    }

    async fn stream(&self) -> Stream {
        self.stream_as(&token()).await
    }

    async fn stream_as(&self, token: &str) -> Stream {
        let response = self.get_sse(token).await;
        assert_eq!(response.status(), 200);
        for (name, value) in [
            ("content-type", "text/event-stream"),
            ("cache-control", "no-cache, no-transform"),
            ("x-accel-buffering", "no"),
        ] {
            assert_eq!(response.headers()[name], value);
        }
        let mut stream = Stream {
            response,
            buffer: String::new(),
            path: String::new(),
            token: token.to_owned(),
        };
        let first = stream.event().await.unwrap();
        let path = first.strip_prefix("event: endpoint\ndata: ").unwrap();
        let id = path.strip_prefix("/messages?sessionId=").unwrap();
        assert_eq!(uuid::Uuid::parse_str(id).unwrap().get_version_num(), 4);
        stream.path = path.to_owned();
        stream
    }

    /// An initialized stream.
    async fn initialized_stream(&self) -> Stream {
        let mut stream = self.stream().await;
        let params = json!({
            "protocolVersion": "2024-11-05",
            "capabilities": {},
            "clientInfo": {"name": "t", "version": "1"},
        });
        let answer = stream
            .round_trip(self, request(0, "initialize", params))
            .await;
        assert_eq!(answer["result"]["protocolVersion"], "2024-11-05");
        stream
            .send_message(
                self,
                json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
            )
            .await;
        stream
    }

    fn post_to(
        &self,
        path: &str,
        token: &str,
        body: impl Into<reqwest::Body>,
    ) -> reqwest::RequestBuilder {
        let request = self.http.post(self.url(path)).bearer_auth(token);
        request
            .header("content-type", "application/json")
            .body(body)
    }

    fn open_streams(&self) -> usize {
        self.streams.upgrade().map_or(0, |streams| streams.count())
    }

    async fn until_no_stream(&self) {
        let none = async {
            while self.open_streams() > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), none)
            .await
            .unwrap();
    }
}

impl Stream {
    /// The next event; `None` at the end.
    async fn event(&mut self) -> Option<String> {
        loop {
            if let Some((event, rest)) = self.buffer.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.buffer = rest;
                return Some(event);
            }
            let chunk = tokio::time::timeout(Duration::from_secs(10), self.response.chunk());
            let chunk = chunk.await.expect("an event in time").unwrap()?;
            self.buffer.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    async fn next_message(&mut self) -> Value {
        let event = self.event().await.expect("a message");
        let data = event.strip_prefix("event: message\ndata: ");
        serde_json::from_str(data.unwrap_or_else(|| panic!("no message: {event}"))).unwrap()
    }

    fn message_post(&self, stack: &Stack, message: &Value) -> reqwest::RequestBuilder {
        stack.post_to(&self.path, &self.token, message.to_string())
    }

    async fn send_message(&self, stack: &Stack, message: Value) {
        let response = self.message_post(stack, &message).send().await.unwrap();
        let (status, body) = (response.status(), response.text().await.unwrap());
        assert_eq!(
            (status, body.as_str()),
            (StatusCode::ACCEPTED, ""),
            "{message}"
        );
    }

    async fn round_trip(&mut self, stack: &Stack, message: Value) -> Value {
        let id = message["id"].clone();
        self.send_message(stack, message).await;
        let answer = self.next_message().await;
        assert_eq!(answer["id"], id, "{answer}");
        answer
    }

    /// The status and the error code of a refused message.
    async fn refused(&self, stack: &Stack, message: &Value) -> (u16, Value) {
        refused(self.message_post(stack, message)).await
    }
}

async fn refused(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let body = json_of(response).await;
    let code = if body["error"].is_object() {
        body["error"]["code"].clone()
    } else {
        assert!(
            body["message"].is_string() && body["correlation_id"].is_string(),
            "{body}"
        );
        body["error"].clone()
    };
    (status, code)
}

fn request(id: u64, method: &str, params: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
}

fn get_note(id: u64) -> Value {
    request(
        id,
        "tools/call",
        json!({"name": "get_note", "arguments": {"uid": UID}}),
    )
}

/// The same call on the fast path and through rmcp: both must behave alike.
const CALL_PATHS: [fn(u64) -> Value; 2] = [get_note, |id| by_rmcp(get_note(id))];

fn cancel(id: u64) -> Value {
    json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}})
}

#[tokio::test]
async fn serves_a_session_over_a_stream() {
    let stack = Stack::start().await;
    let mut stream = stack.initialized_stream().await;
    let list = stream
        .round_trip(&stack, request(1, "tools/list", json!({})))
        .await;
    assert_eq!(
        list["result"]["tools"].as_array().unwrap().len(),
        tool_count()
    );
    let called = stream.round_trip(&stack, get_note(2)).await;
    assert_eq!(called["result"]["isError"], false, "{called}");
    assert_eq!(
        stream
            .round_trip(&stack, request(3, "ping", json!({})))
            .await["result"],
        json!({})
    );
    let unknown = stream
        .round_trip(&stack, request(4, "prompts/list", json!({})))
        .await;
    assert_eq!(unknown["error"]["code"], -32601);
    drop(stream);
    stack.until_no_stream().await;
    assert_eq!(stack.stop().await, drained_completely(1));
}

#[tokio::test]
async fn every_call_uses_the_token_of_its_own_post() {
    let stack = Stack::start().await;
    let mut stream = stack.initialized_stream().await;
    let fresh = token_of(json!({"sub": "user-1", "exp": now() + 900}));
    assert_ne!(fresh, stream.token);
    for (id, with) in [(1, stream.token.clone()), (2, fresh)] {
        let response = stack.post_to(&stream.path, &with, get_note(id).to_string());
        let response = response
            .header("x-correlation-id", format!("call-{id}"))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 202);
        assert_eq!(stream.next_message().await["id"], id);
        stack.api.until_no_session().await;
        for seen in stack.api.seen().iter().rev().take(3) {
            assert_eq!(
                seen.header("authorization"),
                format!("Bearer {with}"),
                "{}",
                seen.line()
            );
            assert_eq!(seen.header("x-correlation-id"), format!("call-{id}"));
        }
    }
    let expired = token_of(json!({"sub": "user-1", "exp": now() - 100}));
    let (status, code) =
        refused(stack.post_to(&stream.path, &expired, get_note(3).to_string())).await;
    assert_eq!((status, code), (401, json!(-31012)));
}

#[tokio::test]
async fn a_stream_does_not_exist_for_others() {
    let stack = Stack::start().await;
    let stream = stack.initialized_stream().await;
    let body = get_note(1).to_string();
    let other = token_of(json!({"sub": "user-2", "exp": now() + 600, "tenant_id": "acme"}));
    let unknown = format!("/messages?sessionId={}", uuid::Uuid::new_v4());
    let of_another = stack
        .post_to(&stream.path, &other, body.clone())
        .send()
        .await
        .unwrap();
    let of_unknown = stack
        .post_to(&unknown, &token(), body.clone())
        .send()
        .await
        .unwrap();
    assert_eq!(
        (of_another.status(), of_unknown.status()),
        (StatusCode::NOT_FOUND, StatusCode::NOT_FOUND)
    );
    let (mut one, mut two) = (json_of(of_another).await, json_of(of_unknown).await);
    for answer in [&mut one, &mut two] {
        answer["correlation_id"].take();
    }
    assert_eq!(one, two, "whether there is such a stream cannot be told");
    for (path, status, code) in [
        ("/messages".to_owned(), 400, "session_missing"),
        ("/messages?session=x".to_owned(), 400, "session_missing"),
        ("/messages?sessionId=".to_owned(), 404, "session_unknown"),
        (
            "/messages?sessionId=..%2F..".to_owned(),
            404,
            "session_unknown",
        ),
        (
            format!("{}&sessionId={}", stream.path, uuid::Uuid::new_v4()),
            400,
            "session_ambiguous",
        ),
    ] {
        let answer = refused(stack.post_to(&path, &token(), body.clone())).await;
        assert_eq!(answer, (status, json!(code)), "{path}");
    }
    let other_tenant =
        token_of(json!({"sub": "user-1", "exp": now() + 600, "tenant_id": "globex"}));
    assert_eq!(
        refused(stack.post_to(&stream.path, &other_tenant, body))
            .await
            .0,
        403
    );
    assert!(stack.api.seen().is_empty());
}

#[tokio::test]
async fn both_routes_run_the_same_checks() {
    let stack = Stack::with_settings(Settings {
        max_body_bytes: 1000,
        ..Settings::default()
    })
    .await;
    let stream = stack.initialized_stream().await;
    for request in [
        stack.http.get(stack.url("/sse")),
        stack.http.post(stack.url(&stream.path)),
    ] {
        let rebuild = || request.try_clone().unwrap();
        assert_eq!(refused(rebuild()).await.0, 401);
        assert_eq!(refused(rebuild().bearer_auth("a.b.c")).await.0, 401);
        let rebound = rebuild()
            .bearer_auth(token())
            .header("host", "evil.example");
        assert_eq!(refused(rebound).await, (403, json!("host_not_allowed")));
        let page = rebuild()
            .bearer_auth(token())
            .header("origin", "https://evil.example");
        assert_eq!(refused(page).await, (403, json!("origin_not_allowed")));
    }
    for (method, path, allowed) in [
        ("POST", "/sse", "GET"),
        ("HEAD", "/sse", "GET"),
        ("GET", "/messages", "POST"),
    ] {
        let request = stack
            .http
            .request(method.parse().unwrap(), stack.url(path))
            .bearer_auth(token());
        let answer = request.send().await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["allow"]),
            (405, &allowed.parse().unwrap())
        );
    }
    let ping = request(1, "ping", json!({})).to_string();
    for (body, status, code) in [
        ("{", 400, -32700),
        ("[]", 400, -32600),
        (
            r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#,
            400,
            -32600,
        ),
        (r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, 400, -32600),
        (r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, 400, -32600),
        (&format!("{ping}{}", " ".repeat(1000)), 413, -32600),
    ] {
        let answer = refused(stack.post_to(&stream.path, &token(), body.to_owned())).await;
        assert_eq!(answer, (status, json!(code)), "{body:.60}");
    }
    for (header, value) in [("content-type", "text/plain"), ("content-encoding", "gzip")] {
        let response = stack
            .http
            .post(stack.url(&stream.path))
            .bearer_auth(token())
            .header(header, value);
        assert_eq!(
            refused(response.body(ping.clone())).await,
            (415, json!(-32600))
        );
    }
}

#[tokio::test]
async fn reports_request_errors_on_the_stream() {
    let stack = Stack::start().await;
    let mut stream = stack.stream().await;
    let early = stream
        .round_trip(&stack, request(1, "tools/list", json!({})))
        .await;
    assert!(
        early["error"]["message"]
            .as_str()
            .unwrap()
            .contains("initialize"),
        "{early}"
    );
    assert_eq!(
        stream
            .round_trip(&stack, request(2, "ping", json!({})))
            .await["result"],
        json!({})
    );
    // Other early messages do not end the session either.
    let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    stream.send_message(&stack, initialized).await;
    assert_eq!(
        stream
            .round_trip(&stack, request(3, "ping", json!({})))
            .await["result"],
        json!({})
    );
    drop(stream);

    let mut stream = stack.initialized_stream().await;
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let deep =
        format!(r#"{{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{{"x":{deep}}}}}"#);
    assert_eq!(
        stack
            .post_to(&stream.path, &token(), deep)
            .send()
            .await
            .unwrap()
            .status(),
        202
    );
    let answer = stream.next_message().await;
    assert_eq!(
        (&answer["id"], &answer["error"]["code"]),
        (&json!(3), &json!(-32602)),
        "{answer}"
    );
    assert!(
        answer["error"]["data"]["correlation_id"].is_string(),
        "{answer}"
    );

    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    for (id, method, params) in [
        (4, "tools/list", json!({"_meta": meta})),
        (5, "server/discover", json!({})),
    ] {
        let answer = stream.round_trip(&stack, request(id, method, params)).await;
        assert_eq!(answer["error"]["code"], -32022, "{answer}");
        assert_eq!(
            answer["error"]["data"]["supported"],
            json!(LEGACY),
            "{answer}"
        );
    }
    for method in ["ping", "tools/list"] {
        for (version, ok) in [(MODERN, false), ("1999-01-01", false), ("2024-11-05", true)] {
            let response = stream
                .message_post(&stack, &request(6, method, json!({})))
                .header("mcp-protocol-version", version);
            assert_eq!(response.send().await.unwrap().status(), 202);
            assert_eq!(
                stream.next_message().await["result"].is_object(),
                ok,
                "{method} {version}"
            );
        }
    }
}

#[tokio::test]
async fn a_cancelled_call_ends_its_session_and_gets_no_response() {
    for call_path in CALL_PATHS {
        let stack = Stack::start().await;
        let mut stream = stack.initialized_stream().await;
        stack.api.then([Step::Hang]);
        stream.send_message(&stack, call_path(7)).await;
        stack.api.until_seen(2).await;
        for other in CALL_PATHS {
            assert_eq!(
                stream.refused(&stack, &other(7)).await,
                (400, json!("id_in_use"))
            );
        }
        stream.send_message(&stack, cancel(7)).await;
        stack.api.until_seen(3).await;
        stack.api.until_no_session().await;
        assert_eq!(
            stream
                .round_trip(&stack, request(8, "ping", json!({})))
                .await["id"],
            8
        );
        // The server does not wait for the cancelled call.
        assert_eq!(stack.stop().await, drained_completely(1));
    }
}

#[tokio::test]
async fn answers_a_panic_in_a_call() {
    let faulty = Arc::<FaultyToolset>::default();
    let stack = Stack::with(
        Settings::default(),
        auth_settings(),
        vec![faulty],
        Duration::from_secs(10),
    )
    .await;
    let mut stream = stack.initialized_stream().await;
    for name in ["panic_at_once", "panic_later"] {
        let call = request(1, "tools/call", json!({ "name": name }));
        let mut answers = Vec::new();
        for call in [call.clone(), by_rmcp(call)] {
            let response = stream
                .message_post(&stack, &call)
                .header("x-correlation-id", name);
            assert_eq!(response.send().await.unwrap().status(), 202);
            answers.push(stream.next_message().await);
        }
        assert_eq!(answers[0], answers[1]);
        assert_eq!(
            answers[0]["error"]["data"]["correlation_id"], name,
            "{answers:?}"
        );
    }
}

#[tokio::test]
async fn a_disconnect_cancels_the_calls_and_ends_their_sessions() {
    for call_path in CALL_PATHS {
        let stack = Stack::start().await;
        let stream = stack.initialized_stream().await;
        stack.api.then([Step::Hang, Step::Hang, Step::Hang]);
        for id in 1..4 {
            stream.send_message(&stack, call_path(id)).await;
        }
        stack.api.until_seen(6).await;
        drop(stream);
        // Immediately; rmcp by itself would let the calls run for some seconds.
        let stopped = tokio::time::timeout(Duration::from_secs(3), stack.api.until_seen(9));
        stopped.await.unwrap();
        stack.api.until_no_session().await;
        stack.until_no_stream().await;
        assert_eq!(stack.stop().await, drained_completely(3));
    }
}

#[tokio::test]
async fn sends_progress_before_the_result() {
    let stack = Stack::start().await;
    let mut stream = stack.initialized_stream().await;
    let item = json!({
        "uid": UID,
        "version": 1,
        "updatedAt": "2025-11-20T11:00:00.000Z",
        "payload": {"uid": UID, "chatUid": UID},
    });
    stack
        .api
        .then([Step::json(200, item.clone()), Step::json(200, item)]);
    let arguments = json!({"uid": UID, "content": "c"});
    let update = json!({
        "name": "update_chat_message",
        "arguments": arguments,
        "_meta": {"progressToken": "p"},
    });
    stream
        .send_message(&stack, request(1, "tools/call", update))
        .await;
    for step in [0.0, 1.0] {
        let progress = stream.next_message().await;
        assert_eq!(progress["method"], "notifications/progress", "{progress}");
        assert_eq!(
            (
                &progress["params"]["progressToken"],
                progress["params"]["progress"].as_f64()
            ),
            (&json!("p"), Some(step))
        );
    }
    assert_eq!(stream.next_message().await["id"], 1);
}

#[tokio::test]
async fn limits_streams() {
    let stack = Stack::with_settings(Settings {
        sse_streams: 3,
        sse_streams_per_principal: 2,
        ..Settings::default()
    })
    .await;
    let of = |sub: &str| token_of(json!({"sub": sub, "exp": now() + 600}));
    let over = async |token: &str| {
        let response = stack.get_sse(token).await;
        assert!(
            response.headers()["retry-after"]
                .to_str()
                .unwrap()
                .parse::<u32>()
                .unwrap()
                > 0
        );
        (
            response.status().as_u16(),
            json_of(response).await["error"].clone(),
        )
    };
    let first = stack.stream_as(&of("a")).await;
    let second = stack.stream_as(&of("a")).await;
    assert_eq!(over(&of("a")).await, (429, json!("too_many_streams")));
    let third = stack.stream_as(&of("b")).await;
    assert_eq!(over(&of("b")).await, (503, json!("too_many_streams")));
    drop(first);
    while stack.open_streams() > 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let again = stack.stream_as(&of("a")).await;
    drop((second, third, again));
    stack.until_no_stream().await;
}

#[tokio::test]
async fn limits_the_calls_of_a_stream() {
    let stack = Stack::with_settings(Settings {
        timeouts: Timeouts {
            body: Duration::from_millis(300),
            ..Timeouts::default()
        },
        ..Settings::default()
    })
    .await;
    let mut stream = stack.initialized_stream().await;
    let gate = Arc::new(Notify::new());
    stack
        .api
        .then((0..32).map(|_| Step::Gate(Arc::clone(&gate))));
    for (id, call_path) in (1..=32).zip(CALL_PATHS.iter().cycle()) {
        stream.send_message(&stack, call_path(id)).await;
    }
    stack.api.until_seen(64).await;
    let before = stack.api.seen().len();
    for call_path in CALL_PATHS {
        assert_eq!(
            stream.refused(&stack, &call_path(33)).await,
            (429, json!("too_many_calls"))
        );
    }
    assert_eq!(stack.api.seen().len(), before, "it was not begun");
    // With a free slot, the waiting call proceeds.
    gate.notify_one();
    stream.next_message().await;
    stream.send_message(&stack, get_note(34)).await;
    assert_eq!(stream.next_message().await["id"], 34);
}

/// A client that writes and never reads.
#[tokio::test]
async fn disconnects_a_client_that_does_not_read() {
    let stack = Stack::with_settings(Settings {
        timeouts: Timeouts {
            write: Duration::from_millis(200),
            ..Timeouts::default()
        },
        ..Settings::default()
    })
    .await;
    let stream = stack.initialized_stream().await;
    let filling = async {
        for id in 1.. {
            let response = stream
                .message_post(&stack, &request(id, "tools/list", json!({})))
                .send()
                .await
                .unwrap();
            if response.status() == 404 {
                return;
            }
            assert_eq!(response.status(), 202);
        }
    };
    tokio::time::timeout(Duration::from_secs(20), filling)
        .await
        .unwrap();
    stack.until_no_stream().await;
}

#[tokio::test]
async fn sends_keep_alives_on_a_silent_stream() {
    let stack = Stack::with_settings(Settings {
        timeouts: Timeouts {
            sse_keep_alive: Duration::from_millis(20),
            ..Timeouts::default()
        },
        ..Settings::default()
    })
    .await;
    let mut stream = stack.stream().await;
    for _ in 0..3 {
        assert_eq!(stream.event().await.unwrap(), ": keep-alive");
    }
}

#[tokio::test]
async fn is_not_found_when_disabled() {
    let stack = Stack::with_settings(Settings {
        legacy_sse: false,
        ..Settings::default()
    })
    .await;
    assert_eq!(
        refused(stack.http.get(stack.url("/sse")).bearer_auth(token())).await,
        (404, json!("not_found"))
    );
    assert_eq!(
        refused(stack.post_to("/messages?sessionId=x", &token(), "{}")).await,
        (404, json!("not_found"))
    );
}

#[tokio::test]
async fn an_idle_stream_does_not_delay_the_drain() {
    let stack = Stack::start().await;
    let mut silent = stack.stream().await;
    let mut begun = stack.initialized_stream().await;
    let start_with_drain = tokio::time::timeout(Duration::from_millis(900), stack.stop());
    // Ended by the drain, not cut off after the grace period for idle connections.
    assert_eq!(start_with_drain.await.unwrap(), drained_completely(0));
    assert_eq!(silent.event().await, None);
    assert_eq!(begun.event().await, None);
}

#[tokio::test]
async fn calls_in_flight_are_answered_before_a_stream_ends() {
    let mut stack = Stack::start().await;
    let mut stream = stack.initialized_stream().await;
    let gate = Arc::new(Notify::new());
    stack
        .api
        .then([Step::Gate(Arc::clone(&gate)), Step::Gate(Arc::clone(&gate))]);
    for (id, call_path) in (1..).zip(CALL_PATHS) {
        stream.send_message(&stack, call_path(id)).await;
    }
    stack.api.until_seen(4).await;
    // A message that is being sent when the drain begins.
    let mut late = TcpStream::connect(stack.address).await.unwrap();
    let body = get_note(3).to_string();
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Type: \
         application/json\r\nContent-Length: {}\r\n\r\n{{",
        stream.path,
        token(),
        body.len()
    );
    late.write_all(head.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await; // for the head to be read
    stack.shutdown.take();
    while TcpStream::connect(stack.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    late.write_all(&body.as_bytes()[1..]).await.unwrap();
    let mut answer = Vec::new();
    late.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 503") && answer.contains("\"draining\""),
        "{answer}"
    );
    // Longer than the grace period for idle connections and than rmcp's own wait.
    tokio::time::sleep(Duration::from_millis(5500)).await;
    assert!(!stack.serving.is_finished());
    gate.notify_one();
    gate.notify_one();
    let mut answered = [stream.next_message().await, stream.next_message().await]
        .map(|answer| answer["id"].as_u64().unwrap());
    answered.sort_unstable();
    assert_eq!(answered, [1, 2]);
    assert_eq!(stream.event().await, None);
    assert_eq!(stack.stop().await, drained_completely(2));
}

#[tokio::test]
async fn cuts_off_calls_that_outlive_the_drain_and_ends_their_sessions() {
    let stack = Stack::with(
        Settings::default(),
        auth_settings(),
        all_tools(),
        Duration::from_secs(1),
    )
    .await;
    let stream = stack.initialized_stream().await;
    stack.api.then([Step::Hang, Step::Hang]);
    for (id, call_path) in (1..).zip(CALL_PATHS) {
        stream.send_message(&stack, call_path(id)).await;
    }
    stack.api.until_seen(4).await;
    let drained = tokio::time::timeout(Duration::from_secs(5), stack.stop())
        .await
        .unwrap();
    let sessions = drained_completely(2).sessions;
    assert_eq!(
        drained,
        Drained {
            finished: false,
            sessions
        }
    );
    drop(stream);
}

#[tokio::test]
async fn no_task_outlives_its_stream() {
    let stack = Stack::start().await;
    let alive = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    let mut settled = 0;
    for (round, call_path) in (0..6).zip(CALL_PATHS.iter().cycle()) {
        let mut stream = stack.initialized_stream().await;
        stream.round_trip(&stack, call_path(1)).await;
        stack.api.then([Step::Hang]);
        stream.send_message(&stack, call_path(2)).await;
        stack.api.until_seen(5 * (round + 1)).await;
        drop(stream);
        stack.api.until_no_session().await;
        stack.until_no_stream().await;
        // The first round opens the API connections that are reused.
        if round == 0 {
            tokio::time::sleep(Duration::from_millis(300)).await;
            settled = alive();
        }
    }
    let none_left = async {
        while alive() > settled {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let left = tokio::time::timeout(Duration::from_secs(10), none_left).await;
    assert!(left.is_ok(), "{} tasks, {settled} before", alive());
}
