//! Checks the headers of a request that carries a JSON-RPC message, and reads its body.

use std::time::Duration;

use axum::body::{Body, Bytes};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt;

use super::response::INVALID_REQUEST;
use crate::foundation::json::BYTE_ORDER_MARK;
use crate::foundation::memory_budget::{OverBudgetError, Reservation};
use crate::server::Settings;
use crate::server::headers::{METHOD, NAME, PROTOCOL_VERSION};
use crate::server::jsonrpc::validate::{MessageError, ValidMessage};
use crate::telemetry::metrics;

/// Headers that must not repeat: two parsers could each pick a different value.
const SINGLE_VALUED: [HeaderName; 5] = [
    CONTENT_TYPE,
    CONTENT_ENCODING,
    PROTOCOL_VERSION,
    METHOD,
    NAME,
];

pub fn check(headers: &HeaderMap) -> Result<(), MessageError> {
    if let Some(twice) = SINGLE_VALUED
        .iter()
        .find(|name| headers.get_all(*name).iter().count() > 1)
    {
        return Err(MessageError::invalid(format!(
            "the header {twice} is given more than once"
        )));
    }
    let text = |name| {
        headers
            .get(name)
            .map(|value: &HeaderValue| value.to_str().unwrap_or("?"))
    };
    let unsupported = |message: &'static str| {
        MessageError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, INVALID_REQUEST, message)
    };
    let media_type = text(CONTENT_TYPE)
        .and_then(|value| value.split(';').next())
        .unwrap_or_default()
        .trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        return Err(unsupported("Content-Type must be application/json"));
    }
    if text(CONTENT_ENCODING).is_some_and(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
        return Err(unsupported("Content-Encoding is not supported"));
    }
    Ok(())
}

/// The message, the API request body built from its arguments, and the copy being sent.
const WORKING_COPIES: usize = 3;

/// Limits on the size of a message and the time it takes to arrive.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub max_body_bytes: usize,
    pub body_timeout: Duration,
}

impl Limits {
    pub fn from_settings(settings: &Settings) -> Self {
        Self {
            max_body_bytes: settings.max_body_bytes,
            body_timeout: settings.timeouts.body,
        }
    }

    /// Reads the body. Memory is reserved before it is allocated, and the time limit includes
    /// waiting for it. A body that arrives slowly holds about as much as has arrived. A byte order
    /// mark is left out, as on stdio.
    pub async fn read(self, body: Body, memory: &Reservation) -> Result<Bytes, MessageError> {
        tokio::time::timeout(self.body_timeout, self.collect(body, memory))
            .await
            .unwrap_or_else(|_| {
                let message = "the message did not arrive in time";
                Err(MessageError::new(
                    StatusCode::REQUEST_TIMEOUT,
                    INVALID_REQUEST,
                    message,
                ))
            })
    }

    async fn collect(self, mut body: Body, memory: &Reservation) -> Result<Bytes, MessageError> {
        // A declared size is checked before the body arrives.
        let declared = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        if declared > self.max_body_bytes {
            return Err(self.too_large());
        }
        memory
            .announce(WORKING_COPIES * declared)
            .await
            .map_err(over_budget)?;
        let mut message = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame =
                frame.map_err(|_| MessageError::invalid("the message did not arrive in full"))?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            let length = message.len() + data.len();
            if length > self.max_body_bytes {
                return Err(self.too_large());
            }
            if length > message.capacity() {
                let capacity = match declared {
                    0 => length.next_power_of_two(),
                    _ => length.next_power_of_two().min(declared).max(length),
                };
                memory
                    .announce(WORKING_COPIES * capacity)
                    .await
                    .map_err(over_budget)?;
                memory.grow_to(capacity).await.map_err(over_budget)?;
                message.reserve_exact(capacity - message.len());
            }
            message.extend_from_slice(&data);
        }
        let whole = WORKING_COPIES * message.capacity();
        memory.grow_to(whole).await.map_err(over_budget)?;
        let mut message = Bytes::from(message);
        if message.starts_with(BYTE_ORDER_MARK) {
            message = message.slice(BYTE_ORDER_MARK.len()..);
        }
        Ok(message)
    }

    /// Reserves memory for the document that a message is read into, beside the message itself.
    pub async fn reserve_document(
        message: &ValidMessage<'_>,
        body: &Bytes,
        memory: &Reservation,
    ) -> Result<(), MessageError> {
        let bytes = WORKING_COPIES * body.len() + message.document_bytes();
        memory.grow_to(bytes).await.map_err(over_budget)
    }

    fn too_large(self) -> MessageError {
        metrics::limit_reached("request_bytes");
        let message = format!("the message is larger than {} bytes", self.max_body_bytes);
        MessageError::new(StatusCode::PAYLOAD_TOO_LARGE, INVALID_REQUEST, message)
    }
}

/// The error for a request that exceeds the memory budget.
pub fn over_budget(error: OverBudgetError) -> MessageError {
    metrics::limit_reached("request_memory");
    let (status, when) = match error {
        OverBudgetError::Never => (StatusCode::PAYLOAD_TOO_LARGE, "send less at once"),
        OverBudgetError::Principal => (
            StatusCode::TOO_MANY_REQUESTS,
            "try again when they have ended",
        ),
        OverBudgetError::Total => (StatusCode::SERVICE_UNAVAILABLE, "try again in a moment"),
    };
    let message = format!("the request cannot be served now: {error}; {when}");
    MessageError::new(status, INVALID_REQUEST, message)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;

    use futures::channel::mpsc;
    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;
    use crate::foundation::memory_budget::MemoryBudget;
    use crate::server::jsonrpc::validate::validate;

    const MIB: usize = 1 << 20;

    /// A body that declares its size, as hyper's does, and arrives chunk by chunk.
    struct Declared<B>(B, u64);

    impl<B: http_body::Body + Unpin> http_body::Body for Declared<B> {
        type Data = B::Data;
        type Error = B::Error;

        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            context: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<Frame<B::Data>, B::Error>>> {
            std::pin::Pin::new(&mut self.0).poll_frame(context)
        }

        fn size_hint(&self) -> http_body::SizeHint {
            http_body::SizeHint::with_exact(self.1)
        }
    }

    #[tokio::test]
    async fn the_document_of_a_message_is_reserved_beside_its_copies() {
        let limits = Settings::default().memory();
        let memory = Arc::new(MemoryBudget::new(limits)).open(&Arc::from("ann"));
        let objects = vec![r#"{"a":1}"#; 200].join(",");
        let body = format!(r#"{{"jsonrpc":"2.0","method":"x","params":{{"x":[{objects}]}}}}"#);
        let body = Bytes::from(body);
        let message = validate(&body).1.unwrap();
        Limits::reserve_document(&message, &body, &memory)
            .await
            .unwrap();
        assert!(memory.bytes() > 400 * 500, "{} bytes", memory.bytes());
    }

    #[tokio::test]
    async fn a_byte_order_mark_is_left_out() {
        let limits = Limits {
            max_body_bytes: MIB,
            body_timeout: Duration::from_secs(30),
        };
        for (sent, read) in [("\u{feff}{}", "{}"), ("{}\u{feff}", "{}\u{feff}")] {
            let memory = Reservation::uncounted();
            let body = limits.read(Body::from(sent), &memory).await;
            assert_eq!(body.unwrap(), read);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_holds_what_has_arrived_and_its_copies_when_it_is_complete() {
        let limits = Settings::default().memory();
        let memory = Arc::new(MemoryBudget::new(limits)).open(&Arc::from("ann"));
        let limits = Limits {
            max_body_bytes: 2 * MIB,
            body_timeout: Duration::from_secs(30),
        };
        for declared in [true, false] {
            let (sender, chunks) = mpsc::unbounded::<Result<_, Infallible>>();
            let send = |bytes: usize| {
                let frame = Frame::data(Bytes::from(vec![b' '; bytes]));
                sender.unbounded_send(Ok(frame)).unwrap();
            };
            let body = StreamBody::new(chunks);
            let body = match declared {
                true => Body::new(Declared(body, MIB as u64)),
                false => Body::new(body),
            };
            let mut reading = Box::pin(limits.read(body, &memory));
            for (more, held) in [
                (0, 0),
                (10_000, 0),
                (10_000, 32 * 1024),
                (40_000, 64 * 1024),
                (MIB - 60_000, MIB),
            ] {
                send(more);
                assert!(futures::poll!(&mut reading).is_pending());
                assert_eq!(memory.bytes(), held, "after {more} bytes more");
            }
            sender.close_channel();
            assert_eq!(reading.await.unwrap().len(), MIB);
            assert_eq!(memory.bytes(), WORKING_COPIES * MIB);
            memory.shrink_to(0);
        }
    }
}
