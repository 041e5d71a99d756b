//! Sends requests to the API: through [`ConnectionPool`] over plain HTTP, the case when the API
//! runs beside this server, and through `reqwest` over TLS.

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use url::{Position, Url};

use super::Settings;
use super::answer_limits::AnswerLimits;
use super::client::ClientError;
use super::connection_pool::ConnectionPool;
use super::headers::{Headers, answers};
use super::request::ApiError;
use crate::foundation::bounded_body;
use crate::foundation::bounded_body::BodyError;
use crate::foundation::http_client;
use crate::workers::Workers;

/// Client for one API, over plain HTTP or TLS.
#[derive(Debug)]
pub(crate) struct HttpClient {
    /// Prepended to each path; has no trailing slash.
    prefix: String,
    transport: Transport,
}

#[derive(Debug)]
enum Transport {
    Plain(ConnectionPool),
    Secure {
        http: reqwest::Client,
        origin: String,
    },
}

/// The target of a request, in the form that its transport needs.
#[derive(Debug)]
pub(crate) enum Target {
    Plain(String),
    Secure(Url),
}

impl Target {
    /// The target as it appears in the request line.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Plain(path) => path,
            Self::Secure(url) => &url[Position::BeforePath..Position::AfterQuery],
        }
    }
}

impl HttpClient {
    pub fn new(settings: &Settings, loops: &Workers) -> Result<Self, ClientError> {
        let base = &settings.base_url;
        let plain =
            base.query().is_none() && base.fragment().is_none() && base.username().is_empty();
        if !plain || base.password().is_some() {
            return Err(ClientError::BaseUrl);
        }
        let transport = match base.scheme() {
            "http" => {
                let authority = base.authority().parse().map_err(|_| ClientError::BaseUrl)?;
                Transport::Plain(
                    ConnectionPool::new(&authority, settings, loops).ok_or(ClientError::BaseUrl)?,
                )
            }
            "https" => Transport::Secure {
                http: tls_client(settings)?,
                origin: base.origin().ascii_serialization(),
            },
            _ => return Err(ClientError::BaseUrl),
        };
        Ok(Self {
            prefix: base.path().trim_end_matches('/').to_owned(),
            transport,
        })
    }

    /// Sends one request and reads the whole answer, within `limits`. Reports an answer that echoes
    /// another correlation id as [`ApiError::AnswerLost`].
    pub async fn round_trip(
        &self,
        method: Method,
        target: Target,
        headers: &Headers,
        body: Bytes,
        correlation_id: &str,
        limits: AnswerLimits<'_>,
    ) -> Result<(StatusCode, HeaderMap, Bytes), ApiError> {
        match (&self.transport, target) {
            (Transport::Plain(pool), Target::Plain(path)) => {
                pool.round_trip(&method, &path, headers, body, correlation_id, limits)
                    .await
            }
            (Transport::Secure { http, .. }, Target::Secure(url)) => {
                let request = http.request(method, url).headers(headers.to_map());
                let request = if body.is_empty() {
                    request
                } else {
                    request.body(body)
                };
                // Boxed, so that this large future does not enlarge the plain path.
                Box::pin(send_with_reqwest(request, correlation_id, limits)).await
            }
            // Unreachable in practice: each target is built by the client that sends it.
            _ => Err(ApiError::Unreachable),
        }
    }

    /// Builds the target of a request. Fails if it is no valid URL.
    pub fn target(&self, path: &str, query: &[(&'static str, String)]) -> Result<Target, ApiError> {
        let target = target(&self.prefix, path, query);
        match &self.transport {
            Transport::Plain(_)
                if target
                    .bytes()
                    .all(|byte| byte.is_ascii_graphic() && byte != b'#') =>
            {
                Ok(Target::Plain(target))
            }
            Transport::Plain(_) => Err(ApiError::Unreachable),
            Transport::Secure { origin, .. } => Url::parse(&format!("{origin}{target}"))
                .map(Target::Secure)
                .map_err(|_| ApiError::Unreachable),
        }
    }
}

/// Path and query of a request, percent-encoded.
pub fn target(prefix: &str, path: &str, query: &[(&'static str, String)]) -> String {
    let mut target = [prefix, path].concat();
    if !query.is_empty() {
        target.push('?');
        let start = target.len();
        target = url::form_urlencoded::Serializer::for_suffix(target, start)
            .extend_pairs(query)
            .finish();
    }
    target
}

fn tls_client(settings: &Settings) -> Result<reqwest::Client, ClientError> {
    http_client::builder()
        .connect_timeout(settings.connect_timeout)
        .read_timeout(settings.read_timeout)
        .pool_idle_timeout(settings.idle_timeout)
        .pool_max_idle_per_host(settings.max_idle)
        .no_proxy()
        .build()
        .map_err(ClientError::Http)
}

async fn send_with_reqwest(
    request: reqwest::RequestBuilder,
    correlation_id: &str,
    limits: AnswerLimits<'_>,
) -> Result<(StatusCode, HeaderMap, Bytes), ApiError> {
    let mut answer = request.send().await.map_err(|error| failure(&error))?;
    if !answers(answer.headers(), correlation_id) {
        return Err(ApiError::AnswerLost);
    }
    let announced = answer
        .content_length()
        .and_then(|length| usize::try_from(length).ok());
    limits.reserve(announced.unwrap_or_default()).await?;
    let body = bounded_body::read(&mut answer, limits.max_bytes())
        .await
        .map_err(|error| match error {
            BodyError::TooLarge { limit } => ApiError::AnswerTooLarge { limit },
            BodyError::Broken(error) => failure(&error),
        })?;
    limits.reserve(body.len()).await?;
    Ok((answer.status(), std::mem::take(answer.headers_mut()), body))
}

/// A connection that fails by timing out is both `is_connect` and `is_timeout`. It sent nothing, so
/// `is_connect` is checked first.
fn failure(error: &reqwest::Error) -> ApiError {
    if error.is_connect() {
        ApiError::Unreachable
    } else if error.is_timeout() {
        ApiError::TimedOut { sent: true }
    } else {
        ApiError::AnswerLost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The signature covers the target, so both transports must send it unchanged.
    #[tokio::test]
    async fn both_transports_send_the_same_target() {
        let query = [
            ("limit", "5".to_owned()),
            ("cursor", "a&b=c d'é/".to_owned()),
        ];
        for base in ["http://api:8081/base/", "https://api/base"] {
            let settings = Settings {
                base_url: base.parse().unwrap(),
                ..Settings::default()
            };
            let client = HttpClient::new(&settings, &Workers::none()).unwrap();
            let target = client.target("/v1/notes", &query).unwrap();
            assert_eq!(
                target.as_str(),
                "/base/v1/notes?limit=5&cursor=a%26b%3Dc+d%27%C3%A9%2F",
                "{base}"
            );
            if let Target::Secure(url) = &target {
                let sent: http::Uri = url.as_str().parse().unwrap();
                assert_eq!(sent.path_and_query().unwrap(), target.as_str());
            }
            assert_eq!(
                client.target("/readyz", &[]).unwrap().as_str(),
                "/base/readyz"
            );
        }
    }
}
