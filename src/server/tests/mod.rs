//! End-to-end tests from a socket to a scripted API, for legacy and modern revisions of the
//! protocol.

mod browsers;
mod http;
mod landing;
mod lifecycle;
mod messages;
mod scopes;
mod sessions;
mod sse;
mod stdio;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::http::listener::Drained;
use super::http::routes::health::Readiness;
use super::settings::Timeouts;
use super::*;
use crate::api;
use crate::api::scripted_api::ScriptedApi;
use crate::api::{ApiClient, Counts, Features, TenantIdentity, Versions};
use crate::auth;
use crate::auth::Verifier;
use crate::auth::challenge::{Challenge, Resource};
use crate::foundation::clock::Clock;
use crate::foundation::secret::Secret;
use crate::mcp;
use crate::mcp::Callers;
use crate::tools::{self, Toolset};
use crate::workers::Workers;

const SECRET: &str = "a-shared-secret-of-at-least-32-bytes";
const MODERN: &str = "2026-07-28";
const LEGACY: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];
const UID: &str = "0195a6c0-0000-7000-8000-000000000001";

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

fn token_of(claims: Value) -> String {
    jsonwebtoken::encode(
        &Header::default(),
        &claims,
        &EncodingKey::from_secret(SECRET.as_bytes()),
    )
    .unwrap()
}

fn token() -> String {
    token_of(json!({"sub": "user-1", "exp": now() + 600, "tenant_id": "acme"}))
}

fn auth_settings() -> auth::Settings {
    auth::Settings {
        hs256_secret: Some(SECRET.into()),
        ..auth::Settings::default()
    }
}

fn verifier() -> Arc<Verifier> {
    Arc::new(Verifier::new(&auth_settings(), "acme", Clock::system()).unwrap())
}

fn api_settings(api: &ScriptedApi) -> api::Settings {
    api::Settings {
        base_url: api.url().parse().unwrap(),
        ..api::Settings::default()
    }
}

fn api_client_with(settings: api::Settings) -> ApiClient {
    let identity = TenantIdentity {
        id: "acme".into(),
        secret: Secret::new("tenant-secret"),
        signature: Versions::Both,
    };
    ApiClient::new(settings, identity, Clock::system(), &Workers::none()).unwrap()
}

fn api_client(api: &ScriptedApi) -> ApiClient {
    api_client_with(api_settings(api))
}

fn all_tools() -> Vec<Arc<dyn Toolset>> {
    tools::all(tools::Limits::default())
}

fn tool_count() -> usize {
    all_tools()
        .iter()
        .map(|toolset| toolset.list(Features::NONE).len())
        .sum()
}

/// A running server and the API behind it.
struct Stack {
    api: ScriptedApi,
    address: SocketAddr,
    http: reqwest::Client,
    shutdown: Option<oneshot::Sender<()>>,
    serving: JoinHandle<Drained>,
    streams: std::sync::Weak<super::sse::Streams>,
}

fn without_notice(within: Duration) -> Drain {
    Drain {
        notice: Duration::ZERO,
        within,
    }
}

impl Stack {
    async fn start() -> Self {
        Self::with(
            Settings::default(),
            auth_settings(),
            all_tools(),
            Duration::from_secs(10),
        )
        .await
    }

    async fn with_settings(settings: Settings) -> Self {
        Self::with(
            settings,
            auth_settings(),
            all_tools(),
            Duration::from_secs(10),
        )
        .await
    }

    async fn with(
        settings: Settings,
        auth: auth::Settings,
        toolsets: Vec<Arc<dyn Toolset>>,
        drain: Duration,
    ) -> Self {
        let api = ScriptedApi::start().await;
        let api_settings = api_settings(&api);
        Self::before(
            api,
            api_settings,
            settings,
            auth,
            toolsets,
            without_notice(drain),
        )
        .await
    }

    async fn start_with_drain(drain: Drain) -> Self {
        let api = ScriptedApi::start().await;
        let api_settings = api_settings(&api);
        Self::before(
            api,
            api_settings,
            Settings::default(),
            auth_settings(),
            all_tools(),
            drain,
        )
        .await
    }

    async fn before(
        api: ScriptedApi,
        api_settings: api::Settings,
        settings: Settings,
        auth: auth::Settings,
        toolsets: Vec<Arc<dyn Toolset>>,
        drain: Drain,
    ) -> Self {
        let api_client = api_client_with(api_settings);
        let server = mcp::Server::new(
            toolsets,
            api_client.clone(),
            Callers::Request,
            &mcp::Settings::default(),
        );
        let resource = Resource {
            url: settings.mcp_url(),
            ..Resource::default()
        };
        let challenge = Challenge::new(&auth, resource);
        let verifier = Arc::new(Verifier::new(&auth, "acme", Clock::system()).unwrap());
        let app = App::new(settings, verifier, challenge, api_client, server);
        let streams = Arc::downgrade(&app.streams);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (shutdown, signal) = oneshot::channel();
        let serving = tokio::spawn(serve(
            listener,
            app,
            Workers::none(),
            async move { drop(signal.await) },
            drain,
        ));
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(20))
            .build()
            .unwrap();
        Self {
            api,
            address,
            http,
            shutdown: Some(shutdown),
            serving,
            streams,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A POST to `/mcp` as a client of a legacy revision sends it after `initialize`.
    fn post(&self) -> reqwest::RequestBuilder {
        self.http
            .post(self.url("/mcp"))
            .bearer_auth(token())
            .header("accept", "application/json, text/event-stream")
            .header("content-type", "application/json")
    }

    async fn legacy(&self, method: &str, params: Value) -> Value {
        let request = self.post().header("mcp-protocol-version", "2025-11-25");
        let response = request
            .body(message(method, params).to_string())
            .send()
            .await
            .unwrap();
        let status = response.status();
        let body = json_of(response).await;
        assert_eq!(status, 200, "{method}: {body}");
        body
    }

    async fn call(&self, tool: &str, arguments: Value) -> Value {
        self.legacy("tools/call", json!({"name": tool, "arguments": arguments}))
            .await
    }

    /// A request of 2026-07-28, with the headers and metadata that the revision requires.
    fn modern(&self, method: &str, mut params: Value) -> reqwest::RequestBuilder {
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let mut request = self
            .post()
            .header("mcp-protocol-version", MODERN)
            .header("mcp-method", method);
        if let Some(name) = params["name"].as_str() {
            request = request.header("mcp-name", name.to_owned());
        }
        request.body(message(method, params).to_string())
    }

    async fn stop(mut self) -> Drained {
        self.shutdown.take();
        drop(self.http);
        self.serving.await.unwrap()
    }
}

fn message(method: &str, params: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
}

/// Adds an unknown parameter, which makes the fast path leave the message to rmcp; rmcp ignores it.
fn by_rmcp(mut message: Value) -> Value {
    message["params"]["nobody_knows_this"] = json!(1);
    message
}

async fn json_of(response: reqwest::Response) -> Value {
    let content_type = response.headers()["content-type"]
        .to_str()
        .unwrap()
        .to_owned();
    let text = response.text().await.unwrap();
    assert!(
        content_type.starts_with("application/json"),
        "{content_type}: {text}"
    );
    serde_json::from_str(&text).unwrap()
}

/// The error in the text of a failed call.
fn error_of(result: &Value) -> Value {
    let text = result["content"][0]["text"].as_str().unwrap_or_default();
    serde_json::from_str::<Value>(text).unwrap_or_default()["error"].clone()
}

/// A complete drain after which all of the given number of sessions are ended.
fn drained_completely(sessions: u64) -> Drained {
    Drained {
        finished: true,
        sessions: Counts {
            opened: sessions,
            ended: sessions,
            abandoned: 0,
        },
    }
}
