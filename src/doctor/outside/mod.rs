//! Checks from the outside: a URL, as a client uses it.

mod discovery;
mod mcp;
mod stream;

use std::net::SocketAddr;

use futures::FutureExt;
use http::StatusCode;
use url::Url;

use super::check::{Check, Examined, Finding, Found, check};
use super::claims::Claims;
use super::http::{Http, Override, at};
use super::round_trip::Note;
use super::words::{not_ready, token_refused};
use super::{Deployment, network, words};
use crate::connect::{TargetError, authorization, is_loopback, target};
use crate::foundation::clock::Clock;
use crate::foundation::secret::Secret;
use mcp::Client;

/// The URLs of the server.
#[derive(Debug, Clone)]
pub struct Target {
    /// The URL of `/mcp`.
    pub mcp: Url,
    /// The base URL of the other routes.
    pub base: Url,
}

impl Target {
    /// Parses a URL with or without `/mcp` at the end.
    pub fn at(text: &str) -> Result<Self, TargetError> {
        let mut base = target(text, true)?;
        base.set_query(None);
        let path = base.path().trim_end_matches('/');
        let path = path.strip_suffix("/mcp").unwrap_or(path).to_owned();
        base.set_path(&path);
        let mut mcp = base.clone();
        mcp.set_path(&format!("{path}/mcp"));
        Ok(Self { mcp, base })
    }

    /// The URL as a user writes it.
    pub fn shown(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    fn host(&self) -> &str {
        self.base.host_str().unwrap_or_default()
    }

    /// Whether the connection cannot be intercepted.
    fn is_private(&self) -> bool {
        self.base.scheme() == "https" || is_loopback(&self.base)
    }
}

/// The state of the checks.
pub struct Outside {
    target: Target,
    token: Option<Secret>,
    http: Http,
    clock: Clock,
    overrides: Vec<Override>,
    read_only: bool,
    addresses: Vec<SocketAddr>,
    /// The metadata URL that the 401 refers to.
    metadata: Option<String>,
    authorization_servers: Vec<String>,
    /// Whether the tools include those that the round trip needs.
    can_write: bool,
    note: Note,
}

impl Outside {
    pub fn new(
        target: Target,
        token: Option<Secret>,
        http: Http,
        clock: Clock,
        overrides: Vec<Override>,
        read_only: bool,
    ) -> Self {
        Self {
            target,
            token,
            http,
            clock,
            overrides,
            read_only,
            addresses: Vec::new(),
            metadata: None,
            authorization_servers: Vec::new(),
            can_write: false,
            note: Note::new(),
        }
    }
}

impl Deployment for Outside {
    const CHECKS: &'static [Check<Self>] = &[
        check("encrypted", "Encryption", &[], |it| {
            it.encrypted().boxed_local()
        }),
        check("dns", "DNS", &[], |it| it.dns().boxed_local()),
        check("port", "Port", &["dns"], |it| it.port().boxed_local()),
        check("tls", "TLS", &["port"], |it| it.tls().boxed_local()),
        check("plain_http", "Plain http", &["tls"], |it| {
            it.plain_http().boxed_local()
        }),
        check("server", "MCP server", &["tls"], |it| {
            it.server().boxed_local()
        }),
        check("clock", "Clocks", &["server"], |it| {
            it.clocks().boxed_local()
        }),
        check("ready", "MCP server is ready", &["server"], |it| {
            it.ready().boxed_local()
        }),
        check("challenge", "Callers without a token", &["server"], |it| {
            it.challenge().boxed_local()
        }),
        check("metadata", "OAuth metadata", &["challenge"], |it| {
            it.check_metadata().boxed_local()
        }),
        check(
            "authorization_servers",
            "Authorization servers",
            &["metadata"],
            |it| it.check_authorization_servers().boxed_local(),
        ),
        check(
            "token",
            "Token",
            &["encrypted", "ready", "challenge"],
            |it| it.token_is_accepted().boxed_local(),
        ),
        check("handshake", "MCP", &["token"], |it| {
            it.handshake().boxed_local()
        }),
        check("tools", "Tools", &["handshake"], |it| {
            it.tools().boxed_local()
        }),
        check("stream", "Streams", &["token"], |it| {
            it.stream().boxed_local()
        }),
        check("write", "Database", &["tools", "clock"], |it| {
            it.write().boxed_local()
        }),
        check("round_trip", "Round trip of a note", &["write"], |it| {
            it.round_trip().boxed_local()
        }),
    ];

    fn token(&self) -> Option<&Secret> {
        self.token.as_ref()
    }

    async fn clear(&mut self) -> Option<Examined> {
        let token = self.token.as_ref()?;
        let client = Client::new(&self.http, &self.target, token);
        self.note.clear(&client).await
    }
}

impl Outside {
    async fn encrypted(&mut self) -> Found {
        match (self.target.base.scheme(), self.target.is_private()) {
            ("https", _) => Ok("https".to_owned()),
            (_, true) => Ok("plain http, and only on this machine".to_owned()),
            _ => Err(Finding::failed(
                "there is no TLS: over plain http anyone on the way reads tokens and notes, so \
                 none is sent",
                "give the https:// URL. Has the server none? It speaks plain http itself, and TLS \
                 ends before it: at Fly's edge ([http_service] in fly.toml), or at a proxy such as \
                 Caddy or nginx",
            )),
        }
    }

    async fn dns(&mut self) -> Found {
        self.addresses = network::resolve(&self.target.base, &self.overrides).await?;
        Ok(network::resolved(&self.target.base, &self.addresses))
    }

    async fn port(&mut self) -> Found {
        network::connect(&words::shown(&self.target.base), &self.addresses).await
    }

    async fn tls(&mut self) -> Found {
        if self.target.base.scheme() != "https" {
            return Ok("plain http: there is no certificate to look at".to_owned());
        }
        let answer = self
            .http
            .get(&self.target.base)
            .await
            .map_err(|none| none.into_finding(&self.target.base))?;
        network::trusted(&answer, &self.target.base, &self.clock)
    }

    /// What a client gets that uses http:// instead of https://.
    async fn plain_http(&mut self) -> Found {
        if self.target.base.scheme() != "https" || self.target.base.port().is_some() {
            return Err(Finding::skipped(
                "only an https URL without a port has a neighbour on port 80",
            ));
        }
        let mut plain = at(&self.target.base, "healthz")?;
        let _ = plain.set_scheme("http");
        plain_http_redirects(&self.http, &plain).await
    }

    async fn server(&mut self) -> Found {
        let url = at(&self.target.base, "healthz")?;
        let answer = self
            .http
            .get(&url)
            .await
            .map_err(|none| none.into_finding(&url))?;
        if answer.status == 200 && answer.text("/status") == "ok" {
            return Ok("it runs".to_owned());
        }
        Err(not_ours(&format!("/healthz: {}", answer.in_words())))
    }

    async fn clocks(&mut self) -> Found {
        let url = at(&self.target.base, "healthz")?;
        let answer = self
            .http
            .get(&url)
            .await
            .map_err(|none| none.into_finding(&url))?;
        network::clocks("the server", &answer, &self.clock)
    }

    async fn ready(&mut self) -> Found {
        let url = at(&self.target.base, "readyz")?;
        let answer = self
            .http
            .get(&url)
            .await
            .map_err(|none| none.into_finding(&url))?;
        match answer.status.as_u16() {
            200 => Ok("a call would be served now".to_owned()),
            503 if !answer.text("/reason").is_empty() => {
                Err(not_ready(&answer.text("/reason"), ""))
            }
            // The REST API also answers 503 here, but in another format.
            _ => Err(not_ours(&format!("/readyz: {}", answer.in_words()))),
        }
    }

    async fn challenge(&mut self) -> Found {
        let request = self
            .http
            .post(&self.target.mcp)
            .header("content-type", "application/json")
            .body("{}");
        let answer = self
            .http
            .answer(request)
            .await
            .map_err(|none| none.into_finding(&self.target.mcp))?;
        if answer.status == StatusCode::FORBIDDEN && answer.text("/error") == "host_not_allowed" {
            let shown = self.target.shown();
            return Err(Finding::failed(
                format!(
                    "the server does not know {} as its own name",
                    self.target.host()
                ),
                format!(
                    "set TOOLBRIDGE_SERVER_PUBLIC_URL to {shown}, or add the name to \
                     TOOLBRIDGE_SERVER_ALLOWED_HOSTS"
                ),
            ));
        }
        if answer.status != StatusCode::UNAUTHORIZED {
            let what = format!(
                "/mcp without a token should be answered with 401: {}",
                answer.in_words()
            );
            return Err(not_ours(&what));
        }
        let challenge = answer.header("www-authenticate");
        let scheme = challenge.split_once(' ').map(|(scheme, _)| scheme);
        if !scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer")) {
            return Err(not_ours(
                "the 401 of /mcp has no challenge (WWW-Authenticate: Bearer …)",
            ));
        }
        self.metadata = discovery::parameter(challenge, "resource_metadata");
        Ok("they are turned away, and told that a token is wanted".to_owned())
    }

    async fn token_is_accepted(&mut self) -> Found {
        let token = self.token.as_ref().ok_or_else(|| {
            Finding::skipped(
                "none was given: no call is tried without one; set TOOLBRIDGE_TOKEN, or pass \
                 --token-file FILE",
            )
        })?;
        if authorization(token).is_none() {
            return Err(token_refused("malformed", &[], ""));
        }
        let claims = Claims::of(token);
        let client = Client::new(&self.http, &self.target, token);
        let answer = client
            .send("ping", serde_json::json!({}), mcp::Era::Legacy)
            .await;
        let answer = answer.map_err(|none| none.into_finding(&self.target.mcp))?;
        match answer.status.as_u16() {
            200 => {
                let valid = claims
                    .validity(&self.clock)
                    .map(|valid| format!(", {valid}"));
                Ok(format!("it is accepted{}", valid.unwrap_or_default()))
            }
            401 | 403 | 503 => {
                let reason = answer.text("/reason");
                let has = claims.against(&reason, "tenant_id", &self.clock);
                Err(token_refused(&reason, &[has], &answer.in_words()))
            }
            _ => Err(not_ours(&format!("/mcp: {}", answer.in_words()))),
        }
    }

    async fn handshake(&mut self) -> Found {
        mcp::handshake(&self.client()?).await
    }

    async fn tools(&mut self) -> Found {
        let names = mcp::tools(&self.client()?).await?;
        self.can_write = ["create_note", "get_note", "delete_note"]
            .iter()
            .all(|tool| names.iter().any(|name| name == tool));
        Ok(format!("{} tools are listed", names.len()))
    }

    async fn stream(&mut self) -> Found {
        let url = at(&self.target.base, "sse")?;
        let token = self.token.as_ref().ok_or_else(no_token)?;
        stream::arrives_unbuffered(&self.http, &url, token).await
    }

    async fn write(&mut self) -> Found {
        if self.read_only {
            return Err(Finding::skipped("nothing is written with --read-only"));
        }
        if !self.can_write {
            return Err(Finding::skipped(
                "this token, or this server, leaves out the tools that write notes",
            ));
        }
        let token = self.token.as_ref().ok_or_else(no_token)?;
        self.note
            .write(&Client::new(&self.http, &self.target, token))
            .await
    }

    async fn round_trip(&mut self) -> Found {
        let token = self.token.as_ref().ok_or_else(no_token)?;
        self.note
            .round_trip(&Client::new(&self.http, &self.target, token))
            .await
    }

    fn client(&self) -> Result<Client<'_>, Finding> {
        let token = self.token.as_ref().ok_or_else(no_token)?;
        Ok(Client::new(&self.http, &self.target, token))
    }
}

fn no_token() -> Finding {
    Finding::skipped("there is no token")
}

fn not_ours(what: &str) -> Finding {
    Finding::failed(
        format!("{what}; whatever is there, it is not ToolBridge's MCP server"),
        "check the URL and the port (8001 in the container, where 8081 is the REST API), and what \
         stands in between; with Fly, \"flyctl status\" shows whether the app runs at all",
    )
}

/// Checks port 80 beside an https server.
pub async fn plain_http_redirects(http: &Http, plain: &Url) -> Found {
    let Ok(answer) = http.get(plain).await else {
        return Ok("nothing is served there".to_owned());
    };
    let to = answer.header("location");
    if answer.status.is_redirection() && to.starts_with("https://") {
        return Ok("it leads to https".to_owned());
    }
    if answer.status.is_success() {
        return Err(Finding::warning(
            "it is served as well: a client that is given http:// sends its token where it can be \
             read",
            "lead it to https: force_https = true under [http_service] in fly.toml, or a redirect \
             in the proxy",
        ));
    }
    Ok(format!("nothing is served there: {}", answer.in_words()))
}
