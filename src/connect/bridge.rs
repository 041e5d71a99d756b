//! The loop: a line comes in, its exchange begins; many run at once. It ends with the input, on a signal, or when nobody
//! reads the answers any more.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use super::Settings;
use super::conversation::Conversation;
use super::delivery::Exchange;
use super::error::ConnectError;
use super::message::{Id, Message};
use super::output::Output;
use super::remote::Remote;

use crate::server::{INVALID_REQUEST, Line, LineReader, PARSE_ERROR, id_in_beginning, validate};
use crate::telemetry::fields;

/// Messages under way at once. A client that asks for more hears of it at once, so that it can still cancel some.
const MOST_AT_ONCE: usize = 256;

/// Whoever ends the bridge in the middle does not wait for what has been written to be read.
const PARTING: Duration = Duration::from_secs(1);

/// A server that takes longer to hear that the conversation has begun is not waited for.
const GREETING: Duration = Duration::from_secs(2);

/// How the bridge ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// With the input, and everything answered.
    Done,
    /// With the input, but some answers were not waited for.
    CutShort,
    Stopped,
    /// Nobody reads any more.
    Unread,
}

/// Requests under way, by id: what can be cancelled.
type UnderWay = Arc<Mutex<HashMap<Id, AbortHandle>>>;

/// Bridges until the input ends or `shutdown`.
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
        exchange: Arc::new(Exchange {
            remote,
            token: settings.token,
            conversation: Conversation::default(),
            output: output.clone(),
            patience: settings.patience,
        }),
        output: output.clone(),
        under_way: UnderWay::default(),
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
        let ended = match timeout(settings.linger, all).await {
            Ok(()) => Ended::Done,
            Err(_) => Ended::CutShort,
        };
        // What is cut short here is cancelled at the server, since its connection closes.
        bridge.running.shutdown().await;
        let _ = timeout(settings.connect_timeout, bridge.exchange.leave()).await;
        ended
    };
    let ended = tokio::select! {
        ended = reading => ended,
        () = shutdown => Ended::Stopped,
        () = output.closed() => Ended::Unread,
    };
    drop((bridge, output));
    // What has been answered is written, unless nobody reads it.
    let patience = match ended {
        Ended::Done | Ended::CutShort => settings.linger,
        Ended::Stopped | Ended::Unread => PARTING,
    };
    let _ = timeout(patience, writing).await;
    Ok(ended)
}

struct Bridge {
    exchange: Arc<Exchange>,
    output: Output,
    under_way: UnderWay,
    running: JoinSet<()>,
}

impl Bridge {
    async fn take(&mut self, line: &Line<'_>, longest: usize) {
        // Those that are done are let go of, so that none pile up.
        while self.running.try_join_next().is_some() {}
        if line.too_long {
            let id = id_in_beginning(line.text).and_then(Id::of);
            let message = format!("the message is larger than {longest} bytes");
            return self.refuse(id, INVALID_REQUEST, &message).await;
        }
        if line.text.trim_ascii().is_empty() {
            return;
        }
        let (id, outline) = validate(line.text);
        let id = id.and_then(Id::of);
        if let Err(objection) = outline {
            return self.refuse(id, objection.code, &objection.message).await;
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
                // Its connection closes, which is how a server without sessions hears of it.
                cancelled.abort();
                tracing::debug!("a request was cancelled");
            }
            if self.exchange.conversation.session().is_none() {
                return;
            }
        }
        if self.running.len() >= MOST_AT_ONCE {
            let trouble = ConnectError::TooManyConnectionsError {
                limit: MOST_AT_ONCE,
            };
            tracing::warn!({ fields::REASON } = trouble.reason(), "{trouble}");
            if let Some(id) = &message.id {
                self.output.line(trouble.answer(id.as_json())).await;
            }
            return;
        }
        let id = message.id.clone();
        if id.as_ref().is_some_and(|id| self.lock().contains_key(id)) {
            let why = "the id is that of a request that has not been answered yet";
            return self.refuse(id, INVALID_REQUEST, why).await;
        }
        // What comes after it should not overtake it: a server that keeps sessions would refuse that.
        let first = message.is("notifications/initialized");
        let (done, heard) = oneshot::channel::<()>();
        let (exchange, under_way) = (Arc::clone(&self.exchange), Arc::clone(&self.under_way));
        {
            // Held until the request is among those under way, or its end could come before its beginning.
            let mut all = self
                .under_way
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let handle = self.running.spawn(async move {
                exchange.carry(&message).await;
                if let Some(id) = &message.id {
                    under_way
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .remove(id);
                }
                drop(done);
            });
            if let Some(id) = id {
                all.insert(id, handle);
            }
        }
        if first {
            let _ = timeout(GREETING, heard).await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Id, AbortHandle>> {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    async fn refuse(&self, id: Option<Id>, code: i32, message: &str) {
        tracing::debug!(code, "a message was refused: {message}");
        let id = id.as_ref().map_or("null", Id::as_json);
        let error = serde_json::json!({ "code": code, "message": message });
        let line = format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#);
        self.output.line(line).await;
    }
}
