//! MCP over a pair of pipes.

use tokio::io::{
    AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, Lines, ReadHalf, WriteHalf,
};

use super::*;
use crate::api::scripted_api::Step;
use crate::mcp::FixedCaller;

type Served = Result<Counts, Box<rmcp::service::ServerInitializeError>>;

/// A client at the other end of the pipes.
struct Client {
    api: ScriptedApi,
    lines: Lines<BufReader<ReadHalf<DuplexStream>>>,
    input: WriteHalf<DuplexStream>,
    serving: JoinHandle<Served>,
    shutdown: oneshot::Sender<()>,
}

impl Client {
    async fn start(token: String) -> Self {
        let api = ScriptedApi::start().await;
        let api_client = api_client(&api);
        let caller = FixedCaller {
            token: Secret::new(token),
            verifier: verifier(),
            new_correlation_id,
        };
        let settings = mcp::Settings::default();
        let server = mcp::Server::new(
            all_tools(),
            api_client.clone(),
            Callers::Fixed(caller),
            &settings,
        );
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let (shutdown, signal) = oneshot::channel();
        let pipes = tokio::io::split(theirs);
        let stop = async move { drop(signal.await) };
        let serving = tokio::spawn(serve_stdio(
            server,
            api_client,
            pipes,
            1 << 20,
            stop,
            Duration::from_secs(5),
        ));
        let (output, input) = tokio::io::split(ours);
        Self {
            api,
            lines: BufReader::new(output).lines(),
            input,
            serving,
            shutdown,
        }
    }

    async fn send_message(&mut self, message: Value) {
        self.input
            .write_all(format!("{message}\n").as_bytes())
            .await
            .unwrap();
    }

    async fn next_message(&mut self) -> Value {
        let line = tokio::time::timeout(Duration::from_secs(5), self.lines.next_line())
            .await
            .unwrap()
            .unwrap();
        serde_json::from_str(&line.unwrap()).unwrap()
    }

    async fn round_trip(&mut self, message: Value) -> Value {
        self.send_message(message).await;
        self.next_message().await
    }

    async fn initialize(&mut self) {
        let initialize = json!({
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "t", "version": "1"},
        });
        assert_eq!(
            self.round_trip(message("initialize", initialize)).await["result"]["protocolVersion"],
            "2025-06-18"
        );
        self.send_message(json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))
            .await;
    }

    async fn close(self) -> Served {
        drop((self.input, self.lines));
        self.serving.await.unwrap()
    }
}

fn get_note(id: u64) -> Value {
    json!({
        "jsonrpc": "2.0",
        "id": id,
        "method": "tools/call",
        "params": {"name": "get_note", "arguments": {"uid": UID}},
    })
}

#[tokio::test]
async fn serves_a_legacy_session() {
    let mut client = Client::start(token()).await;
    client.initialize().await;
    assert_eq!(
        client.round_trip(message("tools/list", json!({}))).await["result"]["tools"]
            .as_array()
            .unwrap()
            .len(),
        tool_count()
    );
    let result = client.round_trip(get_note(2)).await;
    assert_eq!(
        (&result["id"], &result["result"]["isError"]),
        (&json!(2), &json!(false))
    );
    let api = client.api.clone();
    assert_eq!(
        client.close().await.unwrap(),
        Counts {
            opened: 1,
            ended: 1,
            abandoned: 0
        }
    );
    assert_eq!(api.open_sessions(), 0);
    assert!(
        api.seen()
            .iter()
            .filter(|seen| seen.path != "/v1/sync/info")
            .all(|seen| seen.header("x-correlation-id").len() == 36)
    );
}

#[tokio::test]
async fn serves_modern_requests() {
    let mut client = Client::start(token()).await;
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let discovered = client
        .round_trip(message("server/discover", json!({"_meta": meta})))
        .await;
    assert_eq!(discovered["result"]["cacheScope"], "private");
    let params = json!({"name": "get_note", "arguments": {"uid": UID}, "_meta": meta});
    assert_eq!(
        client.round_trip(message("tools/call", params)).await["result"]["resultType"],
        "complete"
    );
    client.close().await.unwrap();
}

#[tokio::test]
async fn reports_an_expired_token_to_the_model() {
    let mut client = Client::start(token_of(json!({"sub": "u", "exp": now() - 100}))).await;
    client.initialize().await;
    let result = client.round_trip(get_note(2)).await["result"].clone();
    assert_eq!(result["isError"], true);
    assert_eq!(error_of(&result)["code"], "token_expired");
    // A client that lists no tools would never see that error.
    let listed = client.round_trip(message("tools/list", json!({}))).await;
    assert_eq!(
        listed["result"]["tools"].as_array().unwrap().len(),
        tool_count()
    );
    assert_eq!(client.api.lines(), ["GET /v1/sync/info"]);
    client.close().await.unwrap();
}

#[tokio::test]
async fn a_cancelled_call_ends_its_session_and_gets_no_response() {
    let mut client = Client::start(token()).await;
    client.initialize().await;
    client.api.then([Step::Hang]);
    client.send_message(get_note(7)).await;
    client.api.until_seen(2).await;
    client
        .send_message(json!({
            "jsonrpc": "2.0",
            "method": "notifications/cancelled",
            "params": {"requestId": 7},
        }))
        .await;
    client.api.until_seen(3).await;
    client.api.until_no_session().await;
    let next = client
        .round_trip(json!({"jsonrpc": "2.0", "id": 8, "method": "ping"}))
        .await;
    assert_eq!(next["id"], 8, "the cancelled call is not answered");
    client.close().await.unwrap();
}

#[tokio::test]
async fn a_signal_ends_the_session() {
    let mut client = Client::start(token()).await;
    client.initialize().await;
    let Client {
        shutdown,
        serving,
        input,
        lines,
        ..
    } = client;
    drop(shutdown);
    serving.await.unwrap().unwrap();
    drop((input, lines));
}

#[tokio::test]
async fn closing_the_input_during_a_call_cancels_it_soon() {
    let mut client = Client::start(token()).await;
    client.initialize().await;
    client.api.then([Step::Hang]);
    client.send_message(get_note(7)).await;
    client.api.until_seen(2).await;
    let Client {
        api,
        lines,
        input,
        serving,
        shutdown,
    } = client;
    drop((lines, input));
    // Well below the call's own deadline of 25 s.
    for _ in 0..100 {
        tokio::time::pause();
        tokio::time::advance(Duration::from_millis(80)).await;
        tokio::time::resume();
        tokio::task::yield_now().await;
    }
    api.until_no_session().await;
    assert_eq!(
        serving.await.unwrap().unwrap(),
        Counts {
            opened: 1,
            ended: 1,
            abandoned: 0
        }
    );
    drop(shutdown);
}

#[tokio::test]
async fn answers_every_request_with_its_id() {
    let mut client = Client::start(token()).await;
    // Other messages before the handshake are ignored and do not end the session.
    client
        .send_message(json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))
        .await;
    client
        .send_message(json!({"jsonrpc": "2.0", "id": 1, "result": {}}))
        .await;
    client.initialize().await;
    let call = |id: &str, arguments: &str| {
        let params = format!(r#"{{"name":"create_note","arguments":{arguments}}}"#);
        format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{params}}}"#)
    };
    let deep = format!("{{\"x\":{}{}}}", "[".repeat(200), "]".repeat(200));
    let long = format!(r#"{{"title":"{}"}}"#, "x".repeat(1 << 20));
    for (line, id, code, words) in [
        (
            call("11", r#"{"title":"x\ud83d"}"#),
            json!(11),
            -32602,
            "half of a surrogate pair",
        ),
        (
            call("\"b\"", &deep),
            json!("b"),
            -32602,
            "nested too deeply",
        ),
        (call("13", &long), json!(13), -32600, "larger than"),
        ("[]".to_owned(), Value::Null, -32600, "batches"),
        ("{".to_owned(), Value::Null, -32700, "not valid JSON"),
        (
            r#"{"jsonrpc":"2.0","id":14,"method":"tools/list","params":[1]}"#.to_owned(),
            json!(14),
            -32602,
            "params",
        ),
        (
            r#"{"jsonrpc":"2.0","id":15,"method":"tools/list","params":{"_meta":7}}"#.to_owned(),
            json!(15),
            -32602,
            "_meta",
        ),
    ] {
        client
            .input
            .write_all(format!("{line}\n").as_bytes())
            .await
            .unwrap();
        let answer = client.next_message().await;
        assert!(
            answer.get("id").is_some(),
            "null, where there is none: {answer}"
        );
        assert_eq!(
            (&answer["id"], &answer["error"]["code"]),
            (&id, &json!(code)),
            "{answer}"
        );
        assert!(
            answer["error"]["message"].as_str().unwrap().contains(words),
            "{answer}"
        );
        let correlation_id = answer["error"]["data"]["correlation_id"].as_str();
        assert_eq!(correlation_id.map(str::len), Some(36), "{answer}");
    }
    let ping = "\u{feff}{\"jsonrpc\":\"2.0\",\"id\":16,\"method\":\"ping\"}\n";
    client.input.write_all(ping.as_bytes()).await.unwrap();
    assert_eq!(client.next_message().await["id"], 16);
    client.close().await.unwrap();
}
