//! One HTTP request to the API: signed, sent, its answer read to a limit.
//!
//! Nothing of the caller's own request comes through here except the token, the correlation id and the trace context:
//! a request starts without headers and gets those that this module writes. Environment proxies,
//! redirects and decompression are off: each of them would let somebody else decide where a token goes or how large an
//! answer becomes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, IF_MATCH, InvalidHeaderValue, LINK, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::answer_limits::AnswerLimits;
use super::headers;
use super::headers::Headers;
use super::http_client::{HttpClient, Target};
use super::instrument::RequestSpan;
use super::request::{ApiError, Repeat, Reply, Request};
use super::signature::Signer;
use super::signature::version2::{Bound, Hashed};
use super::{CallContext, Settings};
use crate::foundation::clock::Clock;
use crate::foundation::deadline::told_ms;
use crate::foundation::memory_budget::Reservation;
use crate::foundation::token_secret::Secret;
use crate::telemetry::metrics;
use crate::telemetry::traces::TraceContext;
use crate::workers::Workers;

mod reply_headers;

/// Why there can be no client at all: a mistake in the settings.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("the API's base URL is not an http or https URL without query and user")]
    BaseUrl,
    #[error("the tenant id cannot be sent as a header")]
    Tenant(#[source] InvalidHeaderValue),
    #[error("the HTTP client cannot be built")]
    Http(#[source] reqwest::Error),
}

/// Connections to the API and the means to sign. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    wire: Arc<HttpClient>,
    signer: Signer,
    clock: Clock,
    max_answer_bytes: usize,
    /// No answer is waited for longer, whatever the deadline.
    read_timeout: Duration,
}

/// An answer with all its headers, of which tools see only what [`Reply`] has.
#[derive(Debug)]
pub(crate) struct ApiAnswer {
    pub reply: Reply,
    pub fields: HeaderMap,
}

/// In whose name a request is sent, and in which session.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    call: Arc<SameForAll>,
    session: Headers,
}

/// What all requests of a call have in common.
#[derive(Debug)]
struct SameForAll {
    headers: Headers,
    correlation_id: Arc<str>,
    /// The caller's own.
    traceparent: Option<Arc<str>>,
    token: Hashed,
    /// Where in a trace the call is.
    place: TraceContext,
    memory: Reservation,
}

impl Identity {
    /// The texts were checked where they came in; one that is no header value after all is left out, and the API then
    /// refuses the token or makes up a correlation id.
    pub fn new(token: &Secret, context: &CallContext) -> Self {
        let mut headers = Headers::of_a_request();
        headers.put(&AUTHORIZATION, format!("Bearer {}", token.expose()));
        headers.put(&headers::CORRELATION, &*context.correlation_id);
        Self::of(SameForAll {
            headers,
            correlation_id: context.correlation_id.clone(),
            traceparent: context.traceparent.clone(),
            token: Hashed::of(token.expose().as_bytes()),
            place: context.place.clone(),
            memory: context.memory.clone(),
        })
    }

    pub fn empty() -> Self {
        Self::of(SameForAll {
            headers: Headers::default(),
            correlation_id: "".into(),
            traceparent: None,
            token: Hashed::of(b""),
            place: TraceContext::default(),
            memory: Reservation::uncounted(),
        })
    }

    fn of(call: SameForAll) -> Self {
        Self {
            call: Arc::new(call),
            session: Headers::default(),
        }
    }

    /// As it goes into the log.
    pub fn correlation_id(&self) -> &str {
        &self.call.correlation_id
    }

    pub fn with_session(&self, id: &HeaderValue, epoch: &HeaderValue) -> Self {
        let mut session = Headers::default();
        session.put(&headers::SESSION, id);
        session.put(&headers::EPOCH, epoch);
        Self {
            call: Arc::clone(&self.call),
            session,
        }
    }
}

impl Client {
    pub fn new(settings: &Settings, clock: Clock, loops: &Workers) -> Result<Self, ClientError> {
        let wire = HttpClient::new(settings, loops)?;
        let signer = Signer::new(
            &settings.tenant_secret,
            &settings.tenant_id,
            settings.signature,
        );
        let signer = signer.map_err(ClientError::Tenant)?;
        Ok(Self {
            wire: Arc::new(wire),
            signer,
            clock,
            max_answer_bytes: settings.max_answer_bytes,
            read_timeout: settings.read_timeout,
        })
    }

    pub(crate) fn signer(&self) -> &Signer {
        &self.signer
    }

    pub fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// Sends one request, and tells the API how long its answer is waited for. `TimedOut` here means
    /// that the API fell silent; to wait no longer is the caller's business.
    pub(crate) async fn request(
        &self,
        identity: &Identity,
        request: &Request,
        within: Duration,
    ) -> Result<ApiAnswer, ApiError> {
        let observed = RequestSpan::begin(request, &identity.call.place);
        let result = self
            .answered(identity, request, observed.traceparent(), within)
            .await;
        if matches!(&result, Err(ApiError::AnswerTooLarge { .. })) {
            metrics::limited("answer_bytes");
        }
        observed.end(&result);
        result
    }

    async fn answered(
        &self,
        identity: &Identity,
        request: &Request,
        traced: Option<String>,
        within: Duration,
    ) -> Result<ApiAnswer, ApiError> {
        let (method, body) = (
            request.method.clone(),
            request.body.clone().unwrap_or_default(),
        );
        let limits = AnswerLimits::new(self.max_answer_bytes, &identity.call.memory);
        limits.reserve_before(&body).await?;
        let (target, headers) = self.signed(identity, request, traced, within)?;
        let id = &*identity.call.correlation_id;
        let sent = self
            .wire
            .round_trip(method, target, &headers, body, id, limits);
        let (status, fields, body) = sent.await?;
        Ok(self.answer(status, fields, body))
    }

    /// Where a request goes, and all its headers. `traced` is what its span says in place of the
    /// caller's own trace context.
    fn signed(
        &self,
        identity: &Identity,
        request: &Request,
        traced: Option<String>,
        within: Duration,
    ) -> Result<(Target, Headers), ApiError> {
        let call = &identity.call;
        let mut headers = Headers::of_a_request();
        headers.put_all(&call.headers);
        headers.put_all(&identity.session);
        if let Some(traceparent) = traced.as_deref().or(call.traceparent.as_deref()) {
            headers.put(&headers::TRACEPARENT, traceparent);
        }
        let told = told_ms(within.min(self.read_timeout));
        headers.put(&headers::TIMEOUT, itoa::Buffer::new().format(told));
        let target = self.wire.target(&request.path, &request.query)?;
        let bound = Bound {
            method: &request.method,
            target: target.as_str(),
            body: request.body.as_deref().unwrap_or_default(),
            token: &call.token,
        };
        self.signer.sign(self.clock.now_ms(), &bound, &mut headers);
        if let Some(version) = request.if_match {
            headers.put(&IF_MATCH, itoa::Buffer::new().format(version));
        }
        if request.body.is_some() {
            headers.put(&CONTENT_TYPE, "application/json");
        }
        Ok((target, headers))
    }

    fn answer(&self, status: StatusCode, fields: HeaderMap, body: Bytes) -> ApiAnswer {
        let reply = Reply {
            status: status.as_u16(),
            body,
            retry_after: fields
                .get(RETRY_AFTER)
                .and_then(|value| reply_headers::retry_after(value, self.now_ms())),
            has_next: fields.get_all(LINK).iter().any(reply_headers::links_next),
            doubtful: false,
        };
        ApiAnswer { reply, fields }
    }

    /// A request without body and query.
    pub(crate) async fn request_bare(
        &self,
        identity: &Identity,
        method: Method,
        path: String,
        within: Duration,
    ) -> Result<ApiAnswer, ApiError> {
        let request = Request {
            method,
            path,
            query: Vec::new(),
            body: None,
            if_match: None,
            // Whoever sends these sees to that.
            repeat: Repeat::Never,
        };
        match tokio::time::timeout(within, self.request(identity, &request, within)).await {
            Ok(result) => result,
            Err(_) => Err(ApiError::TimedOut { sent: true }),
        }
    }
}
