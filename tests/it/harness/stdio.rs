//! An MCP client that starts `toolbridge-mcp stdio`, or `connect`, itself and speaks to it through a pipe.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use super::client::{Called, Caller, Era};
use super::place::{Place, binary, new_trail};
use super::process::{Process, Stdout};
use super::token::User;

pub struct Piped<'a> {
    place: &'a Place,
    era: Era,
    user: User,
    pub process: Process,
    /// Of the server, not of a bridge.
    pub trail: Option<PathBuf>,
    next_id: AtomicU64,
}

impl<'a> Piped<'a> {
    /// As somebody new, past the handshake where the era has one.
    pub async fn start(place: &'a Place, era: Era) -> Self {
        Self::of(place, era, place.new_user()).greeted().await
    }

    /// The same, but through a bridge to the place's `/mcp`.
    pub async fn connected(place: &'a Place, era: Era) -> Self {
        Self::connected_as(place, era, place.new_user(), &[])
            .greeted()
            .await
    }

    async fn greeted(self) -> Self {
        if self.era != Era::Modern {
            let hello = self.ask("initialize", self.era.hello()).await;
            assert_eq!(
                hello["result"]["protocolVersion"],
                self.era.version(),
                "{hello}"
            );
            self.tell("notifications/initialized", json!({})).await;
        }
        self
    }

    pub fn of(place: &'a Place, era: Era, user: User) -> Self {
        let mut command = binary(&["stdio"]);
        command
            .envs(place.environment())
            .env("TOOLBRIDGE_TOKEN", &user.token);
        // Two servers do not share one.
        let trail = new_trail();
        command.env("TOOLBRIDGE_AUDIT_TO", &trail);
        let process = Process::start("toolbridge-mcp stdio", command, Stdout::Answers);
        let mut piped = Self::by(process, place, era, user);
        piped.trail = Some(trail.into());
        piped
    }

    /// A bridge, with some words of its own. It knows the place's URL and this token, and nothing else.
    pub fn connected_as(place: &'a Place, era: Era, user: User, words: &[&str]) -> Self {
        let mut command = binary(&[&["connect", place.url.as_str()], words].concat());
        command.env("TOOLBRIDGE_TOKEN", &user.token);
        let process = Process::start("toolbridge-mcp connect", command, Stdout::Answers);
        Self::by(process, place, era, user)
    }

    fn by(process: Process, place: &'a Place, era: Era, user: User) -> Self {
        Self {
            place,
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
            .say(&self.era.message(id, method, params).to_string())
            .await;
        id
    }

    pub async fn tell(&self, method: &str, params: Value) {
        let notification = json!({ "jsonrpc": "2.0", "method": method, "params": params });
        self.process.say(&notification.to_string()).await;
    }

    pub async fn answer(&self, id: u64) -> Value {
        let found = self.process.out.until(|line| {
            let line: Value =
                serde_json::from_str(line).unwrap_or_else(|_| panic!("not a message: {line}"));
            (line["id"] == id).then_some(line)
        });
        match found.await {
            Some(answer) => answer,
            None => panic!("no answer to {id}:\n{}", self.process.story()),
        }
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
    pub async fn leave(self) {
        self.process.close_stdin().await;
        assert_eq!(
            self.process.exit().await,
            Some(0),
            "{}",
            self.process.story()
        );
    }
}

impl Caller for Piped<'_> {
    fn place(&self) -> &Place {
        self.place
    }

    fn user(&self) -> &User {
        &self.user
    }

    async fn call(&self, tool: &str, arguments: Value) -> Called {
        let params = json!({ "name": tool, "arguments": arguments });
        let answer = self.ask("tools/call", params).await;
        Called::read(self, tool, &arguments, answer)
    }
}
