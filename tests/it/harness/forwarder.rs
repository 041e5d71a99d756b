//! What stands between a server and the API: lets everything through, writes everything down, and
//! does to a request what a test has asked for.
//!
//! Tests share a forwarder. A request belongs to the user whose token it carries, and so do the
//! records and the faults, so that tests do not see one another.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use futures::StreamExt;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use uuid::Uuid;

use super::process::HANG_TIMEOUT;
use super::token::{SECRETS, User, now_ms, signature, signature_v2};

/// One request as the server sent it, and the status that it was answered with, if it was.
#[derive(Clone)]
pub struct Record {
    pub at_ms: u64,
    pub method: Method,
    pub path: String,
    pub query: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub status: Option<u16>,
}

/// Which request of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Opening,
    Operation,
    Ending,
}

impl Record {
    pub fn stage(&self) -> Stage {
        match (self.method.as_str(), self.path.as_str()) {
            ("POST", "/v1/sync/sessions") => Stage::Opening,
            ("DELETE", path) if path.starts_with("/v1/sync/sessions/") => Stage::Ending,
            _ => Stage::Operation,
        }
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Path and query, as they were in the request line.
    pub fn target(&self) -> String {
        match self.query.as_str() {
            "" => self.path.clone(),
            query => format!("{}?{query}", self.path),
        }
    }

    /// The same request, signed at this time with both versions.
    fn signed_anew(&self, at_ms: u64) -> Self {
        let mut record = self.clone();
        let signed = signature(
            &SECRETS.tenant,
            record.header("x-tb-tenant-id"),
            &at_ms.to_string(),
        );
        record.headers.insert("x-tb-timestamp", at_ms.into());
        record
            .headers
            .insert("x-tb-signature", signed.parse().unwrap());
        let nonce = Uuid::new_v4().simple().to_string();
        record.headers.insert("x-tb-nonce", nonce.parse().unwrap());
        for (name, value) in signature_v2(
            &SECRETS.tenant,
            self.method.as_str(),
            &self.target(),
            &record.headers,
            &self.body,
        ) {
            record.headers.insert(name, value.parse().unwrap());
        }
        record
    }

    /// `open`, `GET /v1/notes?limit=50`, `end`.
    pub fn line(&self) -> String {
        let Self {
            method,
            path,
            query,
            ..
        } = self;
        match self.stage() {
            Stage::Opening => "open".to_owned(),
            Stage::Ending => "end".to_owned(),
            Stage::Operation if query.is_empty() => format!("{method} {path}"),
            Stage::Operation => format!("{method} {path}?{query}"),
        }
    }
}

/// The requests of one user, in the order in which they came.
#[derive(Clone, Default)]
pub struct Traffic(pub Vec<Record>);

impl Traffic {
    pub fn lines(&self) -> Vec<String> {
        self.0.iter().map(Record::line).collect()
    }

    pub fn count(&self, stage: Stage) -> usize {
        self.0
            .iter()
            .filter(|record| record.stage() == stage)
            .count()
    }

    pub fn operations(&self) -> Vec<&Record> {
        self.0
            .iter()
            .filter(|record| record.stage() == Stage::Operation)
            .collect()
    }

    /// Every session that was opened has been ended.
    fn is_settled(&self) -> bool {
        let with = |stage: Stage, is: fn(u16) -> bool| {
            let those = |record: &&Record| record.stage() == stage && record.status.is_some_and(is);
            self.0.iter().filter(those).count()
        };
        with(Stage::Opening, |status| status == 201)
            == with(Stage::Ending, |status| status < 500 && status != 429)
    }
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for record in &self.0 {
            let status = record
                .status
                .map_or_else(|| "unanswered".to_owned(), |status| status.to_string());
            let body = String::from_utf8_lossy(&record.body);
            let body: String = body.chars().take(300).collect();
            writeln!(f, "  {} → {status}  {body}", record.line())?;
        }
        Ok(())
    }
}

/// What happens to a request in place of being let through.
#[derive(Clone)]
pub enum Fault {
    /// The API never sees it.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// The API never sees it, and there is no answer.
    Hang,
    /// The API never sees it, and the connection breaks.
    HangUp,
    /// The API carries it out, but there is no answer.
    WithholdAnswer,
    /// The API carries it out, and the answer comes byte by byte, with this pause in between.
    Trickle(Duration),
    /// The API carries it out, and its answer says that it is something else.
    Relabel(&'static str),
    /// It comes to the API as if it had been signed by a clock that is this many seconds ahead.
    Skew(i64),
    /// The API carries it out, but the connection breaks before the answer comes.
    LoseAnswer,
    /// The API carries it out, and the answer breaks off in the middle.
    TruncateAnswer,
    /// The API carries it out, and something else comes back.
    Replace(u16, String),
    /// The API gets it twice, as from a server that sends it again; the second answer comes back.
    SendTwice,
    /// It waits at the gate, then goes on as if it had been sent only then.
    Wait(Gate),
    /// The API carries it out, and another user's answer to the same request comes back, if there
    /// has been one.
    SwapAnswers,
}

impl Fault {
    pub fn json(status: u16, body: &Value) -> Self {
        let content_type = ("content-type", "application/json".to_owned());
        Self::Answer(status, vec![content_type], body.to_string())
    }

    pub fn text(status: u16, body: &str) -> Self {
        let content_type = ("content-type", "text/plain; charset=utf-8".to_owned());
        Self::Answer(status, vec![content_type], body.to_owned())
    }
}

/// Holds a request until the test lets it go on.
#[derive(Clone)]
pub struct Gate(Arc<watch::Sender<bool>>);

impl Gate {
    pub fn closed() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    pub fn open() -> Self {
        Self(Arc::new(watch::Sender::new(true)))
    }

    /// Now the request may go on.
    pub fn release(&self) {
        self.0.send_replace(true);
    }

    async fn pass(&self) {
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}

struct Planned {
    stage: Stage,
    fault: Fault,
}

#[derive(Clone)]
pub struct Forwarder {
    pub url: String,
    shared: Arc<Shared>,
}

struct Shared {
    api: String,
    http: reqwest::Client,
    /// Whether requests are written down.
    records_requests: bool,
    /// What `/readyz` is answered with in place of being let through, as by an API that has no such
    /// route. A route that the API does not have, and the status of its answer there.
    missing: Option<(&'static str, u16)>,
    records: watch::Sender<HashMap<String, Traffic>>,
    planned: Mutex<HashMap<String, VecDeque<Planned>>>,
    /// How many faults have been injected.
    injected: AtomicUsize,
    /// By method and path: whose the latest answer was, and what it said. Kept only where faults
    /// may cross answers.
    latest: Mutex<HashMap<String, (String, Bytes)>>,
}

impl Forwarder {
    pub async fn start(api: &str) -> Self {
        Self::launch(api, true, None).await
    }

    /// One that makes the API look like one of the family, which has no `/readyz` and answers with
    /// this status there.
    pub async fn without_readyz(api: &str, status: u16) -> Self {
        Self::launch(api, true, Some(("/readyz", status))).await
    }

    /// One that makes the API look like one that does not describe itself and has no features.
    pub async fn without_features(api: &str) -> Self {
        Self::launch(api, true, Some(("/v1/sync/info", 404))).await
    }

    /// One that writes nothing down, for more requests than can be kept.
    pub async fn without_records(api: &str) -> Self {
        Self::launch(api, false, None).await
    }

    async fn launch(
        api: &str,
        records_requests: bool,
        missing: Option<(&'static str, u16)>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        let shared = Arc::new(Shared {
            api: api.to_owned(),
            http,
            records_requests,
            missing,
            records: watch::Sender::default(),
            planned: Mutex::default(),
            injected: AtomicUsize::new(0),
            latest: Mutex::default(),
        });
        let serving = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&serving);
                tokio::spawn(async move {
                    let service = hyper::service::service_fn(move |request| {
                        forward(Arc::clone(&shared), request)
                    });
                    // A connection that a fault broke ends in an error, which is what was asked
                    // for.
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { url, shared }
    }

    /// Injects a fault into the next request of this user at this stage. Several are injected one
    /// after the other.
    pub fn inject(&self, user: &User, stage: Stage, fault: Fault) {
        let mut planned = self.shared.planned.lock().unwrap();
        let queue = planned.entry(user.sub.clone()).or_default();
        queue.push_back(Planned { stage, fault });
    }

    /// How many faults have been injected.
    pub fn faults_injected(&self) -> usize {
        self.shared.injected.load(Ordering::Relaxed)
    }

    /// What has come so far.
    pub fn so_far(&self, user: &User) -> Traffic {
        self.shared
            .records
            .borrow()
            .get(&user.sub)
            .cloned()
            .unwrap_or_default()
    }

    /// Waits until every session that was opened for this user has been ended.
    pub async fn settled(&self, user: &User) -> Traffic {
        self.until(user, "the end of every session", Traffic::is_settled)
            .await
    }

    /// Waits until `count` requests of that stage have come.
    pub async fn until_seen(&self, user: &User, stage: Stage, count: usize) -> Traffic {
        let what = format!("{count} × {stage:?}");
        self.until(user, &what, |traffic| traffic.count(stage) >= count)
            .await
    }

    async fn until(&self, user: &User, what: &str, reached: impl Fn(&Traffic) -> bool) -> Traffic {
        let mut records = self.shared.records.subscribe();
        let nothing = Traffic::default();
        let waiting = records.wait_for(|all| reached(all.get(&user.sub).unwrap_or(&nothing)));
        let in_time = tokio::time::timeout(HANG_TIMEOUT, waiting).await.is_ok();
        let traffic = self.so_far(user);
        assert!(in_time, "waited in vain for {what}:\n{traffic}");
        traffic
    }

    /// Everything that ever came through here; requests that carry no token included.
    pub fn everything(&self) -> Vec<Record> {
        let records = self.shared.records.borrow();
        records
            .values()
            .flat_map(|traffic| traffic.0.iter().cloned())
            .collect()
    }
}

/// Makes hyper break the connection.
#[derive(Debug)]
struct BrokenConnectionError;

impl fmt::Display for BrokenConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("broken on purpose")
    }
}

impl std::error::Error for BrokenConnectionError {}

async fn forward(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Body>, BrokenConnectionError> {
    let (parts, body) = request.into_parts();
    let body = body
        .collect()
        .await
        .map_err(|_| BrokenConnectionError)?
        .to_bytes();
    let record = Record {
        at_ms: now_ms(),
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers,
        body,
        status: None,
    };
    let sub = subject(&record.headers);
    if !shared.records_requests {
        return shared.answer(&sub, &record).await;
    }
    let mut position = 0;
    shared.records.send_modify(|all| {
        let traffic = &mut all.entry(sub.clone()).or_default().0;
        position = traffic.len();
        traffic.push(record.clone());
    });
    let answer = shared.answer(&sub, &record).await;
    let status = answer.as_ref().ok().map(|answer| answer.status().as_u16());
    shared.records.send_modify(|all| {
        if let Some(record) = all
            .get_mut(&sub)
            .and_then(|traffic| traffic.0.get_mut(position))
        {
            record.status = status;
        }
    });
    answer
}

impl Shared {
    async fn answer(
        &self,
        sub: &str,
        record: &Record,
    ) -> Result<Response<Body>, BrokenConnectionError> {
        let planned = self.planned_for(sub, record.stage());
        self.injected
            .fetch_add(usize::from(planned.is_some()), Ordering::Relaxed);
        let missing = self.missing.filter(|(path, _)| record.path == *path);
        if let Some((_, status)) = missing {
            let mut answer = Response::new(Body::from("404 page not found\n"));
            *answer.status_mut() = StatusCode::from_u16(status).unwrap();
            return Ok(answer);
        }
        match planned {
            None => self.ask(record).await,
            Some(Fault::Answer(status, headers, body)) => {
                let mut answer = Response::new(Body::from(body));
                *answer.status_mut() = StatusCode::from_u16(status).unwrap();
                for (name, value) in headers {
                    answer.headers_mut().insert(name, value.parse().unwrap());
                }
                Ok(answer)
            }
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::HangUp) => Err(BrokenConnectionError),
            Some(Fault::WithholdAnswer) => {
                self.ask(record).await?;
                std::future::pending().await
            }
            Some(Fault::Trickle(pause)) => {
                let (parts, body) = self.ask(record).await?.into_parts();
                let body = body
                    .collect()
                    .await
                    .map_err(|_| BrokenConnectionError)?
                    .to_bytes();
                let bytes = futures::stream::iter(body).then(move |byte| async move {
                    tokio::time::sleep(pause).await;
                    Ok::<_, BrokenConnectionError>(Bytes::from(vec![byte]))
                });
                Ok(Response::from_parts(parts, Body::from_stream(bytes)))
            }
            Some(Fault::Relabel(kind)) => {
                let mut answer = self.ask(record).await?;
                answer
                    .headers_mut()
                    .insert(CONTENT_TYPE, kind.parse().unwrap());
                Ok(answer)
            }
            Some(Fault::Skew(seconds)) => {
                let then = now_ms().saturating_add_signed(seconds * 1000);
                self.ask(&record.signed_anew(then)).await
            }
            Some(Fault::LoseAnswer) => {
                self.ask(record).await?;
                Err(BrokenConnectionError)
            }
            Some(Fault::TruncateAnswer) => {
                let answer = self.ask(record).await?;
                let pieces = [
                    Ok(Bytes::from_static(b"{\"uid\":")),
                    Err(BrokenConnectionError),
                ];
                Ok(answer.map(|_| Body::from_stream(futures::stream::iter(pieces))))
            }
            Some(Fault::Replace(status, body)) => {
                self.ask(record).await?;
                let mut answer = Response::new(Body::from(body));
                *answer.status_mut() = StatusCode::from_u16(status).unwrap();
                Ok(answer)
            }
            Some(Fault::SendTwice) => {
                self.ask(record).await?;
                self.ask(&record.signed_anew(now_ms())).await
            }
            Some(Fault::Wait(gate)) => {
                gate.pass().await;
                self.ask(&record.signed_anew(now_ms())).await
            }
            Some(Fault::SwapAnswers) => {
                let (parts, body) = self.ask(record).await?.into_parts();
                let own = body
                    .collect()
                    .await
                    .map_err(|_| BrokenConnectionError)?
                    .to_bytes();
                let question = format!("{} {}", record.method, record.path);
                let said = (sub.to_owned(), own.clone());
                let latest = self.latest.lock().unwrap().insert(question, said);
                let others = latest
                    .filter(|(whose, _)| whose != sub)
                    .map(|(_, said)| said);
                Ok(Response::from_parts(
                    parts,
                    Body::from(others.unwrap_or(own)),
                ))
            }
        }
    }

    fn planned_for(&self, sub: &str, stage: Stage) -> Option<Fault> {
        let mut planned = self.planned.lock().unwrap();
        let queue = planned.get_mut(sub)?;
        let position = queue.iter().position(|planned| planned.stage == stage)?;
        queue.remove(position).map(|planned| planned.fault)
    }

    async fn ask(&self, record: &Record) -> Result<Response<Body>, BrokenConnectionError> {
        let mut headers = record.headers.clone();
        for name in [HOST, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING] {
            headers.remove(name);
        }
        let mut url = format!("{}{}", self.api, record.path);
        if !record.query.is_empty() {
            url = format!("{url}?{}", record.query);
        }
        let request = self
            .http
            .request(record.method.clone(), url)
            .headers(headers);
        let asked = request.body(record.body.clone()).send().await;
        // An API that is gone looks from here like one that hangs up.
        let answered = asked.map_err(|_| BrokenConnectionError)?;
        let (status, headers) = (answered.status(), answered.headers().clone());
        let mut answer = Response::new(Body::from(
            answered.bytes().await.map_err(|_| BrokenConnectionError)?,
        ));
        *answer.status_mut() = status;
        *answer.headers_mut() = headers;
        for name in [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING] {
            answer.headers_mut().remove(name);
        }
        Ok(answer)
    }
}

/// Whose token it is, by its own account.
fn subject(headers: &HeaderMap) -> String {
    let claims = || {
        let token = headers.get("authorization")?.to_str().ok()?;
        let claims = token.split('.').nth(1)?;
        serde_json::from_slice::<Value>(&BASE64_URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
    };
    claims()
        .and_then(|claims| claims["sub"].as_str().map(str::to_owned))
        .unwrap_or_default()
}
