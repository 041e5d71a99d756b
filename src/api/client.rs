//! Sends single HTTP requests to the API: signs them and reads the answers, up to a size limit.
//!
//! The only parts of the caller's request that reach the API are the token, the correlation id and
//! the trace context: requests start without headers and get only those written here. Environment
//! proxies, redirects and decompression are off, because they would let another party decide where
//! a token goes or how large an answer becomes.

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
use super::{CallContext, Settings, TenantIdentity};
use crate::foundation::clock::Clock;
use crate::foundation::deadline::timeout_header_ms;
use crate::foundation::memory_budget::Reservation;
use crate::foundation::secret::Secret;
use crate::telemetry::metrics;
use crate::telemetry::traces::TraceContext;
use crate::workers::Workers;

mod reply_headers;

/// Why no client can be built: an invalid setting.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("the API's base URL is not an http or https URL without query and user")]
    BaseUrl,
    #[error("the tenant id cannot be sent as a header")]
    Tenant(#[source] InvalidHeaderValue),
    #[error("the HTTP client cannot be built")]
    Http(#[source] reqwest::Error),
}

/// Connections to the API, and the signing key. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    http: Arc<HttpClient>,
    signer: Signer,
    clock: Clock,
    max_answer_bytes: usize,
    /// Upper limit of the wait for an answer, whatever the deadline.
    read_timeout: Duration,
}

/// An answer with the header fields that this module keeps; tools see only the [`Reply`].
#[derive(Debug)]
pub(crate) struct ApiAnswer {
    pub reply: Reply,
    pub fields: HeaderMap,
}

/// The headers that identify the caller and the session of a request.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    call: Arc<CallIdentity>,
    session: Headers,
}

/// The parts that all requests of a call share.
#[derive(Debug)]
struct CallIdentity {
    headers: Headers,
    correlation_id: Arc<str>,
    /// As sent by the caller.
    traceparent: Option<Arc<str>>,
    token: Hashed,
    /// Position of the call in the trace.
    trace_context: TraceContext,
    memory: Reservation,
}

impl Identity {
    /// Builds the identity of a call. The texts have been validated; if one is no valid header
    /// value, it is omitted, and the API refuses the token or generates a correlation id.
    pub fn new(token: &Secret, context: &CallContext) -> Self {
        let mut headers = Headers::of_a_request();
        headers.put(&AUTHORIZATION, ["Bearer ", token.expose()].concat());
        headers.put(&headers::CORRELATION, &*context.correlation_id);
        Self::for_call(CallIdentity {
            headers,
            correlation_id: context.correlation_id.clone(),
            traceparent: context.traceparent.clone(),
            token: Hashed::of(token.expose().as_bytes()),
            trace_context: context.trace_context.clone(),
            memory: context.memory.clone(),
        })
    }

    /// The identity of requests that belong to no caller.
    pub fn empty() -> Self {
        Self::for_call(CallIdentity {
            headers: Headers::default(),
            correlation_id: "".into(),
            traceparent: None,
            token: Hashed::of(b""),
            trace_context: TraceContext::default(),
            memory: Reservation::uncounted(),
        })
    }

    fn for_call(call: CallIdentity) -> Self {
        Self {
            call: Arc::new(call),
            session: Headers::default(),
        }
    }

    /// The correlation id for the log.
    pub fn correlation_id(&self) -> &str {
        &self.call.correlation_id
    }

    /// The same identity within a session.
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
    pub fn new(
        settings: &Settings,
        identity: &TenantIdentity,
        clock: Clock,
        loops: &Workers,
    ) -> Result<Self, ClientError> {
        let http = HttpClient::new(settings, loops)?;
        let signer = Signer::new(&identity.secret, &identity.id, identity.signature);
        let signer = signer.map_err(ClientError::Tenant)?;
        Ok(Self {
            http: Arc::new(http),
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

    /// Sends one request, with the time to wait in `X-TB-Timeout-MS`. Does not enforce `within`:
    /// `TimedOut` means that the API stopped sending, and the caller applies its own time limit.
    pub(crate) async fn request(
        &self,
        identity: &Identity,
        request: &Request,
        within: Duration,
    ) -> Result<ApiAnswer, ApiError> {
        let span = RequestSpan::begin(request, &identity.call.trace_context);
        let result = self
            .send(identity, request, span.traceparent(), within)
            .await;
        if matches!(&result, Err(ApiError::AnswerTooLarge { .. })) {
            metrics::limit_reached("answer_bytes");
        }
        span.end(&result);
        result
    }

    async fn send(
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
        let answer = self
            .http
            .round_trip(method, target, &headers, body, id, limits);
        let (status, fields, body) = answer.await?;
        Ok(self.answer(status, fields, body))
    }

    /// The target and all headers of a request. `traced`, the context of its own span, replaces the
    /// trace context of the caller.
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
        let timeout = timeout_header_ms(within.min(self.read_timeout));
        headers.put(&headers::TIMEOUT, itoa::Buffer::new().format(timeout));
        let target = self.http.target(&request.path, &request.query)?;
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
        if let Some(key) = request.idempotency_key {
            headers.put(&headers::IDEMPOTENCY_KEY, key.hyphenated().to_string());
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
            maybe_applied: false,
        };
        ApiAnswer { reply, fields }
    }

    /// Sends a request without body and query, and waits at most `within`.
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
            idempotency_key: None,
            // The callers of this method implement their own retries.
            repeat: Repeat::Never,
        };
        match tokio::time::timeout(within, self.request(identity, &request, within)).await {
            Ok(result) => result,
            Err(_) => Err(ApiError::TimedOut { sent: true }),
        }
    }
}
