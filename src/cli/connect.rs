//! The `connect` command: bridges stdio to a remote server, for clients that only start processes.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::exit::{CliError, Exit};
use super::{CommandContext, Settings, wiring};
use crate::foundation::parse;
use crate::foundation::secret::Secret;
use crate::telemetry::{self, Destination};

#[derive(Debug, Args)]
#[command(after_help = "\
The client starts this command and speaks MCP to it; every message goes to the server as a
POST. Only messages are written to standard output; the log goes to standard error. It ends
with its input, or on SIGTERM. A server that is away for a while is tried again; a call that
may have been made is never repeated.

The token comes from TOOLBRIDGE_TOKEN or a file, never from the command line. A file is read
again for each message, so a token that is refreshed there is used at once.

Examples:
  TOOLBRIDGE_TOKEN=… toolbridge-mcp connect https://acme.example.com
  toolbridge-mcp connect https://acme.example.com/mcp --token-file ~/.config/toolbridge/token
  toolbridge-mcp connect http://127.0.0.1:8001 --token-file token --toolsets notes,tasks \
--read-only")]
pub struct Connect {
    /// The server's URL; without a path, /mcp is added
    #[arg(value_name = "URL")]
    url: String,
    /// Read the token from a file [otherwise: TOOLBRIDGE_TOKEN]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Ask for these toolsets only
    #[arg(long, value_name = "LIST")]
    toolsets: Option<String>,
    /// Ask for tools that change nothing only
    #[arg(long)]
    read_only: bool,
    /// Send a header with every message; may be given more than once
    #[arg(long, value_name = "NAME=VALUE", value_parser = header)]
    header: Vec<(String, String)>,
    /// How long a server that cannot be reached is tried again
    #[arg(long, value_name = "DURATION", default_value = "15s",
        value_parser = parse::parse_duration)]
    retry_for: Duration,
    /// How long to wait for an answer, or for its next part
    #[arg(long, value_name = "DURATION", default_value = "5m",
        value_parser = parse::parse_duration)]
    timeout: Duration,
    /// Send the token over plain http to other machines too, where anyone on the way can read it
    #[arg(long)]
    allow_http: bool,
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or("a header is written NAME=VALUE")?;
    Ok((name.trim().to_owned(), value.to_owned()))
}

/// The arguments of the command line, unvalidated.
pub struct ConnectRequest<'a> {
    pub url: &'a str,
    pub allow_http: bool,
    pub token: Token,
    pub headers: Vec<(&'a str, &'a str)>,
    pub retry_for: Duration,
    pub timeout: Duration,
}

pub enum Token {
    File(PathBuf),
    Environment(Secret),
}

pub fn run(
    args: &Connect,
    settings: &Settings,
    context: &mut CommandContext,
) -> Result<(), CliError> {
    let config = context.load(settings, &[])?.config;
    let request = ConnectRequest {
        url: &args.url,
        allow_http: args.allow_http,
        token: args.token(context)?,
        headers: args.headers(),
        retry_for: args.retry_for,
        timeout: args.timeout,
    };
    let prepared = wiring::prepare(request)?;
    telemetry::start(&config.log, Destination::Stderr, true);
    super::block_on(wiring::connect(prepared))?
}

impl Connect {
    fn token(&self, context: &CommandContext) -> Result<Token, CliError> {
        if let Some(path) = &self.token_file {
            // Made absolute, so that a later change of directory has no effect.
            return Ok(Token::File(context.directory.join(path)));
        }
        match context
            .environment
            .get("TOOLBRIDGE_TOKEN")
            .map(|text| text.trim())
        {
            None | Some("") => Err(CliError::because(
                Exit::NoPermission,
                "there is no token: set TOOLBRIDGE_TOKEN, or pass --token-file FILE.",
            )),
            Some(token) => Ok(Token::Environment(Secret::new(token))),
        }
    }

    fn headers(&self) -> Vec<(&str, &str)> {
        let toolsets = self
            .toolsets
            .as_deref()
            .map(|list| ("x-mcp-toolsets", list));
        let read_only = self.read_only.then_some(("x-mcp-readonly", "true"));
        let headers = self
            .header
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        headers.chain(toolsets).chain(read_only).collect()
    }
}
