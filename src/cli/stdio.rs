//! The `stdio` command: serves one MCP client over standard input and output, which carry nothing
//! else.

use std::time::Duration;

use clap::Args;

use super::credentials::Credentials;
use super::exit::CliError;
use super::tool_filter::ToolFilter;
use super::{CommandContext, Settings, wiring};
use crate::config::Flag;
use crate::telemetry::{self, Destination};

/// A generated token should last for a session of a client.
const TOKEN_LIFETIME: Duration = Duration::from_secs(12 * 3600);

#[derive(Debug, Args)]
#[command(after_help = "\
The client starts this command and speaks MCP to it; logs go to standard error.

Examples:
  TOOLBRIDGE_TOKEN=… toolbridge-mcp stdio
  toolbridge-mcp stdio --token-file ~/.config/toolbridge/token
  toolbridge-mcp stdio --as ada --read-only")]
pub struct Stdio {
    #[command(flatten)]
    credentials: Credentials,
    #[command(flatten)]
    tool_filter: ToolFilter,
}

impl Stdio {
    pub fn flags(&self) -> Vec<Flag> {
        self.tool_filter.flags()
    }
}

pub fn run(
    args: &Stdio,
    settings: &Settings,
    context: &mut CommandContext,
) -> Result<(), CliError> {
    let config = context.load(settings, &args.flags())?.config;
    config.tenant.identity()?;
    let token = args.credentials.token(&config, TOKEN_LIFETIME, context)?;
    telemetry::start(&config.log, Destination::Stderr, true);
    telemetry::tasks::log_panics();
    super::block_on(wiring::stdio(&config, token))?
}
