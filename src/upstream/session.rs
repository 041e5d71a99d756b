//! The API during one tool call: a session that is opened with the first request and ended when this value is dropped.
//!
//! Opening runs in a task of its own. When the caller goes away in the middle of it, the task still reads the answer,
//! finds nobody who wants the session, and drops it, which ends it. When the API has forgotten the session (428) or its
//! epoch has risen (409 `epoch_mismatch`), nothing has been done yet, so one new session is opened and the request
//! repeated: once per call.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method};
use serde::Deserialize;
use tokio::sync::{Mutex, OnceCell};

use super::client::{Answer, Client, Identity};
use super::ending::{Guard, Room};
use super::exchange::{Api, Failure, NoAccess, Reply, Request};
use super::{CallContext, Upstream, headers};
use crate::auth::{Credential, ExchangeError};
use crate::telemetry::metrics;
use crate::telemetry::stages::Stage;

const SESSIONS: &str = "/v1/sync/sessions";

/// Implements [`Api`] for one principal, one session, one deadline.
#[derive(Debug)]
pub struct Session {
    upstream: Upstream,
    credential: Credential,
    /// Made when it is first needed: a call that sends nothing exchanges no token.
    identity: OnceCell<Identity>,
    context: CallContext,
    current: Mutex<Current>,
}

#[derive(Debug, Default)]
struct Current {
    opened: Option<Arc<Opened>>,
    mended: bool,
}

/// A session that exists: the headers to use it with, and the guard that ends it.
#[derive(Debug)]
struct Opened {
    identity: Identity,
    _guard: Guard,
}

impl Api for Session {
    async fn send(&self, request: Request) -> Result<Reply, Failure> {
        tokio::select! {
            biased;
            () = self.context.cancel.cancelled() => Err(Failure::Cancelled),
            result = self.send_in_session(request) => result,
        }
    }
}

impl Session {
    pub(super) fn new(upstream: Upstream, credential: Credential, context: CallContext) -> Self {
        Self {
            upstream,
            credential,
            identity: OnceCell::new(),
            context,
            current: Mutex::default(),
        }
    }

    async fn send_in_session(&self, request: Request) -> Result<Reply, Failure> {
        let opened = self.opened().await?;
        let answer = self.exchange(&opened, request.clone()).await?;
        if !session_is_refused(&answer.reply) {
            return Ok(answer.reply);
        }
        match self.mended(opened).await? {
            Some(renewed) => Ok(self.exchange(&renewed, request).await?.reply),
            None => Ok(answer.reply),
        }
    }

    async fn exchange(&self, opened: &Opened, request: Request) -> Result<Answer, Failure> {
        let _sending = self.context.spent.during(Stage::Api);
        let sent = self.upstream.0.client.send(&opened.identity, request);
        self.context
            .deadline
            .limit(sent)
            .await
            .unwrap_or(Err(Failure::TimedOut { sent: true }))
    }

    /// The session of this call. Requests that come at the same time wait for the same opening.
    async fn opened(&self) -> Result<Arc<Opened>, Failure> {
        let mut current = self.current.lock().await;
        if let Some(opened) = &current.opened {
            return Ok(Arc::clone(opened));
        }
        let opened = self.open().await?;
        current.opened = Some(Arc::clone(&opened));
        Ok(opened)
    }

    /// A session in place of a refused one, or `None` when this call has had its second chance.
    ///
    /// The refused one is let go before anything is waited for: the new one may need the very room that it takes.
    async fn mended(&self, refused: Arc<Opened>) -> Result<Option<Arc<Opened>>, Failure> {
        let refused = {
            let known_by = Arc::downgrade(&refused);
            drop(refused);
            known_by
        };
        let mut current = self.current.lock().await;
        match &current.opened {
            Some(opened) if Arc::as_ptr(opened) != refused.as_ptr() => return Ok(Some(Arc::clone(opened))),
            _ if current.mended => return Ok(None),
            _ => {}
        }
        current.mended = true;
        current.opened = None;
        let opened = self.open().await?;
        current.opened = Some(Arc::clone(&opened));
        Ok(Some(opened))
    }

    async fn identity(&self) -> Result<Identity, Failure> {
        let made = self.identity.get_or_try_init(|| async {
            let _proving = self.context.spent.during(Stage::Auth);
            let token = self.credential.token().await.map_err(no_access)?;
            Ok(Identity::new(&token, &self.context))
        });
        match self.context.deadline.limit(made).await {
            Ok(identity) => identity.cloned(),
            Err(_elapsed) => Err(Failure::NoAccess(NoAccess::Unavailable)),
        }
    }

    async fn open(&self) -> Result<Arc<Opened>, Failure> {
        let identity = self.identity().await?;
        let nothing_sent = Failure::TimedOut { sent: false };
        let inner = &self.upstream.0;
        let deadline = self.context.deadline;
        let room = {
            let _waiting = (self.context.spent.during(Stage::Queue), metrics::call_waiting());
            let room = deadline.limit(inner.enders.room()).await;
            room.map_err(|_| nothing_sent.clone())??
        };
        let _opening = self.context.spent.during(Stage::Session);
        let opening = open(inner.client.clone(), identity, room, inner.settings.call_deadline);
        match deadline.limit(tokio::spawn(opening)).await {
            Ok(Ok(result)) => {
                if matches!(&result, Err(Failure::SessionRefused(reply)) if reply.status == 401) {
                    self.credential.forget();
                }
                result.map(Arc::new)
            }
            Ok(Err(_panicked)) => Err(Failure::Unreachable),
            Err(_elapsed) => Err(nothing_sent),
        }
    }
}

fn no_access(error: ExchangeError) -> Failure {
    Failure::NoAccess(match error {
        ExchangeError::Refused => NoAccess::Refused,
        ExchangeError::Denied => NoAccess::Denied,
        ExchangeError::Unavailable => NoAccess::Unavailable,
        ExchangeError::Misconfigured | ExchangeError::Garbled => NoAccess::Faulty,
    })
}

/// Opens a session. Whatever goes wrong here, the operation that wanted the session has not been sent, and the
/// failures say so.
async fn open(client: Client, identity: Identity, room: Room, within: Duration) -> Result<Opened, Failure> {
    let answer = client
        .send_bare(&identity, Method::POST, SESSIONS.to_owned(), within)
        .await
        .map_err(|failure| match failure {
            Failure::TimedOut { .. } => Failure::TimedOut { sent: false },
            _ => Failure::Unreachable,
        })?;
    let Some((id, epoch)) = described(&answer) else {
        return Err(Failure::SessionRefused(answer.reply));
    };
    let guard = room.occupied_by(
        format!("{SESSIONS}/{}", id.to_str().unwrap_or_default()),
        identity.clone(),
    );
    Ok(Opened {
        identity: identity.with_session(id, epoch),
        _guard: guard,
    })
}

/// Id and epoch of a new session, when the answer is one.
fn described(answer: &Answer) -> Option<(HeaderValue, HeaderValue)> {
    #[derive(Deserialize)]
    struct Body {
        id: String,
        epoch: Option<u64>,
    }
    if !matches!(answer.reply.status, 200 | 201) {
        return None;
    }
    let body: Body = serde_json::from_slice(&answer.reply.body).ok()?;
    // The id becomes a header and a path segment, so it must be harmless as both.
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if body.id.is_empty() || body.id.len() > 128 || !body.id.bytes().all(harmless) {
        return None;
    }
    let epoch = answer
        .fields
        .get(headers::EPOCH)
        .cloned()
        .or_else(|| body.epoch.map(HeaderValue::from))?;
    Some((HeaderValue::from_str(&body.id).ok()?, epoch))
}

/// Does this reply mean that the session is of no use any more, and that therefore nothing was done?
fn session_is_refused(reply: &Reply) -> bool {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        error: std::borrow::Cow<'a, str>,
    }
    match reply.status {
        428 => true,
        409 => serde_json::from_slice::<Body<'_>>(&reply.body).is_ok_and(|body| body.error == "epoch_mismatch"),
        _ => false,
    }
}
