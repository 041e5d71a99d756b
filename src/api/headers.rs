//! Names of the headers that only this server writes, and [`Headers`], the list that every request
//! is built from.

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
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
pub const TIMEOUT: HeaderName = HeaderName::from_static("x-tb-timeout-ms");

/// Request headers, serialized line by line. They are only appended and copied, and a `HeaderMap`
/// would cost more than everything else done with them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<u8>);

/// Prints the size only, because the content includes tokens.
impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Headers({} bytes)", self.0.len())
    }
}

impl Headers {
    /// An empty list with capacity for all headers of a request.
    pub fn of_a_request() -> Self {
        Self(Vec::with_capacity(1536))
    }

    /// Appends a header. Skips invalid values, which prevents CRLF injection.
    pub fn put(&mut self, name: &HeaderName, value: impl AsRef<[u8]>) {
        let value = value.as_ref();
        let is_invalid = |byte: u8| (byte < b' ' && byte != b'\t') || byte == 0x7f;
        // Checks every byte without an early exit, so that the loop is vectorized.
        if value
            .iter()
            .fold(false, |any, byte| any | is_invalid(*byte))
        {
            return;
        }
        let parts = [name.as_str().as_bytes(), b": ", value, b"\r\n"];
        self.0.reserve(parts.iter().map(|part| part.len()).sum());
        for part in parts {
            self.0.extend_from_slice(part);
        }
    }

    /// Appends all headers of `others`.
    pub fn put_all(&mut self, others: &Self) {
        self.0.extend_from_slice(&others.0);
    }

    /// The header lines as they are sent.
    pub fn lines(&self) -> &[u8] {
        &self.0
    }

    /// The same headers as a map, for `reqwest`.
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

/// Whether an answer with these header fields may belong to the request with this correlation id.
/// Compatible APIs need not echo the id, and for a request without one the API generates its own.
pub fn answers(fields: &HeaderMap, correlation_id: &str) -> bool {
    let mut echoed = fields.get_all(CORRELATION).iter();
    correlation_id.is_empty() || echoed.all(|echoed| echoed == correlation_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_must_not_echo_another_correlation_id() {
        let mut fields = HeaderMap::new();
        assert!(answers(&fields, "corr-1"), "an API need not echo it");
        fields.append(CORRELATION, HeaderValue::from_static("corr-1"));
        assert!(answers(&fields, "corr-1") && answers(&fields, ""));
        for other in ["corr-2", "corr", "corr-12", "Corr-1"] {
            assert!(!answers(&fields, other), "{other}");
        }
        fields.append(CORRELATION, HeaderValue::from_static("corr-2"));
        assert!(!answers(&fields, "corr-1"), "one of the two differs");
    }

    #[test]
    fn lines_and_map_hold_the_same_headers() {
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
    fn a_value_cannot_start_another_header() {
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
