//! An MCP client over HTTP, in the words of either era, that trusts nothing: every result it gets
//! is checked against the tool's own `outputSchema` and against its text.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;

use http::HeaderMap;
use serde_json::{Value, json};

use super::forwarder::Traffic;
use super::server::Server;
use super::token::User;

pub const MODERN: &str = "2026-07-28";
pub const LEGACY: [&str; 4] = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];

/// How a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Era {
    Modern,
    Legacy(&'static str),
}

impl Era {
    pub fn all() -> impl Iterator<Item = Self> {
        [Self::Modern].into_iter().chain(LEGACY.map(Self::Legacy))
    }

    pub fn version(self) -> &'static str {
        match self {
            Self::Modern => MODERN,
            Self::Legacy(version) => version,
        }
    }

    /// A JSON-RPC request as this era writes it.
    pub fn message(self, id: u64, method: &str, mut params: Value) -> Value {
        if self == Self::Modern {
            let meta = &mut params["_meta"];
            meta["io.modelcontextprotocol/protocolVersion"] = json!(MODERN);
            meta["io.modelcontextprotocol/clientInfo"] = json!({"name": "suite", "version": "1"});
            meta["io.modelcontextprotocol/clientCapabilities"] = json!({});
        }
        json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
    }

    /// What the first message of a conversation with a handshake says.
    pub fn initialize_params(self) -> Value {
        let client = json!({ "name": "suite", "version": "1" });
        json!({ "protocolVersion": self.version(), "capabilities": {}, "clientInfo": client })
    }
}

/// Whatever calls tools: over HTTP or over a pipe.
pub trait ToolClient {
    fn server(&self) -> &Server;
    fn user(&self) -> &User;
    async fn call(&self, tool: &str, arguments: Value) -> CallResult;

    /// What this user's calls have made the server send, once all their sessions are ended.
    async fn traffic(&self) -> Traffic {
        self.server().forwarder.settled(self.user()).await
    }
}

pub struct Client<'a> {
    pub server: &'a Server,
    pub era: Era,
    pub user: User,
    http: reqwest::Client,
}

impl<'a> Client<'a> {
    /// A client of a new user.
    pub fn new(server: &'a Server, era: Era) -> Self {
        Self::of(server, era, server.new_user())
    }

    pub fn modern(server: &'a Server) -> Self {
        Self::new(server, Era::Modern)
    }

    pub fn of(server: &'a Server, era: Era, user: User) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self {
            server,
            era,
            user,
            http,
        }
    }

    /// A POST to `/mcp` with all that a proper client sends, but for the body.
    pub fn post(&self) -> reqwest::RequestBuilder {
        self.bare_post().bearer_auth(&self.user.token)
    }

    /// The same without the token.
    pub fn bare_post(&self) -> reqwest::RequestBuilder {
        self.http
            .post(self.server.mcp())
            .header("accept", "application/json, text/event-stream")
            .header("content-type", "application/json")
    }

    pub fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.http.get(format!("{}{path}", self.server.url))
    }

    pub fn request(&self, method: &str, params: Value) -> reqwest::RequestBuilder {
        let mut request = self.post();
        if method != "initialize" {
            request = request.header("mcp-protocol-version", self.era.version());
        }
        if self.era == Era::Modern {
            request = request.header("mcp-method", method);
            if let Some(name) = params["name"].as_str() {
                request = request.header("mcp-name", name);
            }
        }
        request.body(self.era.message(1, method, params).to_string())
    }

    pub fn calling(&self, tool: &str, arguments: Value) -> reqwest::RequestBuilder {
        self.request(
            "tools/call",
            json!({ "name": tool, "arguments": arguments }),
        )
    }

    pub async fn ask(&self, method: &str, params: Value) -> HttpReply {
        HttpReply::of(self.request(method, params)).await
    }
}

impl ToolClient for Client<'_> {
    fn server(&self) -> &Server {
        self.server
    }

    fn user(&self) -> &User {
        &self.user
    }

    async fn call(&self, tool: &str, arguments: Value) -> CallResult {
        let reply = HttpReply::of(self.calling(tool, arguments.clone())).await;
        assert_eq!(reply.status, 200, "{reply}");
        CallResult::read(self, tool, &arguments, reply.json())
    }
}

/// One HTTP request and its answer.
pub struct HttpReply {
    pub request_line: String,
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl HttpReply {
    pub async fn of(request: reqwest::RequestBuilder) -> Self {
        let (http, request) = request.build_split();
        let request = request.unwrap();
        let body = request
            .body()
            .and_then(reqwest::Body::as_bytes)
            .unwrap_or_default();
        let body: String = String::from_utf8_lossy(body).chars().take(600).collect();
        let request_line = format!("{} {} {body}", request.method(), request.url());
        match http.execute(request).await {
            Ok(answer) => Self {
                request_line,
                status: answer.status().as_u16(),
                headers: answer.headers().clone(),
                text: answer.text().await.unwrap(),
            },
            Err(why) => panic!("no answer to {request_line}: {why:?}"),
        }
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The answer as JSON, which it says that it is.
    pub fn json(&self) -> Value {
        assert!(
            self.header("content-type").starts_with("application/json"),
            "{self}"
        );
        serde_json::from_str(&self.text).unwrap_or_else(|why| panic!("no JSON ({why}): {self}"))
    }

    /// The code of a JSON-RPC error.
    pub fn rpc_code(&self) -> i64 {
        let answer = self.json();
        let code = answer["error"]["code"].as_i64();
        code.unwrap_or_else(|| panic!("no JSON-RPC error: {self}"))
    }

    pub fn result(&self) -> Value {
        let answer = self.json();
        assert!(answer["result"].is_object(), "{self}");
        answer["result"].clone()
    }
}

impl fmt::Display for HttpReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text: String = self.text.chars().take(2000).collect();
        write!(f, "{}\n→ {} {text}", self.request_line, self.status)
    }
}

/// One call of a tool, with its result.
pub struct CallResult {
    pub tool: String,
    arguments: Value,
    /// The JSON-RPC answer.
    pub answer: Value,
    /// What the server had sent when the answer came.
    traffic: Traffic,
}

impl CallResult {
    pub fn read(caller: &impl ToolClient, tool: &str, arguments: &Value, answer: Value) -> Self {
        let called = Self {
            tool: tool.to_owned(),
            arguments: arguments.clone(),
            answer,
            traffic: caller.server().forwarder.so_far(caller.user()),
        };
        called.check();
        called
    }

    /// What holds for every result there is.
    fn check(&self) {
        let result = &self.answer["result"];
        assert!(result.is_object(), "no result: {self}");
        assert_eq!(
            result["content"].as_array().map(Vec::len),
            Some(1),
            "{self}"
        );
        assert_eq!(result["content"][0]["type"], "text", "{self}");
        let text = self.text();
        let read: Value = serde_json::from_str(text)
            .unwrap_or_else(|why| panic!("text that is no JSON ({why}): {self}"));
        if result["isError"] == false {
            let said = result["structuredContent"].clone();
            assert_eq!(read, said, "text and structured content differ: {self}");
            let schema = &schemas()[&self.tool];
            let wrong: Vec<_> = schema
                .iter_errors(&said)
                .map(|why| why.to_string())
                .collect();
            assert!(
                wrong.is_empty(),
                "not as its outputSchema has it: {wrong:?}: {self}"
            );
        } else {
            // Clients would hold it against the outputSchema, and hide the error.
            assert_eq!(result.get("structuredContent"), None, "{self}");
            self.check_error();
        }
    }

    /// What holds for every failed call.
    fn check_error(&self) {
        const CATEGORIES: [&str; 10] = [
            "validation",
            "authentication",
            "permission",
            "not_found",
            "conflict",
            "rate_limited",
            "unavailable",
            "timeout",
            "too_large",
            "internal",
        ];
        const KEYS: [&str; 8] = [
            "category",
            "code",
            "message",
            "retryable",
            "retry_after_ms",
            "suggested_action",
            "details",
            "correlation_id",
        ];
        let error = &self.said()["error"];
        let category = error["category"].as_str().unwrap_or_default();
        assert!(CATEGORIES.contains(&category), "{self}");
        let keys = error.as_object().into_iter().flatten();
        for (key, _) in keys {
            assert!(
                KEYS.contains(&key.as_str()),
                "{key} is no part of an error: {self}"
            );
        }
        for key in ["code", "message", "suggested_action", "correlation_id"] {
            assert!(
                error[key].as_str().is_some_and(|text| !text.is_empty()),
                "{key}: {self}"
            );
        }
        let code = error["code"].as_str().unwrap_or_default();
        assert!(
            code.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_'),
            "{self}"
        );
        assert!(error["retryable"].is_boolean(), "{self}");
    }

    pub fn text(&self) -> &str {
        self.answer["result"]["content"][0]["text"]
            .as_str()
            .unwrap_or_default()
    }

    fn said(&self) -> Value {
        serde_json::from_str(self.text()).unwrap_or_default()
    }

    pub fn is_error(&self) -> bool {
        self.answer["result"]["isError"] == true
    }

    /// The result of a call that went well.
    pub fn ok(&self) -> Value {
        assert!(!self.is_error(), "failed: {self}");
        self.answer["result"]["structuredContent"].clone()
    }

    /// The error of one that did not.
    pub fn error(&self) -> Value {
        assert!(self.is_error(), "went well: {self}");
        self.said()["error"].clone()
    }

    /// The error, which is of this category and has this code.
    pub fn failed(&self, category: &str, code: &str) -> Value {
        let error = self.error();
        assert_eq!(
            (&error["category"], &error["code"]),
            (&json!(category), &json!(code)),
            "{self}"
        );
        error
    }
}

impl fmt::Display for CallResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |value: &Value| value.to_string().chars().take(2000).collect::<String>();
        let (arguments, answer) = (short(&self.arguments), short(&self.answer));
        write!(
            f,
            "{} {arguments}\n→ {answer}\nupstream:\n{}",
            self.tool, self.traffic
        )
    }
}

static SCHEMAS: OnceLock<BTreeMap<String, jsonschema::Validator>> = OnceLock::new();

fn schemas() -> &'static BTreeMap<String, jsonschema::Validator> {
    SCHEMAS.get().expect("the tools have been listed")
}

/// Keeps the output schemas of a list of tools, for all results to come.
pub fn keep_schemas(tools: &Value) {
    let compiled = tools.as_array().unwrap().iter().map(|tool| {
        let validator = jsonschema::draft202012::new(&tool["outputSchema"]).unwrap();
        (tool["name"].as_str().unwrap().to_owned(), validator)
    });
    let _ = SCHEMAS.set(compiled.collect());
}
