//! A minimal MCP client that sends one message at a time.

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use http::HeaderValue;
use rmcp::model::ProtocolVersion;
use serde_json::{Map, Value, json};

use super::Target;
use crate::connect::{Conversation, EventReader, Message};
use crate::doctor::check::{Finding, Found};
use crate::doctor::http::{Http, HttpAnswer, RequestError, at, with_token};
use crate::doctor::round_trip::{CallError, CallResult, Tools};
use crate::doctor::words::quote;
use crate::foundation::secret::Secret;

/// The protocol generation of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Era {
    /// A revision without a handshake.
    Modern,
    Legacy,
}

pub struct Client<'a> {
    http: &'a Http,
    target: &'a Target,
    token: &'a Secret,
}

impl<'a> Client<'a> {
    pub fn new(http: &'a Http, target: &'a Target, token: &'a Secret) -> Self {
        Self {
            http,
            target,
            token,
        }
    }

    pub async fn send(
        &self,
        method: &str,
        mut params: Value,
        era: Era,
    ) -> Result<HttpAnswer, RequestError> {
        if let (Era::Modern, Some(params)) = (era, params.as_object_mut()) {
            let meta = json!({
                "io.modelcontextprotocol/protocolVersion": ProtocolVersion::V_2026_07_28,
                "io.modelcontextprotocol/clientInfo": client_info(),
                "io.modelcontextprotocol/clientCapabilities": {},
            });
            params.insert("_meta".to_owned(), meta);
        }
        let text =
            json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
        let mut request = self
            .http
            .post(&self.target.mcp)
            .header("accept", "application/json, text/event-stream")
            .header("content-type", "application/json");
        // A fresh conversation for each message, so no session is needed.
        if let Some(message) = Message::read(text.as_bytes()) {
            request = request.headers(Conversation::default().headers(&message));
        }
        self.http
            .answer(with_token(request, self.token).body(text))
            .await
    }

    /// The result of a request, or a description of what came instead.
    async fn ask(&self, method: &str, params: Value, era: Era) -> Result<Value, String> {
        let answer = match self.send(method, params, era).await {
            Ok(answer) => answer,
            Err(none) => {
                return Err(match none.into_finding(&self.target.mcp) {
                    Finding::Failed(advice) => advice.what,
                    _ => "no answer".to_owned(),
                });
            }
        };
        self.end_session(&answer).await;
        let message = message(&answer);
        match message.get("result") {
            Some(result) if answer.status == 200 => Ok(result.clone()),
            _ => Err(answer.in_words()),
        }
    }

    /// Ends a session that the server may have created. Best effort: it would expire anyway.
    async fn end_session(&self, answer: &HttpAnswer) {
        let Ok(session) = HeaderValue::from_str(answer.header("mcp-session-id")) else {
            return;
        };
        if !session.is_empty() {
            let request = self
                .http
                .delete(&self.target.mcp)
                .header("mcp-session-id", session);
            let _ = self.http.answer(with_token(request, self.token)).await;
        }
    }
}

/// The JSON-RPC message of a response, from JSON or an event stream.
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

fn client_info() -> Value {
    json!({ "name": "toolbridge-mcp-doctor", "version": env!("CARGO_PKG_VERSION") })
}

/// Performs both handshakes that clients use.
pub async fn handshake(client: &Client<'_>) -> Found {
    let finding = |method: &str, why: String| {
        Finding::failed(
            format!("{method}: {why}"),
            "check what stands between this URL and the server, and which version runs (with Fly, \
             \"flyctl releases --image\")",
        )
    };
    let discovered = client.ask("server/discover", json!({}), Era::Modern).await;
    discovered.map_err(|why| finding("server/discover", why))?;
    let params = json!({
        "protocolVersion": ProtocolVersion::V_2025_11_25,
        "capabilities": {},
        "clientInfo": client_info(),
    });
    let initialized = client.ask("initialize", params, Era::Legacy).await;
    let initialized = initialized.map_err(|why| finding("initialize", why))?;
    let version = initialized
        .pointer("/serverInfo/version")
        .and_then(Value::as_str)
        .unwrap_or("unknown");
    Ok(format!(
        "server/discover and initialize are answered, by version {}",
        quote(version)
    ))
}

/// Lists the names of the tools.
pub async fn tools(client: &Client<'_>) -> Result<Vec<String>, Finding> {
    const FIX: &str = "check the token's scopes, and TOOLBRIDGE_TOOLS_TOOLSETS of the server";
    let listed = client.ask("tools/list", json!({}), Era::Modern).await;
    let listed = listed
        .map_err(|why| Finding::failed(format!("tools/list: {why}"), "see the server's log"))?;
    let tools = listed.pointer("/tools").and_then(Value::as_array);
    let name = |tool: &Value| tool.get("name").and_then(Value::as_str).map(str::to_owned);
    let names: Vec<String> = tools.into_iter().flatten().filter_map(name).collect();
    match names.as_slice() {
        [] => Err(Finding::failed("there are none for this token", FIX)),
        _ => Ok(names),
    }
}

impl Tools for Client<'_> {
    fn call<'a>(
        &'a self,
        tool: &'a str,
        arguments: Map<String, Value>,
    ) -> LocalBoxFuture<'a, CallResult> {
        async move {
            let params = json!({ "name": tool, "arguments": arguments });
            let result = self
                .ask("tools/call", params, Era::Modern)
                .await
                .map_err(CallError::Lost)?;
            let text = result
                .pointer("/content/0/text")
                .and_then(Value::as_str)
                .unwrap_or_default();
            let parsed: Value = serde_json::from_str(text).unwrap_or_default();
            match result.get("isError").and_then(Value::as_bool) {
                Some(true) => Err(CallError::error(&parsed)),
                _ => Ok(result.get("structuredContent").cloned().unwrap_or(parsed)),
            }
        }
        .boxed_local()
    }

    fn is_ready(&self) -> LocalBoxFuture<'_, bool> {
        async {
            let Ok(url) = at(&self.target.base, "readyz") else {
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
