//! Kept connections to an API over plain HTTP. A connection has no task of its own: whoever has a request takes one, sees
//! to its bytes until the answer is there, and puts it back.
//!
//! The usual client hands each request to the task of a connection, and its answer back: two changes of thread for each
//! of the three requests of a call, which is more than all the rest of the call takes. A connection that is left in the
//! middle of an answer is dropped, so the API sees that nobody waits any more.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::TryFutureExt;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use rustix::io::Errno;
use rustix::net::RecvFlags;
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::Settings;
use super::answer_limits::AnswerLimits;
use super::headers::{Headers, answers};
use super::http1::{Chunks, Framing, Head, MalformedAnswerError, Outgoing};
use super::request::ApiError;
use crate::workers::{PerLoop, Workers};

/// Most answers are read at once.
const ROOM: usize = 8 * 1024;

/// Where the API is, and the connections to it that nobody uses just now, the latest used last.
#[derive(Debug)]
pub(crate) struct ConnectionPool {
    host: String,
    port: u16,
    named: HeaderValue,
    idle: PerLoop<Mutex<Vec<Connection>>>,
    connect_timeout: Duration,
    /// The longest silence in the middle of an answer.
    read_timeout: Duration,
    idle_timeout: Duration,
    /// On each loop.
    max_idle: usize,
}

/// One connection.
#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    /// What has come and has not been looked at.
    heard: BytesMut,
    /// The last request was written to its end, and its answer read to its end.
    in_order: bool,
    last_used: Instant,
}

/// Why a lane brought no answer.
enum UseError {
    /// It was closed, or had bytes on it, before anything was written. The first happens to one that has been idle.
    WasClosed,
    Failed(ApiError),
}

impl ConnectionPool {
    /// `None` if the name of the host is none that can be sent.
    pub fn new(authority: &Authority, settings: &Settings, loops: &Workers) -> Option<Self> {
        Some(Self {
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: authority.port_u16().unwrap_or(80),
            named: HeaderValue::from_str(authority.as_str()).ok()?,
            idle: PerLoop::new(loops, |_| Mutex::default()),
            connect_timeout: settings.connect_timeout,
            read_timeout: settings.read_timeout,
            idle_timeout: settings.idle_timeout,
            max_idle: settings.max_idle.div_ceil(loops.count().max(1)),
        })
    }

    /// Sends a request, whose target is a path, and reads the whole answer, within `limits`. An
    /// answer that echoes a correlation id other than `correlation_id` belongs to another request: it ends the
    /// connection and is reported as lost.
    pub async fn round_trip(
        &self,
        method: &Method,
        target: &str,
        headers: &Headers,
        body: Bytes,
        correlation_id: &str,
        limits: AnswerLimits<'_>,
    ) -> Result<(StatusCode, HeaderMap, Bytes), ApiError> {
        let request = Outgoing::new(method, target, &self.named, headers, body);
        while let Some(lane) = self.kept() {
            match self.use_lane(lane, &request, correlation_id, limits).await {
                Err(UseError::WasClosed) => {}
                Err(UseError::Failed(failure)) => return Err(failure),
                Ok(answer) => return Ok(answer),
            }
        }
        let lane = self.connect().await?;
        self.use_lane(lane, &request, correlation_id, limits)
            .await
            .map_err(|trouble| match trouble {
                UseError::WasClosed => ApiError::Unreachable,
                UseError::Failed(failure) => failure,
            })
    }

    async fn use_lane(
        &self,
        mut lane: Connection,
        request: &Outgoing,
        correlation_id: &str,
        limits: AnswerLimits<'_>,
    ) -> Result<(StatusCode, HeaderMap, Bytes), UseError> {
        let head = self.patiently(lane.ask(request)).await??;
        if !answers(&head.fields, correlation_id) {
            return Err(UseError::Failed(ApiError::AnswerLost));
        }
        let body = self.read(&mut lane, head.body, limits).await?;
        if head.keeps_open && lane.is_in_order() {
            self.keep(lane);
        }
        Ok((head.status, head.fields, body))
    }

    async fn read(
        &self,
        lane: &mut Connection,
        framing: Framing,
        limits: AnswerLimits<'_>,
    ) -> Result<Bytes, ApiError> {
        match framing {
            Framing::Length(length) => {
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                limits.reserve(length).await?;
                while lane.heard.len() < length {
                    let missing = length - lane.heard.len();
                    self.hear_more(lane, missing).await?;
                }
                Ok(lane.heard.split_to(length).freeze())
            }
            Framing::Chunked => {
                let (mut chunks, mut whole) = (Chunks::default(), BytesMut::new());
                while !chunks.take(&mut lane.heard, &mut whole).map_err(lost)? {
                    limits.reserve(whole.len()).await?;
                    self.hear_more(lane, ROOM).await?;
                }
                limits.reserve(whole.len()).await?;
                Ok(whole.freeze())
            }
            Framing::Close => {
                while self.patiently(lane.hear(ROOM)).await?? {
                    limits.reserve(lane.heard.len()).await?;
                }
                Ok(lane.heard.split().freeze())
            }
        }
    }

    /// There is more to come.
    async fn hear_more(&self, lane: &mut Connection, room: usize) -> Result<(), ApiError> {
        let came = self.patiently(lane.hear(room)).await??;
        came.then_some(()).ok_or(ApiError::AnswerLost)
    }

    fn patiently<T>(
        &self,
        step: impl Future<Output = T>,
    ) -> impl Future<Output = Result<T, ApiError>> {
        tokio::time::timeout(self.read_timeout, step)
            .map_err(|_silent| ApiError::TimedOut { sent: true })
    }

    /// All addresses of the host are tried, and its name is looked up anew each time.
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
            heard: BytesMut::new(),
            in_order: true,
            last_used: Instant::now(),
        })
    }

    /// The latest used, since it is the least likely to have been closed.
    fn kept(&self) -> Option<Connection> {
        let mut idle = self.idle_here();
        let lane = idle.pop()?;
        if lane.last_used.elapsed() < self.idle_timeout {
            return Some(lane);
        }
        // All others are older still.
        idle.clear();
        None
    }

    fn keep(&self, mut lane: Connection) {
        lane.last_used = Instant::now();
        let mut idle = self.idle_here();
        if idle.len() < self.max_idle {
            idle.push(lane);
        }
    }

    fn idle_here(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle
            .here()
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    /// Writes the request and reads the head of its answer.
    async fn ask(&mut self, request: &Outgoing) -> Result<Head, UseError> {
        if !self.is_quiet() {
            return Err(UseError::WasClosed);
        }
        self.in_order = self.say(request).await;
        let mut interim = 0;
        loop {
            if let Some(head) = Head::take(&mut self.heard, &mut interim).map_err(lost)? {
                return Ok(head);
            }
            if !self.hear(ROOM).await? {
                return Err(UseError::Failed(ApiError::AnswerLost));
            }
        }
    }

    /// Whether the connection is open and holds no byte that has not been asked for, such as a second answer to the
    /// last request. The socket itself is asked: what tokio knows of it is as old as the last turn of the event loop.
    fn is_quiet(&self) -> bool {
        let peeked = rustix::net::recv(
            &self.stream,
            &mut [0],
            RecvFlags::PEEK | RecvFlags::DONTWAIT,
        );
        matches!(peeked, Err(Errno::AGAIN))
    }

    /// Whether all of it could be written. It need not be: an API that refuses a request may answer before it has taken
    /// all of it in, and close.
    async fn say(&self, request: &Outgoing) -> bool {
        for mut rest in [&request.head[..], &request.body[..]] {
            while !rest.is_empty() {
                match self.stream.try_write(rest) {
                    Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        let either = self
                            .stream
                            .ready(Interest::READABLE | Interest::WRITABLE)
                            .await;
                        if !either.is_ok_and(|ready| ready.is_writable() && !ready.is_readable()) {
                            return false;
                        }
                    }
                    Err(_) => return false,
                }
            }
        }
        true
    }

    /// Waits for some bytes, and says whether any came before the end.
    async fn hear(&mut self, room: usize) -> Result<bool, ApiError> {
        self.heard.reserve(room.max(ROOM));
        let heard: io::Result<usize> = self.stream.read_buf(&mut self.heard).await;
        heard
            .map(|count| count > 0)
            .map_err(|_| ApiError::AnswerLost)
    }

    /// Another request may follow the last one.
    fn is_in_order(&self) -> bool {
        self.in_order && self.heard.is_empty()
    }
}

impl From<ApiError> for UseError {
    fn from(failure: ApiError) -> Self {
        Self::Failed(failure)
    }
}

/// An answer that cannot be read says as much about what was done as none.
fn lost(_: MalformedAnswerError) -> ApiError {
    ApiError::AnswerLost
}
