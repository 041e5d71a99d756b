//! Connection pool for an API over plain HTTP. Connections have no tasks: a request takes one, does
//! its I/O itself, and returns it.
//!
//! `reqwest` hands each request to the task of a connection and its answer back: two thread
//! switches for each of the three requests of a call, which cost more than the rest of the call. A
//! connection that is abandoned in the middle of an answer is dropped, so the API notices that the
//! caller is gone.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::TryFutureExt;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use parking_lot::{Mutex, MutexGuard};
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::Settings;
use super::answer_limits::AnswerLimits;
use super::headers::{Headers, answers};
use super::http1::{Chunks, Framing, Head, MalformedAnswerError, Outgoing};
use super::request::ApiError;
use crate::foundation::platform;
use crate::workers::{PerLoop, Workers};

/// Read size. Most answers fit.
const READ_SIZE: usize = 8 * 1024;

/// Address of the API, and idle connections to it, the most recently used last.
#[derive(Debug)]
pub(crate) struct ConnectionPool {
    host: String,
    port: u16,
    host_header: HeaderValue,
    idle: PerLoop<Mutex<Vec<Connection>>>,
    connect_timeout: Duration,
    /// The longest pause between two reads of an answer.
    read_timeout: Duration,
    idle_timeout: Duration,
    /// Maximum number of idle connections per worker.
    max_idle: usize,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    /// Bytes received and not yet parsed.
    buffer: BytesMut,
    /// The length of the longest body so far.
    longest: usize,
    /// The last request was written completely.
    written: bool,
    last_used: Instant,
}

/// Why a request got no answer on a connection.
enum UseError {
    /// It was closed, or had unread bytes, before the request was written. An idle connection may
    /// be closed at any time.
    WasClosed,
    Failed(ApiError),
}

impl ConnectionPool {
    /// `None` if the authority is no valid header value.
    pub fn new(authority: &Authority, settings: &Settings, loops: &Workers) -> Option<Self> {
        Some(Self {
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: authority.port_u16().unwrap_or(80),
            host_header: HeaderValue::from_str(authority.as_str()).ok()?,
            idle: PerLoop::new(loops, |_| Mutex::default()),
            connect_timeout: settings.connect_timeout,
            read_timeout: settings.read_timeout,
            idle_timeout: settings.idle_timeout,
            max_idle: settings.max_idle.div_ceil(loops.count().max(1)),
        })
    }

    /// Sends a request, whose target is a path, and reads the whole answer, within `limits`. An
    /// answer that echoes a correlation id other than `correlation_id` belongs to another request:
    /// the connection is dropped, and the answer is reported as lost.
    pub async fn round_trip(
        &self,
        method: &Method,
        target: &str,
        headers: &Headers,
        body: Bytes,
        correlation_id: &str,
        limits: AnswerLimits<'_>,
    ) -> Result<(StatusCode, HeaderMap, Bytes), ApiError> {
        let request = Outgoing::new(method, target, &self.host_header, headers, body);
        while let Some(connection) = self.take_idle() {
            match self
                .round_trip_on(connection, &request, correlation_id, limits)
                .await
            {
                Err(UseError::WasClosed) => {}
                Err(UseError::Failed(failure)) => return Err(failure),
                Ok(answer) => return Ok(answer),
            }
        }
        let connection = self.connect().await?;
        self.round_trip_on(connection, &request, correlation_id, limits)
            .await
            .map_err(|error| match error {
                UseError::WasClosed => ApiError::Unreachable,
                UseError::Failed(failure) => failure,
            })
    }

    async fn round_trip_on(
        &self,
        mut connection: Connection,
        request: &Outgoing,
        correlation_id: &str,
        limits: AnswerLimits<'_>,
    ) -> Result<(StatusCode, HeaderMap, Bytes), UseError> {
        let head = self.with_read_timeout(connection.send(request)).await??;
        if !answers(&head.fields, correlation_id) {
            return Err(UseError::Failed(ApiError::AnswerLost));
        }
        let body = self.read(&mut connection, head.body, limits).await?;
        if head.keeps_open && connection.is_reusable() {
            self.put_idle(connection);
        }
        Ok((head.status, head.fields, body))
    }

    async fn read(
        &self,
        connection: &mut Connection,
        framing: Framing,
        limits: AnswerLimits<'_>,
    ) -> Result<Bytes, ApiError> {
        match framing {
            Framing::Length(length) => {
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                limits.reserve(length).await?;
                connection.longest = connection.longest.max(length);
                while connection.buffer.len() < length {
                    let missing = length - connection.buffer.len();
                    self.read_more(connection, missing).await?;
                }
                Ok(connection.buffer.split_to(length).freeze())
            }
            Framing::Chunked => {
                let (mut chunks, mut body) = (Chunks::default(), BytesMut::new());
                while !chunks
                    .take(&mut connection.buffer, &mut body)
                    .map_err(answer_lost)?
                {
                    limits.reserve(body.len()).await?;
                    self.read_more(connection, READ_SIZE).await?;
                }
                limits.reserve(body.len()).await?;
                Ok(body.freeze())
            }
            Framing::Close => {
                while self
                    .with_read_timeout(connection.read_some(READ_SIZE))
                    .await??
                {
                    limits.reserve(connection.buffer.len()).await?;
                }
                Ok(connection.buffer.split().freeze())
            }
        }
    }

    /// Reads more bytes. Fails if the connection has ended.
    async fn read_more(&self, connection: &mut Connection, size: usize) -> Result<(), ApiError> {
        let is_open = self.with_read_timeout(connection.read_some(size)).await??;
        is_open.then_some(()).ok_or(ApiError::AnswerLost)
    }

    fn with_read_timeout<T>(
        &self,
        step: impl Future<Output = T>,
    ) -> impl Future<Output = Result<T, ApiError>> {
        tokio::time::timeout(self.read_timeout, step)
            .map_err(|_silent| ApiError::TimedOut { sent: true })
    }

    /// Resolves the host anew, and tries all its addresses.
    async fn connect(&self) -> Result<Connection, ApiError> {
        let connecting = async {
            let stream = TcpStream::connect((self.host.as_str(), self.port))
                .await
                .ok()?;
            stream.set_nodelay(true).ok()?;
            Some(stream)
        };
        let connected = tokio::time::timeout(self.connect_timeout, connecting).await;
        Ok(Connection {
            stream: connected.ok().flatten().ok_or(ApiError::Unreachable)?,
            buffer: BytesMut::new(),
            longest: 0,
            written: true,
            last_used: Instant::now(),
        })
    }

    /// Takes the most recently used connection, which is the least likely to be closed.
    fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.idle_connections();
        let connection = idle.pop()?;
        if connection.last_used.elapsed() < self.idle_timeout {
            return Some(connection);
        }
        // All others have been idle for longer.
        idle.clear();
        None
    }

    fn put_idle(&self, mut connection: Connection) {
        connection.last_used = Instant::now();
        let mut idle = self.idle_connections();
        if idle.len() < self.max_idle {
            idle.push(connection);
        }
    }

    fn idle_connections(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.here().lock()
    }
}

impl Connection {
    /// Writes the request and reads the head of its answer.
    async fn send(&mut self, request: &Outgoing) -> Result<Head, UseError> {
        if !self.is_idle() {
            return Err(UseError::WasClosed);
        }
        self.written = self.write(request).await;
        // A page that does not fit behind the answers before it would be read twice, and copied.
        let _ = self.buffer.try_reclaim(self.longest);
        let mut interim = 0;
        loop {
            if let Some(head) = Head::take(&mut self.buffer, &mut interim).map_err(answer_lost)? {
                return Ok(head);
            }
            if !self.read_some(READ_SIZE).await? {
                return Err(UseError::Failed(ApiError::AnswerLost));
            }
        }
    }

    /// Whether the connection is open and has no unread bytes, such as a second answer to the last
    /// request.
    fn is_idle(&self) -> bool {
        platform::has_no_unread_bytes(&self.stream)
    }

    /// Returns whether the request was written completely. An API that refuses a request may answer
    /// and close before it has read the whole request.
    async fn write(&self, request: &Outgoing) -> bool {
        for mut rest in [&request.head[..], &request.body[..]] {
            while !rest.is_empty() {
                match self.stream.try_write(rest) {
                    Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        let readiness = self
                            .stream
                            .ready(Interest::READABLE | Interest::WRITABLE)
                            .await;
                        if !readiness.is_ok_and(|ready| ready.is_writable() && !ready.is_readable())
                        {
                            return false;
                        }
                    }
                    Err(_) => return false,
                }
            }
        }
        true
    }

    /// Reads some bytes. Returns `false` at the end of the connection.
    async fn read_some(&mut self, size: usize) -> Result<bool, ApiError> {
        self.buffer.reserve(size.max(READ_SIZE));
        let count: io::Result<usize> = self.stream.read_buf(&mut self.buffer).await;
        count
            .map(|count| count > 0)
            .map_err(|_| ApiError::AnswerLost)
    }

    /// Whether another request may be sent on the connection.
    fn is_reusable(&self) -> bool {
        self.written && self.buffer.is_empty()
    }
}

impl From<ApiError> for UseError {
    fn from(failure: ApiError) -> Self {
        Self::Failed(failure)
    }
}

/// A malformed answer tells as little about the outcome as a missing one.
fn answer_lost(_: MalformedAnswerError) -> ApiError {
    ApiError::AnswerLost
}
