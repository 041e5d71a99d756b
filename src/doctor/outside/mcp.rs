//! MCP as a client speaks it, one message at a time.

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use http::HeaderValue;
use rmcp::model::ProtocolVersion;
use serde_json::{Map, Value, json};

use super::Aim;
use crate::connect::{Conversation, EventReader, Message};
use crate::doctor::check::{Finding, Found};
use crate::doctor::http::{Http, HttpAnswer, NoAnswer, at, with_token};
use crate::doctor::note::{Called, Tools, Uncalled};
use crate::doctor::words::quote;
use crate::foundation::token_secret::Secret;

/// How a message is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Era {
    /// Without a handshake.
    Modern,
    Legacy,
}

pub struct Client<'a> {
    http: &'a Http,
    aim: &'a Aim,
    token: &'a Secret,
}

impl<'a> Client<'a> {
    pub fn new(http: &'a Http, aim: &'a Aim, token: &'a Secret) -> Self {
        Self { http, aim, token }
    }

    pub async fn send(
        &self,
        method: &str,
        mut params: Value,
        era: Era,
    ) -> Result<HttpAnswer, NoAnswer> {
        if let (Era::Modern, Some(params)) = (era, params.as_object_mut()) {
            let meta = json!({
                "io.modelcontextprotocol/protocolVersion": ProtocolVersion::V_2026_07_28,
                "io.modelcontextprotocol/clientInfo": who(),
                "io.modelcontextprotocol/clientCapabilities": {},
            });
            params.insert("_meta".to_owned(), meta);
        }
        let text =
            json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
        let mut request = self
            .http
            .post(&self.aim.mcp)
            .header("accept", "application/json, text/event-stream")
            .header("content-type", "application/json");
        // Each message begins a conversation of its own, and so needs no session.
        if let Some(message) = Message::read(text.as_bytes()) {
            request = request.headers(Conversation::default().headers(&message));
        }
        self.http
            .answer(with_token(request, self.token).body(text))
            .await
    }

    /// The result of a request, or what there is in its place, in words.
    async fn ask(&self, method: &str, params: Value, era: Era) -> Result<Value, String> {
        let answer = match self.send(method, params, era).await {
            Ok(answer) => answer,
            Err(none) => {
                return Err(match none.ill(&self.aim.mcp) {
                    Finding::Failed(advice) => advice.what,
                    _ => "no answer".to_owned(),
                });
            }
        };
        self.part(&answer).await;
        let message = message(&answer);
        match message.get("result") {
            Some(result) if answer.status == 200 => Ok(result.clone()),
            _ => Err(answer.in_words()),
        }
    }

    /// Ends the session that a server may have made. It forgets it anyway, some time.
    async fn part(&self, answer: &HttpAnswer) {
        let Ok(session) = HeaderValue::from_str(answer.header("mcp-session-id")) else {
            return;
        };
        if !session.is_empty() {
            let request = self
                .http
                .delete(&self.aim.mcp)
                .header("mcp-session-id", session);
            let _ = self.http.answer(with_token(request, self.token)).await;
        }
    }
}

/// The JSON-RPC message of an answer, in either form.
fn message(answer: &HttpAnswer) -> Value {
    if !answer
        .header("content-type")
        .starts_with("text/event-stream")
    {
        return answer.json();
    }
    let messages = EventReader::default()
        .push(answer.body())
        .unwrap_or_default();
    let mut messages = messages
        .iter()
        .filter_map(|data| serde_json::from_str::<Value>(data).ok());
    messages
        .find(|message| message.get("id").is_some())
        .unwrap_or_default()
}

fn who() -> Value {
    json!({ "name": "toolbridge-mcp-doctor", "version": env!("CARGO_PKG_VERSION") })
}

/// Both ways in which clients begin.
pub async fn handshake(client: &Client<'_>) -> Found {
    let ill = |method: &str, why: String| {
        Finding::failed(
            format!("{method}: {why}"),
            "check what stands between this URL and the server, and which version runs (with Fly, \"flyctl releases --image\")",
        )
    };
    let discovered = client.ask("server/discover", json!({}), Era::Modern).await;
    discovered.map_err(|why| ill("server/discover", why))?;
    let hello = json!({ "protocolVersion": ProtocolVersion::V_2025_11_25, "capabilities": {}, "clientInfo": who() });
    let greeted = client.ask("initialize", hello, Era::Legacy).await;
    let greeted = greeted.map_err(|why| ill("initialize", why))?;
    let version = greeted
        .pointer("/serverInfo/version")
        .and_then(Value::as_str)
        .unwrap_or("unknown");
    Ok(format!(
        "server/discover and initialize are answered, by version {}",
        quote(version)
    ))
}

/// The names of the tools.
pub async fn tools(client: &Client<'_>) -> Result<Vec<String>, Finding> {
    const MEND: &str = "check the token's scopes, and TOOLBRIDGE_TOOLS_TOOLSETS of the server";
    let listed = client.ask("tools/list", json!({}), Era::Modern).await;
    let listed = listed
        .map_err(|why| Finding::failed(format!("tools/list: {why}"), "see the server's log"))?;
    let tools = listed.pointer("/tools").and_then(Value::as_array);
    let name = |tool: &Value| tool.get("name").and_then(Value::as_str).map(str::to_owned);
    let names: Vec<String> = tools.into_iter().flatten().filter_map(name).collect();
    match names.as_slice() {
        [] => Err(Finding::failed("there are none for this token", MEND)),
        _ => Ok(names),
    }
}

impl Tools for Client<'_> {
    fn call<'a>(
        &'a self,
        tool: &'a str,
        arguments: Map<String, Value>,
    ) -> LocalBoxFuture<'a, Called> {
        async move {
            let params = json!({ "name": tool, "arguments": arguments });
            let result = self
                .ask("tools/call", params, Era::Modern)
                .await
                .map_err(Uncalled::Lost)?;
            let text = result
                .pointer("/content/0/text")
                .and_then(Value::as_str)
                .unwrap_or_default();
            let said: Value = serde_json::from_str(text).unwrap_or_default();
            match result.get("isError").and_then(Value::as_bool) {
                Some(true) => Err(Uncalled::error(&said)),
                _ => Ok(result.get("structuredContent").cloned().unwrap_or(said)),
            }
        }
        .boxed_local()
    }

    fn is_ready(&self) -> LocalBoxFuture<'_, bool> {
        async {
            let Ok(url) = at(&self.aim.base, "readyz") else {
                return false;
            };
            self.http
                .get(&url)
                .await
                .is_ok_and(|answer| answer.status == 200)
        }
        .boxed_local()
    }
}
