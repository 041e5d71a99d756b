//! A session of the API, which is opened with the first request of a tool call and closed when the
//! [`Session`] is dropped.
//!
//! If the caller leaves while the session is being opened, opening continues in a task of its own,
//! so that the answer is read and the session closed.
//!
//! There are two reasons to repeat a request. After a lost session (428) or a new epoch (409
//! `epoch_mismatch`) nothing was done, so any request is sent again in a new session, once per
//! call. When the API did not receive the request, could not serve it or did not answer, a request
//! that is safe to repeat is sent again, as [`retry`](super::retry) allows. Opening a session is
//! safe to repeat, and a 429 for it is waited out within the deadline of the call.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use http::{HeaderValue, Method};
use serde::Deserialize;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, OnceCell};
use tokio::time::Instant;

use super::breaker::Pass;
use super::classify::{TransientFailure, is_healthy, transient_failure};
use super::client::{ApiAnswer, Client, Identity};
use super::concurrency_limit::CallPermit;
use super::request::{Api, ApiError, NoAccessError, Repeat, Reply, Request};
use super::session_closer::{Guard, SessionSlot};
use super::{ApiClient, CallContext, headers};
use crate::auth::{Credential, ExchangeError};
use crate::telemetry::metrics;
use crate::telemetry::tasks;
use crate::telemetry::timings::Stage;

const SESSIONS: &str = "/v1/sync/sessions";

/// Implements [`Api`] for one principal, one session and one deadline.
#[derive(Debug)]
pub struct Session {
    api: ApiClient,
    credential: Credential,
    /// Created with the first request: a call that sends nothing exchanges no token.
    identity: OnceCell<Identity>,
    context: CallContext,
    /// Held from the first request to the end of the call.
    admission: OnceCell<Admission>,
    current: Mutex<Current>,
}

#[derive(Debug, Default)]
struct Current {
    opened: Option<Arc<Opened>>,
    reopened: bool,
}

/// The permissions that a call needs before it sends requests.
#[derive(Debug)]
struct Admission {
    pass: Pass,
    _permit: CallPermit,
}

/// An open session: its headers, and the guard that closes it.
#[derive(Debug)]
struct Opened {
    identity: Identity,
    _guard: Guard,
}

impl Api for Session {
    async fn send(&self, request: Request) -> Result<Reply, ApiError> {
        tokio::select! {
            biased;
            () = self.context.cancel.cancelled() => Err(ApiError::Cancelled),
            // Boxed, because a tool polls several of these large futures concurrently.
            result = Box::pin(self.send_with_retries(request)) => result,
        }
    }
}

impl Session {
    pub(crate) fn new(api: ApiClient, credential: Credential, context: CallContext) -> Self {
        Self {
            api,
            credential,
            identity: OnceCell::new(),
            context,
            admission: OnceCell::new(),
            current: Mutex::default(),
        }
    }

    /// Sends a request in the session of this call, and repeats it where allowed. Failures to open
    /// a session are final, because opening has its own retries.
    async fn send_with_retries(&self, request: Request) -> Result<Reply, ApiError> {
        let pass = self.admission().await?;
        self.api.0.retries.first();
        let (mut sent, mut uncertain) = (0, false);
        let outcome = loop {
            let opened = match self.opened(pass).await {
                Ok(opened) => opened,
                Err(failure) => break Err(failure),
            };
            let outcome = self.attempt(pass, &opened, &request).await;
            if outcome.as_ref().is_ok_and(session_is_refused) {
                if self.discard(opened).await {
                    metrics::request_retried("session_lost");
                    continue;
                }
                break outcome;
            }
            sent += 1;
            let Some(failure) = transient_failure(outcome.as_ref()) else {
                break outcome;
            };
            if request.repeat == Repeat::Never
                || !self.wait_to_retry(pass, Stage::Api, sent, failure).await
            {
                break outcome;
            }
            // A read has no effect, so repeating it leaves no doubt.
            uncertain |= failure.may_have_been_applied && request.method != Method::GET;
        };
        match outcome {
            Ok(reply) => Ok(Reply {
                maybe_applied: uncertain,
                ..reply
            }),
            // The effect of an earlier attempt is unknown, whatever kept the last one from being
            // sent.
            Err(failure) if uncertain && failure.nothing_was_sent() => Err(ApiError::AnswerLost),
            Err(failure) => Err(failure),
        }
    }

    /// Waits before the next attempt. Returns whether it may be made.
    async fn wait_to_retry(
        &self,
        pass: &Pass,
        stage: Stage,
        sent: u32,
        failure: TransientFailure,
    ) -> bool {
        let retries = &self.api.0.retries;
        let pause = || retries.pause(sent, failure.retry_after, self.context.deadline);
        let Some(pause) = pass.is_valid().then(pause).flatten() else {
            return false;
        };
        let _timing = self.context.spent.during(stage);
        tokio::time::sleep(pause).await;
        let is_valid = pass.is_valid();
        if is_valid {
            metrics::request_retried(failure.reason);
        }
        is_valid
    }

    /// Waits until the user may open another session. Returns whether it may be tried.
    async fn wait_for_rate(&self, pass: &Pass, sent: u32, failure: TransientFailure) -> bool {
        let retries = &self.api.0.retries;
        let allowed = retries.rate_pause(sent, failure.retry_after, self.context.deadline);
        let Some((pause, _permit)) = allowed else {
            return false;
        };
        let _timing = self.context.spent.during(Stage::Session);
        tokio::time::sleep(pause).await;
        metrics::request_retried(failure.reason);
        pass.is_valid()
    }

    /// Sends a request once, within the deadline of the call, and reports the outcome to the
    /// breaker.
    async fn attempt(
        &self,
        pass: &Pass,
        opened: &Opened,
        request: &Request,
    ) -> Result<Reply, ApiError> {
        let _timing = self.context.spent.during(Stage::Api);
        let client = &self.api.0.client;
        let sent =
            pin!(client.request(&opened.identity, request, self.context.deadline.remaining()));
        let timed_out = Err(ApiError::TimedOut { sent: true });
        let answered = self.context.deadline.limit(sent).await.unwrap_or(timed_out);
        let outcome = answered.map(|answer| answer.reply);
        match is_healthy(outcome.as_ref(), request.method == Method::GET) {
            Some(true) => pass.succeeded(),
            Some(false) => pass.failed(Instant::now()),
            None => {}
        }
        outcome
    }

    /// Obtains the permissions of this call, which last until its end.
    async fn admission(&self) -> Result<&Pass, ApiError> {
        let admit = || {
            let admitted = self.api.0.breaker.admit(Instant::now());
            admitted.map_err(|retry_in| ApiError::CircuitOpen { retry_in })
        };
        let admitting = async {
            // A call that the breaker refuses must not wait in the queue.
            let mut pass = admit()?;
            let permit = match self.api.0.concurrency.try_take() {
                Some(permit) => permit,
                None => Box::pin(self.queue(self.api.0.concurrency.take())).await?,
            };
            if !pass.is_valid() {
                pass = admit()?;
            }
            Ok(Admission {
                pass,
                _permit: permit,
            })
        };
        let admission = self.admission.get_or_try_init(|| admitting).await?;
        Ok(&admission.pass)
    }

    /// Waits for a permit or slot that other calls hold.
    async fn queue<T>(
        &self,
        work: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<T, ApiError> {
        let _timing = (
            self.context.spent.during(Stage::Queue),
            metrics::call_waiting(),
        );
        let granted = self.context.deadline.limit(work).await;
        granted.unwrap_or(Err(ApiError::TimedOut { sent: false }))
    }

    /// The session of this call. Concurrent requests share one opening.
    async fn opened(&self, pass: &Pass) -> Result<Arc<Opened>, ApiError> {
        let mut current = self.current.lock().await;
        if let Some(opened) = &current.opened {
            return Ok(Arc::clone(opened));
        }
        let opened = self.open(pass).await?;
        current.opened = Some(Arc::clone(&opened));
        Ok(opened)
    }

    /// Discards a session that the API has refused. Returns whether a new one may be opened: once
    /// per call.
    ///
    /// The session is released before anything is awaited, because the new one may need its slot.
    async fn discard(&self, refused: Arc<Opened>) -> bool {
        let refused = {
            let weak = Arc::downgrade(&refused);
            drop(refused);
            weak
        };
        let mut current = self.current.lock().await;
        match &current.opened {
            // A concurrent request has discarded it.
            None => true,
            Some(opened) if Arc::as_ptr(opened) != refused.as_ptr() => true,
            Some(_) if current.reopened => false,
            Some(_) => {
                current.reopened = true;
                current.opened = None;
                true
            }
        }
    }

    async fn identity(&self) -> Result<Identity, ApiError> {
        let made = self.identity.get_or_try_init(|| async {
            let _timing = self.context.spent.during(Stage::Auth);
            let token = self.credential.token().await.map_err(no_access)?;
            Ok(Identity::new(&token, &self.context))
        });
        match self.context.deadline.limit(made).await {
            Ok(identity) => identity.cloned(),
            Err(_elapsed) => Err(ApiError::NoAccess(NoAccessError::Unavailable)),
        }
    }

    /// Opens a session, with retries. The operation that needs the session has not been sent, and
    /// the errors state so.
    async fn open(&self, pass: &Pass) -> Result<Arc<Opened>, ApiError> {
        let identity = self.identity().await?;
        self.api.0.retries.first();
        let mut sent = 0;
        loop {
            let slot = self.slot().await?;
            let failure = match self.open_in_slot(slot, identity.clone()).await {
                Ok(opened) => return Ok(Arc::new(opened)),
                Err(failure) => failure,
            };
            let refused = match &failure {
                ApiError::SessionRefused(reply) => Ok(reply),
                failure => Err(failure),
            };
            // An opened session does not prove that operations work, so only failures count.
            if is_healthy(refused, true) == Some(false) {
                pass.failed(Instant::now());
            }
            sent += 1;
            let again = match transient_failure(refused) {
                Some(transient) if refused.is_ok_and(|reply| reply.status == 429) => {
                    self.wait_for_rate(pass, sent, transient).await
                }
                Some(transient) => {
                    self.wait_to_retry(pass, Stage::Session, sent, transient)
                        .await
                }
                None => false,
            };
            if !again {
                return Err(match failure {
                    ApiError::TimedOut { .. } => ApiError::TimedOut { sent: false },
                    ApiError::SessionRefused(_) => failure,
                    _ => ApiError::Unreachable,
                });
            }
        }
    }

    async fn slot(&self) -> Result<SessionSlot, ApiError> {
        let ApiClient(inner) = &self.api;
        Box::pin(self.queue(async {
            inner
                .concurrency
                .with_queue_timeout(inner.closers.reserve())
                .await?
        }))
        .await
    }

    async fn open_in_slot(
        &self,
        slot: SessionSlot,
        identity: Identity,
    ) -> Result<Opened, ApiError> {
        let _timing = self.context.spent.during(Stage::Session);
        let inner = &self.api.0;
        let opening = open(
            inner.client.clone(),
            identity,
            slot,
            inner.settings.call_deadline,
        );
        let opened = self
            .context
            .deadline
            .limit(CompleteOnDrop::begin(opening))
            .await;
        let opened = opened.unwrap_or(Err(ApiError::TimedOut { sent: true }));
        if matches!(&opened, Err(ApiError::SessionRefused(reply)) if reply.status == 401) {
            self.credential.forget();
        }
        opened
    }
}

/// A future that is moved to a task when dropped before completion. Until then it costs no task.
struct CompleteOnDrop<T: Send + 'static>(Option<BoxFuture<'static, T>>);

impl<T: Send + 'static> CompleteOnDrop<T> {
    fn begin(work: impl Future<Output = T> + Send + 'static) -> Self {
        Self(Some(Box::pin(work)))
    }
}

impl<T: Send + 'static> Future for CompleteOnDrop<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let Some(work) = &mut self.0 else {
            return Poll::Pending;
        };
        let done = work.as_mut().poll(context);
        if done.is_ready() {
            self.0 = None;
        }
        done
    }
}

impl<T: Send + 'static> Drop for CompleteOnDrop<T> {
    fn drop(&mut self) {
        // Without a runtime, the process is ending.
        if let (Some(work), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            tasks::spawn_on(&runtime, "session", work);
        }
    }
}

fn no_access(error: ExchangeError) -> ApiError {
    ApiError::NoAccess(match error {
        ExchangeError::Refused => NoAccessError::Refused,
        ExchangeError::Denied => NoAccessError::Denied,
        ExchangeError::Unavailable => NoAccessError::Unavailable,
        ExchangeError::Misconfigured | ExchangeError::Garbled => NoAccessError::Faulty,
    })
}

/// Opens a session with one request.
async fn open(
    client: Client,
    identity: Identity,
    slot: SessionSlot,
    within: Duration,
) -> Result<Opened, ApiError> {
    let answer = client
        .request_bare(&identity, Method::POST, SESSIONS.to_owned(), within)
        .await?;
    let Some((id, epoch)) = parse_session(&answer) else {
        return Err(ApiError::SessionRefused(answer.reply));
    };
    let guard = slot.opened(
        [SESSIONS, "/", id.to_str().unwrap_or_default()].concat(),
        identity.clone(),
    );
    Ok(Opened {
        identity: identity.with_session(&id, &epoch),
        _guard: guard,
    })
}

/// Id and epoch of a new session, if the answer describes one.
fn parse_session(answer: &ApiAnswer) -> Option<(HeaderValue, HeaderValue)> {
    #[derive(Deserialize)]
    struct Body {
        id: String,
        epoch: Option<u64>,
    }
    if !matches!(answer.reply.status, 200 | 201) {
        return None;
    }
    let body: Body = serde_json::from_slice(&answer.reply.body).ok()?;
    // The id becomes a header and a path segment, so it must be safe as both.
    let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if body.id.is_empty() || body.id.len() > 128 || !body.id.bytes().all(is_safe) {
        return None;
    }
    let epoch = answer
        .fields
        .get(headers::EPOCH)
        .cloned()
        .or_else(|| body.epoch.map(HeaderValue::from))?;
    Some((HeaderValue::from_str(&body.id).ok()?, epoch))
}

/// Whether the reply means that the session is invalid and that the request was not carried out.
fn session_is_refused(reply: &Reply) -> bool {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        error: std::borrow::Cow<'a, str>,
    }
    match reply.status {
        428 => true,
        409 => serde_json::from_slice::<Body<'_>>(&reply.body)
            .is_ok_and(|body| body.error == "epoch_mismatch"),
        _ => false,
    }
}
