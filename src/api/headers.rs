//! Names of the headers that only the sidecar writes, and [`Headers`], which all that it sends are written into.

use std::fmt;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};

pub const TENANT: HeaderName = HeaderName::from_static("x-tb-tenant-id");
pub const TIMESTAMP: HeaderName = HeaderName::from_static("x-tb-timestamp");
pub const SIGNATURE: HeaderName = HeaderName::from_static("x-tb-signature");
pub const KEY_ID: HeaderName = HeaderName::from_static("x-tb-key-id");
pub const NONCE: HeaderName = HeaderName::from_static("x-tb-nonce");
pub const CONTENT_HASH: HeaderName = HeaderName::from_static("x-tb-content-sha256");
pub const SIGNATURE_V2: HeaderName = HeaderName::from_static("x-tb-signature-v2");
pub const SESSION: HeaderName = HeaderName::from_static("x-sync-session");
pub const EPOCH: HeaderName = HeaderName::from_static("x-sync-epoch");
pub const CORRELATION: HeaderName = HeaderName::from_static("x-correlation-id");
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub const TIMEOUT: HeaderName = HeaderName::from_static("x-tb-timeout-ms");

/// The headers of a request as they are sent, one line after the other. They are only ever written and copied, and a map, which can
/// do more, costs a call more than anything else that it does with them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<u8>);

/// What is in them may be a token.
impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Headers({} bytes)", self.0.len())
    }
}

impl Headers {
    /// Room for all that a request has.
    pub fn of_a_request() -> Self {
        Self(Vec::with_capacity(1536))
    }

    /// Writes a line. A value that is none is left out, above all one with a line break in it.
    pub fn put(&mut self, name: &HeaderName, value: impl AsRef<[u8]>) {
        let value = value.as_ref();
        let odd = |byte: u8| (byte < b' ' && byte != b'\t') || byte == 0x7f;
        // All are looked at, and so many at a time, which stopping at the first would not allow.
        if value.iter().fold(false, |any, byte| any | odd(*byte)) {
            return;
        }
        for part in [name.as_str().as_bytes(), b": ", value, b"\r\n"] {
            self.0.extend_from_slice(part);
        }
    }

    pub fn put_all(&mut self, others: &Self) {
        self.0.extend_from_slice(&others.0);
    }

    pub fn lines(&self) -> &[u8] {
        &self.0
    }

    /// For clients that take nothing else.
    pub fn to_map(&self) -> HeaderMap {
        let mut map = HeaderMap::new();
        for line in self.0.split(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let Some(colon) = line.iter().position(|byte| *byte == b':') else {
                continue;
            };
            let (name, value) = line.split_at(colon);
            let value = HeaderValue::from_bytes(value.get(2..).unwrap_or_default());
            if let (Ok(name), Ok(mut value)) = (HeaderName::from_bytes(name), value) {
                value.set_sensitive(name == AUTHORIZATION);
                map.append(name, value);
            }
        }
        map
    }
}

/// Whether an answer with these fields may belong to a request with this correlation id. Compatible APIs need not echo
/// the id, and a request without one gets whatever the API makes up.
pub fn answers(fields: &HeaderMap, correlation_id: &str) -> bool {
    let mut echoed = fields.get_all(CORRELATION).iter();
    correlation_id.is_empty() || echoed.all(|echoed| echoed == correlation_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_belongs_to_the_request_whose_correlation_id_it_echoes() {
        let mut fields = HeaderMap::new();
        assert!(answers(&fields, "corr-1"), "an API need not echo it");
        fields.append(CORRELATION, HeaderValue::from_static("corr-1"));
        assert!(answers(&fields, "corr-1") && answers(&fields, ""));
        for other in ["corr-2", "corr", "corr-12", "Corr-1"] {
            assert!(!answers(&fields, other), "{other}");
        }
        fields.append(CORRELATION, HeaderValue::from_static("corr-2"));
        assert!(!answers(&fields, "corr-1"), "one of them is another's");
    }

    #[test]
    fn lines_and_map_are_the_same_headers() {
        let mut call = Headers::default();
        call.put(&AUTHORIZATION, "Bearer a:b c");
        let mut all = Headers::of_a_request();
        all.put_all(&call);
        all.put(&EPOCH, "7");
        assert_eq!(
            all.lines(),
            b"authorization: Bearer a:b c\r\nx-sync-epoch: 7\r\n"
        );
        let map = all.to_map();
        assert_eq!(
            (map.len(), &map[AUTHORIZATION], &map[EPOCH]),
            (2, &"Bearer a:b c".parse().unwrap(), &"7".parse().unwrap())
        );
        assert!(map[AUTHORIZATION].is_sensitive());
        assert!(!format!("{all:?}").contains("Bearer"));
    }

    #[test]
    fn no_value_can_begin_another_line() {
        for value in [
            "a\r\nx-tb-tenant-id: other",
            "a\nb",
            "a\rb",
            "a\0b",
            "a\x7fb",
        ] {
            let mut headers = Headers::default();
            headers.put(&CORRELATION, value);
            assert_eq!(headers, Headers::default(), "{value:?}");
        }
        let mut headers = Headers::default();
        headers.put(&CORRELATION, "tab\tand \u{e9}");
        assert_eq!(headers.to_map()[CORRELATION], "tab\tand \u{e9}");
    }
}
