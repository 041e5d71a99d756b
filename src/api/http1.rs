//! HTTP/1.1 as far as a client of one API needs it: serializes requests and parses answers. Does no
//! I/O and uses no clock.
//!
//! Heads and chunk sizes are parsed by httparse, as in the common libraries. Their remaining work
//! (tasks, body queues, maps of all headers) is more than half the cost of a small request; see
//! [`connection_pool`](super::connection_pool). Any violation is a [`MalformedAnswerError`], after
//! which the connection is dropped.

use std::mem::MaybeUninit;

use bytes::{Buf, Bytes, BytesMut};
use http::header::{
    CONNECTION, CONTENT_LENGTH, DATE, HeaderName, LINK, RETRY_AFTER, TRANSFER_ENCODING,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use httparse::{ParserConfig, Response, Status};

use super::headers::{CORRELATION, EPOCH, Headers};

/// Maximum size of the head of an answer.
const MAX_HEAD_BYTES: usize = 64 * 1024;
const MAX_FIELDS: usize = 100;
/// Maximum number of interim (1xx) answers.
const MAX_INTERIM: usize = 16;
/// Maximum size of a chunk-size line, extensions included.
const MAX_SIZE_BYTES: usize = 1024;
/// Bodies up to this size are copied behind the head and sent with it.
const MAX_COPIED_BYTES: usize = 16 * 1024;

/// The header fields of an answer that are kept. The others are ignored.
const KEPT_FIELDS: [HeaderName; 5] = [CORRELATION, DATE, EPOCH, LINK, RETRY_AFTER];

/// The bytes are not a valid, unambiguous answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MalformedAnswerError;

/// A serialized request.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub head: Vec<u8>,
    /// The body, if it is too large to be copied behind the head.
    pub body: Bytes,
}

/// The head of an answer.
#[derive(Debug)]
pub(crate) struct Head {
    pub status: StatusCode,
    pub fields: HeaderMap,
    pub body: Framing,
    /// The connection may be used for another request.
    pub keeps_open: bool,
}

/// How the end of a body is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(u64),
    Chunked,
    /// Delimited by the end of the connection.
    Close,
}

/// Decoder of a chunked body.
#[derive(Debug, Default)]
pub(crate) struct Chunks(Part);

#[derive(Debug, Default)]
enum Part {
    #[default]
    Size,
    Data(u64),
    AfterData,
    /// With the number of trailer bytes read.
    Trailers(usize),
}

impl Outgoing {
    /// Serializes a request. The caller has checked that `target` contains no line break.
    pub fn new(
        method: &Method,
        target: &str,
        host: &HeaderValue,
        headers: &Headers,
        body: Bytes,
    ) -> Self {
        let copied = if body.len() > MAX_COPIED_BYTES {
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
    /// Removes the head from the front of `buffer` once it is complete. Skips interim answers (100,
    /// 103) and counts them in `interim`.
    pub fn take(
        buffer: &mut BytesMut,
        interim: &mut usize,
    ) -> Result<Option<Self>, MalformedAnswerError> {
        while let Some((head, length)) = Self::read(buffer)? {
            if length > MAX_HEAD_BYTES {
                return Err(MalformedAnswerError);
            }
            buffer.advance(length);
            match head.status {
                // No request asks for an upgrade.
                StatusCode::SWITCHING_PROTOCOLS => return Err(MalformedAnswerError),
                status if status.is_informational() && *interim < MAX_INTERIM => *interim += 1,
                status if status.is_informational() => return Err(MalformedAnswerError),
                _ => return Ok(Some(head)),
            }
        }
        if buffer.len() > MAX_HEAD_BYTES {
            return Err(MalformedAnswerError);
        }
        Ok(None)
    }

    fn read(buffer: &[u8]) -> Result<Option<(Self, usize)>, MalformedAnswerError> {
        let mut slots = [const { MaybeUninit::uninit() }; MAX_FIELDS];
        let mut answer = Response::new(&mut []);
        let parsed = ParserConfig::default().parse_response_with_uninit_headers(
            &mut answer,
            buffer,
            &mut slots,
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
                // An intermediary could use the other length.
                if announced
                    .replace(length)
                    .is_some_and(|other| other != length)
                {
                    return Err(MalformedAnswerError);
                }
            } else if is(&TRANSFER_ENCODING) {
                // An HTTP/1.0 intermediary ignores transfer codings and would find another end.
                if chunked
                    || answer.version != Some(1)
                    || !field.value.eq_ignore_ascii_case(b"chunked")
                {
                    return Err(MalformedAnswerError);
                }
                chunked = true;
            } else if is(&CONNECTION) {
                keeps_open &= !has_token(field.value, b"close");
            } else if let Some(name) = KEPT_FIELDS.iter().find(|name| is(name)) {
                let value =
                    HeaderValue::from_bytes(field.value).map_err(|_| MalformedAnswerError)?;
                fields.append(name, value);
            }
        }
        let body = match (status, chunked, announced) {
            (StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED, ..) => Framing::Length(0),
            (_, true, None) => Framing::Chunked,
            // An intermediary could use either of the two ends.
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

/// Parses decimal digits only: no sign, no white space.
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
    /// Moves the decoded bytes of the body from `buffer` to `body`. Returns whether the body is
    /// complete.
    pub fn take(
        &mut self,
        buffer: &mut BytesMut,
        body: &mut BytesMut,
    ) -> Result<bool, MalformedAnswerError> {
        loop {
            match self.0 {
                Part::Size => match httparse::parse_chunk_size(buffer) {
                    Ok(Status::Complete((length, size))) => {
                        buffer.advance(length);
                        self.0 = if size == 0 {
                            Part::Trailers(0)
                        } else {
                            Part::Data(size)
                        };
                    }
                    Ok(Status::Partial) if buffer.len() <= MAX_SIZE_BYTES => return Ok(false),
                    Ok(Status::Partial) | Err(_) => return Err(MalformedAnswerError),
                },
                Part::Data(left) => {
                    let available = buffer
                        .len()
                        .min(usize::try_from(left).unwrap_or(usize::MAX));
                    if available == 0 {
                        return Ok(false);
                    }
                    body.extend_from_slice(&buffer.split_to(available));
                    let left = left - available as u64;
                    self.0 = if left == 0 {
                        Part::AfterData
                    } else {
                        Part::Data(left)
                    };
                }
                Part::AfterData => match buffer.get(..2) {
                    Some(b"\r\n") => {
                        buffer.advance(2);
                        self.0 = Part::Size;
                    }
                    Some(_) => return Err(MalformedAnswerError),
                    None => return Ok(false),
                },
                Part::Trailers(taken) => match memchr::memchr(b'\n', buffer) {
                    Some(end) => {
                        let line = buffer.split_to(end + 1);
                        if matches!(&line[..], b"\r\n") {
                            return Ok(true);
                        }
                        if taken + line.len() > MAX_HEAD_BYTES {
                            return Err(MalformedAnswerError);
                        }
                        self.0 = Part::Trailers(taken + line.len());
                    }
                    None if taken + buffer.len() <= MAX_HEAD_BYTES => return Ok(false),
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
        let mut buffer = BytesMut::from(text);
        Ok(Head::take(&mut buffer, &mut 0)?.map(|head| (head, buffer.to_vec())))
    }

    #[test]
    fn serializes_only_the_given_headers() {
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
        let large = Bytes::from(vec![b'x'; MAX_COPIED_BYTES + 1]);
        let large = Outgoing::new(&Method::PUT, "/", &host, &Headers::default(), large);
        assert!(
            large.head.ends_with(b"\r\ncontent-length: 16385\r\n\r\n") && large.body.len() == 16385
        );
    }

    #[test]
    fn parses_a_complete_head_and_leaves_the_rest() {
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
    fn determines_the_framing_of_a_body() {
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
    fn refuses_ambiguous_answers() {
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
        let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(MAX_HEAD_BYTES));
        assert_eq!(head(&endless).err(), Some(MalformedAnswerError));
        let many = format!(
            "HTTP/1.1 200 OK\r\n{}\r\n",
            "a: b\r\n".repeat(MAX_FIELDS + 1)
        );
        assert_eq!(head(&many).err(), Some(MalformedAnswerError));
    }

    #[test]
    fn decodes_chunks_split_at_any_byte() {
        let text = "3;name=value\r\nabc\r\n0010\r\n0123456789abcdef\r\n0\r\nTrailer: x\r\n\r\nrest";
        for piece in 1..text.len() {
            let (mut chunks, mut buffer, mut body) =
                (Chunks::default(), BytesMut::new(), BytesMut::new());
            let mut done = false;
            for bytes in text.as_bytes().chunks(piece) {
                buffer.extend_from_slice(bytes);
                done = done || chunks.take(&mut buffer, &mut body).unwrap();
            }
            assert!(done, "{piece}");
            assert_eq!(
                (&body[..], &buffer[..]),
                (&b"abc0123456789abcdef"[..], &b"rest"[..])
            );
        }
        for broken in [
            "x\r\n",
            "3\r\nabcd\r\n",
            "ffffffffffffffffff\r\n",
            &"0".repeat(MAX_SIZE_BYTES + 1),
        ] {
            let taken = Chunks::default().take(&mut BytesMut::from(broken), &mut BytesMut::new());
            assert_eq!(taken, Err(MalformedAnswerError), "{broken}");
        }
    }
}
