//! The `healthcheck` command: is the local server ready? For images without curl. If the MCP server
//! is switched off, the API is checked instead, so that one command reports the health of a
//! container with both.

use std::net::IpAddr;
use std::time::Duration;

use clap::Args;

use super::exit::{CliError, Exit};
use super::output::{GOOD, fitted, styled};
use super::{CommandContext, Settings};
use crate::api::has_no_readyz;
use crate::config::Config;
use crate::foundation::bounded_body;
use crate::foundation::http_client;
use crate::foundation::parse;

/// Only the message of a response is used.
const MAX_RESPONSE_BYTES: usize = 64 * 1024;

#[derive(Debug, Args)]
#[command(after_help = "\
A server without a tenant secret is off; then its API is asked instead.
Exit codes: 0 healthy, 1 anything else.

Examples:
  toolbridge-mcp healthcheck
  toolbridge-mcp healthcheck --url http://127.0.0.1:8001/healthz --timeout 1s")]
pub struct Healthcheck {
    /// What to ask [default: /readyz on the configured host and port, or on the API if the server
    /// is off]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// How long to wait for the answer
    #[arg(long, value_name = "DURATION", default_value = "3s",
        value_parser = parse::parse_duration)]
    timeout: Duration,
}

pub fn run(
    args: &Healthcheck,
    settings: &Settings,
    context: &mut CommandContext,
) -> Result<(), CliError> {
    let url = match &args.url {
        Some(url) => url.clone(),
        None => {
            // Container runtimes expect 0 or 1, so a configuration error exits with 1 too.
            let config = context
                .load(settings, &[])
                .map_err(|why| unhealthy(why.to_string()))?
                .config;
            if config.tenant.header_secret.is_some() {
                ready_url(&config)
            } else {
                let off = "off: tenant.header_secret is not set, so the API is asked";
                context.output.line(off)?;
                return judge(
                    context,
                    ask_api(config.api.base_url.as_str(), args.timeout)?,
                );
            }
        }
    };
    judge(context, Probe::now(url, args.timeout)?)
}

/// Compatible APIs may lack `/readyz`; then `/healthz` is checked.
fn ask_api(base_url: &str, timeout: Duration) -> Result<Probe, CliError> {
    let base_url = base_url.trim_end_matches('/');
    let probe = Probe::now(format!("{base_url}/readyz"), timeout)?;
    match probe.answer {
        Ok((status, _)) if has_no_readyz(status) => {
            Probe::now(format!("{base_url}/healthz"), timeout)
        }
        _ => Ok(probe),
    }
}

/// The response of a URL, or why there is none.
struct Probe {
    url: String,
    answer: Result<(u16, String), String>,
}

impl Probe {
    fn now(url: String, timeout: Duration) -> Result<Self, CliError> {
        let answer = super::block_on(ask(&url, timeout))?;
        Ok(Self { url, answer })
    }
}

fn judge(context: &mut CommandContext, probe: Probe) -> Result<(), CliError> {
    let Probe { url, answer } = probe;
    match answer {
        Ok((status, _)) if (200..300).contains(&status) => Ok(context.output.line(format!(
            "{} {url} answered {status}",
            styled(GOOD, "healthy:")
        ))?),
        Ok((status, body)) => Err(unhealthy(format!(
            "not healthy: {url} answered {status} {}",
            fitted(body.trim(), 200)
        ))),
        Err(why) => Err(unhealthy(format!("not healthy: {url} {why}"))),
    }
}

fn unhealthy(sentence: String) -> CliError {
    CliError::because(Exit::Failed, sentence.trim_end())
}

fn ready_url(config: &Config) -> String {
    format!("{}/readyz", local_url(config))
}

/// The base URL of the configured server, on this machine.
pub fn local_url(config: &Config) -> String {
    let host = match config.server.host.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) if address.is_unspecified() => "127.0.0.1".to_owned(),
        Ok(IpAddr::V6(address)) if address.is_unspecified() => "[::1]".to_owned(),
        Ok(IpAddr::V6(address)) => format!("[{address}]"),
        _ => config.server.host.clone(),
    };
    format!("http://{host}:{}", config.server.port)
}

async fn ask(url: &str, timeout: Duration) -> Result<(u16, String), String> {
    let client = http_client::builder()
        .no_proxy()
        .timeout(timeout)
        .build()
        .map_err(|why| why.to_string())?;
    let mut answer = client.get(url).send().await.map_err(|why| describe(&why))?;
    let body = bounded_body::read(&mut answer, MAX_RESPONSE_BYTES).await;
    let body = body.unwrap_or_default();
    Ok((
        answer.status().as_u16(),
        String::from_utf8_lossy(&body).into_owned(),
    ))
}

fn describe(why: &reqwest::Error) -> String {
    if why.is_timeout() {
        "did not answer in time".to_owned()
    } else if why.is_builder() {
        "is no URL that can be asked".to_owned()
    } else {
        "cannot be reached".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Sources, load};

    #[test]
    fn an_unspecified_address_is_checked_on_loopback() {
        for (host, url) in [
            ("0.0.0.0", "http://127.0.0.1:8001/readyz"),
            ("::", "http://[::1]:8001/readyz"),
            ("::1", "http://[::1]:8001/readyz"),
            ("10.0.0.7", "http://10.0.0.7:8001/readyz"),
            ("localhost", "http://localhost:8001/readyz"),
        ] {
            let mut config = load(&Sources::default()).unwrap().config;
            config.server.host = host.to_owned();
            assert_eq!(ready_url(&config), url);
        }
    }
}
