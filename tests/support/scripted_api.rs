//! An API on a loopback socket that keeps to the contract until it is told not to.
//!
//! It logs every request, keeps a set of open sessions, and plays the steps it was given: one per
//! entity request, one per opening of a session. Without a step it does the right thing.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::sync::Notify;

/// One request as it came in.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: Method,
    pub path: String,
    pub query: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Seen {
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// `GET /v1/notes`, with session ids left out.
    pub fn line(&self) -> String {
        let path = if self.path.starts_with("/v1/sync/sessions/") {
            "/v1/sync/sessions/…"
        } else {
            &self.path
        };
        format!("{} {path}", self.method)
    }
}

#[derive(Debug, Clone)]
pub enum Step {
    Answer(u16, Vec<(&'static str, String)>, String),
    /// Never answers.
    Hang,
    /// Answers what it would have answered, after the gate has been opened.
    Gate(Arc<Notify>),
    /// Announces a body and breaks off in the middle of it.
    BreakOff,
}

impl Step {
    pub fn json(status: u16, body: Value) -> Self {
        Self::Answer(
            status,
            vec![("content-type", "application/json".into())],
            body.to_string(),
        )
    }

    pub fn text(status: u16, body: &str) -> Self {
        Self::Answer(
            status,
            vec![("content-type", "text/plain; charset=utf-8".into())],
            body.into(),
        )
    }
}

#[derive(Clone, Default)]
pub struct ScriptedApi(Arc<Inner>);

#[derive(Default)]
struct Inner {
    url: std::sync::OnceLock<String>,
    log: Mutex<Vec<Seen>>,
    sessions: Mutex<BTreeSet<String>>,
    made: AtomicU64,
    requests: Mutex<VecDeque<Step>>,
    openings: Mutex<VecDeque<Step>>,
    endings: Mutex<VecDeque<Step>>,
    probes: Mutex<VecDeque<Step>>,
    descriptions: Mutex<VecDeque<Step>>,
    /// Wakes whoever waits for something to happen here.
    changed: Notify,
}

impl ScriptedApi {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api = Self::default();
        api.0
            .url
            .set(format!("http://{}", listener.local_addr().unwrap()))
            .unwrap();
        let app = axum::Router::new().fallback(answer).with_state(api.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        api
    }

    pub fn url(&self) -> String {
        self.0.url.get().unwrap().clone()
    }

    /// Steps for the next entity requests.
    pub fn then(&self, steps: impl IntoIterator<Item = Step>) -> &Self {
        self.0.requests.lock().unwrap().extend(steps);
        self
    }

    pub fn then_opening(&self, steps: impl IntoIterator<Item = Step>) -> &Self {
        self.0.openings.lock().unwrap().extend(steps);
        self
    }

    pub fn then_ending(&self, steps: impl IntoIterator<Item = Step>) -> &Self {
        self.0.endings.lock().unwrap().extend(steps);
        self
    }

    /// Steps for the next questions to `/readyz`.
    pub fn then_probing(&self, steps: impl IntoIterator<Item = Step>) -> &Self {
        self.0.probes.lock().unwrap().extend(steps);
        self
    }

    /// Of `/v1/sync/info`.
    pub fn then_describing(&self, steps: impl IntoIterator<Item = Step>) -> &Self {
        self.0.descriptions.lock().unwrap().extend(steps);
        self
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.0.log.lock().unwrap().clone()
    }

    pub fn lines(&self) -> Vec<String> {
        self.seen().iter().map(Seen::line).collect()
    }

    pub fn open_sessions(&self) -> usize {
        self.0.sessions.lock().unwrap().len()
    }

    /// Waits until this many requests have come in.
    pub async fn until_seen(&self, count: usize) {
        self.until(
            || self.seen().len() >= count,
            || format!("{count} requests, but saw {:?}", self.lines()),
        )
        .await;
    }

    /// Waits until every session has been ended.
    pub async fn until_no_session(&self) {
        self.until(
            || self.open_sessions() == 0,
            || format!("the end of {} sessions", self.open_sessions()),
        )
        .await;
    }

    async fn until(&self, reached: impl Fn() -> bool, what: impl Fn() -> String) {
        let waiting = async {
            loop {
                let changed = self.0.changed.notified();
                if reached() {
                    return;
                }
                changed.await;
            }
        };
        assert!(
            tokio::time::timeout(Duration::from_secs(10), waiting)
                .await
                .is_ok(),
            "waited for {}",
            what()
        );
    }

    async fn play(&self, seen: Seen) -> Response {
        let opening = seen.method == Method::POST && seen.path == "/v1/sync/sessions";
        let ending = seen.method == Method::DELETE && seen.path.starts_with("/v1/sync/sessions/");
        let steps = match (opening, ending) {
            (true, _) => &self.0.openings,
            (_, true) => &self.0.endings,
            _ if seen.path.ends_with("readyz") => &self.0.probes,
            _ if seen.path == "/v1/sync/info" => &self.0.descriptions,
            _ if seen.path.starts_with("/v1/sync/") => return self.proper(&seen),
            _ => &self.0.requests,
        };
        let step = steps.lock().unwrap().pop_front();
        match step {
            None => self.proper(&seen),
            Some(Step::Hang) => std::future::pending().await,
            Some(Step::Gate(gate)) => {
                gate.notified().await;
                self.proper(&seen)
            }
            Some(Step::Answer(status, headers, body)) => {
                let mut response = (StatusCode::from_u16(status).unwrap(), body).into_response();
                for (name, value) in headers {
                    response.headers_mut().insert(name, value.parse().unwrap());
                }
                response
            }
            Some(Step::BreakOff) => {
                let chunks = [
                    Ok(Bytes::from("{\"uid\":")),
                    Err(std::io::Error::other("broken off")),
                ];
                Body::from_stream(futures::stream::iter(chunks)).into_response()
            }
        }
    }

    fn proper(&self, seen: &Seen) -> Response {
        if seen.method == Method::POST && seen.path == "/v1/sync/sessions" {
            let id = format!("session-{}", self.0.made.fetch_add(1, Ordering::SeqCst));
            self.0.sessions.lock().unwrap().insert(id.clone());
            self.0.changed.notify_waiters();
            let body = json!({"id": id, "userId": "user-1", "epoch": 1});
            return (
                StatusCode::CREATED,
                [("x-sync-epoch", "1")],
                body.to_string(),
            )
                .into_response();
        }
        if let Some(id) = seen.path.strip_prefix("/v1/sync/sessions/") {
            let known = self.0.sessions.lock().unwrap().remove(id);
            self.0.changed.notify_waiters();
            return if known {
                StatusCode::NO_CONTENT
            } else {
                StatusCode::NOT_FOUND
            }
            .into_response();
        }
        match seen.path.as_str() {
            "/readyz" => "ok".into_response(),
            _ => json!({
                "uid": "u",
                "version": 1,
                "updatedAt": "2025-11-20T11:00:00.000Z",
                "payload": {"uid": "u"},
            })
            .to_string()
            .into_response(),
        }
    }
}

async fn answer(State(api): State<ScriptedApi>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let seen = Seen {
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers,
        body: axum::body::to_bytes(body, usize::MAX)
            .await
            .unwrap_or_default(),
    };
    api.0.log.lock().unwrap().push(seen.clone());
    api.0.changed.notify_waiters();
    api.play(seen).await
}
