//! Checks from the inside: this machine's configuration, the API that it names, and the server that
//! runs with it.

use std::net::SocketAddr;

use futures::FutureExt;
use serde_json::Map;
use url::Url;

use super::check::{Advice, Check, Examined, Finding, Found, check};
use super::claims::Claims;
use super::http::{Http, HttpAnswer, at};
use super::round_trip::{CallError, Note, Tools};
use super::words::{not_ready, token_refused};
use super::{Deployment, network, words};
use crate::api::{ApiClient, NotReadyError, has_no_readyz};
use crate::auth::Verifier;
use crate::config::{Config, warnings};
use crate::foundation::clock::Clock;
use crate::foundation::secret::Secret;

const RUNS: &str = "in the container, \"supervisorctl -c /etc/toolbridge/supervisord.conf status\" \
    shows both programs";

/// The state of the checks. Without a valid configuration all other checks are skipped.
pub struct Inside {
    /// The configuration, or the error in it.
    pub config: Result<Config, String>,
    /// Where the server would listen; `None` if that is unknown.
    pub server: Option<Url>,
    pub token: Token,
    pub verifier: Option<Verifier>,
    /// Needs the tenant secret.
    pub api_client: Option<ApiClient>,
    pub tools: Option<Box<dyn Tools>>,
    http: Http,
    clock: Clock,
    read_only: bool,
    state: State,
}

/// The token for the checks.
pub enum Token {
    /// The token and a description of its source.
    Some(Secret, String),
    /// Why there is none.
    None(String),
}

/// What one check leaves for later ones.
struct State {
    addresses: Vec<SocketAddr>,
    ready: Option<HttpAnswer>,
    note: Note,
}

impl Inside {
    pub fn new(
        config: Result<Config, String>,
        token: Token,
        http: Http,
        clock: Clock,
        read_only: bool,
    ) -> Self {
        Self {
            config,
            server: None,
            token,
            verifier: None,
            api_client: None,
            tools: None,
            http,
            clock,
            read_only,
            state: State {
                addresses: Vec::new(),
                ready: None,
                note: Note::new(),
            },
        }
    }
}

impl Deployment for Inside {
    const CHECKS: &'static [Check<Self>] = &[
        check("config", "Configuration", &[], |it| {
            it.config_is_good().boxed_local()
        }),
        check("tenant_secret", "Tenant secret", &["config"], |it| {
            it.has_the_secret().boxed_local()
        }),
        check("api_dns", "DNS of the API", &["config"], |it| {
            it.api_dns().boxed_local()
        }),
        check("api_port", "Port of the API", &["api_dns"], |it| {
            it.api_port().boxed_local()
        }),
        check("api_ready", "API", &["api_port"], |it| {
            it.api_ready().boxed_local()
        }),
        check("api_clock", "Clocks", &["api_port"], |it| {
            it.api_clock().boxed_local()
        }),
        check(
            "signature",
            "Tenant signature",
            &["tenant_secret", "api_ready", "api_clock"],
            |it| it.signature().boxed_local(),
        ),
        check("keys", "Keys for tokens", &["config"], |it| {
            it.keys().boxed_local()
        }),
        check("token", "Token", &["keys"], |it| {
            it.token_here().boxed_local()
        }),
        check(
            "api_token",
            "Token at the API",
            &["signature", "token"],
            |it| it.token_there().boxed_local(),
        ),
        check("write", "Database", &["api_token"], |it| {
            it.write().boxed_local()
        }),
        check("round_trip", "Round trip of a note", &["write"], |it| {
            it.round_trip().boxed_local()
        }),
        check("server", "MCP server", &["tenant_secret"], |it| {
            it.server().boxed_local()
        }),
        check(
            "server_ready",
            "MCP server is ready",
            &["server", "signature", "keys"],
            |it| it.server_ready().boxed_local(),
        ),
        check("metrics", "Metrics", &["server"], |it| {
            it.metrics().boxed_local()
        }),
    ];

    fn token(&self) -> Option<&Secret> {
        match &self.token {
            Token::Some(token, _) => Some(token),
            Token::None(_) => None,
        }
    }

    async fn clear(&mut self) -> Option<Examined> {
        let tools = self.tools.as_deref()?;
        self.state.note.clear(tools).await
    }
}

impl Inside {
    /// Always present in checks that depend on "config".
    fn config(&self) -> Result<&Config, Finding> {
        self.config
            .as_ref()
            .map_err(|_| Finding::skipped("there is no configuration"))
    }

    async fn config_is_good(&mut self) -> Found {
        const CHECK: &str = "\"toolbridge-mcp config check\" says when it is good; \
            \"toolbridge-mcp config show\" where each value is from";
        let config = self
            .config
            .as_ref()
            .map_err(|mistake| Finding::failed(mistake, CHECK))?;
        match warnings(config).as_slice() {
            [] => Ok(format!(
                "it is good: tenant {}, calls {}",
                config.tenant.id.as_deref().unwrap_or("none"),
                config.api.base_url
            )),
            doubts => Err(Finding::warning(doubts.join("; "), CHECK)),
        }
    }

    async fn has_the_secret(&mut self) -> Found {
        if self.config()?.tenant.has_identity() {
            return Ok("it is set".to_owned());
        }
        Err(Finding::failed(
            "tenant.header_secret is not set, so the MCP server is off",
            "is that on purpose? If not, set TENANT_HEADER_SECRET to what the API has",
        ))
    }

    async fn api_dns(&mut self) -> Found {
        let url = &self.config()?.api.base_url;
        let addresses = network::resolve(url, &[]).await?;
        let resolved = network::resolved(url, &addresses);
        self.state.addresses = addresses;
        Ok(resolved)
    }

    async fn api_port(&mut self) -> Found {
        let url = &self.config()?.api.base_url;
        let there = network::connect(&words::shown(url), &self.state.addresses).await;
        there.map_err(|finding| match finding {
            Finding::Failed(Advice { what, .. }) => Finding::failed(
                what,
                format!(
                    "start the API, or set TOOLBRIDGE_GO_API_BASE_URL to where it is; {RUNS}, and \
                     the log says why one has ended"
                ),
            ),
            other => other,
        })
    }

    async fn api_ready(&mut self) -> Found {
        let url = at(&self.config()?.api.base_url, "readyz")?;
        let ready = self
            .http
            .get(&url)
            .await
            .map_err(|none| none.into_finding(&url))?;
        let words = ready.in_words();
        let (has_no_readyz, last) = if has_no_readyz(ready.status.as_u16()) {
            let health = at(&self.config()?.api.base_url, "healthz")?;
            (
                true,
                self.http
                    .get(&health)
                    .await
                    .map_err(|none| none.into_finding(&health))?,
            )
        } else {
            (false, ready)
        };
        let (status, last_words) = (last.status.as_u16(), last.in_words());
        self.state.ready = Some(last);
        match status {
            200 if has_no_readyz => {
                Ok("it runs; it has no /readyz, so /healthz was asked".to_owned())
            }
            200 => Ok("it is ready".to_owned()),
            503 => Err(not_ready("api_not_ready", &last_words)),
            _ => Err(Finding::failed(
                format!("what answers at {url} is not the REST API: {words}"),
                "set TOOLBRIDGE_GO_API_BASE_URL to the API's own address; in the container its \
                 port is 8081",
            )),
        }
    }

    async fn api_clock(&mut self) -> Found {
        match &self.state.ready {
            Some(answer) => network::clocks("the API", answer, &self.clock),
            None => Err(Finding::skipped("the API has not answered")),
        }
    }

    async fn signature(&mut self) -> Found {
        let api_client = self.api_client.as_ref().ok_or_else(nothing_to_sign_with)?;
        match api_client.ready().await {
            Ok(()) if self.api_judges_signatures() => Ok("the API accepts it".to_owned()),
            Ok(()) => Ok(
                "nothing speaks against it; this API says so only to a call with a token"
                    .to_owned(),
            ),
            Err(why) => Err(not_ready(why.reason(), &detail(&why))),
        }
    }

    /// Whether the API's `/readyz` reports the verification of a signature.
    fn api_judges_signatures(&self) -> bool {
        let ready = self.state.ready.as_ref();
        ready.is_some_and(|answer| !answer.text("/tenantSignature").is_empty())
    }

    async fn keys(&mut self) -> Found {
        let auth = &self.config()?.auth;
        let verifier = self
            .verifier
            .as_ref()
            .ok_or_else(|| Finding::skipped("nothing verifies tokens"))?;
        let Some(url) = auth.jwks_url.as_ref() else {
            return Ok(
                "tokens are verified with JWT_HS256_SECRET; no keys have to be fetched".to_owned(),
            );
        };
        if auth.hs256_secret.is_some() {
            return Ok(
                "there is JWT_HS256_SECRET; JWT_JWKS_URL is asked for tokens that need it"
                    .to_owned(),
            );
        }
        match verifier.ready().await {
            true => Ok(format!("those at {} can be fetched", words::shown(url))),
            false => Err(not_ready("keys_unavailable", &format!("tried {url}"))),
        }
    }

    async fn token_here(&mut self) -> Found {
        let (token, from) = match &self.token {
            Token::Some(token, from) => (token, from),
            Token::None(why) => return Err(Finding::skipped(why)),
        };
        let verifier = self
            .verifier
            .as_ref()
            .ok_or_else(|| Finding::skipped("nothing verifies tokens"))?;
        let claims = Claims::of(token);
        let valid = claims
            .validity(&self.clock)
            .map(|valid| format!(", {valid}"))
            .unwrap_or_default();
        let Err(refusal) = verifier.verify(token.expose()).await else {
            return Ok(format!("{from} is accepted here{valid}"));
        };
        let auth = &self.config()?.auth;
        let has = claims.against(refusal.reason(), &auth.tenant_claim, &self.clock);
        let expected = match refusal.reason() {
            "wrong_issuer" => auth.issuer.as_deref(),
            "wrong_audience" => auth.audience.as_deref(),
            _ => None,
        };
        let expected = expected.map(|expected| format!("\"{expected}\" is wanted"));
        Err(token_refused(
            refusal.reason(),
            &[has, expected],
            &refusal.to_string(),
        ))
    }

    async fn token_there(&mut self) -> Found {
        let tools = self.tools.as_deref().ok_or_else(nothing_to_sign_with)?;
        let mut one = Map::new();
        one.insert("limit".to_owned(), 1.into());
        match tools.call("list_notes", one).await {
            Ok(_) => Ok("the API accepts it, too, and lists notes".to_owned()),
            Err(CallError::Error { category, code, .. })
                if category == "authentication" && code != "token_not_exchanged" =>
            {
                const SAME: &str = "JWT_HS256_SECRET or JWT_JWKS_URL, JWT_ISSUER, JWT_AUDIENCE and \
                    TENANT_CLAIM; the API's log has the reason";
                // An API without such a report rejects signatures with the same status.
                Err(if self.api_judges_signatures() {
                    Finding::failed(
                        "the API refuses a token that is accepted here",
                        format!("give both programs the same {SAME}"),
                    )
                } else {
                    Finding::failed(
                        "the API refuses a token that is accepted here, or the tenant signature",
                        format!("give both programs the same TENANT_HEADER_SECRET, {SAME}"),
                    )
                })
            }
            Err(CallError::Error { code, .. }) if code == "tenant_mismatch" => {
                Err(Finding::failed(
                    "the API does not let the token's user into this server's tenant",
                    "try a token of a user of this tenant; if it is one, TOOLBRIDGE_TENANT_ID \
                     names another tenant than the API knows the user in",
                ))
            }
            // The token was accepted. Whether the API can serve is the subject of the next check.
            Err(why) if why.is_out_of_service() => Ok("the API accepts it, too".to_owned()),
            Err(why) => Err(why.into_finding("list_notes")),
        }
    }

    async fn write(&mut self) -> Found {
        if self.read_only {
            return Err(Finding::skipped("nothing is written with --read-only"));
        }
        let tools = self.tools.as_deref().ok_or_else(nothing_to_sign_with)?;
        self.state.note.write(tools).await
    }

    async fn round_trip(&mut self) -> Found {
        let tools = self.tools.as_deref().ok_or_else(nothing_to_sign_with)?;
        self.state.note.round_trip(tools).await
    }

    fn server_url(&self) -> Result<&Url, Finding> {
        self.server.as_ref().ok_or_else(|| {
            Finding::skipped("server.port is 0: the port cannot be known in advance")
        })
    }

    async fn server(&mut self) -> Found {
        let url = at(self.server_url()?, "healthz")?;
        let fix = format!(
            "start it (\"toolbridge-mcp serve\"), or set TOOLBRIDGE_PORT to its port; {RUNS}"
        );
        match self.http.get(&url).await {
            Ok(answer) if answer.status == 200 && answer.text("/status") == "ok" => {
                Ok(format!("it runs, at {}", words::shown(&url)))
            }
            Ok(answer) => Err(Finding::failed(
                format!(
                    "what answers at {url} is something else: {}",
                    answer.in_words()
                ),
                fix,
            )),
            Err(none) => Err(match none.into_finding(&url) {
                Finding::Failed(advice) => Finding::failed(advice.what, fix),
                other => other,
            }),
        }
    }

    async fn server_ready(&mut self) -> Found {
        let url = at(self.server_url()?, "readyz")?;
        let answer = self
            .http
            .get(&url)
            .await
            .map_err(|none| none.into_finding(&url))?;
        if answer.status == 200 {
            return Ok("a call would be served now".to_owned());
        }
        let reason = answer.text("/reason");
        // The inside checks of the same conditions passed with the configuration at hand.
        Err(Finding::failed(
            format!(
                "it says {reason}, and with the configuration that is here it should not: {}",
                answer.in_words()
            ),
            "it runs with another configuration than this one: start it again, so that it reads \
             what is set now (\"supervisorctl -c /etc/toolbridge/supervisord.conf restart mcp\")",
        ))
    }

    async fn metrics(&mut self) -> Found {
        let address = match self.config()?.metrics.address() {
            Ok(Some(address)) if address.port() != 0 => address,
            Ok(Some(_)) => {
                return Err(Finding::skipped(
                    "metrics.addr has port 0: the port cannot be known in advance",
                ));
            }
            _ => return Err(Finding::skipped("metrics.addr is \"off\"")),
        };
        let local = match address {
            SocketAddr::V4(_) if address.ip().is_unspecified() => {
                ([127, 0, 0, 1], address.port()).into()
            }
            SocketAddr::V6(_) if address.ip().is_unspecified() => {
                (std::net::Ipv6Addr::LOCALHOST, address.port()).into()
            }
            other => other,
        };
        let url = Url::parse(&format!("http://{local}/metrics"))
            .map_err(|_| Finding::skipped("its address cannot be asked"))?;
        match self.http.get(&url).await {
            Ok(answer) if answer.status == 200 => Ok(format!("they are at {url}")),
            _ => Err(Finding::warning(
                format!("nothing answers at {url}, so no metrics can be collected"),
                "is the port taken by another program? The server's log said so when it started; \
                 set TOOLBRIDGE_METRICS_ADDR to a free address, or to off",
            )),
        }
    }
}

fn nothing_to_sign_with() -> Finding {
    Finding::skipped("there is no tenant secret to sign with")
}

fn detail(why: &NotReadyError) -> String {
    match why {
        NotReadyError::Status(_) => why.to_string(),
        _ => String::new(),
    }
}
