//! One POST to the server, and how its answer is read.

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use reqwest::Response;

use super::Settings;
use super::conversation::{Conversation, SESSION};
use super::error::{ConnectError, Unreachable, said};
use super::events::EventReader;
use super::message::{Id, Message, is_answer, line_of};
use super::output::Output;
use super::target::is_loopback;
use super::token::authorization;
use crate::foundation::bounded_body::{self, BodyError};
use crate::foundation::http_client;
use crate::foundation::token_secret::Secret;

/// Below the 75 s after which this house's server closes an idle connection, so that none is used while it does.
const POOL_IDLE: std::time::Duration = std::time::Duration::from_secs(30);

/// Of a refusal, only a sentence is wanted.
const MAX_REFUSAL: usize = 64 * 1024;

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
            // A proxy that the environment names is for the world outside.
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

    /// For people, so without the query, which may be a secret of its own.
    pub fn shown(&self) -> String {
        let mut url = self.url.clone();
        url.set_query(None);
        url.to_string()
    }

    /// Sends a message. What comes back, if it is no refusal, has yet to be read.
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
    pub async fn leave(&self, session: HeaderValue, token: &Secret) {
        let request = self.http.delete(self.url.clone()).header(SESSION, session);
        let request = match authorization(token) {
            Some(value) => request.header(AUTHORIZATION, value),
            None => request,
        };
        // A courtesy: the server forgets it anyway, some time.
        let _ = request.send().await;
    }

    /// Passes on what an answer holds, until the request is answered.
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
            // Whatever a server says to a notification, nobody waits for it.
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
                    _ => Err(self.no_mcp("its answer belongs to no request")),
                }
            }
            ("text/event-stream", Some(id)) => self.stream(response, id, &answers).await,
            ("", _) => Err(self.no_mcp("it accepts a request without answering it")),
            (kind, _) => Err(self.no_mcp(&format!("it answers in {}", shortened(kind)))),
        }
    }

    async fn stream(
        &self,
        mut response: Response,
        id: &Id,
        to: &Answers<'_>,
    ) -> Result<(), ConnectError> {
        let mut events = EventReader::default();
        while let Some(piece) = response.chunk().await.map_err(|error| self.lost(&error))? {
            let messages = events
                .push(&piece)
                .map_err(|_| self.no_mcp("its events are no text"))?;
            for data in messages {
                // Some servers open a stream with an event that has no data in it.
                let Some((line, answers)) = line_of(&data, Some(id)) else {
                    continue;
                };
                // What answers another request has no business here.
                if !answers && is_answer(&line) {
                    continue;
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
        // Not with the URL in it, whose query may be a secret.
        let error = error.without_url();
        let url = self.shown();
        let trouble = if error.is_connect() {
            ConnectError::Unreachable {
                url,
                how: Unreachable::of(&error),
            }
        } else if error.is_timeout() {
            ConnectError::TimedOut { url }
        } else {
            ConnectError::AnswerLost { url }
        };
        trouble.into()
    }

    fn lost(&self, error: &reqwest::Error) -> ConnectError {
        let url = self.shown();
        if error.is_timeout() {
            ConnectError::TimedOut { url }
        } else {
            ConnectError::AnswerLost { url }
        }
    }

    fn no_mcp(&self, what: &str) -> ConnectError {
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
        let body = self.body(response, MAX_REFUSAL).await.unwrap_or_default();
        let answer = id.and_then(|id| rpc_error(&body, id));
        let said = said(&body);
        let retry_after = text(RETRY_AFTER).and_then(|text| text.trim().parse().ok());
        let why = match status {
            StatusCode::UNAUTHORIZED => Why::Unauthorized(said),
            StatusCode::FORBIDDEN => Why::ConnectError(ConnectError::Forbidden { said }),
            StatusCode::NOT_FOUND => Why::NotFound,
            StatusCode::METHOD_NOT_ALLOWED => Why::ConnectError(self.no_mcp("it takes no POST")),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                Why::ConnectError(ConnectError::Busy {
                    status: status.as_u16(),
                    retry_after,
                    said,
                })
            }
            _ => Why::ConnectError(ConnectError::Failed {
                status: status.as_u16(),
                said,
            }),
        };
        RemoteError { why, answer }
    }
}

/// Where the answer to a message goes.
struct Answers<'a> {
    message: &'a Message,
    conversation: &'a Conversation,
    output: &'a Output,
    /// That the server has made with this answer.
    session: Option<HeaderValue>,
}

impl Answers<'_> {
    async fn pass_on(&self, line: String, answers: bool) {
        if answers && self.message.is("initialize") {
            self.conversation
                .agree(self.message, self.session.clone(), &line);
        }
        self.output.line(line).await;
    }
}

/// A POST that has no answer to be read.
pub struct RemoteError {
    pub why: Why,
    /// What the server says of it in JSON-RPC, if it does: that is what the client hears when nothing helps.
    pub answer: Option<String>,
}

pub enum Why {
    Unauthorized(String),
    /// No such place, or no such session.
    NotFound,
    ConnectError(ConnectError),
}

impl From<ConnectError> for RemoteError {
    fn from(trouble: ConnectError) -> Self {
        Self {
            why: Why::ConnectError(trouble),
            answer: None,
        }
    }
}

/// The refusal as an answer to this request, when it is one in JSON-RPC. Those that come before a message is read have no
/// id. A refused token is explained here, where it is known where the token came from.
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
