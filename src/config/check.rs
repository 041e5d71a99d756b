//! Validates the merged configuration: weak secrets, invalid values, and combinations that cannot
//! work. Also collects warnings about combinations that work but are risky.

use std::net::IpAddr;
use std::time::Duration;

use url::{Host, Url};

use super::error::{ConfigError, Problem, nearest};
use super::keys::Key;
use super::origin::Origin;
use super::{Config, Mode};
use crate::auth::TokenMode;
use crate::auth::token_exchange::Settings as Exchange;
use crate::foundation::parse;
use crate::foundation::secret::{Secret, weakness};

/// Looks up the origin of a key's value.
type OriginOf<'a> = &'a dyn Fn(&'static str) -> Origin;

/// The time that a shutdown reserves for ending sessions, as in `server::http::listener`.
const SESSION_CLOSE_TIME: Duration = Duration::from_secs(2);

/// Returns the first error of a merged configuration.
pub fn check(config: &Config, origin_of: OriginOf) -> Result<(), ConfigError> {
    let refuse = |key: &'static str, why: &str, fix: &str| {
        Err(ConfigError::Unusable {
            key,
            origin: origin_of(key),
            problem: Problem::new(why, fix),
        })
    };

    for (key, secret) in [
        ("tenant.header_secret", &config.tenant.header_secret),
        ("auth.hs256_secret", &config.auth.hs256_secret),
    ] {
        strong(config, key, secret.as_ref(), origin_of)?;
    }
    if let Some(id) = &config.tenant.id
        && !id.bytes().all(|byte| byte.is_ascii_graphic())
    {
        return refuse(
            "tenant.id",
            "has a character that cannot stand in a header",
            "use visible ASCII only",
        );
    }
    if config.server.host.parse::<IpAddr>().is_err() && config.server.host != "localhost" {
        return refuse(
            "server.host",
            &format!(
                "is {}, which is no address",
                parse::quoted(&config.server.host)
            ),
            "use an IP address such as \"127.0.0.1\", \"0.0.0.0\" or \"::\"",
        );
    }
    for (key, origins) in [
        ("server.allowed_origins", &config.server.allowed_origins),
        (
            "auth.authorization_servers",
            &config.auth.authorization_servers,
        ),
    ] {
        for text in origins
            .iter()
            .filter(|text| key != "server.allowed_origins" || *text != "*")
        {
            if let Err(why) = parse::parse_url(text) {
                return refuse(key, &why, "write every one like \"https://host\"");
            }
        }
    }
    if let Some(text) = config
        .server
        .allowed_hosts
        .iter()
        .find(|host| host.contains('/') || host.contains(' '))
    {
        return refuse(
            "server.allowed_hosts",
            &format!("has {}, which is no host name", parse::quoted(text)),
            "write names only, such as \"acme.example.com\"",
        );
    }
    if let Some(url) = &config.auth.jwks_url
        && config.env == Mode::Production
        && url.scheme() != "https"
        && !is_loopback(url)
    {
        return refuse(
            "auth.jwks_url",
            "is fetched over plain http, where anyone on the way can put in keys of their own",
            "use https, or --dev on your own machine",
        );
    }
    if let Some(url) = &config.auth.exchange.token_url
        && config.env == Mode::Production
        && url.scheme() != "https"
        && !is_loopback(url)
    {
        return refuse(
            "auth.exchange.token_url",
            "is plain http, where anyone on the way can take callers' tokens and this server's \
             secret",
            "use https, or --dev on your own machine",
        );
    }
    for (key, url) in [
        ("api.base_url", Some(&config.api.base_url)),
        ("server.public_url", config.server.public_url.as_ref()),
    ] {
        if url.is_some_and(|url| url.query().is_some()) {
            return refuse(
                key,
                "has a query, which would be lost",
                "end it before the \"?\"",
            );
        }
    }
    if config
        .server
        .public_url
        .as_ref()
        .is_some_and(|url| url.path() != "/")
    {
        return refuse(
            "server.public_url",
            "has a path, but \"/mcp\" is served at the root",
            "leave the path out",
        );
    }
    match config.metrics.address() {
        Err(_) => {
            return refuse(
                "metrics.addr",
                &format!(
                    "is {}, which is no address with a port",
                    parse::quoted(&config.metrics.addr)
                ),
                "write it like \"127.0.0.1:9091\", or \"off\"",
            );
        }
        // Port 0 selects a free port, so it never collides.
        Ok(Some(address)) if address.port() != 0 && address.port() == config.server.port => {
            return refuse(
                "metrics.addr",
                "has the port of server.port, where everybody could read it",
                "give it a port of its own",
            );
        }
        Ok(_) => {}
    }
    if config.audit.destination().is_none() {
        return refuse(
            "audit.to",
            &format!("is {}, which is no file", parse::quoted(&config.audit.to)),
            "write \"off\", \"stdout\", or a path such as \"/data/audit.jsonl\"",
        );
    }
    if let Some(named) = &config.tools.toolsets {
        toolsets(named).or_else(|(why, fix)| refuse("tools.toolsets", &why, &fix))?;
    }
    if config.api.call_deadline.is_zero() {
        return refuse(
            "api.call_deadline",
            "is zero, so every call would fail",
            "give it some seconds",
        );
    }
    if config.api.read_timeout.is_zero() {
        return refuse(
            "api.read_timeout",
            "is zero, so every call would fail",
            "give it some seconds",
        );
    }
    if config.api.connect_timeout >= config.api.call_deadline {
        return refuse(
            "api.connect_timeout",
            "is not shorter than api.call_deadline, so it could never take effect",
            "make it shorter",
        );
    }
    if config.server.session_idle < config.api.call_deadline {
        return refuse(
            "server.session_idle",
            "is shorter than api.call_deadline, so sessions would end in the middle of a call",
            "make it longer",
        );
    }

    // A server without a tenant secret stays off and needs none of the following. Removing the
    // secret is the documented rollback, so it must work however incomplete the other settings are.
    if config.tenant.header_secret.is_none() {
        return Ok(());
    }
    if config.tenant.id.is_none() {
        return Err(missing(
            "tenant.id",
            ", but tenant.header_secret is, and the two sign requests together",
        ));
    }
    if config.auth.hs256_secret.is_none() && config.auth.jwks_url.is_none() {
        return Err(missing(
            "auth.hs256_secret",
            " and neither is auth.jwks_url, so no caller's token could be verified",
        ));
    }
    if config.auth.mode == TokenMode::Exchange {
        exchange(&config.auth.exchange)?;
    }
    if config.env == Mode::Production {
        if config.auth.jwks_url.is_some() && config.auth.issuer.is_none() {
            return Err(missing(
                "auth.issuer",
                ", but auth.jwks_url is, and tokens of other issuers' users would pass",
            ));
        }
        if config.auth.jwks_url.is_some() && config.auth.audience.is_none() {
            return Err(missing(
                "auth.audience",
                ", but auth.jwks_url is, and tokens that are meant for other services would pass",
            ));
        }
        if one_secret_for_both(config) {
            return refuse(
                "tenant.header_secret",
                "is the same as auth.hs256_secret, which makes two proofs one",
                "make a second secret with \"openssl rand -hex 32\", or use --dev on your own \
                 machine",
            );
        }
    }
    if !config.auth.authorization_servers.is_empty() && config.server.public_url.is_none() {
        return Err(missing(
            "server.public_url",
            ", but auth.authorization_servers is, and their metadata has to name this server's \
             address",
        ));
    }
    Ok(())
}

/// The error for a missing setting. It names the environment variable that existing deployments
/// use.
pub fn missing(path: &'static str, because: &'static str) -> ConfigError {
    let variable = Key::find(path).map(|key| {
        key.aliases
            .first()
            .map_or_else(|| key.variable(), |alias| (*alias).into())
    });
    ConfigError::Missing {
        key: path,
        because,
        variable: variable.unwrap_or_default(),
    }
}

/// Refuses a weak secret in production.
fn strong(
    config: &Config,
    key: &'static str,
    secret: Option<&Secret>,
    origin_of: OriginOf,
) -> Result<(), ConfigError> {
    match secret.and_then(|secret| weakness(secret.expose())) {
        Some(why) if config.env == Mode::Production => Err(ConfigError::Unusable {
            key,
            origin: origin_of(key),
            problem: Problem::new(
                why,
                "make one with \"openssl rand -hex 32\", or use --dev on your own machine",
            ),
        }),
        _ => Ok(()),
    }
}

/// Requires all settings of the token exchange.
fn exchange(exchange: &Exchange) -> Result<(), ConfigError> {
    let because = ", but auth.mode is \"exchange\", and no token could be exchanged without it";
    let needed = [
        ("auth.exchange.token_url", exchange.token_url.is_some()),
        ("auth.exchange.audience", exchange.audience.is_some()),
        ("auth.exchange.client_id", exchange.client_id.is_some()),
        (
            "auth.exchange.client_secret",
            exchange.client_secret.is_some(),
        ),
    ];
    match needed.iter().find(|(_, set)| !set) {
        Some((key, _)) => Err(missing(key, because)),
        None => Ok(()),
    }
}

/// Validates a list of toolsets. The error is the problem and the fix.
fn toolsets(named: &[String]) -> Result<(), (String, String)> {
    let known = crate::tools::toolset_names();
    let Some(unknown) = named.iter().find(|name| !known.contains(&name.as_str())) else {
        let all = || "name some, or leave it out to serve all".to_owned();
        return if named.is_empty() {
            Err(("names no toolset".to_owned(), all()))
        } else {
            Ok(())
        };
    };
    let why = format!("has {}, which is no toolset", parse::quoted(unknown));
    let fix = match nearest(unknown, known.iter().copied()) {
        Some(meant) => format!("did you mean \"{meant}\"? There are {}", known.join(", ")),
        None => format!("choose among {}", known.join(", ")),
    };
    Err((why, fix))
}

fn one_secret_for_both(config: &Config) -> bool {
    let secrets = config
        .tenant
        .header_secret
        .as_ref()
        .zip(config.auth.hs256_secret.as_ref());
    secrets.is_some_and(|(signing, verifying)| signing.expose() == verifying.expose())
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// Warnings about settings that work but are risky, one sentence each.
pub fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    if config.env == Mode::Dev {
        warnings.push("dev mode: weak secrets and plain-http key sets are accepted".to_owned());
    }
    if config.auth.jwks_url.is_some()
        && (config.auth.issuer.is_none() || config.auth.audience.is_none())
    {
        warnings.push(
            "auth.jwks_url is set without both auth.issuer and auth.audience: tokens that were \
             meant for other services of that authorization server are accepted"
                .to_owned(),
        );
    }
    let required = config.server.drain_notice + config.api.call_deadline + SESSION_CLOSE_TIME;
    if config.server.drain_timeout < required {
        warnings.push(format!(
            "server.drain_timeout is shorter than server.drain_notice, api.call_deadline and \
             {SESSION_CLOSE_TIME:?} for ending sessions together: a shutdown may cut calls off"
        ));
    }
    if config.auth.mode == TokenMode::Verify && config.auth.exchange.token_url.is_some() {
        warnings.push(
            "auth.exchange is set up, but auth.mode is \"verify\": no token is exchanged"
                .to_owned(),
        );
    }
    if config.auth.mode == TokenMode::Exchange
        && config.auth.exchange.audience == config.auth.audience
    {
        warnings.push(
            "auth.exchange.audience is the same as auth.audience: exchanged tokens would be good \
             for what callers' own are good for"
                .to_owned(),
        );
    }
    if config.server.legacy_sse && config.server.sse_streams >= config.server.max_connections {
        warnings.push(
            "server.sse_streams is not below server.max_connections: streams may take every \
             connection"
                .to_owned(),
        );
    }
    if one_secret_for_both(config) {
        warnings.push(
            "tenant.header_secret and auth.hs256_secret are the same: use two secrets".to_owned(),
        );
    }
    warnings
}
