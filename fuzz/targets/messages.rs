//! Messages: the revision that the header names, a line's end, and the body of a POST. Whatever
//! comes is answered, and not with an error of ours; what is refused unread is what serde_json
//! would refuse; and what goes the straight way gets from rmcp, to which it is shown as well, the
//! same answer byte for byte. The tools answer with what they were given, so that no reading can
//! differ unseen.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a fuzz target reports a finding by a panic"
)]

use std::cell::LazyCell;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures::FutureExt;
use futures::future::BoxFuture;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::Settings;
use super::http::fast_path::FastRequest;
use super::http::response::PARSE_ERROR;
use super::http::routes::mcp_post::Endpoint;
use super::http::routes::router::App;
use super::http::service::{HttpService, endpoint};
use super::jsonrpc::structured_content::fill_response;
use super::jsonrpc::validate::{id_in_prefix, unreadable, validate};
use crate::api;
use crate::api::{ApiClient, Features, TenantIdentity, Versions};
use crate::auth;
use crate::auth::Verifier;
use crate::auth::challenge::{Challenge, Resource};
use crate::foundation::clock::Clock;
use crate::foundation::secret::Secret;
use crate::mcp;
use crate::mcp::{Caller, Callers, Server, ToolAccess, TransportKind};
use crate::tools::{EntityTools, Limits, ListedTool, Outcome, ToolCall, Toolset};
use crate::workers::Workers;

/// For `sub` "ada", until 2100, under [`SECRET`].
const TOKEN: &str = concat!(
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEiLCJleHAiOjQxMDI0NDQ4MDB9.",
    "WlXhMywctNciXHyKhXzjlxB99mTy1bjEo4gA-ZF5zq4"
);
const SECRET: &str = "0123456789abcdef0123456789abcdef";
const ABOUT: &str = "the-only-one";

/// Answers with the arguments that came.
struct Echo(EntityTools);

impl Toolset for Echo {
    fn list(&self, features: Features) -> Vec<ListedTool> {
        self.0.list(features)
    }

    fn call<'a>(&'a self, call: ToolCall<'a>) -> BoxFuture<'a, Outcome> {
        let mut text = json!({ "tool": call.name, "about": call.correlation_id }).to_string();
        text.truncate(text.len() - 1);
        text.extend([",\"arguments\":", call.arguments.get(), "}"]);
        futures::future::ready(Outcome::success(text)).boxed()
    }
}

struct Stage {
    runtime: Runtime,
    whole: HttpService<Server>,
    endpoint: Endpoint<Server>,
    caller: Caller,
}

thread_local! {
    static STAGE: LazyCell<Stage> = LazyCell::new(Stage::set);
}

pub fn feed(input: &[u8]) {
    let mut parts = input.splitn(2, |byte| *byte == b'\n');
    let version = parts.next().unwrap_or_default();
    let body = parts.next().unwrap_or_default();
    check_outline(body);
    STAGE.with(|stage| stage.play(version, body));
}

fn check_outline(body: &[u8]) {
    let read = serde_json::from_slice::<Value>(body);
    let (id, outlined) = validate(body);
    match (&outlined, &read) {
        (Ok(_), Ok(message)) => assert_eq!(message.get("jsonrpc"), Some(&json!("2.0"))),
        (Err(error), Ok(_)) => assert!(error.code != PARSE_ERROR, "{error:?}"),
        // A number may be beyond what serde_json holds; nothing else that it refuses passes.
        (Ok(_), Err(error)) => assert!(error.to_string().contains("out of range"), "{error}"),
        (Err(_), Err(_)) => {}
    }
    if let (Some(id), Ok(message)) = (id, &read) {
        assert_eq!(
            serde_json::from_str::<Value>(id.get()).ok().as_ref(),
            message.get("id")
        );
    }
    let beginning = body.get(..body.len() * 2 / 3).unwrap_or_default();
    if let (Some(early), Some(id)) = (id_in_prefix(beginning), id) {
        assert_eq!(early.get(), id.get());
    }
    assert!(unreadable(body).message.len() < 200);
}

impl Stage {
    fn set() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let inside = runtime.enter();
        let auth = auth::Settings {
            hs256_secret: Some(Secret::new(SECRET)),
            ..auth::Settings::default()
        };
        // No request is sent to it.
        let nowhere = api::Settings {
            base_url: "http://127.0.0.1:9".parse().unwrap(),
            ..api::Settings::default()
        };
        let tenant = TenantIdentity {
            id: "acme".into(),
            secret: Secret::new(SECRET),
            signature: Versions::Both,
        };
        let api_client =
            ApiClient::new(nowhere, tenant, Clock::system(), &Workers::none()).unwrap();
        let tools = Echo(EntityTools::new(uuid::Uuid::now_v7, Limits::default()));
        let server = Server::new(
            vec![Arc::new(tools)],
            api_client.clone(),
            Callers::Request,
            &mcp::Settings::default(),
        );
        let verifier = Arc::new(Verifier::new(&auth, "acme", Clock::system()).unwrap());
        let principal = verifier.verify(TOKEN).now_or_never().unwrap().unwrap();
        let app = App::new(
            Settings::default(),
            verifier,
            Challenge::new(&auth, Resource::default()),
            api_client,
            server,
        );
        let caller = Caller {
            principal,
            correlation_id: Arc::from(ABOUT),
            traceparent: None,
            trace_context: Default::default(),
            accepts_progress: true,
            requested_access: ToolAccess::ALL,
            transport: TransportKind::Http,
            verified_in: Duration::ZERO,
            memory: Default::default(),
        };
        drop(inside);
        Self {
            whole: HttpService::new(&app),
            endpoint: endpoint(&app),
            runtime,
            caller,
        }
    }

    fn play(&self, version: &[u8], body: &[u8]) {
        let headers = head(version, body);
        let whole = self.runtime.block_on(async {
            let answer = self.whole.answer(post(&headers, body)).await;
            taken_down(answer).await
        });
        assert!(
            !whole.0.is_server_error(),
            "{}",
            beginning(&format!("{whole:?}"))
        );
        let body = Bytes::copy_from_slice(body);
        let (id, Ok(message)) = validate(&body) else {
            return;
        };
        let fast = FastRequest::read(
            &self.endpoint.handler,
            &headers,
            id,
            &message,
            &body,
            &self.caller,
            None,
        )
        .is_some();
        if fast {
            let split = message.split(&body, true);
            let mut request = post(&headers, &split.message);
            request.extensions_mut().insert(self.caller.clone());
            if let Some(arguments) = split.arguments {
                request.extensions_mut().insert(arguments);
            }
            let by_rmcp = self.runtime.block_on(async {
                let answer = self.endpoint.stateless.handle(request).await.map(Body::new);
                taken_down(fill_response(answer, Default::default()).await).await
            });
            if whole != by_rmcp {
                let about: Vec<_> = [whole, by_rmcp]
                    .map(|answer| beginning(&format!("{answer:?}")))
                    .into();
                panic!("{about:#?}");
            }
        }
    }
}

/// As a client that speaks this revision would write it, for the modern one with what it says of
/// the body.
fn head(version: &[u8], body: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        (HOST, "localhost"),
        (ACCEPT, "application/json, text/event-stream"),
        (CONTENT_TYPE, "application/json"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(
        AUTHORIZATION,
        HeaderValue::from_str(&format!("Bearer {TOKEN}")).unwrap(),
    );
    headers.insert("x-correlation-id", HeaderValue::from_static(ABOUT));
    if let Ok(version) = HeaderValue::from_bytes(version)
        && !version.is_empty()
    {
        headers.insert("mcp-protocol-version", version);
    }
    if version.starts_with(b"2026") {
        let message: Value = serde_json::from_slice(body).unwrap_or_default();
        for (name, at) in [("mcp-method", "/method"), ("mcp-name", "/params/name")] {
            let said = message.pointer(at).and_then(Value::as_str);
            if let Some(Ok(said)) = said.map(HeaderValue::from_str) {
                headers.insert(name, said);
            }
        }
    }
    headers
}

fn post(headers: &HeaderMap, body: &[u8]) -> Request<Body> {
    let mut request = Request::post("/mcp")
        .body(Body::from(Bytes::copy_from_slice(body)))
        .unwrap();
    *request.headers_mut() = headers.clone();
    request
}

fn beginning(text: &str) -> String {
    text.chars().take(400).collect()
}

async fn taken_down<B>(answer: http::Response<B>) -> (StatusCode, Option<HeaderValue>, String)
where
    B: http_body::Body<Data = Bytes, Error: std::fmt::Debug>,
{
    let (parts, body) = answer.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let kind = parts.headers.get(CONTENT_TYPE).cloned();
    (
        parts.status,
        kind,
        String::from_utf8_lossy(&body).into_owned(),
    )
}
