//! How requests get to the API: over [`Lanes`] where it speaks plain HTTP, as it does beside this server, and through the
//! usual client where it speaks TLS.

use bytes::{Bytes, BytesMut};
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::Full;
use reqwest::Url;

use super::Settings;
use super::client::ClientError;
use super::exchange::Failure;
use super::lanes::Lanes;

#[derive(Debug)]
pub(super) struct Wire {
    /// Before each path; without a slash at its end.
    prefix: String,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Plain(Lanes),
    Secure { http: reqwest::Client, origin: String },
}

impl Wire {
    pub fn new(settings: &Settings) -> Result<Self, ClientError> {
        let base = Url::parse(&settings.base_url).map_err(|_| ClientError::BaseUrl)?;
        let plain = base.query().is_none() && base.fragment().is_none() && base.username().is_empty();
        if !plain || base.password().is_some() {
            return Err(ClientError::BaseUrl);
        }
        let way = match base.scheme() {
            "http" => {
                let authority = base.authority().parse().map_err(|_| ClientError::BaseUrl)?;
                Way::Plain(Lanes::new(&authority, settings).ok_or(ClientError::BaseUrl)?)
            }
            "https" => Way::Secure {
                http: secure(settings)?,
                origin: base.origin().ascii_serialization(),
            },
            _ => return Err(ClientError::BaseUrl),
        };
        Ok(Self {
            prefix: base.path().trim_end_matches('/').to_owned(),
            way,
        })
    }

    /// Sends one request and reads its whole answer, which may have at most `limit` bytes.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        query: &[(&'static str, String)],
        headers: HeaderMap,
        body: Bytes,
        limit: usize,
    ) -> Result<(StatusCode, HeaderMap, Bytes), Failure> {
        let target = target(&self.prefix, path, query);
        match &self.way {
            Way::Plain(lanes) => {
                let mut request = Request::new(Full::new(body));
                *request.method_mut() = method;
                *request.uri_mut() = target
                    .parse::<PathAndQuery>()
                    .map(Uri::from)
                    .map_err(|_| Failure::Unreachable)?;
                *request.headers_mut() = headers;
                lanes.send(request, limit).await
            }
            Way::Secure { http, origin } => {
                let request = http.request(method, format!("{origin}{target}")).headers(headers);
                let request = if body.is_empty() { request } else { request.body(body) };
                let mut answer = request.send().await.map_err(|error| failure(&error))?;
                let body = read(&mut answer, limit).await?;
                Ok((answer.status(), std::mem::take(answer.headers_mut()), body))
            }
        }
    }
}

/// What stands in the request line.
pub fn target(prefix: &str, path: &str, query: &[(&'static str, String)]) -> String {
    let mut target = format!("{prefix}{path}");
    if !query.is_empty() {
        target.push('?');
        let start = target.len();
        target = url::form_urlencoded::Serializer::for_suffix(target, start)
            .extend_pairs(query)
            .finish();
    }
    target
}

fn secure(settings: &Settings) -> Result<reqwest::Client, ClientError> {
    reqwest::Client::builder()
        .http1_only()
        .tcp_nodelay(true)
        .connect_timeout(settings.connect_timeout)
        .read_timeout(settings.read_timeout)
        .pool_idle_timeout(settings.idle_timeout)
        .pool_max_idle_per_host(settings.max_idle)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .referer(false)
        .build()
        .map_err(ClientError::Http)
}

async fn read(answer: &mut reqwest::Response, limit: usize) -> Result<Bytes, Failure> {
    if answer
        .content_length()
        .is_some_and(|announced| announced > limit as u64)
    {
        return Err(Failure::AnswerTooLarge { limit });
    }
    let mut whole = BytesMut::new();
    while let Some(bytes) = answer.chunk().await.map_err(|error| failure(&error))? {
        if whole.len() + bytes.len() > limit {
            return Err(Failure::AnswerTooLarge { limit });
        }
        whole.extend_from_slice(&bytes);
    }
    Ok(whole.freeze())
}

/// A failed connection sent nothing, even when it failed by time-out, so that question comes first.
fn failure(error: &reqwest::Error) -> Failure {
    if error.is_connect() {
        Failure::Unreachable
    } else if error.is_timeout() {
        Failure::TimedOut { sent: true }
    } else {
        Failure::AnswerLost
    }
}
