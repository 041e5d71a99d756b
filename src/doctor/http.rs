//! A bounded HTTP client for checks. It follows no redirects and ignores proxies of the
//! environment, so that the named server itself is examined.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::header::{DATE, LOCATION};
use http::{HeaderMap, StatusCode};
use reqwest::tls::TlsInfo;
use reqwest::{RequestBuilder, Response};
use serde_json::Value;
use url::Url;

use super::check::{Advice, Finding};
use super::words;
use crate::connect::{Unreachable, authorization};
use crate::foundation::bounded_body::{self, BodyError};
use crate::foundation::clock::Clock;
use crate::foundation::http_client;
use crate::foundation::secret::Secret;

/// More than any list of tools needs.
const MAX_RESPONSE: usize = 4 << 20;

/// Timeout for connecting, including TLS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A name that bypasses DNS: `HOST:PORT:ADDRESS`, as in curl's `--resolve`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    pub host: String,
    pub port: u16,
    pub address: IpAddr,
}

impl std::str::FromStr for Override {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "it is written HOST:PORT:ADDRESS, such as acme.example.com:443:10.0.0.7";
        let (host, rest) = text.split_once(':').ok_or(FORM)?;
        let (port, address) = rest.split_once(':').ok_or(FORM)?;
        let bare = address
            .strip_prefix('[')
            .and_then(|address| address.strip_suffix(']'));
        Ok(Self {
            host: Some(host)
                .filter(|host| !host.is_empty())
                .ok_or(FORM)?
                .to_ascii_lowercase(),
            port: port.parse().map_err(|_| FORM)?,
            address: bare.unwrap_or(address).parse().map_err(|_| FORM)?,
        })
    }
}

impl Override {
    pub fn is_for(&self, host: &str, port: u16) -> bool {
        self.host == host.to_ascii_lowercase() && self.port == port
    }
}

#[derive(Debug)]
pub struct Http {
    client: reqwest::Client,
}

/// A complete response.
#[derive(Debug)]
pub struct HttpAnswer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    body: Bytes,
    /// The server's TLS certificate.
    pub certificate: Option<Vec<u8>>,
}

/// Why there is no response.
#[derive(Debug)]
pub enum RequestError {
    Unreachable(Unreachable),
    TimedOut,
    Lost,
}

impl Http {
    pub fn new(overrides: &[Override]) -> Result<Self, reqwest::Error> {
        let mut builder = http_client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .no_proxy()
            .tls_info(true)
            .user_agent(concat!("toolbridge-mcp-doctor/", env!("CARGO_PKG_VERSION")));
        for given in overrides {
            builder = builder.resolve(&given.host, SocketAddr::new(given.address, given.port));
        }
        Ok(Self {
            client: builder.build()?,
        })
    }

    pub async fn get(&self, url: &Url) -> Result<HttpAnswer, RequestError> {
        self.answer(self.client.get(url.clone())).await
    }

    pub fn post(&self, url: &Url) -> RequestBuilder {
        self.client.post(url.clone())
    }

    pub fn delete(&self, url: &Url) -> RequestBuilder {
        self.client.delete(url.clone())
    }

    /// Sends a GET and leaves the body unread, for a stream that does not end.
    pub async fn open(&self, url: &Url, token: &Secret) -> Result<Response, RequestError> {
        let request = self
            .client
            .get(url.clone())
            .header("accept", "text/event-stream");
        with_token(request, token)
            .send()
            .await
            .map_err(|error| RequestError::of(&error))
    }

    pub async fn answer(&self, request: RequestBuilder) -> Result<HttpAnswer, RequestError> {
        let response = request
            .send()
            .await
            .map_err(|error| RequestError::of(&error))?;
        HttpAnswer::read(response).await
    }
}

/// Resolves a path relative to a base URL that may have a path itself.
pub fn at(base: &Url, path: &str) -> Result<Url, Finding> {
    let mut url = base.clone();
    url.path_segments_mut()
        .map_err(|()| Finding::skipped("its address cannot be asked"))?
        .pop_if_empty()
        .extend(path.split('/'));
    Ok(url)
}

/// Adds the token, which has been validated as a header value before any request.
pub fn with_token(request: RequestBuilder, token: &Secret) -> RequestBuilder {
    match authorization(token) {
        Some(value) => request.header("authorization", value),
        None => request,
    }
}

impl HttpAnswer {
    pub async fn read(mut response: Response) -> Result<Self, RequestError> {
        let body = bounded_body::read(&mut response, MAX_RESPONSE).await;
        let body = body.map_err(|error| match error {
            BodyError::TooLarge { .. } => RequestError::Lost,
            BodyError::Broken(error) => RequestError::of(&error),
        })?;
        let certificate = response
            .extensions()
            .get::<TlsInfo>()
            .and_then(|info| info.peer_certificate().map(<[u8]>::to_vec));
        Ok(Self {
            status: response.status(),
            headers: std::mem::take(response.headers_mut()),
            body,
            certificate,
        })
    }

    pub fn body(&self) -> &[u8] {
        &self.body
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The string at a JSON pointer of the body; empty if there is none.
    pub fn text(&self, pointer: &str) -> String {
        let text = self
            .json()
            .pointer(pointer)
            .and_then(Value::as_str)
            .map(words::quote);
        text.unwrap_or_default()
    }

    pub fn header(&self, name: impl http::header::AsHeaderName) -> &str {
        let value = self.headers.get(name);
        value
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// Such as "it answered 404", with the redirect target and the error message of a ToolBridge
    /// server.
    pub fn in_words(&self) -> String {
        let mut words = format!("it answered {}", self.status.as_u16());
        if self.status.is_redirection() && !self.header(LOCATION).is_empty() {
            words += &format!(
                " and sends us on to {}",
                words::quote(self.header(LOCATION))
            );
        }
        let detail = crate::connect::error_detail(&self.body);
        words + &detail
    }

    /// Seconds by which the server's clock is ahead; `None` if it sends no date.
    pub fn clock_ahead(&self, clock: &Clock) -> Option<i64> {
        let date = httpdate::parse_http_date(self.header(DATE)).ok()?;
        let theirs = date.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs();
        Some(i64::try_from(theirs).ok()? - i64::try_from(clock.now_secs()).ok()?)
    }
}

impl RequestError {
    fn of(error: &reqwest::Error) -> Self {
        if error.is_connect() {
            Self::Unreachable(Unreachable::of(error))
        } else if error.is_timeout() {
            Self::TimedOut
        } else {
            Self::Lost
        }
    }

    /// Explains the failure as a finding about `url`.
    pub fn into_finding(self, url: &Url) -> Finding {
        let shown = words::shown(url);
        Finding::Failed(match self {
            Self::Unreachable(Unreachable::Name) => words::no_such_name(&shown),
            Self::Unreachable(Unreachable::Tls(why)) => words::no_tls(url, &why),
            Self::Unreachable(Unreachable::Connection(why)) => words::nothing_listens(&shown, &why),
            Self::TimedOut => Advice::new(
                format!("{shown} does not answer in time"),
                words::SEE_ITS_LOG,
            ),
            Self::Lost => Advice::new(
                format!("{shown} hangs up without a whole answer"),
                "is it the right port? If so, its log says why; in between, a proxy may have a \
                 limit",
            ),
        })
    }
}
