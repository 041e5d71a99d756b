//! The main loop: reads a line, and delivers it concurrently with others. It ends with the input,
//! on a signal, or when the output is closed.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use super::Settings;
use super::conversation::Conversation;
use super::delivery::Delivery;
use super::error::ConnectError;
use super::message::{Id, Message};
use super::output::Output;
use super::remote::Remote;

use crate::server::{INVALID_REQUEST, Line, LineReader, PARSE_ERROR, id_in_prefix, validate};
use crate::telemetry::fields;

/// Concurrent messages. Further requests are rejected at once and not queued, so that the client
/// can still send a cancellation.
const MAX_CONCURRENT: usize = 256;

/// How long an interrupted bridge waits for its output to be read.
const OUTPUT_GRACE: Duration = Duration::from_secs(1);

/// How long later messages wait for the server to accept `notifications/initialized`.
const INITIALIZED_TIMEOUT: Duration = Duration::from_secs(2);

/// How the bridge ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The input ended, and every request was answered.
    Done,
    /// The input ended, and some responses were not waited for.
    CutShort,
    Stopped,
    /// The output was closed.
    Unread,
}

/// Requests in flight that can be cancelled, by id.
type InFlight = Arc<Mutex<HashMap<Id, AbortHandle>>>;

/// Runs the bridge until the input ends or `shutdown` resolves.
pub async fn run(
    settings: Settings,
    (input, output): (
        impl AsyncRead + Send + Unpin + 'static,
        impl AsyncWrite + Send + Unpin + 'static,
    ),
    shutdown: impl Future<Output = ()>,
) -> Result<Ended, reqwest::Error> {
    let remote = Remote::new(&settings)?;
    let mut lines = LineReader::new(input, settings.max_message_bytes);
    let (output, writing) = Output::start(output);
    let mut bridge = Bridge {
        delivery: Arc::new(Delivery {
            remote,
            token: settings.token,
            conversation: Conversation::default(),
            output: output.clone(),
            retry_for: settings.retry_for,
        }),
        output: output.clone(),
        under_way: InFlight::default(),
        running: JoinSet::new(),
    };
    let reading = async {
        loop {
            let line = lines.next().await;
            match line {
                Ok(Some(line)) => bridge.take(&line, settings.max_message_bytes).await,
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!(%error, "the input cannot be read");
                    break;
                }
            }
        }
        let all = async { while bridge.running.join_next().await.is_some() {} };
        let ended = match timeout(settings.drain_timeout, all).await {
            Ok(()) => Ended::Done,
            Err(_) => Ended::CutShort,
        };
        // Aborting closes the connections, which cancels the requests at the server.
        bridge.running.shutdown().await;
        let _ = timeout(settings.connect_timeout, bridge.delivery.end_session()).await;
        ended
    };
    let ended = tokio::select! {
        ended = reading => ended,
        () = shutdown => Ended::Stopped,
        () = output.closed() => Ended::Unread,
    };
    drop((bridge, output));
    // Lets the client read the remaining output, unless it has closed the pipe.
    let limit = match ended {
        Ended::Done | Ended::CutShort => settings.drain_timeout,
        Ended::Stopped | Ended::Unread => OUTPUT_GRACE,
    };
    let _ = timeout(limit, writing).await;
    Ok(ended)
}

struct Bridge {
    delivery: Arc<Delivery>,
    output: Output,
    under_way: InFlight,
    running: JoinSet<()>,
}

impl Bridge {
    async fn take(&mut self, line: &Line<'_>, longest: usize) {
        // Reaps finished tasks, so that they do not accumulate.
        while self.running.try_join_next().is_some() {}
        if line.too_long {
            let id = id_in_prefix(line.text).and_then(Id::of);
            let message = format!("the message is larger than {longest} bytes");
            return self.refuse(id, INVALID_REQUEST, &message).await;
        }
        if line.text.trim_ascii().is_empty() {
            return;
        }
        let (id, checked) = validate(line.text);
        let id = id.and_then(Id::of);
        if let Err(error) = checked {
            return self.refuse(id, error.code, &error.message).await;
        }
        match Message::read(line.text) {
            Some(message) => self.begin(message).await,
            None => {
                self.refuse(id, PARSE_ERROR, "the message cannot be read")
                    .await
            }
        }
    }

    async fn begin(&mut self, message: Message) {
        if let Some(id) = &message.cancels {
            let cancelled = self.lock().remove(id);
            if let Some(cancelled) = cancelled {
                // Closing the connection is how a stateless server learns of the cancellation.
                cancelled.abort();
                tracing::debug!("a request was cancelled");
            }
            if self.delivery.conversation.session().is_none() {
                return;
            }
        }
        if self.running.len() >= MAX_CONCURRENT {
            let error = ConnectError::TooManyRequests {
                limit: MAX_CONCURRENT,
            };
            tracing::warn!({ fields::REASON } = error.reason(), "{error}");
            if let Some(id) = &message.id {
                self.output.line(error.answer(id.as_json())).await;
            }
            return;
        }
        if let Some(id) = &message.responds {
            self.delivery.conversation.settle(id);
        }
        let id = message.id.clone();
        if id.as_ref().is_some_and(|id| self.lock().contains_key(id)) {
            let why = "the id is that of a request that has not been answered yet";
            return self.refuse(id, INVALID_REQUEST, why).await;
        }
        // Later messages must not overtake `notifications/initialized`: a server with sessions
        // would reject them.
        let first = message.is("notifications/initialized");
        let (done, finished) = oneshot::channel::<()>();
        let (delivery, under_way) = (Arc::clone(&self.delivery), Arc::clone(&self.under_way));
        {
            // Locked until the request is registered, or its task could deregister it first.
            let mut all = self.under_way.lock();
            let handle = self.running.spawn(async move {
                delivery.deliver(&message).await;
                if let Some(id) = &message.id {
                    under_way.lock().remove(id);
                }
                drop(done);
            });
            if let Some(id) = id {
                all.insert(id, handle);
            }
        }
        if first {
            let _ = timeout(INITIALIZED_TIMEOUT, finished).await;
        }
    }

    fn lock(&self) -> parking_lot::MutexGuard<'_, HashMap<Id, AbortHandle>> {
        self.under_way.lock()
    }

    async fn refuse(&self, id: Option<Id>, code: i32, message: &str) {
        tracing::debug!(code, "a message was refused: {message}");
        let id = id.as_ref().map_or("null", Id::as_json);
        let error = serde_json::json!({ "code": code, "message": message });
        let line = format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#);
        self.output.line(line).await;
    }
}
