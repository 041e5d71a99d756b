//! Tests of the bridge against a scripted server.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{
    AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, Lines, ReadHalf, WriteHalf,
};
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use super::*;
use crate::foundation::secret::Secret;

#[derive(Clone)]
struct SeenRequest {
    method: Method,
    headers: HeaderMap,
    body: Value,
}

impl SeenRequest {
    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

enum Step {
    /// Rejects the request after a side effect.
    RefuseAfter(Box<dyn FnOnce() + Send>, u16),
    Answer(u16, Vec<(&'static str, &'static str)>, String),
    Hang,
    /// Sends a part of a response and closes the connection.
    BreakOff,
}

fn json_step(body: &Value) -> Step {
    Step::Answer(
        200,
        vec![("content-type", "application/json")],
        body.to_string(),
    )
}

fn refusal(status: u16, body: Value) -> Step {
    Step::Answer(
        status,
        vec![("content-type", "application/json")],
        body.to_string(),
    )
}

/// Answers each request with `{}` unless the script has a step for it.
#[derive(Clone, Default)]
struct Server(Arc<Inner>);

#[derive(Default)]
struct Inner {
    requests: Mutex<Vec<SeenRequest>>,
    steps: Mutex<VecDeque<Step>>,
    changed: Notify,
    /// Number of requests whose connection the client has closed.
    disconnected: Arc<Mutex<usize>>,
}

struct DisconnectCounter(Server);

impl Drop for DisconnectCounter {
    fn drop(&mut self) {
        *self.0.0.disconnected.lock().unwrap() += 1;
        self.0.0.changed.notify_waiters();
    }
}

impl Server {
    async fn listen(&self, address: SocketAddr) -> (SocketAddr, JoinHandle<()>) {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = axum::Router::new()
            .fallback(answer)
            .with_state(self.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        (address, serving)
    }

    fn then(&self, steps: impl IntoIterator<Item = Step>) {
        self.0.steps.lock().unwrap().extend(steps);
    }

    fn requests(&self) -> Vec<SeenRequest> {
        self.0.requests.lock().unwrap().clone()
    }

    async fn until(&self, reached: impl Fn(&Inner) -> bool) {
        let waiting = async {
            loop {
                let changed = self.0.changed.notified();
                if reached(&self.0) {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), waiting)
            .await
            .unwrap();
    }

    async fn until_requests(&self, count: usize) {
        self.until(|inner| inner.requests.lock().unwrap().len() >= count)
            .await;
    }
}

async fn answer(State(server): State<Server>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let id = body["id"].clone();
    let is_request = body["method"].is_string() && !id.is_null();
    server.0.requests.lock().unwrap().push(SeenRequest {
        method: parts.method,
        headers: parts.headers,
        body,
    });
    server.0.changed.notify_waiters();
    let step = server.0.steps.lock().unwrap().pop_front();
    match step {
        Some(Step::Answer(status, headers, body)) => {
            let mut response = (StatusCode::from_u16(status).unwrap(), body).into_response();
            response.headers_mut().remove("content-type");
            for (name, value) in headers {
                response.headers_mut().insert(name, value.parse().unwrap());
            }
            response
        }
        Some(Step::RefuseAfter(happens, status)) => {
            happens();
            StatusCode::from_u16(status).unwrap().into_response()
        }
        Some(Step::Hang) => {
            let _counter = DisconnectCounter(server);
            std::future::pending().await
        }
        Some(Step::BreakOff) => {
            let pieces = [
                Ok(Bytes::from("{\"jsonrpc\"")),
                Err(std::io::Error::other("broken off")),
            ];
            let mut response = Body::from_stream(futures::stream::iter(pieces)).into_response();
            response
                .headers_mut()
                .insert("content-type", "application/json".parse().unwrap());
            response
        }
        None if is_request => axum::response::IntoResponse::into_response((
            [("content-type", "application/json")],
            json!({"jsonrpc": "2.0", "id": id, "result": {}}).to_string(),
        )),
        None => StatusCode::ACCEPTED.into_response(),
    }
}

/// The client at the other end of the pipes.
struct Client {
    server: Server,
    address: SocketAddr,
    lines: Lines<BufReader<ReadHalf<DuplexStream>>>,
    input: WriteHalf<DuplexStream>,
    running: JoinHandle<Result<Ended, reqwest::Error>>,
    stop: oneshot::Sender<()>,
}

impl Client {
    async fn start() -> Self {
        Self::with(|_| ()).await
    }

    async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let server = Server::default();
        let (address, _) = server.listen("127.0.0.1:0".parse().unwrap()).await;
        let url = target(&format!("http://{address}"), false).unwrap();
        let mut settings =
            Settings::new(url, TokenSource::environment(Secret::new("a.b.c")).unwrap());
        settings.retry_for = Duration::from_secs(5);
        settings.drain_timeout = Duration::from_secs(5);
        change(&mut settings);
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let (stop, stopped) = oneshot::channel::<()>();
        let (output, input) = tokio::io::split(ours);
        let pipes = tokio::io::split(theirs);
        let running = tokio::spawn(run(settings, pipes, async move { drop(stopped.await) }));
        Self {
            server,
            address,
            lines: BufReader::new(output).lines(),
            input,
            running,
            stop,
        }
    }

    async fn send(&mut self, line: impl ToString) {
        self.input
            .write_all(format!("{}\n", line.to_string()).as_bytes())
            .await
            .unwrap();
    }

    async fn receive_line(&mut self) -> String {
        let line = tokio::time::timeout(Duration::from_secs(10), self.lines.next_line());
        line.await
            .expect("a line in time")
            .unwrap()
            .expect("a line")
    }

    async fn receive(&mut self) -> Value {
        serde_json::from_str(&self.receive_line().await).unwrap()
    }

    async fn ask(&mut self, message: Value) -> Value {
        let id = message["id"].clone();
        self.send(message).await;
        let answer = self.receive().await;
        assert_eq!(answer["id"], id, "{answer}");
        answer
    }

    /// The reason and the message of the error for an undeliverable message.
    async fn fails(&mut self, message: Value) -> (String, String) {
        let answer = self.ask(message).await;
        assert_eq!(answer["error"]["code"], error::CODE, "{answer}");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (
            text(&answer["error"]["data"]["reason"]),
            text(&answer["error"]["message"]),
        )
    }

    async fn close(mut self) -> Ended {
        // Both halves must be dropped.
        self.input.shutdown().await.unwrap();
        drop((self.input, self.lines));
        self.running.await.unwrap().unwrap()
    }
}

fn list(id: u64) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/list"})
}

fn call(id: u64) -> Value {
    json!({
        "jsonrpc": "2.0",
        "id": id,
        "method": "tools/call",
        "params": {"name": "create_note", "arguments": {}},
    })
}

fn initialize_request() -> Value {
    json!({
        "jsonrpc": "2.0",
        "id": 0,
        "method": "initialize",
        "params": {"protocolVersion": "2025-06-18"},
    })
}

fn initialize_result(version: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": 0, "result": {"protocolVersion": version}})
}

#[tokio::test]
async fn a_legacy_conversation_uses_the_negotiated_revision() {
    let mut client = Client::with(|settings| {
        let (name, value) = header("X-MCP-Toolsets", "notes").unwrap();
        settings.headers.append(name, value);
    })
    .await;
    client
        .server
        .then([json_step(&initialize_result("2025-03-26"))]);
    assert_eq!(
        client.ask(initialize_request()).await["result"]["protocolVersion"],
        "2025-03-26"
    );
    client
        .send(json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))
        .await;
    client.ask(call(1)).await;
    let requests = client.server.requests();
    let versions: Vec<_> = requests
        .iter()
        .map(|request| request.header("mcp-protocol-version"))
        .collect();
    assert_eq!(versions, ["", "2025-03-26", "2025-03-26"]);
    for request in &requests {
        assert_eq!(request.header("authorization"), "Bearer a.b.c");
        assert_eq!(
            request.header("accept"),
            "application/json, text/event-stream"
        );
        assert_eq!(request.header("content-type"), "application/json");
        assert_eq!(request.header("x-mcp-toolsets"), "notes");
        assert_eq!(
            (
                request.header("mcp-method"),
                request.header("mcp-session-id")
            ),
            ("", "")
        );
    }
    assert_eq!(requests[2].body, call(1));
    assert_eq!(client.close().await, Ended::Done);
}

#[tokio::test]
async fn a_modern_request_carries_its_headers() {
    let mut client = Client::start().await;
    let mut message = call(1);
    message["params"]["_meta"] = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28"});
    client.ask(message).await;
    let requests = client.server.requests();
    let headers =
        ["mcp-protocol-version", "mcp-method", "mcp-name"].map(|name| requests[0].header(name));
    assert_eq!(headers, ["2026-07-28", "tools/call", "create_note"]);
}

#[tokio::test]
async fn responses_pass_through_unchanged() {
    let mut client = Client::start().await;
    let exact = concat!(
        r#"{"jsonrpc":"2.0","id":1,"#,
        r#""result":{"x":1.10,"big":12345678901234567890123,"u":"\u00e9"}}"#
    );
    client.server.then([Step::Answer(
        200,
        vec![("content-type", "application/json; charset=utf-8")],
        exact.to_owned(),
    )]);
    client.send(list(1)).await;
    assert_eq!(client.receive_line().await, exact);

    let events = "event: message\ndata: \
        {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\"}\n\n: keep-alive\n\ndata: \
        {\"jsonrpc\":\"2.0\",\"id\":2,\ndata: \"result\":{}}\n\n";
    client.server.then([Step::Answer(
        200,
        vec![("content-type", "text/event-stream")],
        events.to_owned(),
    )]);
    client.send(call(2)).await;
    assert_eq!(client.receive().await["method"], "notifications/progress");
    assert_eq!(
        client.receive_line().await,
        r#"{"jsonrpc":"2.0","id":2,"result":{}}"#
    );

    // A JSON-RPC error passes through with any status, and gets the id of the request if it has
    // none.
    client.server.then([refusal(
        400,
        json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32020, "message": "m"}}),
    )]);
    assert_eq!(client.ask(call(3)).await["error"]["code"], -32020);
    assert_eq!(client.close().await, Ended::Done);
}

#[tokio::test]
async fn invalid_messages_are_rejected_locally() {
    let mut client = Client::with(|settings| settings.max_message_bytes = 1000).await;
    let long = format!(
        r#"{{"jsonrpc":"2.0","id":5,"method":"x","params":{{"x":"{}"}}}}"#,
        "x".repeat(1000)
    );
    for (line, id, code) in [
        ("{", json!(null), -32700),
        ("[]", json!(null), -32600),
        (r#"{"jsonrpc":"2.0","id":4}"#, json!(4), -32600),
        (long.as_str(), json!(5), -32600),
    ] {
        client.send(line).await;
        let answer = client.receive().await;
        assert_eq!(
            (&answer["id"], &answer["error"]["code"]),
            (&id, &json!(code)),
            "{line:.50}"
        );
    }
    client.send("\u{feff}   ").await;
    assert!(client.server.requests().is_empty());
    client.ask(list(6)).await;
}

#[tokio::test]
async fn errors_say_what_to_do() {
    let mut client = Client::start().await;
    let unauthorized = json!({"error": "invalid_token", "error_description": "the token has \
        expired", "reason": "expired"});
    for (step, reason, words) in [
        (
            refusal(401, unauthorized),
            "unauthorized",
            &["TOOLBRIDGE_TOKEN", "the token has expired", "fresh"][..],
        ),
        (
            refusal(403, json!({"error": "x", "message": "not yours"})),
            "forbidden",
            &["not yours"],
        ),
        (
            refusal(404, json!({})),
            "not_found",
            &["is it the URL of /mcp?"],
        ),
        (
            Step::Answer(
                302,
                vec![("location", "https://login.example/")],
                String::new(),
            ),
            "redirected",
            &["https://login.example/"],
        ),
        (
            Step::Answer(429, vec![("retry-after", "7")], String::new()),
            "busy",
            &["in 7 s"],
        ),
        (refusal(500, json!({})), "failed", &["500"]),
        (
            Step::Answer(200, vec![("content-type", "text/html")], "<html>".into()),
            "not_mcp",
            &["text/html", "/mcp?"],
        ),
        (
            Step::Answer(202, vec![], String::new()),
            "not_mcp",
            &["without answering"],
        ),
        (
            json_step(&json!({"jsonrpc": "2.0", "id": 99, "result": {}})),
            "not_mcp",
            &["no request"],
        ),
        (
            Step::BreakOff,
            "answer_lost",
            &["look before you ask again"],
        ),
    ] {
        let before = client.server.requests().len();
        client.server.then([step]);
        let (got, sentence) = client.fails(call(1)).await;
        assert_eq!(got, reason, "{sentence}");
        for word in words {
            assert!(sentence.contains(word), "{word}: {sentence}");
        }
        assert!(!sentence.contains("a.b.c"), "{sentence}");
        assert_eq!(
            client.server.requests().len(),
            before + 1,
            "a call is made once: {reason}"
        );
    }
    client.ask(call(2)).await;
}

#[tokio::test]
async fn requests_without_side_effects_are_retried() {
    let mut client = Client::start().await;
    client.server.then([
        Step::BreakOff,
        Step::Answer(503, vec![], String::new()),
        refusal(502, json!({})),
    ]);
    assert_eq!(client.ask(list(1)).await["result"], json!({}));
    assert_eq!(client.server.requests().len(), 4);
    // Not longer than `retry_for`, however long that is.
    for retry_for in ["60", "18446744073709551615"] {
        client.server.then([Step::Answer(
            503,
            vec![("retry-after", retry_for)],
            String::new(),
        )]);
        assert_eq!(client.fails(list(2)).await.0, "busy");
    }
    // A JSON-RPC error of the server does not stop retries; the client receives it if they all
    // fail.
    let busy =
        || json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32000, "message": "busy"}});
    client.server.then([refusal(503, busy())]);
    assert_eq!(client.ask(list(3)).await["result"], json!({}));
    client.server.then([refusal(503, busy())]);
    assert_eq!(client.ask(call(4)).await["error"]["message"], "busy");
}

#[tokio::test]
async fn an_id_gets_one_response() {
    let mut client = Client::start().await;
    client.server.then([Step::Hang]);
    client.send(call(1)).await;
    client.server.until_requests(1).await;
    let twice = client.ask(call(1)).await;
    assert_eq!(twice["error"]["code"], -32600, "{twice}");
    let foreign = json!({"jsonrpc": "2.0", "id": 1, "result": "foreign"});
    let own = json!({"jsonrpc": "2.0", "id": 2, "result": "own"});
    client.server.then([Step::Answer(
        200,
        vec![("content-type", "text/event-stream")],
        format!("data: {foreign}\n\ndata: {own}\n\n"),
    )]);
    assert_eq!(client.ask(call(2)).await["result"], "own");
}

#[tokio::test]
async fn a_hanging_initialized_notification_delays_only_briefly() {
    let mut client = Client::start().await;
    client.server.then([Step::Hang]);
    client
        .send(json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))
        .await;
    client.ask(list(1)).await;
}

#[tokio::test]
async fn an_unsent_call_is_retried_until_the_server_is_up() {
    let server = Server::default();
    let vacant = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let mut client =
        Client::with(|settings| settings.url = target(&format!("http://{vacant}"), false).unwrap())
            .await;
    client.send(call(1)).await;
    tokio::time::sleep(Duration::from_millis(300)).await; // some tries
    let _serving = server.listen(vacant).await;
    assert_eq!(client.receive().await["id"], 1);
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn distinguishes_unknown_names_from_bad_certificates() {
    let mut client = Client::with(|settings| {
        settings.url = target("https://nobody.invalid", false).unwrap();
        settings.retry_for = Duration::ZERO;
    })
    .await;
    let (reason, sentence) = client.fails(call(1)).await;
    assert!(
        reason == "name_unknown" && sentence.contains("nobody.invalid"),
        "{reason}: {sentence}"
    );

    // Plain HTTP on a port that a client speaks TLS to.
    let plain = Client::start().await;
    let address = plain.address;
    let mut client = Client::with(|settings| {
        settings.url = target(&format!("https://{address}"), false).unwrap()
    })
    .await;
    let (reason, sentence) = client.fails(call(1)).await;
    assert_eq!(reason, "tls", "{sentence}");
}

#[tokio::test]
async fn a_silent_server_times_out() {
    let mut client = Client::with(|settings| settings.silence = Duration::from_millis(200)).await;
    client.server.then([Step::Hang]);
    let (reason, sentence) = client.fails(call(1)).await;
    assert!(
        reason == "timeout" && sentence.contains("may have been done"),
        "{reason}: {sentence}"
    );
}

#[tokio::test]
async fn a_cancelled_request_is_aborted_and_not_answered() {
    let mut client = Client::start().await;
    client.server.then([Step::Hang]);
    client.send(call(7)).await;
    client.server.until_requests(1).await;
    client
        .send(json!({
            "jsonrpc": "2.0",
            "method": "notifications/cancelled",
            "params": {"requestId": 7},
        }))
        .await;
    client
        .server
        .until(|inner| *inner.disconnected.lock().unwrap() == 1)
        .await;
    client.ask(list(8)).await;
    assert_eq!(
        client.server.requests().len(),
        2,
        "the notification stays here"
    );
    assert_eq!(client.close().await, Ended::Done);
}

#[tokio::test]
async fn requests_run_concurrently() {
    let mut client = Client::start().await;
    client.server.then([Step::Hang]);
    client.send(call(1)).await;
    client.server.until_requests(1).await;
    for id in 2..20 {
        client.ask(list(id)).await;
    }
}

#[tokio::test]
async fn a_refreshed_token_file_is_used() {
    let path: PathBuf = std::env::temp_dir().join(format!("token-{}", uuid::Uuid::new_v4()));
    std::fs::write(&path, "one").unwrap();
    let source = TokenSource::file(path.clone());
    let mut client = Client::with(|settings| settings.token = source).await;
    client.ask(call(1)).await;
    std::fs::write(&path, "two\n").unwrap();
    client.ask(call(2)).await;
    // The file is replaced while the message is in flight. A retry is safe after a 401.
    let replaced = path.clone();
    let replace = move || std::fs::write(replaced, "three").unwrap();
    client
        .server
        .then([Step::RefuseAfter(Box::new(replace), 401)]);
    client.ask(call(3)).await;
    client.server.then([refusal(401, json!({}))]);
    let (reason, sentence) = client.fails(call(4)).await;
    assert!(
        reason == "unauthorized" && sentence.contains(path.to_str().unwrap()),
        "{sentence}"
    );
    let requests = client.server.requests();
    let tokens: Vec<_> = requests
        .iter()
        .map(|request| request.header("authorization"))
        .collect();
    let expected = ["one", "two", "two", "three", "three"].map(|token| format!("Bearer {token}"));
    assert_eq!(tokens, expected, "not twice with the same");
    std::fs::remove_file(&path).unwrap();
}

#[tokio::test]
async fn a_lost_session_is_reinitialized() {
    let mut client = Client::start().await;
    let with_session = |id: &'static str, body: Value| {
        Step::Answer(
            200,
            vec![("content-type", "application/json"), ("mcp-session-id", id)],
            body.to_string(),
        )
    };
    client
        .server
        .then([with_session("first", initialize_result("2025-06-18"))]);
    client.ask(initialize_request()).await;
    client.ask(call(1)).await;
    let no_session = json!({
        "jsonrpc": "2.0",
        "id": null,
        "error": {"code": -32001, "message": "Session not found"},
    });
    client.server.then([
        refusal(404, no_session),
        with_session("second", initialize_result("2025-06-18")),
    ]);
    client.ask(call(2)).await;
    // A server with sessions must receive the cancellation.
    client.server.then([Step::Hang]);
    client.send(call(3)).await;
    client.server.until_requests(7).await;
    client
        .send(json!({
            "jsonrpc": "2.0",
            "method": "notifications/cancelled",
            "params": {"requestId": 3},
        }))
        .await;
    client.server.until_requests(8).await;
    let server = client.server.clone();
    assert_eq!(client.close().await, Ended::Done);
    let sent: Vec<_> = server
        .requests()
        .iter()
        .map(|request| {
            let what = request.body["method"]
                .as_str()
                .unwrap_or(request.method.as_str());
            format!("{what} {}", request.header("mcp-session-id"))
        })
        .collect();
    assert_eq!(
        sent,
        [
            "initialize ",
            "tools/call first",
            "tools/call first",
            "initialize ",
            "notifications/initialized second",
            "tools/call second",
            "tools/call second",
            "notifications/cancelled second",
            "DELETE second",
        ]
    );
}

#[tokio::test]
async fn the_end_of_the_input_waits_for_responses_up_to_a_limit() {
    for (drain_timeout, ended) in [
        (Duration::from_secs(5), Ended::Done),
        (Duration::from_millis(100), Ended::CutShort),
    ] {
        let mut client = Client::with(|settings| settings.drain_timeout = drain_timeout).await;
        client.server.then([Step::Hang]);
        client.send(call(1)).await;
        client.server.until_requests(1).await;
        if ended == Ended::Done {
            client
                .send(json!({
                    "jsonrpc": "2.0",
                    "method": "notifications/cancelled",
                    "params": {"requestId": 1},
                }))
                .await;
        }
        // The last line may lack a line feed.
        client
            .input
            .write_all(list(2).to_string().as_bytes())
            .await
            .unwrap();
        client.input.shutdown().await.unwrap();
        assert_eq!(client.receive().await["id"], 2);
        let end = tokio::time::timeout(Duration::from_secs(3), client.running).await;
        assert_eq!(end.unwrap().unwrap().unwrap(), ended);
        drop((client.stop, client.input));
    }
}

#[tokio::test]
async fn a_signal_ends_the_bridge_at_once() {
    let mut client = Client::start().await;
    client.server.then([Step::Hang]);
    client.send(call(1)).await;
    client.server.until_requests(1).await;
    drop(client.stop);
    let ended = tokio::time::timeout(Duration::from_secs(2), client.running)
        .await
        .unwrap();
    assert_eq!(ended.unwrap().unwrap(), Ended::Stopped);
    client
        .server
        .until(|inner| *inner.disconnected.lock().unwrap() == 1)
        .await;
}

#[test]
fn refuses_reserved_headers() {
    assert!(header("X-MCP-Toolsets", "notes,tasks").is_ok());
    for (name, value) in [
        ("Authorization", "Bearer a.b.c"),
        ("cookie", "a=b"),
        ("MCP-Protocol-Version", "1"),
        ("Mcp-Session-Id", "1"),
        ("Host", "x"),
        ("a b", "x"),
        ("x-a", "x\ny"),
    ] {
        assert!(header(name, value).is_err(), "{name}");
    }
}
