//! The API during one tool call: a session that is opened with the first request and ended when this value is dropped.
//!
//! When the caller goes away in the middle of opening it, opening goes on in a task of its own, which still reads the
//! answer, finds nobody who wants the session, and drops it, which ends it.
//!
//! There are two reasons to send a request again. When the API has forgotten the session (428) or its epoch has risen (409
//! `epoch_mismatch`), nothing has been done yet, so any request is sent again in a new session: once per call. When the API
//! did not get the request, could not serve it or said nothing, one that can do no harm is sent again, as [`retry`](super::retry)
//! allows. Opening a session is such a request.

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
use super::classify::{ApiTrouble, is_well, trouble};
use super::client::{ApiAnswer, Client, Identity};
use super::concurrency_limit::Turn;
use super::request::{Api, ApiError, NoAccess, Repeat, Reply, Request};
use super::session_closer::{Guard, Room};
use super::{ApiClient, CallContext, headers};
use crate::auth::{Credential, ExchangeError};
use crate::telemetry::metrics;
use crate::telemetry::tasks;
use crate::telemetry::timings::Stage;

const SESSIONS: &str = "/v1/sync/sessions";

/// Implements [`Api`] for one principal, one session, one deadline.
#[derive(Debug)]
pub struct Session {
    upstream: ApiClient,
    credential: Credential,
    /// Made when it is first needed: a call that sends nothing exchanges no token.
    identity: OnceCell<Identity>,
    context: CallContext,
    /// Held from the first request on.
    entered: OnceCell<Entered>,
    current: Mutex<Current>,
}

#[derive(Debug, Default)]
struct Current {
    opened: Option<Arc<Opened>>,
    mended: bool,
}

/// What a call has to have before it may ask anything.
#[derive(Debug)]
struct Entered {
    pass: Pass,
    _turn: Turn,
}

/// A session that exists: the headers to use it with, and the guard that ends it.
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
            // Boxed, since a tool holds several of these side by side, and what they are made of is large.
            result = Box::pin(self.deliver(request)) => result,
        }
    }
}

impl Session {
    pub(crate) fn new(upstream: ApiClient, credential: Credential, context: CallContext) -> Self {
        Self {
            upstream,
            credential,
            identity: OnceCell::new(),
            context,
            entered: OnceCell::new(),
            current: Mutex::default(),
        }
    }

    /// Sends a request in the session of this call, and again as far as it may be. Reasons why there
    /// is no session are final: opening one has been tried again already.
    async fn deliver(&self, request: Request) -> Result<Reply, ApiError> {
        let pass = self.entered().await?;
        self.upstream.0.retries.first();
        let (mut sent, mut doubtful) = (0, false);
        let outcome = loop {
            let opened = match self.opened(pass).await {
                Ok(opened) => opened,
                Err(failure) => break Err(failure),
            };
            let outcome = self.attempt(pass, &opened, &request).await;
            if outcome.as_ref().is_ok_and(session_is_refused) {
                if self.let_go(opened).await {
                    metrics::sent_again("session_lost");
                    continue;
                }
                break outcome;
            }
            sent += 1;
            let Some(trouble) = trouble(outcome.as_ref()) else {
                break outcome;
            };
            if request.repeat == Repeat::Never
                || !self.may_go_again(pass, Stage::Api, sent, trouble).await
            {
                break outcome;
            }
            // A question leaves nothing behind.
            doubtful |= trouble.doubtful && request.method != Method::GET;
        };
        match outcome {
            Ok(reply) => Ok(Reply { doubtful, ..reply }),
            // What an earlier sending did is unknown, whatever kept the last one from being sent.
            Err(failure) if doubtful && failure.nothing_was_sent() => Err(ApiError::AnswerLost),
            Err(failure) => Err(failure),
        }
    }

    /// Waits until what has been sent so often may be sent again, if it may.
    async fn may_go_again(
        &self,
        pass: &Pass,
        stage: Stage,
        sent: u32,
        trouble: ApiTrouble,
    ) -> bool {
        let retries = &self.upstream.0.retries;
        let pause = || retries.pause(sent, trouble.wish, self.context.deadline);
        let Some(pause) = pass.holds().then(pause).flatten() else {
            return false;
        };
        let _waiting = self.context.spent.during(stage);
        tokio::time::sleep(pause).await;
        let holds = pass.holds();
        if holds {
            metrics::sent_again(trouble.reason);
        }
        holds
    }

    /// Sends a request once, within the call's deadline, and tells the breaker how that went.
    async fn attempt(
        &self,
        pass: &Pass,
        opened: &Opened,
        request: &Request,
    ) -> Result<Reply, ApiError> {
        let _sending = self.context.spent.during(Stage::Api);
        let client = &self.upstream.0.client;
        let sent =
            pin!(client.request(&opened.identity, request, self.context.deadline.remaining()));
        let timed_out = Err(ApiError::TimedOut { sent: true });
        let answered = self.context.deadline.limit(sent).await.unwrap_or(timed_out);
        let outcome = answered.map(|answer| answer.reply);
        match is_well(outcome.as_ref(), request.method == Method::GET) {
            Some(true) => pass.succeeded(),
            Some(false) => pass.failed(Instant::now()),
            None => {}
        }
        outcome
    }

    /// The right to ask the API at all, which lasts as long as the call.
    async fn entered(&self) -> Result<&Pass, ApiError> {
        let admit = || {
            let admitted = self.upstream.0.breaker.admit(Instant::now());
            admitted.map_err(|retry_in| ApiError::CircuitOpen { retry_in })
        };
        let entering = async {
            // Whoever will be refused need not wait for it.
            let mut pass = admit()?;
            let turn = match self.upstream.0.turns.try_take() {
                Some(turn) => turn,
                None => Box::pin(self.queue(self.upstream.0.turns.take())).await?,
            };
            if !pass.holds() {
                pass = admit()?;
            }
            Ok(Entered { pass, _turn: turn })
        };
        let entered = self.entered.get_or_try_init(|| entering).await?;
        Ok(&entered.pass)
    }

    /// Waits for what other calls have to make room for.
    async fn queue<T>(
        &self,
        room: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<T, ApiError> {
        let _waiting = (
            self.context.spent.during(Stage::Queue),
            metrics::call_waiting(),
        );
        let room = self.context.deadline.limit(room).await;
        room.unwrap_or(Err(ApiError::TimedOut { sent: false }))
    }

    /// The session of this call. Requests that come at the same time wait for the same opening.
    async fn opened(&self, pass: &Pass) -> Result<Arc<Opened>, ApiError> {
        let mut current = self.current.lock().await;
        if let Some(opened) = &current.opened {
            return Ok(Arc::clone(opened));
        }
        let opened = self.open(pass).await?;
        current.opened = Some(Arc::clone(&opened));
        Ok(opened)
    }

    /// Gives up a session that the API has refused, and says whether there will be another: once per call.
    ///
    /// It is let go before anything is waited for: the new one may need the very room that it takes.
    async fn let_go(&self, refused: Arc<Opened>) -> bool {
        let refused = {
            let known_by = Arc::downgrade(&refused);
            drop(refused);
            known_by
        };
        let mut current = self.current.lock().await;
        match &current.opened {
            // A request beside this one has done it.
            None => true,
            Some(opened) if Arc::as_ptr(opened) != refused.as_ptr() => true,
            Some(_) if current.mended => false,
            Some(_) => {
                current.mended = true;
                current.opened = None;
                true
            }
        }
    }

    async fn identity(&self) -> Result<Identity, ApiError> {
        let made = self.identity.get_or_try_init(|| async {
            let _proving = self.context.spent.during(Stage::Auth);
            let token = self.credential.token().await.map_err(no_access)?;
            Ok(Identity::new(&token, &self.context))
        });
        match self.context.deadline.limit(made).await {
            Ok(identity) => identity.cloned(),
            Err(_elapsed) => Err(ApiError::NoAccess(NoAccess::Unavailable)),
        }
    }

    /// Opens a session, if need be in several tries. Whatever goes wrong here, the operation that wanted the session has
    /// not been sent, and the failures say so.
    async fn open(&self, pass: &Pass) -> Result<Arc<Opened>, ApiError> {
        let identity = self.identity().await?;
        self.upstream.0.retries.first();
        let mut sent = 0;
        loop {
            let room = self.room().await?;
            let failure = match self.open_in(room, identity.clone()).await {
                Ok(opened) => return Ok(Arc::new(opened)),
                Err(failure) => failure,
            };
            let refused = match &failure {
                ApiError::SessionRefused(reply) => Ok(reply),
                failure => Err(failure),
            };
            // An API that opens sessions may still not be able to do more, so only failures count.
            if is_well(refused, true) == Some(false) {
                pass.failed(Instant::now());
            }
            sent += 1;
            let again = match trouble(refused) {
                Some(trouble) => self.may_go_again(pass, Stage::Session, sent, trouble).await,
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

    async fn room(&self) -> Result<Room, ApiError> {
        let ApiClient(inner) = &self.upstream;
        Box::pin(self.queue(async { inner.turns.patiently(inner.enders.room()).await? })).await
    }

    async fn open_in(&self, room: Room, identity: Identity) -> Result<Opened, ApiError> {
        let _opening = self.context.spent.during(Stage::Session);
        let inner = &self.upstream.0;
        let opening = open(
            inner.client.clone(),
            identity,
            room,
            inner.settings.call_deadline,
        );
        let opened = self.context.deadline.limit(ToItsEnd::begin(opening)).await;
        let opened = opened.unwrap_or(Err(ApiError::TimedOut { sent: true }));
        if matches!(&opened, Err(ApiError::SessionRefused(reply)) if reply.status == 401) {
            self.credential.forget();
        }
        opened
    }
}

/// Work that goes on in a task of its own when nobody waits for it any more, and costs none before.
struct ToItsEnd<T: Send + 'static>(Option<BoxFuture<'static, T>>);

impl<T: Send + 'static> ToItsEnd<T> {
    fn begin(work: impl Future<Output = T> + Send + 'static) -> Self {
        Self(Some(Box::pin(work)))
    }
}

impl<T: Send + 'static> Future for ToItsEnd<T> {
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

impl<T: Send + 'static> Drop for ToItsEnd<T> {
    fn drop(&mut self) {
        // Where there is no runtime, there is nothing left that could go on.
        if let (Some(work), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            tasks::spawn_on(&runtime, "session", work);
        }
    }
}

fn no_access(error: ExchangeError) -> ApiError {
    ApiError::NoAccess(match error {
        ExchangeError::Refused => NoAccess::Refused,
        ExchangeError::Denied => NoAccess::Denied,
        ExchangeError::Unavailable => NoAccess::Unavailable,
        ExchangeError::Misconfigured | ExchangeError::Garbled => NoAccess::Faulty,
    })
}

/// Opens a session, once.
async fn open(
    client: Client,
    identity: Identity,
    room: Room,
    within: Duration,
) -> Result<Opened, ApiError> {
    let answer = client
        .request_bare(&identity, Method::POST, SESSIONS.to_owned(), within)
        .await?;
    let Some((id, epoch)) = described(&answer) else {
        return Err(ApiError::SessionRefused(answer.reply));
    };
    let guard = room.occupied_by(
        format!("{SESSIONS}/{}", id.to_str().unwrap_or_default()),
        identity.clone(),
    );
    Ok(Opened {
        identity: identity.with_session(&id, &epoch),
        _guard: guard,
    })
}

/// Id and epoch of a new session, when the answer is one.
fn described(answer: &ApiAnswer) -> Option<(HeaderValue, HeaderValue)> {
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
        409 => serde_json::from_slice::<Body<'_>>(&reply.body)
            .is_ok_and(|body| body.error == "epoch_mismatch"),
        _ => false,
    }
}
