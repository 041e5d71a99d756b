//! What stands before a server: a proxy that ends TLS, gathers answers before it passes them on, or
//! has another time.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, UNIX_EPOCH};

use axum::body::Body;
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING};
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::api::temporary;
use super::token::{SECRETS, signature};

/// How a front goes about it. As it comes, it passes everything on at once.
#[derive(Clone, Default)]
pub struct ProxySettings {
    pub certificate: Option<Certificate>,
    /// The body of an answer is passed on when it is complete; its head at once.
    pub buffers_responses: bool,
    /// How far the clock of the server behind is ahead, as far as anybody can tell: it says so, and
    /// finds signatures old.
    pub clock_ahead: u64,
}

#[derive(Clone)]
pub struct TlsProxy {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    /// The server behind, once it is there.
    target: OnceLock<String>,
    settings: ProxySettings,
    http: reqwest::Client,
    with_token: AtomicU32,
}

impl TlsProxy {
    pub async fn before(target: &str, settings: ProxySettings) -> Self {
        let proxy = Self::first(settings).await;
        proxy.forward_to(target);
        proxy
    }

    /// One that is there before its server, which may then be told where it is.
    pub async fn first(settings: ProxySettings) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = settings.certificate.as_ref().map(Certificate::acceptor);
        let shared = Arc::new(Shared {
            target: OnceLock::new(),
            settings,
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            with_token: AtomicU32::new(0),
        });
        let serving = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&serving);
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let service = hyper::service::service_fn(move |request| {
                        pass_on(Arc::clone(&shared), request)
                    });
                    let http = hyper::server::conn::http1::Builder::new();
                    // A client that rejects the certificate closes the connection.
                    let _ = match acceptor {
                        None => http.serve_connection(TokioIo::new(stream), service).await,
                        Some(acceptor) => match acceptor.accept(stream).await {
                            Ok(stream) => {
                                http.serve_connection(TokioIo::new(stream), service).await
                            }
                            Err(_) => Ok(()),
                        },
                    };
                });
            }
        });
        Self { address, shared }
    }

    pub fn forward_to(&self, target: &str) {
        self.shared.target.set(target.to_owned()).unwrap();
    }

    pub fn url(&self) -> String {
        let scheme = self
            .shared
            .settings
            .certificate
            .as_ref()
            .map_or("http", |_| "https");
        format!("{scheme}://{}", self.address)
    }

    /// Requests so far that carried a token.
    pub fn with_token(&self) -> u32 {
        self.shared.with_token.load(Ordering::Acquire)
    }
}

async fn pass_on(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Body>, reqwest::Error> {
    let (parts, body) = request.into_parts();
    let body = body
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes)
        .unwrap_or_default();
    let mut headers = without_framing(parts.headers);
    if headers.contains_key("authorization") {
        shared.with_token.fetch_add(1, Ordering::AcqRel);
    }
    shared.age(&mut headers);
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let request = shared.http.request(
        parts.method,
        format!("{}{path}", shared.target.get().unwrap()),
    );
    let answered = request.headers(headers).body(body).send().await?;
    let (status, headers) = (
        answered.status(),
        without_framing(answered.headers().clone()),
    );
    let body = match shared.settings.buffers_responses {
        true => Body::from_stream(futures::stream::once(answered.bytes())),
        false => Body::from_stream(futures::stream::unfold(answered, |mut answered| async {
            let piece = answered.chunk().await.transpose()?;
            Some((piece, answered))
        })),
    };
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    *answer.headers_mut() = headers;
    shared.advance(answer.headers_mut());
    Ok(answer)
}

fn without_framing(mut headers: HeaderMap) -> HeaderMap {
    for name in [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING] {
        headers.remove(name);
    }
    headers
}

impl Shared {
    /// A signature as a server whose clock is ahead would find it: of a while ago.
    fn age(&self, headers: &mut HeaderMap) {
        let text = |name: &str| {
            headers
                .get(name)
                .map(|value| value.to_str().unwrap().to_owned())
        };
        let (Some(tenant), Some(at)) = (text("x-tb-tenant-id"), text("x-tb-timestamp")) else {
            return;
        };
        if self.settings.clock_ahead > 0 {
            let at = (at.parse::<u64>().unwrap() - self.settings.clock_ahead * 1000).to_string();
            let signed = signature(&SECRETS.tenant, &tenant, &at);
            headers.insert("x-tb-timestamp", at.parse().unwrap());
            headers.insert("x-tb-signature", signed.parse().unwrap());
        }
    }

    fn advance(&self, headers: &mut HeaderMap) {
        if let Some(date) = headers.get(DATE) {
            let date = httpdate::parse_http_date(date.to_str().unwrap()).unwrap();
            let date = date + Duration::from_secs(self.settings.clock_ahead);
            assert!(date > UNIX_EPOCH);
            headers.insert(DATE, httpdate::fmt_http_date(date).parse().unwrap());
        }
    }
}

/// Of a name, from an authority that was made for it.
#[derive(Clone)]
pub struct Certificate {
    folder: PathBuf,
}

impl Certificate {
    /// A certificate that is valid for `days`, made with `openssl`.
    pub async fn of(name: &str, days: i32) -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let folder = temporary().join(format!("certificate-{number}"));
        std::fs::create_dir_all(&folder).unwrap();
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        for line in [
            format!("req -x509 {key} -keyout ca.key -out ca.pem -days 30 -subj /CN=ca"),
            format!(
                "req {key} -keyout key.pem -out csr.pem -subj /CN={name} -addext \
                 subjectAltName=DNS:{name}"
            ),
            format!(
                "x509 -req -in csr.pem -CA ca.pem -CAkey ca.key -CAcreateserial -copy_extensions \
                 copy -days {days} -out cert.pem"
            ),
        ] {
            let mut openssl = tokio::process::Command::new("openssl");
            openssl
                .args(line.split(' '))
                .current_dir(&folder)
                .stdin(Stdio::null());
            let made = openssl.output().await.expect("openssl makes certificates");
            assert!(
                made.status.success(),
                "{line}\n{}",
                String::from_utf8_lossy(&made.stderr)
            );
        }
        Self { folder }
    }

    /// The file of the authority that issued the certificate.
    pub fn authority(&self) -> String {
        self.folder.join("ca.pem").display().to_string()
    }

    fn acceptor(&self) -> TlsAcceptor {
        let chain = CertificateDer::from_pem_file(self.folder.join("cert.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(self.folder.join("key.pem")).unwrap();
        let config = ServerConfig::builder().with_no_client_auth();
        TlsAcceptor::from(Arc::new(config.with_single_cert(vec![chain], key).unwrap()))
    }
}
