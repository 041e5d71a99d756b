//! Kept connections to an API over plain HTTP. A connection has no task of its own: whoever has a request takes one, sees
//! to its bytes until the answer is there, and puts it back.
//!
//! The usual client hands each request to the task of a connection, and its answer back: two changes of thread for each
//! of the three requests of a call, which is more than all the rest of the call takes. A connection that is left in the
//! middle of an answer is dropped, so the API sees that nobody waits any more.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::HOST;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::Settings;
use super::exchange::Failure;

/// Where the API is, and the connections to it that nobody uses just now, the latest used last.
#[derive(Debug)]
pub(super) struct Lanes {
    host: String,
    port: u16,
    named: HeaderValue,
    idle: Mutex<Vec<Lane>>,
    connect_timeout: Duration,
    /// The longest silence in the middle of an answer.
    read_timeout: Duration,
    idle_timeout: Duration,
    max_idle: usize,
}

#[derive(Debug)]
struct Lane {
    sender: SendRequest<Full<Bytes>>,
    connection: Driven,
    last_used: Instant,
}

/// The half of a connection that moves bytes; gone once it has ended, since it must not be asked again.
#[derive(Debug)]
struct Driven(Option<Pin<Box<Bytewise>>>);

type Bytewise = Connection<TokioIo<TcpStream>, Full<Bytes>>;

/// Why a lane brought no answer.
enum Trouble {
    /// It was closed before anything was written, as happens to one that has been idle.
    WasClosed(Request<Full<Bytes>>),
    Failed(Failure),
}

impl Lanes {
    /// `None` if the name of the host is none that can be sent.
    pub fn new(authority: &Authority, settings: &Settings) -> Option<Self> {
        Some(Self {
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: authority.port_u16().unwrap_or(80),
            named: HeaderValue::from_str(authority.as_str()).ok()?,
            idle: Mutex::default(),
            connect_timeout: settings.connect_timeout,
            read_timeout: settings.read_timeout,
            idle_timeout: settings.idle_timeout,
            max_idle: settings.max_idle,
        })
    }

    /// Sends a request, whose target is a path, and reads the whole answer, which may have at most `limit` bytes.
    pub async fn send(
        &self,
        mut request: Request<Full<Bytes>>,
        limit: usize,
    ) -> Result<(StatusCode, HeaderMap, Bytes), Failure> {
        request.headers_mut().insert(HOST, self.named.clone());
        while let Some(lane) = self.kept() {
            match self.exchange(lane, request, limit).await {
                Err(Trouble::WasClosed(unsent)) => request = unsent,
                Err(Trouble::Failed(failure)) => return Err(failure),
                Ok(answer) => return Ok(answer),
            }
        }
        let lane = self.connect().await?;
        self.exchange(lane, request, limit)
            .await
            .map_err(|trouble| match trouble {
                Trouble::WasClosed(_) => Failure::Unreachable,
                Trouble::Failed(failure) => failure,
            })
    }

    async fn exchange(
        &self,
        mut lane: Lane,
        request: Request<Full<Bytes>>,
        limit: usize,
    ) -> Result<(StatusCode, HeaderMap, Bytes), Trouble> {
        let answer = self.patiently(lane.answer(request)).await.map_err(Trouble::Failed)??;
        let (parts, body) = answer.into_parts();
        let body = self.read(&mut lane, body, limit).await.map_err(Trouble::Failed)?;
        self.keep(lane);
        Ok((parts.status, parts.headers, body))
    }

    async fn read(&self, lane: &mut Lane, mut body: Incoming, limit: usize) -> Result<Bytes, Failure> {
        let too_large = Failure::AnswerTooLarge { limit };
        let announced = body.size_hint().exact().unwrap_or(0);
        if announced > limit as u64 {
            return Err(too_large);
        }
        let Some(first) = self.patiently(lane.chunk(&mut body)).await?? else {
            return Ok(Bytes::new());
        };
        // Most answers are one chunk, which is then handed on without a copy.
        if first.len() as u64 == announced {
            return Ok(first);
        }
        let mut whole = BytesMut::with_capacity(first.len().max(usize::try_from(announced).unwrap_or(0)));
        let mut chunk = Some(first);
        while let Some(bytes) = chunk {
            if whole.len() + bytes.len() > limit {
                return Err(too_large);
            }
            whole.extend_from_slice(&bytes);
            chunk = self.patiently(lane.chunk(&mut body)).await??;
        }
        Ok(whole.freeze())
    }

    async fn patiently<T>(&self, step: impl Future<Output = T>) -> Result<T, Failure> {
        let silent = |_| Failure::TimedOut { sent: true };
        tokio::time::timeout(self.read_timeout, step).await.map_err(silent)
    }

    /// All addresses of the host are tried, and its name is looked up anew each time.
    async fn connect(&self) -> Result<Lane, Failure> {
        let connecting = async {
            let stream = TcpStream::connect((self.host.as_str(), self.port)).await.ok()?;
            stream.set_nodelay(true).ok()?;
            http1::handshake(TokioIo::new(stream)).await.ok()
        };
        let connected = tokio::time::timeout(self.connect_timeout, connecting).await;
        let (sender, connection) = connected.ok().flatten().ok_or(Failure::Unreachable)?;
        Ok(Lane {
            sender,
            connection: Driven(Some(Box::pin(connection))),
            last_used: Instant::now(),
        })
    }

    /// The latest used, since it is the least likely to have been closed.
    fn kept(&self) -> Option<Lane> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let lane = idle.pop()?;
        if lane.last_used.elapsed() < self.idle_timeout {
            return Some(lane);
        }
        // All others are older still.
        idle.clear();
        None
    }

    fn keep(&self, mut lane: Lane) {
        if lane.sender.is_closed() {
            return;
        }
        lane.last_used = Instant::now();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < self.max_idle {
            idle.push(lane);
        }
    }
}

impl Lane {
    async fn answer(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Trouble> {
        // Whether the other side has closed it meanwhile is seen only by whoever looks.
        if poll_fn(|context| Poll::Ready(self.connection.drive(context)))
            .await
            .is_ready()
        {
            return Err(Trouble::WasClosed(request));
        }
        let mut answering = std::pin::pin!(self.sender.try_send_request(request));
        let connection = &mut self.connection;
        let answer = poll_fn(|context| {
            // One that has ended has told the other half so.
            let _ = connection.drive(context);
            answering.as_mut().poll(context)
        });
        answer.await.map_err(|mut error| match error.take_message() {
            Some(unsent) => Trouble::WasClosed(unsent),
            None => Trouble::Failed(Failure::AnswerLost),
        })
    }

    async fn chunk(&mut self, body: &mut Incoming) -> Result<Option<Bytes>, Failure> {
        loop {
            let frame = poll_fn(|context| {
                // What has been read already comes before what is to be read.
                if let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(context) {
                    return Poll::Ready(frame);
                }
                let _ = self.connection.drive(context);
                Pin::new(&mut *body).poll_frame(context)
            });
            match frame.await {
                None => return Ok(None),
                Some(Err(_)) => return Err(Failure::AnswerLost),
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Ok(Some(bytes));
                    }
                }
            }
        }
    }
}

impl Driven {
    fn drive(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(connection) = &mut self.0 else {
            return Poll::Ready(());
        };
        let ended = connection.as_mut().poll(context).map(|_| ());
        if ended.is_ready() {
            self.0 = None;
        }
        ended
    }
}
