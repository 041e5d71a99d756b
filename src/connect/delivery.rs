//! Delivers one message: the first attempt, retries where they are safe, and the error at the end.
//!
//! A retry is safe if the server cannot have acted: no connection was established, a 401 was
//! returned before any processing, or a 404 reports an unknown session. After any other failure the
//! request may have been executed, so only methods without side effects are retried.

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

/// Delay before the second attempt; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const MAX_PAUSE: Duration = Duration::from_secs(3);

/// Why there is no result, and the server's JSON-RPC error if it sent one.
struct DeliveryError {
    error: ConnectError,
    answer: Option<String>,
}

impl From<ConnectError> for DeliveryError {
    fn from(error: ConnectError) -> Self {
        Self {
            error,
            answer: None,
        }
    }
}

pub struct Delivery {
    pub remote: Remote,
    pub token: TokenSource,
    pub conversation: Conversation,
    pub output: Output,
    pub retry_for: Duration,
}

impl Delivery {
    /// Sends a message and writes the response or an error.
    pub async fn deliver(&self, message: &Message) {
        let Err(DeliveryError { error, answer }) = self.attempt(message).await else {
            return;
        };
        tracing::warn!(
            { fields::METHOD } = message.method.as_deref(),
            { fields::REASON } = error.reason(),
            "a message could not be delivered: {error}"
        );
        if let Some(id) = &message.id {
            let line = answer.unwrap_or_else(|| error.answer(id.as_json()));
            self.output.line(line).await;
        }
    }

    /// Ends the session, if the server keeps one.
    pub async fn end_session(&self) {
        if let (Some(session), Ok(token)) = (self.conversation.session(), self.token.current()) {
            self.remote.end_session(session, &token).await;
        }
    }

    async fn attempt(&self, message: &Message) -> Result<(), DeliveryError> {
        let give_up = Instant::now() + self.retry_for;
        let mut pause = FIRST_PAUSE;
        loop {
            let failure = match self.send_once(message).await {
                Ok(()) => return Ok(()),
                Err(failure) => failure,
            };
            let error = &failure.error;
            let wait = match error {
                ConnectError::Busy {
                    retry_after: Some(seconds),
                    ..
                } => Duration::from_secs(*seconds),
                _ => pause,
            };
            let may_be_repeated =
                message.is_repeatable() || matches!(error, ConnectError::Unreachable { .. });
            let left = give_up.saturating_duration_since(Instant::now());
            if !may_be_repeated || !error.may_pass() || wait > left {
                return Err(failure);
            }
            tracing::info!({ fields::REASON } = error.reason(), "trying again: {error}");
            sleep(wait).await;
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }

    /// One attempt, with an immediate second one if the cause of the failure can be fixed at once.
    async fn send_once(&self, message: &Message) -> Result<(), DeliveryError> {
        let token = self.token.current()?;
        let headers = self.conversation.headers(message);
        let refusal = match self.remote.post(message, &headers, &token).await {
            Ok(response) => return self.read_response(response, message).await,
            Err(refusal) => refusal,
        };
        match (&refusal.why, headers.get(SESSION)) {
            // The token file may have been replaced while the message was in flight.
            (Why::Unauthorized(_), _) if self.token.current()?.expose() != token.expose() => {
                self.resend(message).await
            }
            (Why::NotFound, Some(session)) => {
                self.reinitialize(session).await?;
                self.resend(message).await
            }
            _ => Err(self.failure(refusal)),
        }
    }

    async fn resend(&self, message: &Message) -> Result<(), DeliveryError> {
        let token = self.token.current()?;
        let headers = self.conversation.headers(message);
        match self.remote.post(message, &headers, &token).await {
            Ok(response) => self.read_response(response, message).await,
            Err(refusal)
                if matches!(refusal.why, Why::NotFound) && headers.contains_key(SESSION) =>
            {
                Err(ConnectError::SessionLost.into())
            }
            Err(refusal) => Err(self.failure(refusal)),
        }
    }

    async fn read_response(
        &self,
        response: Response,
        message: &Message,
    ) -> Result<(), DeliveryError> {
        let reading = self
            .remote
            .read(response, message, &self.conversation, &self.output);
        Ok(reading.await?)
    }

    fn failure(&self, refusal: RemoteError) -> DeliveryError {
        let error = match refusal.why {
            Why::Other(error) => error,
            Why::NotFound => ConnectError::NotFound {
                url: self.remote.shown(),
            },
            Why::Unauthorized(detail) => ConnectError::Unauthorized {
                location: self.token.location(),
                remedy: self.token.remedy(),
                detail,
            },
        };
        let answer = refusal.answer;
        DeliveryError { error, answer }
    }

    /// Opens a new session with a server that has lost the current one, transparently to the
    /// client.
    async fn reinitialize(&self, lost: &HeaderValue) -> Result<(), ConnectError> {
        let Some(initialize) = self.conversation.initialize_again(lost) else {
            return Ok(());
        };
        let token = self.token.current()?;
        let headers = self.conversation.headers(&initialize);
        let Ok(response) = self.remote.post(&initialize, &headers, &token).await else {
            return Err(ConnectError::SessionLost);
        };
        // The client has received the response to `initialize` before.
        let (discarded, writing) = Output::start(tokio::io::sink());
        let read = self
            .remote
            .read(response, &initialize, &self.conversation, &discarded)
            .await;
        drop(discarded);
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
