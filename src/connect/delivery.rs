//! One message and what comes of it: the first try, the others where there may be some, and the sentence at the end.
//!
//! What decides is whether the server can have acted. A connection that did not come about has sent nothing; a 401 comes
//! before anything is done; a 404 in a session says that there is none. Everything else may have been done, and is repeated
//! only for methods that change nothing.

use std::time::Duration;

use http::HeaderValue;
use reqwest::Response;
use tokio::time::{Instant, sleep};

use super::conversation::{Conversation, SESSION};
use super::error::ConnectError;
use super::message::Message;
use super::output::Output;
use super::remote::{Remote, RemoteError, Why};
use super::token::TokenSource;
use crate::telemetry::fields;

/// Before the second try; then twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// Why there is no result, and what the server itself says of it in JSON-RPC, if it does.
struct DeliveryError {
    trouble: ConnectError,
    answer: Option<String>,
}

impl From<ConnectError> for DeliveryError {
    fn from(trouble: ConnectError) -> Self {
        Self {
            trouble,
            answer: None,
        }
    }
}

pub struct Exchange {
    pub remote: Remote,
    pub token: TokenSource,
    pub conversation: Conversation,
    pub output: Output,
    pub patience: Duration,
}

impl Exchange {
    /// Sends a message, and writes its answer, whatever that is.
    pub async fn carry(&self, message: &Message) {
        let Err(DeliveryError { trouble, answer }) = self.attempt(message).await else {
            return;
        };
        tracing::warn!(
            { fields::METHOD } = message.method.as_deref(),
            { fields::REASON } = trouble.reason(),
            "a message could not be delivered: {trouble}"
        );
        if let Some(id) = &message.id {
            let line = answer.unwrap_or_else(|| trouble.answer(id.as_json()));
            self.output.line(line).await;
        }
    }

    /// Ends the session, where the server keeps one.
    pub async fn leave(&self) {
        if let (Some(session), Ok(token)) = (self.conversation.session(), self.token.current()) {
            self.remote.leave(session, &token).await;
        }
    }

    async fn attempt(&self, message: &Message) -> Result<(), DeliveryError> {
        let give_up = Instant::now() + self.patience;
        let mut pause = FIRST_PAUSE;
        loop {
            let failure = match self.once(message).await {
                Ok(()) => return Ok(()),
                Err(failure) => failure,
            };
            let trouble = &failure.trouble;
            let wait = match trouble {
                ConnectError::Busy {
                    retry_after: Some(seconds),
                    ..
                } => Duration::from_secs(*seconds),
                _ => pause,
            };
            let may_be_repeated =
                message.is_repeatable() || matches!(trouble, ConnectError::Unreachable { .. });
            let left = give_up.saturating_duration_since(Instant::now());
            if !may_be_repeated || !trouble.may_pass() || wait > left {
                return Err(failure);
            }
            tracing::info!(
                { fields::REASON } = trouble.reason(),
                "trying again: {trouble}"
            );
            sleep(wait).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// One try, and a second one where the first was refused for what can be mended at once.
    async fn once(&self, message: &Message) -> Result<(), DeliveryError> {
        let token = self.token.current()?;
        let headers = self.conversation.headers(message);
        let refusal = match self.remote.post(message, &headers, &token).await {
            Ok(response) => return self.heard(response, message).await,
            Err(refusal) => refusal,
        };
        match (&refusal.why, headers.get(SESSION)) {
            // The file may have been replaced while the message was under way.
            (Why::Unauthorized(_), _) if self.token.current()?.expose() != token.expose() => {
                self.once_more(message).await
            }
            (Why::NotFound, Some(session)) => {
                self.greet_again(session).await?;
                self.once_more(message).await
            }
            _ => Err(self.failure(refusal)),
        }
    }

    async fn once_more(&self, message: &Message) -> Result<(), DeliveryError> {
        let token = self.token.current()?;
        let headers = self.conversation.headers(message);
        match self.remote.post(message, &headers, &token).await {
            Ok(response) => self.heard(response, message).await,
            Err(refusal)
                if matches!(refusal.why, Why::NotFound) && headers.contains_key(SESSION) =>
            {
                Err(ConnectError::SessionLost.into())
            }
            Err(refusal) => Err(self.failure(refusal)),
        }
    }

    async fn heard(&self, response: Response, message: &Message) -> Result<(), DeliveryError> {
        let reading = self
            .remote
            .read(response, message, &self.conversation, &self.output);
        Ok(reading.await?)
    }

    fn failure(&self, refusal: RemoteError) -> DeliveryError {
        let trouble = match refusal.why {
            Why::ConnectError(trouble) => trouble,
            Why::NotFound => ConnectError::NotFound {
                url: self.remote.shown(),
            },
            Why::Unauthorized(said) => ConnectError::Unauthorized {
                place: self.token.place(),
                remedy: self.token.remedy(),
                said,
            },
        };
        let answer = refusal.answer;
        DeliveryError { trouble, answer }
    }

    /// Makes a new session with a server that has forgotten this one, as the client would; it need not know.
    async fn greet_again(&self, lost: &HeaderValue) -> Result<(), ConnectError> {
        let Some(hello) = self.conversation.hello_again(lost) else {
            return Ok(());
        };
        let token = self.token.current()?;
        let headers = self.conversation.headers(&hello);
        let Ok(response) = self.remote.post(&hello, &headers, &token).await else {
            return Err(ConnectError::SessionLost);
        };
        // The client has heard this answer before.
        let (unheard, writing) = Output::start(tokio::io::sink());
        let read = self
            .remote
            .read(response, &hello, &self.conversation, &unheard)
            .await;
        drop(unheard);
        let _ = writing.await;
        read.map_err(|_| ConnectError::SessionLost)?;
        let initialized = br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        if let Some(initialized) = Message::read(initialized) {
            let headers = self.conversation.headers(&initialized);
            let _ = self.remote.post(&initialized, &headers, &token).await;
        }
        Ok(())
    }
}
