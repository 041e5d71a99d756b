//! An MCP client of 2024-11-05: it hears on a stream and speaks by POST.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::client::{CallResult, Era, ToolClient};
use super::process::HANG_TIMEOUT;
use super::server::Server;
use super::token::User;

#[derive(Default)]
struct Received {
    messages: Vec<Value>,
    /// The same as they came.
    texts: Vec<String>,
    /// The stream has ended; in good order, or not.
    ended: Option<bool>,
}

pub struct SseClient<'a> {
    server: &'a Server,
    user: User,
    http: reqwest::Client,
    url: String,
    received: Arc<watch::Sender<Received>>,
    reading: JoinHandle<()>,
    next_id: AtomicU64,
}

impl<'a> SseClient<'a> {
    /// A client of a new user, past the handshake.
    pub async fn start(server: &'a Server, version: &'static str) -> Self {
        Self::start_at(server, "/sse", version).await
    }

    /// The same, with what the path says after it.
    pub async fn start_at(server: &'a Server, path: &str, version: &'static str) -> Self {
        let stream = Self::open(server, path, server.new_user()).await;
        let era = Era::Legacy(version);
        let handshake = stream.ask("initialize", era.initialize_params()).await;
        assert_eq!(
            handshake["result"]["protocolVersion"], version,
            "{handshake}"
        );
        let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        stream.send(&initialized).await;
        stream
    }

    pub async fn open(server: &'a Server, path: &str, user: User) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = http
            .get(format!("{}{path}", server.url))
            .bearer_auth(&user.token);
        let mut response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        let received = Arc::new(watch::Sender::new(Received::default()));
        let mut text = String::new();
        let path = loop {
            if let Some((first, rest)) = text.split_once("\n\n") {
                let path = first
                    .strip_prefix("event: endpoint\ndata: ")
                    .unwrap()
                    .to_owned();
                text = rest.to_owned();
                break path;
            }
            let chunk = response.chunk().await.unwrap().expect("the first event");
            text.push_str(std::str::from_utf8(&chunk).unwrap());
        };
        let to = Arc::clone(&received);
        let reading = tokio::spawn(async move {
            let ended = loop {
                while let Some((event, rest)) = text.split_once("\n\n") {
                    if let Some(data) = event.strip_prefix("event: message\ndata: ") {
                        let message = serde_json::from_str(data).unwrap();
                        to.send_modify(|received| {
                            received.messages.push(message);
                            received.texts.push(data.to_owned());
                        });
                    }
                    text = rest.to_owned();
                }
                match response.chunk().await {
                    Ok(Some(chunk)) => text.push_str(std::str::from_utf8(&chunk).unwrap()),
                    Ok(None) => break true,
                    Err(_) => break false,
                }
            };
            to.send_modify(|received| received.ended = Some(ended));
        });
        Self {
            url: format!("{}{path}", server.url),
            server,
            user,
            http,
            received,
            reading,
            next_id: AtomicU64::new(1),
        }
    }

    /// A POST with this token.
    pub fn post(&self, token: &str, message: &Value) -> reqwest::RequestBuilder {
        let request = self.http.post(&self.url).bearer_auth(token);
        let request = request.header("content-type", "application/json");
        request.body(message.to_string())
    }

    /// Posts whatever this is; the server may refuse it, and has to be there to do so.
    pub async fn post_text(&self, text: &str) {
        let request = self
            .post(&self.user.token, &Value::Null)
            .body(text.to_owned());
        let answer = request.send().await.unwrap();
        assert!(
            answer.status().as_u16() < 500,
            "{}: {text}",
            answer.status()
        );
    }

    /// Where messages are posted to.
    pub fn url(&self) -> &str {
        &self.url
    }

    pub async fn send(&self, message: &Value) {
        let answer = self.post(&self.user.token, message).send().await.unwrap();
        assert_eq!(answer.status(), 202, "{message}");
    }

    /// Sends a request without waiting for its answer; gives its id.
    pub async fn begin(&self, method: &str, params: Value) -> u64 {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }))
            .await;
        id
    }

    pub async fn answer(&self, id: u64) -> Value {
        self.answered(&Value::from(id)).await
    }

    pub async fn answered(&self, id: &Value) -> Value {
        let find = |received: &Received| {
            received
                .messages
                .iter()
                // The server's own requests have ids too.
                .find(|message| message["id"] == *id && message["method"].is_null())
                .cloned()
        };
        let mut changes = self.received.subscribe();
        let waiting =
            changes.wait_for(|received| received.ended.is_some() || find(received).is_some());
        let received = tokio::time::timeout(HANG_TIMEOUT, waiting).await;
        let received = received
            .unwrap_or_else(|_| panic!("no answer to {id}"))
            .unwrap();
        find(&received).unwrap_or_else(|| panic!("the stream ended without an answer to {id}"))
    }

    /// The request or notification of the server that comes next after `seen` others.
    pub async fn requested(&self, method: &str, seen: usize) -> Value {
        let find = |received: &Received| {
            let messages = received.messages.iter();
            let mut those = messages.filter(|message| message["method"] == method);
            those.nth(seen).cloned()
        };
        let mut changes = self.received.subscribe();
        let waiting = changes.wait_for(|received| find(received).is_some());
        let received = tokio::time::timeout(HANG_TIMEOUT, waiting).await;
        let received = received.unwrap_or_else(|_| panic!("no {method}"));
        find(&received.unwrap()).unwrap()
    }

    /// The same as it came.
    pub async fn text_of_the_answer(&self, id: &Value) -> String {
        let answer = self.answered(id).await;
        let received = self.received.borrow();
        let position = received
            .messages
            .iter()
            .position(|message| *message == answer);
        received.texts[position.unwrap()].clone()
    }

    pub async fn ask(&self, method: &str, params: Value) -> Value {
        let id = self.begin(method, params).await;
        self.answer(id).await
    }

    pub fn received(&self) -> Vec<Value> {
        self.received.borrow().messages.clone()
    }

    /// Waits for the end of the stream, which the server makes in good order.
    pub async fn ended_cleanly(&self) {
        let mut changes = self.received.subscribe();
        let waiting = changes.wait_for(|received| received.ended.is_some());
        let received = tokio::time::timeout(HANG_TIMEOUT, waiting)
            .await
            .expect("an end")
            .unwrap();
        assert_eq!(received.ended, Some(true));
    }

    /// Hangs up.
    pub fn close(self) {
        drop(self);
    }
}

impl Drop for SseClient<'_> {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

impl ToolClient for SseClient<'_> {
    fn server(&self) -> &Server {
        self.server
    }

    fn user(&self) -> &User {
        &self.user
    }

    async fn call(&self, tool: &str, arguments: Value) -> CallResult {
        let params = json!({ "name": tool, "arguments": arguments });
        let answer = self.ask("tools/call", params).await;
        CallResult::read(self, tool, &arguments, answer)
    }
}
