//! An MCP client that starts `toolbridge-mcp stdio`, or `connect`, itself and speaks to it through
//! a pipe.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use super::client::{CallResult, Era, ToolClient};
use super::process::{Process, Stdout};
use super::server::{Server, binary, new_trail};
use super::token::User;

pub struct StdioClient<'a> {
    server: &'a Server,
    era: Era,
    user: User,
    pub process: Process,
    /// Of the server, not of a bridge.
    pub trail: Option<PathBuf>,
    next_id: AtomicU64,
}

impl<'a> StdioClient<'a> {
    /// A client of a new user, past the handshake if the era has one.
    pub async fn start(server: &'a Server, era: Era) -> Self {
        Self::of(server, era, server.new_user()).initialized().await
    }

    /// The same, but through a bridge to the place's `/mcp`.
    pub async fn connected(server: &'a Server, era: Era) -> Self {
        Self::connected_as(server, era, server.new_user(), &[])
            .initialized()
            .await
    }

    /// The same, past the handshake if the era has one.
    pub async fn initialized(self) -> Self {
        if self.era != Era::Modern {
            let handshake = self.ask("initialize", self.era.initialize_params()).await;
            assert_eq!(
                handshake["result"]["protocolVersion"],
                self.era.version(),
                "{handshake}"
            );
            self.notify("notifications/initialized", json!({})).await;
        }
        self
    }

    pub fn of(server: &'a Server, era: Era, user: User) -> Self {
        let mut command = binary(&["stdio"]);
        command
            .envs(server.environment())
            .env("TOOLBRIDGE_TOKEN", &user.token);
        // Two servers do not share one.
        let trail = new_trail();
        command.env("TOOLBRIDGE_AUDIT_TO", &trail);
        let process = Process::start("toolbridge-mcp stdio", command, Stdout::Answers);
        let mut stdio = Self::by(process, server, era, user);
        stdio.trail = Some(trail.into());
        stdio
    }

    /// A bridge, with some words of its own. It knows the place's URL and this token, and nothing
    /// else.
    pub fn connected_as(server: &'a Server, era: Era, user: User, words: &[&str]) -> Self {
        let mut command = binary(&[&["connect", server.url.as_str()], words].concat());
        command.env("TOOLBRIDGE_TOKEN", &user.token);
        let process = Process::start("toolbridge-mcp connect", command, Stdout::Answers);
        Self::by(process, server, era, user)
    }

    fn by(process: Process, server: &'a Server, era: Era, user: User) -> Self {
        Self {
            server,
            era,
            user,
            process,
            trail: None,
            next_id: AtomicU64::new(1),
        }
    }

    /// Sends a request without waiting for its answer; gives its id.
    pub async fn begin(&self, method: &str, params: Value) -> u64 {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        self.process
            .send(&self.era.message(id, method, params).to_string())
            .await;
        id
    }

    pub async fn notify(&self, method: &str, params: Value) {
        let notification = json!({ "jsonrpc": "2.0", "method": method, "params": params });
        self.process.send(&notification.to_string()).await;
    }

    pub async fn answer(&self, id: u64) -> Value {
        let found = self.process.out.until(|line| {
            let line: Value =
                serde_json::from_str(line).unwrap_or_else(|_| panic!("not a message: {line}"));
            // The server's own requests have ids too.
            (line["id"] == id && line["method"].is_null()).then_some(line)
        });
        match found.await {
            Some(answer) => answer,
            None => panic!("no answer to {id}:\n{}", self.process.all_output()),
        }
    }

    /// The request of the server that comes next after `seen` others.
    pub async fn requested(&self, method: &str, seen: usize) -> Value {
        let count = std::cell::Cell::new(0);
        let found = self.process.out.until(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            let is_one = line["method"] == method;
            count.set(count.get() + usize::from(is_one));
            (is_one && count.get() > seen).then_some(line)
        });
        match found.await {
            Some(request) => request,
            None => panic!("no {method}:\n{}", self.process.all_output()),
        }
    }

    /// Sends a message as it is.
    pub async fn send(&self, message: &Value) {
        self.process.send(&message.to_string()).await;
    }

    pub async fn ask(&self, method: &str, params: Value) -> Value {
        let id = self.begin(method, params).await;
        self.answer(id).await
    }

    /// Everything that was ever answered.
    pub fn answers(&self) -> Vec<Value> {
        let lines = self.process.out.all();
        lines
            .iter()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The client leaves; the server follows, in good order.
    pub async fn close(self) {
        self.process.close_stdin().await;
        assert_eq!(
            self.process.exit().await,
            Some(0),
            "{}",
            self.process.all_output()
        );
    }
}

impl ToolClient for StdioClient<'_> {
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
