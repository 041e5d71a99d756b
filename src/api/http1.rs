//! HTTP/1.1 as far as a client of one API needs it: a request into bytes, an answer out of bytes. No sockets and no time.
//!
//! Heads and the sizes of chunks are read by httparse, which is what the usual libraries read them with. What is around it
//! there (tasks, a queue for bodies, maps of all headers) is more than half of what a small exchange costs; see
//! [`lanes`](super::connection_pool). Whatever is not in order is [`MalformedAnswerError`], and its connection is used no more.

use std::mem::MaybeUninit;

use bytes::{Buf, Bytes, BytesMut};
use http::header::{
    CONNECTION, CONTENT_LENGTH, DATE, HeaderName, LINK, RETRY_AFTER, TRANSFER_ENCODING,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use httparse::{ParserConfig, Response, Status};

use super::headers::{CORRELATION, EPOCH, Headers};

/// Of an answer's head.
const MOST_HEAD_BYTES: usize = 64 * 1024;
const MOST_FIELDS: usize = 100;
/// Heads before the answer proper.
const MOST_INTERIM: usize = 16;
/// A chunk's size, with what may stand behind it.
const MOST_SIZE_BYTES: usize = 1024;
/// A body up to this size leaves with its head, in one piece.
const MOST_COPIED_BYTES: usize = 16 * 1024;

/// What is looked at in an answer, besides its status. All else is passed over.
const LOOKED_AT: [HeaderName; 5] = [CORRELATION, DATE, EPOCH, LINK, RETRY_AFTER];

/// These bytes are not an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MalformedAnswerError;

/// A request, ready to be written.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub head: Vec<u8>,
    /// What did not fit behind the head.
    pub body: Bytes,
}

/// The head of an answer.
#[derive(Debug)]
pub(crate) struct Head {
    pub status: StatusCode,
    pub fields: HeaderMap,
    pub body: Framing,
    /// Another request may follow on this connection.
    pub keeps_open: bool,
}

/// How the end of a body is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(u64),
    Chunked,
    /// By the end of the connection.
    Close,
}

/// A body that comes in chunks.
#[derive(Debug, Default)]
pub(crate) struct Chunks(Part);

#[derive(Debug, Default)]
enum Part {
    #[default]
    Size,
    Data(u64),
    AfterData,
    /// With how many bytes of them have come.
    Trailers(usize),
}

impl Outgoing {
    /// `target` has been checked: there is no line break in it.
    pub fn new(
        method: &Method,
        target: &str,
        host: &HeaderValue,
        headers: &Headers,
        body: Bytes,
    ) -> Self {
        let copied = if body.len() > MOST_COPIED_BYTES {
            0
        } else {
            body.len()
        };
        let mut head =
            Vec::with_capacity(128 + target.len() + host.len() + headers.lines().len() + copied);
        for part in [method.as_str(), " ", target, " HTTP/1.1\r\nhost: "] {
            head.extend_from_slice(part.as_bytes());
        }
        head.extend_from_slice(host.as_bytes());
        head.extend_from_slice(b"\r\n");
        head.extend_from_slice(headers.lines());
        if !body.is_empty() || [Method::POST, Method::PUT, Method::PATCH].contains(method) {
            head.extend_from_slice(b"content-length: ");
            head.extend_from_slice(HeaderValue::from(body.len()).as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(b"\r\n");
        if copied < body.len() {
            return Self { head, body };
        }
        head.extend_from_slice(&body);
        Self {
            head,
            body: Bytes::new(),
        }
    }
}

impl Head {
    /// Takes the head off the front of what has been heard, once it is whole. Heads before the answer proper (100, 103)
    /// are counted in `interim` and passed over.
    pub fn take(
        heard: &mut BytesMut,
        interim: &mut usize,
    ) -> Result<Option<Self>, MalformedAnswerError> {
        while let Some((head, length)) = Self::read(heard)? {
            if length > MOST_HEAD_BYTES {
                return Err(MalformedAnswerError);
            }
            heard.advance(length);
            match head.status {
                // We ask for no other protocol.
                StatusCode::SWITCHING_PROTOCOLS => return Err(MalformedAnswerError),
                status if status.is_informational() && *interim < MOST_INTERIM => *interim += 1,
                status if status.is_informational() => return Err(MalformedAnswerError),
                _ => return Ok(Some(head)),
            }
        }
        if heard.len() > MOST_HEAD_BYTES {
            return Err(MalformedAnswerError);
        }
        Ok(None)
    }

    fn read(heard: &[u8]) -> Result<Option<(Self, usize)>, MalformedAnswerError> {
        let mut room = [const { MaybeUninit::uninit() }; MOST_FIELDS];
        let mut answer = Response::new(&mut []);
        let parsed = ParserConfig::default().parse_response_with_uninit_headers(
            &mut answer,
            heard,
            &mut room,
        );
        let length = match parsed {
            Ok(Status::Complete(length)) => length,
            Ok(Status::Partial) => return Ok(None),
            Err(_) => return Err(MalformedAnswerError),
        };
        let status = answer.code.and_then(|code| StatusCode::from_u16(code).ok());
        let status = status.ok_or(MalformedAnswerError)?;
        let mut fields = HeaderMap::new();
        let (mut announced, mut chunked, mut keeps_open) = (None, false, answer.version == Some(1));
        for field in answer.headers.iter() {
            let is = |name: &HeaderName| field.name.eq_ignore_ascii_case(name.as_str());
            if is(&CONTENT_LENGTH) {
                let length = decimal(field.value)?;
                // Twice, and not the same: whoever stood between would believe the other.
                if announced
                    .replace(length)
                    .is_some_and(|other| other != length)
                {
                    return Err(MalformedAnswerError);
                }
            } else if is(&TRANSFER_ENCODING) {
                // HTTP/1.0 knows no codings, so an older reader on the way would not find the end.
                if chunked
                    || answer.version != Some(1)
                    || !field.value.eq_ignore_ascii_case(b"chunked")
                {
                    return Err(MalformedAnswerError);
                }
                chunked = true;
            } else if is(&CONNECTION) {
                keeps_open &= !has_token(field.value, b"close");
            } else if let Some(name) = LOOKED_AT.iter().find(|name| is(name)) {
                let value =
                    HeaderValue::from_bytes(field.value).map_err(|_| MalformedAnswerError)?;
                fields.append(name, value);
            }
        }
        let body = match (status, chunked, announced) {
            (StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED, ..) => Framing::Length(0),
            (_, true, None) => Framing::Chunked,
            // Of the two ends, somebody between could have meant either.
            (_, true, Some(_)) => return Err(MalformedAnswerError),
            (_, false, Some(length)) => Framing::Length(length),
            (status, false, None) if status.is_informational() => Framing::Length(0),
            (_, false, None) => Framing::Close,
        };
        let head = Self {
            status,
            fields,
            body,
            keeps_open: keeps_open && body != Framing::Close,
        };
        Ok(Some((head, length)))
    }
}

/// Digits and nothing else.
fn decimal(text: &[u8]) -> Result<u64, MalformedAnswerError> {
    let digits = std::str::from_utf8(text)
        .ok()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits
        .and_then(|digits| digits.parse().ok())
        .ok_or(MalformedAnswerError)
}

fn has_token(list: &[u8], token: &[u8]) -> bool {
    list.split(|byte| *byte == b',')
        .any(|each| each.trim_ascii().eq_ignore_ascii_case(token))
}

impl Chunks {
    /// Moves what has come of the body from `heard` into `whole`, and says whether that was all of it.
    pub fn take(
        &mut self,
        heard: &mut BytesMut,
        whole: &mut BytesMut,
    ) -> Result<bool, MalformedAnswerError> {
        loop {
            match self.0 {
                Part::Size => match httparse::parse_chunk_size(heard) {
                    Ok(Status::Complete((length, size))) => {
                        heard.advance(length);
                        self.0 = if size == 0 {
                            Part::Trailers(0)
                        } else {
                            Part::Data(size)
                        };
                    }
                    Ok(Status::Partial) if heard.len() <= MOST_SIZE_BYTES => return Ok(false),
                    Ok(Status::Partial) | Err(_) => return Err(MalformedAnswerError),
                },
                Part::Data(left) => {
                    let here = heard.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    if here == 0 {
                        return Ok(false);
                    }
                    whole.extend_from_slice(&heard.split_to(here));
                    let left = left - here as u64;
                    self.0 = if left == 0 {
                        Part::AfterData
                    } else {
                        Part::Data(left)
                    };
                }
                Part::AfterData => match heard.get(..2) {
                    Some(b"\r\n") => {
                        heard.advance(2);
                        self.0 = Part::Size;
                    }
                    Some(_) => return Err(MalformedAnswerError),
                    None => return Ok(false),
                },
                Part::Trailers(taken) => match memchr::memchr(b'\n', heard) {
                    Some(end) => {
                        let line = heard.split_to(end + 1);
                        if matches!(&line[..], b"\r\n") {
                            return Ok(true);
                        }
                        if taken + line.len() > MOST_HEAD_BYTES {
                            return Err(MalformedAnswerError);
                        }
                        self.0 = Part::Trailers(taken + line.len());
                    }
                    None if taken + heard.len() <= MOST_HEAD_BYTES => return Ok(false),
                    None => return Err(MalformedAnswerError),
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Result<Option<(Head, Vec<u8>)>, MalformedAnswerError> {
        let mut heard = BytesMut::from(text);
        Ok(Head::take(&mut heard, &mut 0)?.map(|head| (head, heard.to_vec())))
    }

    #[test]
    fn writes_what_was_asked_and_nothing_else() {
        let mut headers = Headers::default();
        headers.put(&EPOCH, "3");
        let host = HeaderValue::from_static("127.0.0.1:8081");
        let get = Outgoing::new(
            &Method::GET,
            "/v1/notes?limit=2",
            &host,
            &headers,
            Bytes::new(),
        );
        assert_eq!(
            std::str::from_utf8(&get.head).unwrap(),
            "GET /v1/notes?limit=2 HTTP/1.1\r\nhost: 127.0.0.1:8081\r\nx-sync-epoch: 3\r\n\r\n"
        );
        let open = Outgoing::new(&Method::POST, "/", &host, &Headers::default(), Bytes::new());
        assert!(open.head.ends_with(b"\r\ncontent-length: 0\r\n\r\n"));
        let small = Outgoing::new(
            &Method::POST,
            "/",
            &host,
            &Headers::default(),
            Bytes::from_static(b"{}"),
        );
        assert!(small.head.ends_with(b"\r\ncontent-length: 2\r\n\r\n{}") && small.body.is_empty());
        let large = Bytes::from(vec![b'x'; MOST_COPIED_BYTES + 1]);
        let large = Outgoing::new(&Method::PUT, "/", &host, &Headers::default(), large);
        assert!(
            large.head.ends_with(b"\r\ncontent-length: 16385\r\n\r\n") && large.body.len() == 16385
        );
    }

    #[test]
    fn reads_a_head_when_it_is_whole_and_leaves_the_rest() {
        let text =
            "HTTP/1.1 201 Created\r\nX-Sync-Epoch: 7\r\nServer: x\r\nContent-Length: 2\r\n\r\n{}";
        for end in 0..text.len() - 2 {
            assert!(head(&text[..end]).unwrap().is_none(), "{end}");
        }
        let (read, rest) = head(text).unwrap().unwrap();
        assert_eq!(
            (read.status.as_u16(), read.body, read.keeps_open),
            (201, Framing::Length(2), true)
        );
        assert_eq!(
            (read.fields.len(), read.fields[EPOCH].to_str().unwrap()),
            (1, "7")
        );
        assert_eq!(rest, b"{}");
        let (read, _) =
            head("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                .unwrap()
                .unwrap();
        assert_eq!(read.status, StatusCode::OK);
    }

    #[test]
    fn knows_where_a_body_ends() {
        for (fields, body, keeps_open) in [
            ("200 OK\r\nContent-Length: 10", Framing::Length(10), true),
            (
                "200 OK\r\nContent-Length: 10\r\ncontent-length: 10",
                Framing::Length(10),
                true,
            ),
            (
                "200 OK\r\nContent-Length: 10\r\nConnection: Keep-Alive, Close",
                Framing::Length(10),
                false,
            ),
            (
                "200 OK\r\nTransfer-Encoding: Chunked",
                Framing::Chunked,
                true,
            ),
            ("200 OK", Framing::Close, false),
            ("204 No Content", Framing::Length(0), true),
            (
                "304 Not Modified\r\nContent-Length: 10",
                Framing::Length(0),
                true,
            ),
        ] {
            let (read, _) = head(&format!("HTTP/1.1 {fields}\r\n\r\n"))
                .unwrap()
                .unwrap();
            assert_eq!((read.body, read.keeps_open), (body, keeps_open), "{fields}");
        }
        let (read, _) = head("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n")
            .unwrap()
            .unwrap();
        assert!(!read.keeps_open);
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_not_read() {
        for text in [
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
            "HTTP/1.1 099 Odd\r\n\r\n",
            "HTTP/2 200 OK\r\n\r\n",
            "SSH-2.0-OpenSSH\r\n\r\n",
            "HTTP/1.1 200 OK\r\nBroken\r\n\r\n",
        ] {
            assert_eq!(head(text).err(), Some(MalformedAnswerError), "{text}");
        }
        let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(MOST_HEAD_BYTES));
        assert_eq!(head(&endless).err(), Some(MalformedAnswerError));
        let many = format!(
            "HTTP/1.1 200 OK\r\n{}\r\n",
            "a: b\r\n".repeat(MOST_FIELDS + 1)
        );
        assert_eq!(head(&many).err(), Some(MalformedAnswerError));
    }

    #[test]
    fn chunks_come_in_any_pieces() {
        let text = "3;name=value\r\nabc\r\n0010\r\n0123456789abcdef\r\n0\r\nTrailer: x\r\n\r\nrest";
        for piece in 1..text.len() {
            let (mut chunks, mut heard, mut whole) =
                (Chunks::default(), BytesMut::new(), BytesMut::new());
            let mut done = false;
            for bytes in text.as_bytes().chunks(piece) {
                heard.extend_from_slice(bytes);
                done = done || chunks.take(&mut heard, &mut whole).unwrap();
            }
            assert!(done, "{piece}");
            assert_eq!(
                (&whole[..], &heard[..]),
                (&b"abc0123456789abcdef"[..], &b"rest"[..])
            );
        }
        for broken in [
            "x\r\n",
            "3\r\nabcd\r\n",
            "ffffffffffffffffff\r\n",
            &"0".repeat(MOST_SIZE_BYTES + 1),
        ] {
            let taken = Chunks::default().take(&mut BytesMut::from(broken), &mut BytesMut::new());
            assert_eq!(taken, Err(MalformedAnswerError), "{broken}");
        }
    }
}
