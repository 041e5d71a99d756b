//! An MCP client with a session: its messages are POSTed, and the answers come as events.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use tokio::sync::watch;

use super::client::{CallResult, Era, ToolClient};
use super::process::HANG_TIMEOUT;
use super::server::Server;
use super::token::User;

pub struct SessionClient<'a> {
    server: &'a Server,
    user: User,
    era: Era,
    http: reqwest::Client,
    id: String,
    received: Arc<watch::Sender<Vec<Value>>>,
    next_id: AtomicU64,
}

impl<'a> SessionClient<'a> {
    /// A client of this user, past the handshake, with these capabilities.
    pub async fn start(server: &'a Server, era: Era, user: User, capabilities: Value) -> Self {
        let mut session = Self {
            server,
            user,
            era,
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            id: String::new(),
            received: Arc::new(watch::Sender::new(Vec::new())),
            next_id: AtomicU64::new(2),
        };
        let mut params = era.initialize_params();
        params["capabilities"] = capabilities;
        let handshake = era.message(1, "initialize", params);
        let opened = session.post(&handshake).send().await.unwrap();
        assert_eq!(opened.status(), 200);
        session.id = opened.headers()["mcp-session-id"]
            .to_str()
            .unwrap()
            .to_owned();
        drop(opened.text().await.unwrap());
        let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        assert_eq!(session.send(&initialized).await, 202);
        let listening = session.request(reqwest::Method::GET).send().await.unwrap();
        assert_eq!(listening.status(), 200);
        session.receive(listening);
        session
    }

    fn post(&self, message: &Value) -> reqwest::RequestBuilder {
        self.request(reqwest::Method::POST)
            .body(message.to_string())
    }

    fn request(&self, method: reqwest::Method) -> reqwest::RequestBuilder {
        let request = self
            .http
            .request(method, self.server.mcp())
            .bearer_auth(&self.user.token)
            .header("accept", "application/json, text/event-stream")
            .header("content-type", "application/json");
        if self.id.is_empty() {
            return request;
        }
        request
            .header("mcp-protocol-version", self.era.version())
            .header("mcp-session-id", &self.id)
    }

    /// Sends a message. What comes back as events is received in the background.
    pub async fn send(&self, message: &Value) -> u16 {
        let response = self.post(message).send().await.unwrap();
        let status = response.status().as_u16();
        self.receive(response);
        status
    }

    fn receive(&self, mut response: reqwest::Response) {
        let received = Arc::clone(&self.received);
        tokio::spawn(async move {
            let mut text = String::new();
            while let Ok(Some(chunk)) = response.chunk().await {
                text.push_str(std::str::from_utf8(&chunk).unwrap());
                while let Some((line, rest)) = text.split_once('\n') {
                    let data = line.strip_prefix("data:").map(str::trim);
                    if let Some(message) = data.filter(|data| !data.is_empty()) {
                        let message = serde_json::from_str(message).unwrap();
                        received.send_modify(|received| received.push(message));
                    }
                    text = rest.to_owned();
                }
            }
        });
    }

    /// Sends a request without waiting for its answer; gives its id.
    pub async fn begin(&self, method: &str, params: Value) -> u64 {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        assert_eq!(self.send(&self.era.message(id, method, params)).await, 200);
        id
    }

    async fn until(&self, what: &str, is: impl Fn(&Value) -> bool, seen: usize) -> Value {
        let find = |received: &Vec<Value>| {
            let mut those = received.iter().filter(|message| is(message));
            those.nth(seen).cloned()
        };
        let mut changes = self.received.subscribe();
        let waiting = changes.wait_for(|received| find(received).is_some());
        let received = tokio::time::timeout(HANG_TIMEOUT, waiting).await;
        let received = received.unwrap_or_else(|_| panic!("no {what}"));
        find(&received.unwrap()).unwrap()
    }

    pub async fn answer(&self, id: u64) -> Value {
        let is = |message: &Value| message["id"] == id && message["method"].is_null();
        self.until(&format!("answer to {id}"), is, 0).await
    }

    /// The request or notification of the server that comes next after `seen` others.
    pub async fn requested(&self, method: &str, seen: usize) -> Value {
        self.until(method, |message| message["method"] == method, seen)
            .await
    }

    /// Ends the session.
    pub async fn end(&self) {
        let ended = self.request(reqwest::Method::DELETE).send().await.unwrap();
        assert!(ended.status().is_success(), "{}", ended.status());
    }
}

impl ToolClient for SessionClient<'_> {
    fn server(&self) -> &Server {
        self.server
    }

    fn user(&self) -> &User {
        &self.user
    }

    async fn call(&self, tool: &str, arguments: Value) -> CallResult {
        let params = json!({ "name": tool, "arguments": arguments });
        let id = self.begin("tools/call", params).await;
        CallResult::read(self, tool, &arguments, self.answer(id).await)
    }
}
