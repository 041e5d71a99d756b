//! The bridge between a pipe and a server that follows a script.

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
use crate::foundation::token_secret::Secret;

#[derive(Clone)]
struct Seen {
    method: Method,
    headers: HeaderMap,
    body: Value,
}

impl Seen {
    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

enum Step {
    /// Refuses, after something has happened.
    RefuseAfter(Box<dyn FnOnce() + Send>, u16),
    Answer(u16, Vec<(&'static str, &'static str)>, String),
    Hang,
    /// Begins an answer and hangs up.
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

/// Answers `{}` to each request as long as its script says nothing else.
#[derive(Clone, Default)]
struct Server(Arc<Inner>);

#[derive(Default)]
struct Inner {
    seen: Mutex<Vec<Seen>>,
    steps: Mutex<VecDeque<Step>>,
    changed: Notify,
    /// Of requests that are still under way.
    gone: Arc<Mutex<usize>>,
}

struct Leaving(Server);

impl Drop for Leaving {
    fn drop(&mut self) {
        *self.0.0.gone.lock().unwrap() += 1;
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

    fn seen(&self) -> Vec<Seen> {
        self.0.seen.lock().unwrap().clone()
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

    async fn until_seen(&self, count: usize) {
        self.until(|inner| inner.seen.lock().unwrap().len() >= count)
            .await;
    }
}

async fn answer(State(server): State<Server>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let id = body["id"].clone();
    let is_request = body["method"].is_string() && !id.is_null();
    server.0.seen.lock().unwrap().push(Seen {
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
            let _leaving = Leaving(server);
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

/// The client at the other end of the pipe.
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
        settings.patience = Duration::from_secs(5);
        settings.linger = Duration::from_secs(5);
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

    async fn say(&mut self, line: impl ToString) {
        self.input
            .write_all(format!("{}\n", line.to_string()).as_bytes())
            .await
            .unwrap();
    }

    async fn hear_line(&mut self) -> String {
        let line = tokio::time::timeout(Duration::from_secs(10), self.lines.next_line());
        line.await
            .expect("a line in time")
            .unwrap()
            .expect("a line")
    }

    async fn hear(&mut self) -> Value {
        serde_json::from_str(&self.hear_line().await).unwrap()
    }

    async fn ask(&mut self, message: Value) -> Value {
        let id = message["id"].clone();
        self.say(message).await;
        let answer = self.hear().await;
        assert_eq!(answer["id"], id, "{answer}");
        answer
    }

    /// The reason in the answer to a message that could not be delivered, and its sentence.
    async fn fails(&mut self, message: Value) -> (String, String) {
        let answer = self.ask(message).await;
        assert_eq!(answer["error"]["code"], error::CODE, "{answer}");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (
            text(&answer["error"]["data"]["reason"]),
            text(&answer["error"]["message"]),
        )
    }

    async fn leave(mut self) -> Ended {
        // Both halves have to go.
        self.input.shutdown().await.unwrap();
        drop((self.input, self.lines));
        self.running.await.unwrap().unwrap()
    }
}

fn list(id: u64) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/list"})
}

fn call(id: u64) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": "create_note", "arguments": {}}})
}

fn hello() -> Value {
    json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {"protocolVersion": "2025-06-18"}})
}

fn welcome(version: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": 0, "result": {"protocolVersion": version}})
}

#[tokio::test]
async fn a_legacy_conversation_carries_what_was_agreed() {
    let mut client = Client::with(|settings| {
        let (name, value) = header("X-MCP-Toolsets", "notes").unwrap();
        settings.headers.append(name, value);
    })
    .await;
    client.server.then([json_step(&welcome("2025-03-26"))]);
    assert_eq!(
        client.ask(hello()).await["result"]["protocolVersion"],
        "2025-03-26"
    );
    client
        .say(json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))
        .await;
    client.ask(call(1)).await;
    let seen = client.server.seen();
    let versions: Vec<_> = seen
        .iter()
        .map(|seen| seen.header("mcp-protocol-version"))
        .collect();
    assert_eq!(versions, ["", "2025-03-26", "2025-03-26"]);
    for seen in &seen {
        assert_eq!(seen.header("authorization"), "Bearer a.b.c");
        assert_eq!(seen.header("accept"), "application/json, text/event-stream");
        assert_eq!(seen.header("content-type"), "application/json");
        assert_eq!(seen.header("x-mcp-toolsets"), "notes");
        assert_eq!(
            (seen.header("mcp-method"), seen.header("mcp-session-id")),
            ("", "")
        );
    }
    assert_eq!(seen[2].body, call(1));
    assert_eq!(client.leave().await, Ended::Done);
}

#[tokio::test]
async fn a_modern_request_carries_its_headers() {
    let mut client = Client::start().await;
    let mut message = call(1);
    message["params"]["_meta"] = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28"});
    client.ask(message).await;
    let seen = client.server.seen();
    let headers =
        ["mcp-protocol-version", "mcp-method", "mcp-name"].map(|name| seen[0].header(name));
    assert_eq!(headers, ["2026-07-28", "tools/call", "create_note"]);
}

#[tokio::test]
async fn answers_pass_as_they_are() {
    let mut client = Client::start().await;
    let exact = r#"{"jsonrpc":"2.0","id":1,"result":{"x":1.10,"big":12345678901234567890123,"u":"\u00e9"}}"#;
    client.server.then([Step::Answer(
        200,
        vec![("content-type", "application/json; charset=utf-8")],
        exact.to_owned(),
    )]);
    client.say(list(1)).await;
    assert_eq!(client.hear_line().await, exact);

    let events = "event: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\"}\n\n: keep-alive\n\n\
                  data: {\"jsonrpc\":\"2.0\",\"id\":2,\ndata: \"result\":{}}\n\n";
    client.server.then([Step::Answer(
        200,
        vec![("content-type", "text/event-stream")],
        events.to_owned(),
    )]);
    client.say(call(2)).await;
    assert_eq!(client.hear().await["method"], "notifications/progress");
    assert_eq!(
        client.hear_line().await,
        r#"{"jsonrpc":"2.0","id":2,"result":{}}"#
    );

    // An error that the server says in JSON-RPC is the answer, whatever the status; with our id where it had none.
    client.server.then([refusal(
        400,
        json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32020, "message": "m"}}),
    )]);
    assert_eq!(client.ask(call(3)).await["error"]["code"], -32020);
    assert_eq!(client.leave().await, Ended::Done);
}

#[tokio::test]
async fn what_is_no_message_is_answered_here() {
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
        client.say(line).await;
        let answer = client.hear().await;
        assert_eq!(
            (&answer["id"], &answer["error"]["code"]),
            (&id, &json!(code)),
            "{line:.50}"
        );
    }
    client.say("\u{feff}   ").await;
    assert!(client.server.seen().is_empty());
    client.ask(list(6)).await;
}

#[tokio::test]
async fn refusals_say_what_to_do() {
    let mut client = Client::start().await;
    let unauthorized = json!({"error": "invalid_token", "error_description": "the token has expired", "reason": "expired"});
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
        let before = client.server.seen().len();
        client.server.then([step]);
        let (said, sentence) = client.fails(call(1)).await;
        assert_eq!(said, reason, "{sentence}");
        for word in words {
            assert!(sentence.contains(word), "{word}: {sentence}");
        }
        assert!(!sentence.contains("a.b.c"), "{sentence}");
        assert_eq!(
            client.server.seen().len(),
            before + 1,
            "a call is made once: {reason}"
        );
    }
    client.ask(call(2)).await;
}

#[tokio::test]
async fn what_changes_nothing_is_asked_again() {
    let mut client = Client::start().await;
    client.server.then([
        Step::BreakOff,
        Step::Answer(503, vec![], String::new()),
        refusal(502, json!({})),
    ]);
    assert_eq!(client.ask(list(1)).await["result"], json!({}));
    assert_eq!(client.server.seen().len(), 4);
    // Not beyond our patience, however long that would be.
    for patience in ["60", "18446744073709551615"] {
        client.server.then([Step::Answer(
            503,
            vec![("retry-after", patience)],
            String::new(),
        )]);
        assert_eq!(client.fails(list(2)).await.0, "busy");
    }
    // What the server says in JSON-RPC changes nothing in that; it is heard when nothing helps.
    let busy =
        || json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32000, "message": "busy"}});
    client.server.then([refusal(503, busy())]);
    assert_eq!(client.ask(list(3)).await["result"], json!({}));
    client.server.then([refusal(503, busy())]);
    assert_eq!(client.ask(call(4)).await["error"]["message"], "busy");
}

#[tokio::test]
async fn an_id_has_one_answer() {
    let mut client = Client::start().await;
    client.server.then([Step::Hang]);
    client.say(call(1)).await;
    client.server.until_seen(1).await;
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
async fn a_greeting_that_hangs_holds_nobody_up_for_long() {
    let mut client = Client::start().await;
    client.server.then([Step::Hang]);
    client
        .say(json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))
        .await;
    client.ask(list(1)).await;
}

#[tokio::test]
async fn a_call_that_was_certainly_not_sent_is_made_when_the_server_is_there() {
    let server = Server::default();
    let vacant = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let mut client =
        Client::with(|settings| settings.url = target(&format!("http://{vacant}"), false).unwrap())
            .await;
    client.say(call(1)).await;
    tokio::time::sleep(Duration::from_millis(300)).await; // some tries
    let _serving = server.listen(vacant).await;
    assert_eq!(client.hear().await["id"], 1);
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn names_and_certificates_that_do_not_do_are_told_apart() {
    let mut client = Client::with(|settings| {
        settings.url = target("https://nobody.invalid", false).unwrap();
        settings.patience = Duration::ZERO;
    })
    .await;
    let (reason, sentence) = client.fails(call(1)).await;
    assert!(
        reason == "name_unknown" && sentence.contains("nobody.invalid"),
        "{reason}: {sentence}"
    );

    // Plain http, where TLS is spoken to it.
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
async fn a_server_that_says_nothing_is_not_waited_for_for_ever() {
    let mut client = Client::with(|settings| settings.silence = Duration::from_millis(200)).await;
    client.server.then([Step::Hang]);
    let (reason, sentence) = client.fails(call(1)).await;
    assert!(
        reason == "timeout" && sentence.contains("may have been done"),
        "{reason}: {sentence}"
    );
}

#[tokio::test]
async fn a_cancelled_request_is_given_up_and_not_answered() {
    let mut client = Client::start().await;
    client.server.then([Step::Hang]);
    client.say(call(7)).await;
    client.server.until_seen(1).await;
    client
        .say(json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}}))
        .await;
    client
        .server
        .until(|inner| *inner.gone.lock().unwrap() == 1)
        .await;
    client.ask(list(8)).await;
    assert_eq!(client.server.seen().len(), 2, "the notification stays here");
    assert_eq!(client.leave().await, Ended::Done);
}

#[tokio::test]
async fn requests_do_not_wait_for_each_other() {
    let mut client = Client::start().await;
    client.server.then([Step::Hang]);
    client.say(call(1)).await;
    client.server.until_seen(1).await;
    for id in 2..20 {
        client.ask(list(id)).await;
    }
}

#[tokio::test]
async fn a_refreshed_file_is_picked_up() {
    let path: PathBuf = std::env::temp_dir().join(format!("token-{}", uuid::Uuid::new_v4()));
    std::fs::write(&path, "one").unwrap();
    let source = TokenSource::file(path.clone());
    let mut client = Client::with(|settings| settings.token = source).await;
    client.ask(call(1)).await;
    std::fs::write(&path, "two\n").unwrap();
    client.ask(call(2)).await;
    // Replaced while the message is under way, which is then sent again: nothing came of it.
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
    let seen = client.server.seen();
    let tokens: Vec<_> = seen
        .iter()
        .map(|seen| seen.header("authorization"))
        .collect();
    let expected = ["one", "two", "two", "three", "three"].map(|token| format!("Bearer {token}"));
    assert_eq!(tokens, expected, "not twice with the same");
    std::fs::remove_file(&path).unwrap();
}

#[tokio::test]
async fn a_session_is_kept_and_made_anew_when_it_is_lost() {
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
        .then([with_session("first", welcome("2025-06-18"))]);
    client.ask(hello()).await;
    client.ask(call(1)).await;
    let no_session = json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32001, "message": "Session not found"}});
    client.server.then([
        refusal(404, no_session),
        with_session("second", welcome("2025-06-18")),
    ]);
    client.ask(call(2)).await;
    // Such a server has to be told.
    client.server.then([Step::Hang]);
    client.say(call(3)).await;
    client.server.until_seen(7).await;
    client
        .say(json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 3}}))
        .await;
    client.server.until_seen(8).await;
    let server = client.server.clone();
    assert_eq!(client.leave().await, Ended::Done);
    let told: Vec<_> = server
        .seen()
        .iter()
        .map(|seen| {
            let what = seen.body["method"].as_str().unwrap_or(seen.method.as_str());
            format!("{what} {}", seen.header("mcp-session-id"))
        })
        .collect();
    assert_eq!(
        told,
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
async fn the_end_of_the_input_waits_for_answers_but_not_for_ever() {
    for (linger, ended) in [
        (Duration::from_secs(5), Ended::Done),
        (Duration::from_millis(100), Ended::CutShort),
    ] {
        let mut client = Client::with(|settings| settings.linger = linger).await;
        client.server.then([Step::Hang]);
        client.say(call(1)).await;
        client.server.until_seen(1).await;
        if ended == Ended::Done {
            client
                .say(json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}))
                .await;
        }
        // The last line may do without an end.
        client
            .input
            .write_all(list(2).to_string().as_bytes())
            .await
            .unwrap();
        client.input.shutdown().await.unwrap();
        assert_eq!(client.hear().await["id"], 2);
        let end = tokio::time::timeout(Duration::from_secs(3), client.running).await;
        assert_eq!(end.unwrap().unwrap().unwrap(), ended);
        drop((client.stop, client.input));
    }
}

#[tokio::test]
async fn a_signal_ends_it_at_once() {
    let mut client = Client::start().await;
    client.server.then([Step::Hang]);
    client.say(call(1)).await;
    client.server.until_seen(1).await;
    drop(client.stop);
    let ended = tokio::time::timeout(Duration::from_secs(2), client.running)
        .await
        .unwrap();
    assert_eq!(ended.unwrap().unwrap(), Ended::Stopped);
    client
        .server
        .until(|inner| *inner.gone.lock().unwrap() == 1)
        .await;
}

#[test]
fn headers_that_are_not_the_users_are_refused() {
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
