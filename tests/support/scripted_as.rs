//! An authorization server on a loopback socket that exchanges tokens until it is told not to.
//!
//! It keeps what it was asked and plays the steps it was given, one per question. Without a step it
//! answers what its maker makes of the question.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tokio::sync::Notify;

/// One question as it came in.
#[derive(Debug, Clone)]
pub struct TokenRequest {
    pub headers: HeaderMap,
    pub form: BTreeMap<String, String>,
}

impl TokenRequest {
    pub fn field(&self, name: &str) -> &str {
        self.form.get(name).map_or("", String::as_str)
    }
}

#[derive(Debug, Clone)]
pub enum Step {
    Answer(u16, String),
    Redirect(String),
    /// Never answers.
    Hang,
    /// Answers as it would have, after the gate has been opened.
    Gate(Arc<Notify>),
    /// Announces an answer and breaks off in the middle of it.
    BreakOff,
}

impl Step {
    /// A refusal as RFC 6749 has it, with a description that nobody should repeat.
    pub fn refuse(status: u16, code: &str, description: &str) -> Self {
        let body = serde_json::json!({"error": code, "error_description": description});
        Self::Answer(status, body.to_string())
    }
}

type TokenMaker = dyn Fn(&TokenRequest) -> Value + Send + Sync;

#[derive(Clone)]
pub struct ScriptedAs(Arc<Inner>);

struct Inner {
    url: String,
    requests: Mutex<Vec<TokenRequest>>,
    steps: Mutex<VecDeque<Step>>,
    make: Box<TokenMaker>,
}

impl ScriptedAs {
    pub async fn start(make: impl Fn(&TokenRequest) -> Value + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self(Arc::new(Inner {
            url: format!("http://{}/token", listener.local_addr().unwrap()),
            requests: Mutex::default(),
            steps: Mutex::default(),
            make: Box::new(make),
        }));
        let app = axum::Router::new()
            .fallback(answer)
            .with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        server
    }

    /// Where tokens are exchanged.
    pub fn url(&self) -> String {
        self.0.url.clone()
    }

    pub fn then(&self, steps: impl IntoIterator<Item = Step>) -> &Self {
        self.0.steps.lock().unwrap().extend(steps);
        self
    }

    pub fn requests(&self) -> Vec<TokenRequest> {
        self.0.requests.lock().unwrap().clone()
    }
}

async fn answer(State(server): State<ScriptedAs>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX)
        .await
        .unwrap_or_default();
    let request = TokenRequest {
        headers: parts.headers,
        form: url::form_urlencoded::parse(&body).into_owned().collect(),
    };
    server.0.requests.lock().unwrap().push(request.clone());
    let step = server.0.steps.lock().unwrap().pop_front();
    let proper = || (server.0.make)(&request).to_string().into_response();
    match step {
        None => proper(),
        Some(Step::Answer(status, body)) => {
            (StatusCode::from_u16(status).unwrap(), body).into_response()
        }
        Some(Step::Redirect(target)) => {
            (StatusCode::TEMPORARY_REDIRECT, [("location", target)]).into_response()
        }
        Some(Step::Hang) => std::future::pending().await,
        Some(Step::Gate(gate)) => {
            gate.notified().await;
            proper()
        }
        Some(Step::BreakOff) => {
            let chunks = [
                Ok(Bytes::from("{\"access_token\":")),
                Err(std::io::Error::other("broken off")),
            ];
            Body::from_stream(futures::stream::iter(chunks)).into_response()
        }
    }
}
