use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rmcp::model::ServerConfig;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, ReadHalf, WriteHalf};

use super::*;

const ARGUMENTS: Json<'static> = Json::NULL;

/// Confirmations at a time that the test sets.
fn at(time: &Arc<AtomicU64>) -> Confirmations {
    let time = Arc::clone(time);
    let settings = Settings {
        secret: Some(Secret::new("a secret")),
        clock: Clock::from_millis(move || time.load(Ordering::Relaxed) * 1000),
        ..Settings::default()
    };
    Confirmations::new(&settings, "acme")
}

#[test]
fn an_answer_counts_within_ten_minutes() {
    let time = Arc::new(AtomicU64::new(1_800_000_000));
    let confirmations = at(&time);
    let binding = Binding {
        subject: "ann",
        tool: "batch",
        arguments: ARGUMENTS,
    };
    let responses = InputResponses::from([(QUESTION.to_owned(), json!({"action": "accept"}))]);
    for (after, counts) in [(0, true), (599, true), (600, false), (100_000, false)] {
        time.store(1_800_000_000, Ordering::Relaxed);
        let confirmed = Confirmed {
            key: Uuid::new_v4(),
            version: Some(3),
        };
        let asked = confirmations.ask("?".to_owned(), confirmed, &binding);
        time.fetch_add(after, Ordering::Relaxed);
        let answer = Answer {
            state: asked.request_state.as_deref().unwrap(),
            responses: Some(&responses),
        };
        match confirmations.redeem(&answer, &binding) {
            Ok(Some(Consent::Given(given))) if counts => assert_eq!(given, confirmed),
            Err(why) if !counts => assert_eq!(why, AnswerError::Expired),
            _ => panic!("after {after} s"),
        }
    }
}

#[test]
fn forms_can_be_shown_unless_only_urls_can() {
    let shows = |elicitation| {
        let capabilities = serde_json::from_value(json!({"elicitation": elicitation}));
        shows_forms(&capabilities.unwrap())
    };
    assert!(shows(json!({})) && shows(json!({"form": {}})));
    assert!(shows(json!({"form": {}, "url": {}})));
    assert!(!shows(json!({"url": {}})));
    assert!(!shows_forms(&ClientCapabilities::default()));
}

#[derive(Clone)]
struct Silent;

impl rmcp::ServerHandler for Silent {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::default()
    }
}

/// The client's side of a conversation.
struct Client {
    read: BufReader<ReadHalf<DuplexStream>>,
    write: WriteHalf<DuplexStream>,
}

impl Client {
    async fn send(&mut self, message: Value) {
        let line = format!("{message}\n");
        self.write.write_all(line.as_bytes()).await.unwrap();
    }

    async fn next(&mut self) -> Value {
        let mut line = String::new();
        self.read.read_line(&mut line).await.unwrap();
        serde_json::from_str(&line).unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn a_question_without_an_answer_ends_and_is_withdrawn() {
    let (ours, theirs) = tokio::io::duplex(64 << 10);
    let (read, write) = tokio::io::split(theirs);
    let read = BufReader::new(read);
    let mut client = Client { read, write };
    let params = json!({
        "protocolVersion": "2025-06-18",
        "capabilities": {"elicitation": {}},
        "clientInfo": {"name": "test", "version": "1"},
    });
    client
        .send(json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}))
        .await;
    client
        .send(json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))
        .await;
    let service = rmcp::serve_server(Silent, ours).await.unwrap();
    client.next().await;
    let questions = OpenQuestions::default();
    let began = tokio::time::Instant::now();
    let open = questions.begin(&"ann".into()).unwrap();
    let question = elicitation("Sure?".to_owned());
    let asking = open.ask(service.peer(), question, LIFETIME);
    let (answer, asked) = tokio::join!(asking, client.next());
    assert_eq!(answer, None);
    assert_eq!(began.elapsed(), LIFETIME);
    assert_eq!(asked["params"]["message"], "Sure?");
    let withdrawn = client.next().await;
    assert_eq!(withdrawn["method"], "notifications/cancelled");
    assert_eq!(withdrawn["params"]["requestId"], asked["id"]);
}
