//! HTTP/1.1 as far as the programs here need it: kept connections, bodies with a length, nothing
//! else.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const MAX_HEADERS: usize = 32;
const CHUNK: usize = 16 << 10;

/// One kept connection and what has been read from it.
pub struct Connection {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// A message: its first line in three parts, its headers' end and its whole length in
/// [`Connection::bytes`].
pub struct Message {
    /// Method and target of a request; nothing and nothing of an answer.
    pub method: String,
    pub target: String,
    /// Of an answer.
    pub status: u16,
    /// The value of the one header that was asked for.
    pub header: Option<String>,
    head: usize,
    length: usize,
}

/// Which side of a connection sends the message.
#[derive(Clone, Copy)]
pub enum From {
    Client,
    Server,
}

impl Connection {
    pub fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            unread: Vec::with_capacity(CHUNK),
        })
    }

    pub async fn open(address: &str) -> io::Result<Self> {
        Self::new(TcpStream::connect(address).await?)
    }

    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// The next message, once it is there as a whole; `None` where the other side has gone between
    /// two.
    pub async fn next(&mut self, from: From, wanted: &str) -> io::Result<Option<Message>> {
        loop {
            if let Some(message) = head(&self.unread, from, wanted)? {
                while self.unread.len() < message.length {
                    self.unread.reserve(message.length - self.unread.len());
                    if self.stream.read_buf(&mut self.unread).await? == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                return Ok(Some(message));
            }
            self.unread.reserve(CHUNK);
            if self.stream.read_buf(&mut self.unread).await? == 0 {
                return if self.unread.is_empty() {
                    Ok(None)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
        }
    }

    pub fn body(&self, message: &Message) -> &[u8] {
        &self.unread[message.head..message.length]
    }

    /// Makes room for the next one.
    pub fn done(&mut self, message: &Message) {
        self.unread.drain(..message.length);
    }

    /// What comes without being a message: the next bytes of a stream. Empty at its end.
    pub async fn more(&mut self) -> io::Result<Vec<u8>> {
        if self.unread.is_empty() {
            self.stream.read_buf(&mut self.unread).await?;
        }
        Ok(std::mem::take(&mut self.unread))
    }

    /// The head of an answer whose body has no end; what follows is left for [`more`](Self::more).
    pub async fn head_only(&mut self) -> io::Result<u16> {
        loop {
            let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
            let mut answer = httparse::Response::new(&mut headers);
            let parsed = answer.parse(&self.unread).map_err(io::Error::other)?;
            if let httparse::Status::Complete(head) = parsed {
                let status = answer.code.unwrap_or_default();
                self.unread.drain(..head);
                return Ok(status);
            }
            if self.stream.read_buf(&mut self.unread).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

fn head(bytes: &[u8], from: From, wanted: &str) -> io::Result<Option<Message>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let (status, method, target, code, headers) = match from {
        From::Client => {
            let mut request = httparse::Request::new(&mut headers);
            let status = request.parse(bytes).map_err(io::Error::other)?;
            (status, request.method, request.path, None, request.headers)
        }
        From::Server => {
            let mut answer = httparse::Response::new(&mut headers);
            let status = answer.parse(bytes).map_err(io::Error::other)?;
            (status, None, None, answer.code, answer.headers)
        }
    };
    let httparse::Status::Complete(head) = status else {
        return Ok(None);
    };
    let text = |name: &str| {
        let header = headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        header.and_then(|header| std::str::from_utf8(header.value).ok())
    };
    let length: usize = text("content-length")
        .and_then(|length| length.parse().ok())
        .unwrap_or(0);
    Ok(Some(Message {
        method: method.unwrap_or_default().to_owned(),
        target: target.unwrap_or_default().to_owned(),
        status: code.unwrap_or_default(),
        header: if wanted.is_empty() {
            None
        } else {
            text(wanted).map(str::to_owned)
        },
        head,
        length: head + length,
    }))
}

/// A required setting from the environment.
pub fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"))
}
