//! One POST to the server, and how its answer is read.

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use reqwest::Response;

use super::Settings;
use super::conversation::{Conversation, SESSION};
use super::error::{ConnectError, Unreachable, error_detail};
use super::events::EventReader;
use super::message::{Id, Message, is_answer, line_of, request_id};
use super::output::Output;
use super::target::is_loopback;
use super::token::authorization;
use crate::foundation::bounded_body::{self, BodyError};
use crate::foundation::http_client;
use crate::foundation::secret::Secret;
use crate::telemetry::tasks;

/// Below the 75 s after which a ToolBridge server closes an idle connection, so that no request
/// meets a closing connection.
const POOL_IDLE: std::time::Duration = std::time::Duration::from_secs(30);

/// Limit of an error body: only its message is used.
const MAX_ERROR_BODY: usize = 64 * 1024;

pub struct Remote {
    http: reqwest::Client,
    headers: HeaderMap,
    url: reqwest::Url,
    max_answer_bytes: usize,
}

impl Remote {
    pub fn new(settings: &Settings) -> Result<Self, reqwest::Error> {
        let mut builder = http_client::builder()
            .connect_timeout(settings.connect_timeout)
            .read_timeout(settings.silence)
            .pool_idle_timeout(POOL_IDLE)
            .user_agent(concat!(
                "toolbridge-mcp-connect/",
                env!("CARGO_PKG_VERSION")
            ));
        if is_loopback(&settings.url) {
            // A proxy from the environment must not see loopback traffic.
            builder = builder.no_proxy();
        }
        let mut headers = settings.headers.clone();
        headers.insert(
            ACCEPT,
            HeaderValue::from_static("application/json, text/event-stream"),
        );
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(Self {
            http: builder.build()?,
            headers,
            url: settings.url.clone(),
            max_answer_bytes: settings.max_answer_bytes,
        })
    }

    /// The URL without its query, which may contain a secret, for messages.
    pub fn shown(&self) -> String {
        let mut url = self.url.clone();
        url.set_query(None);
        url.to_string()
    }

    /// Sends a message and returns the response, with its body unread, or an error for its status.
    pub async fn post(
        &self,
        message: &Message,
        headers: &HeaderMap,
        token: &Secret,
    ) -> Result<Response, RemoteError> {
        let mut all = self.headers.clone();
        all.extend(headers.clone());
        all.extend(authorization(token).map(|value| (AUTHORIZATION, value)));
        let request = self.http.post(self.url.clone()).headers(all);
        let response = request
            .body(message.body.clone())
            .send()
            .await
            .map_err(|error| self.failed(error))?;
        if response.status().is_success() {
            Ok(response)
        } else {
            Err(self.refused(response, message.id.as_ref()).await)
        }
    }

    /// Ends a session, for a server that keeps one.
    pub async fn end_session(&self, session: HeaderValue, token: &Secret) {
        let request = self.http.delete(self.url.clone()).header(SESSION, session);
        let request = match authorization(token) {
            Some(value) => request.header(AUTHORIZATION, value),
            None => request,
        };
        // Best effort: the server expires the session anyway.
        let _ = request.send().await;
    }

    /// Forwards the messages of a response until the request is answered.
    pub async fn read(
        &self,
        response: Response,
        message: &Message,
        conversation: &Conversation,
        output: &Output,
    ) -> Result<(), ConnectError> {
        let session = response.headers().get(SESSION).cloned();
        let answers = Answers {
            message,
            conversation,
            output,
            session,
        };
        let kind = response.headers().get(CONTENT_TYPE);
        let kind = kind
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let kind = kind
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        match (kind.as_str(), &message.id) {
            // The body of a response to a notification is irrelevant.
            (_, None) => Ok(()),
            ("application/json", id) => {
                let body = self.body(response, self.max_answer_bytes).await?;
                let line = std::str::from_utf8(&body)
                    .ok()
                    .and_then(|text| line_of(text, id.as_ref()));
                match line {
                    Some((line, true)) => {
                        answers.pass_on(line, true).await;
                        Ok(())
                    }
                    _ => Err(self.not_mcp("its answer belongs to no request")),
                }
            }
            ("text/event-stream", Some(id)) => self.stream(response, id, &answers).await,
            ("", _) => Err(self.not_mcp("it accepts a request without answering it")),
            (kind, _) => Err(self.not_mcp(&format!("it answers in {}", shortened(kind)))),
        }
    }

    async fn stream(
        &self,
        mut response: Response,
        id: &Id,
        to: &Answers<'_>,
    ) -> Result<(), ConnectError> {
        let mut events = EventReader::default();
        let mut asked = AskedMeanwhile {
            ids: Vec::new(),
            to,
        };
        while let Some(piece) = response.chunk().await.map_err(|error| self.lost(&error))? {
            let messages = events
                .push(&piece)
                .map_err(|_| self.not_mcp("its events are no text"))?;
            for data in messages {
                // Some servers begin a stream with an event without data.
                let Some((line, answers)) = line_of(&data, Some(id)) else {
                    continue;
                };
                // Responses to other requests must not reach the client here.
                if !answers && is_answer(&line) {
                    continue;
                }
                if let Some(id) = request_id(&line) {
                    asked.note(id);
                }
                to.pass_on(line, answers).await;
                if answers {
                    return Ok(());
                }
            }
            if events.held() > self.max_answer_bytes {
                return Err(ConnectError::AnswerTooLarge {
                    limit: self.max_answer_bytes,
                });
            }
        }
        Err(ConnectError::AnswerLost { url: self.shown() })
    }

    async fn body(&self, mut response: Response, limit: usize) -> Result<Bytes, ConnectError> {
        let body = bounded_body::read(&mut response, limit).await;
        body.map_err(|error| match error {
            BodyError::TooLarge { limit } => ConnectError::AnswerTooLarge { limit },
            BodyError::Broken(error) => self.lost(&error),
        })
    }

    fn failed(&self, error: reqwest::Error) -> RemoteError {
        // Strips the URL, whose query may contain a secret.
        let error = error.without_url();
        let url = self.shown();
        let connect_error = if error.is_connect() {
            ConnectError::Unreachable {
                url,
                how: Unreachable::of(&error),
            }
        } else if error.is_timeout() {
            ConnectError::TimedOut { url }
        } else {
            ConnectError::AnswerLost { url }
        };
        connect_error.into()
    }

    fn lost(&self, error: &reqwest::Error) -> ConnectError {
        let url = self.shown();
        if error.is_timeout() {
            ConnectError::TimedOut { url }
        } else {
            ConnectError::AnswerLost { url }
        }
    }

    fn not_mcp(&self, what: &str) -> ConnectError {
        ConnectError::NotMcp {
            url: self.shown(),
            what: what.to_owned(),
        }
    }

    async fn refused(&self, response: Response, id: Option<&Id>) -> RemoteError {
        let (status, headers) = (response.status(), response.headers().clone());
        let text = |name| {
            headers
                .get(name)
                .and_then(|value: &HeaderValue| value.to_str().ok())
        };
        if status.is_redirection() {
            let to = text(LOCATION).map(shortened);
            return ConnectError::Redirected { to }.into();
        }
        let body = self
            .body(response, MAX_ERROR_BODY)
            .await
            .unwrap_or_default();
        let answer = id.and_then(|id| rpc_error(&body, id));
        let detail = error_detail(&body);
        let retry_after = text(RETRY_AFTER).and_then(|text| text.trim().parse().ok());
        let why = match status {
            StatusCode::UNAUTHORIZED => Why::Unauthorized(detail),
            StatusCode::FORBIDDEN => Why::Other(ConnectError::Forbidden { detail }),
            StatusCode::NOT_FOUND => Why::NotFound,
            StatusCode::METHOD_NOT_ALLOWED => Why::Other(self.not_mcp("it takes no POST")),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                Why::Other(ConnectError::Busy {
                    status: status.as_u16(),
                    retry_after,
                    detail,
                })
            }
            _ => Why::Other(ConnectError::Failed {
                status: status.as_u16(),
                detail,
            }),
        };
        RemoteError { why, answer }
    }
}

/// Forwards messages to the client until the request is answered.
struct Answers<'a> {
    message: &'a Message,
    conversation: &'a Conversation,
    output: &'a Output,
    /// The session that the server has created with this response.
    session: Option<HeaderValue>,
}

impl Answers<'_> {
    async fn pass_on(&self, line: String, answers: bool) {
        if answers && self.message.is("initialize") {
            self.conversation
                .set_negotiated(self.message, self.session.clone(), &line);
        }
        let other = if answers && self.message.is("tools/list") && self.message.modern.is_some() {
            self.conversation.learn_tools(&line)
        } else {
            None
        };
        self.output.line(other.unwrap_or(line)).await;
    }
}

/// The most requests of the server, within one of the client's, that can be withdrawn.
const MAX_ASKED: usize = 64;

/// The requests that the server has sent on the way to its response. Those that the client has not
/// answered when that way ends, however it does, are withdrawn: the server cannot do it any more.
struct AskedMeanwhile<'a> {
    ids: Vec<Id>,
    to: &'a Answers<'a>,
}

impl AskedMeanwhile<'_> {
    fn note(&mut self, id: Id) {
        if self.ids.len() >= MAX_ASKED {
            return;
        }
        self.to.conversation.ask(id.clone());
        self.ids.push(id);
    }
}

impl Drop for AskedMeanwhile<'_> {
    fn drop(&mut self) {
        for id in &self.ids {
            if self.to.conversation.settle(id) {
                let id = id.as_json();
                let params = format!(r#"{{"requestId":{id}}}"#);
                let line = format!(
                    r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{params}}}"#
                );
                let output = self.to.output.clone();
                tasks::spawn("question", async move { output.line(line).await });
            }
        }
    }
}

/// A POST without a usable response.
pub struct RemoteError {
    pub why: Why,
    /// The server's JSON-RPC error, if it sent one. The client receives it if no retry helps.
    pub answer: Option<String>,
}

pub enum Why {
    Unauthorized(String),
    /// The path does not exist, or the session is unknown.
    NotFound,
    Other(ConnectError),
}

impl From<ConnectError> for RemoteError {
    fn from(connect_error: ConnectError) -> Self {
        Self {
            why: Why::Other(connect_error),
            answer: None,
        }
    }
}

/// Converts an error body to a response to this request, if it is a JSON-RPC error. Errors from
/// before the message was parsed have no id. A rejected token is excluded: the caller explains it,
/// because it knows the source of the token.
fn rpc_error(body: &[u8], id: &Id) -> Option<String> {
    let mut body: serde_json::Value = serde_json::from_slice(body).ok()?;
    let answer = body.as_object_mut()?;
    let is_error = answer
        .get("error")
        .and_then(|error| error.get("code"))
        .is_some_and(|code| code.is_number() && *code != crate::connect::TOKEN_REFUSED);
    if !is_error || answer.get("jsonrpc").is_none_or(|version| version != "2.0") {
        return None;
    }
    answer.insert("id".to_owned(), serde_json::from_str(id.as_json()).ok()?);
    Some(body.to_string())
}

fn shortened(text: &str) -> String {
    text.chars()
        .filter(|letter| !letter.is_control())
        .take(200)
        .collect()
}
