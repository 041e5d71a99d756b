//! The `serve` command: MCP over HTTP, until a signal.

use std::net::IpAddr;
use std::time::Duration;

use clap::Args;

use super::exit::CliError;
use super::tool_filter::ToolFilter;
use super::version::BUILD;
use super::{CommandContext, Settings, wiring};
use crate::config::{Config, Flag, warnings};
use crate::telemetry::{self, Destination, fields};

#[derive(Debug, Args)]
#[command(after_help = "\
Without a tenant secret the server stays off: it logs one line and exits 0.
SIGTERM, SIGINT or SIGHUP finishes what is in flight and leaves; a second one leaves at once.
SIGUSR1 logs at debug for 15 minutes, or ends that.

Examples:
  toolbridge-mcp serve
  toolbridge-mcp serve --host 0.0.0.0 --port 8001
  toolbridge-mcp serve --toolsets notes,tasks --read-only
  toolbridge-mcp serve --config /etc/toolbridge.toml --check")]
pub struct Serve {
    /// Only check the configuration
    #[arg(long)]
    check: bool,
    /// Listen on this address
    #[arg(long, value_name = "ADDRESS")]
    host: Option<String>,
    /// Listen on this port
    #[arg(long)]
    port: Option<String>,
    /// Where clients reach this server
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    #[command(flatten)]
    tool_filter: ToolFilter,
}

impl Serve {
    pub fn flags(&self) -> Vec<Flag> {
        [
            ("--host", "server.host", &self.host),
            ("--port", "server.port", &self.port),
            ("--public-url", "server.public_url", &self.public_url),
        ]
        .into_iter()
        .filter_map(|(name, path, value)| {
            let value = value.clone()?;
            Some(Flag {
                name: name.to_owned(),
                path: path.to_owned(),
                value,
            })
        })
        .chain(self.tool_filter.flags())
        .collect()
    }
}

/// A disabled server waits this long before it exits with 0. Supervisors treat a quick exit as a
/// failed start, with any exit code, and would retry (supervisord within `startsecs`).
const OFF_EXIT_DELAY: Duration = Duration::from_secs(5);

pub fn run(
    args: &Serve,
    settings: &Settings,
    context: &mut CommandContext,
) -> Result<(), CliError> {
    let config = context.load(settings, &args.flags())?.config;
    if args.check {
        return super::config::check(&config, context);
    }
    telemetry::start(&config.log, Destination::Stdout, true);
    telemetry::tasks::log_panics();
    if !config.tenant.has_identity() {
        tracing::info!(
            { fields::VERSION } = BUILD.version,
            "off: tenant.header_secret is not set, so there is nothing to serve; set \
             TENANT_HEADER_SECRET to switch this server on"
        );
        return super::block_on(wiring::wait_or_signal(OFF_EXIT_DELAY));
    }
    announce(&config);
    let served = super::block_on(wiring::serve(&config));
    telemetry::buffered_stdout::write_out_all();
    served?.map_err(logged)
}

/// Logs the error, since operators read a server's log.
fn logged(stop: CliError) -> CliError {
    if let CliError::Because { exit, sentence } = stop {
        tracing::error!({ fields::EXIT_CODE } = exit.code(), "{sentence}");
        return CliError::Silent(exit);
    }
    stop
}

/// Logs the essential settings at the start, without secrets.
fn announce(config: &Config) {
    tracing::info!(
        { fields::VERSION } = BUILD.version,
        { fields::REVISION } = BUILD.revision.unwrap_or("unknown"),
        { fields::TARGET_TRIPLE } = BUILD.target,
        { fields::TENANT } = config.tenant.id.as_deref().unwrap_or("none"),
        { fields::ADDRESS } = listens_on(config),
        { fields::API_BASE_URL } = config.api.base_url.as_str(),
        { fields::VERIFIERS } = verifiers(config).join(","),
        "toolbridge-mcp {} starts",
        BUILD.version,
    );
    for warning in warnings(config) {
        tracing::warn!("{warning}");
    }
}

/// The configured address and port; an IPv6 address is bracketed.
pub fn listens_on(config: &Config) -> String {
    match config.server.host.parse::<IpAddr>() {
        Ok(IpAddr::V6(address)) => format!("[{address}]:{}", config.server.port),
        _ => format!("{}:{}", config.server.host, config.server.port),
    }
}

/// Describes how tokens are verified.
pub fn verifiers(config: &Config) -> Vec<&'static str> {
    let on = [
        config.auth.hs256_secret.as_ref().map(|_| "hs256"),
        config.auth.jwks_url.as_ref().map(|_| "jwks"),
    ];
    on.into_iter().flatten().collect()
}
