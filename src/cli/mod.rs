//! The command line: one file per subcommand, and the parts that they share.
//!
//! A command gets its flags, the [`Settings`] that every command takes, and its [`CommandContext`]:
//! environment, directory, clock and [`output`]. It returns nothing or a [`CliError`], which this
//! module turns into one line and an exit code. Everything beyond that goes through [`wiring`].

mod arguments;
mod audit;
mod batch;
mod call;
mod client_config;
mod completions;
mod config;
mod connect;
mod credentials;
mod doctor;
mod exit;
mod healthcheck;
mod help;
mod output;
mod render;
mod search;
mod serve;
mod stdio;
#[cfg(test)]
mod tests;
mod token;
mod tool_filter;
mod tools;
mod version;
mod versions;
mod wiring;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::future::Future;
use std::path::PathBuf;
use std::time::SystemTime;

use clap::{Args, FromArgMatches, Parser, Subcommand};

pub use self::exit::{CliError, Exit};
pub use self::output::Output;
use crate::config::{self as configuration, Config, Flag, Loaded, Sources};
use crate::telemetry::settings::Log;

/// MCP server for ToolBridge: a tenant's notes, tasks, comments and chats for AI assistants
#[derive(Debug, Parser)]
#[command(name = "toolbridge-mcp", version)]
struct Cli {
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve MCP clients over HTTP
    Serve(serve::Serve),
    /// Serve one MCP client over standard input and output
    Stdio(stdio::Stdio),
    /// Bridge one MCP client on standard input and output to a remote server
    Connect(connect::Connect),
    /// List the tools, or show one with its arguments
    Tools(tools::Tools),
    /// Run one tool from the terminal
    Call(call::Call),
    /// Search all notes, tasks, comments, chats and messages
    Search(search::Search),
    /// List the versions of an item, or show one
    History(versions::History),
    /// Bring back a deleted item, or an earlier version
    Restore(versions::Restore),
    /// Make many writes at once, from a file
    Batch(batch::Batch),
    /// Print what to paste into an MCP client
    ClientConfig(client_config::ClientConfig),
    /// Make a token for development
    Token(token::Token),
    /// Show or check the configuration
    Config(config::ConfigArgs),
    /// Say what is wrong with a deployment, and how to fix it
    Doctor(doctor::Doctor),
    /// Verify an audit trail
    Audit(audit::AuditArgs),
    /// Ask whether the server is ready
    Healthcheck(healthcheck::Healthcheck),
    /// Print what this binary is
    Version(version::Version),
    /// Print the completion script of a shell
    Completions(completions::Completions),
}

/// Flags that every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Configuration")]
struct Settings {
    /// Read this file [otherwise: TOOLBRIDGE_CONFIG, or toolbridge.toml if it exists]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set anything but a secret, such as api.call_deadline=10s; may be given more than once
    #[arg(long, global = true, value_name = "KEY=VALUE", value_parser = setting)]
    set: Vec<(String, String)>,
    /// The API's base URL
    #[arg(long, global = true, value_name = "URL")]
    api_url: Option<String>,
    /// On your own machine: accept short and placeholder secrets
    #[arg(long, global = true)]
    dev: bool,
    /// error, warn, info, debug, trace, or a filter
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<String>,
    /// auto, json or pretty
    #[arg(long, global = true, value_name = "FORMAT")]
    log_format: Option<String>,
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (key, value) = text
        .split_once('=')
        .ok_or("a setting is written KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

impl Settings {
    /// The flags as given, for a suggested command line.
    fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        for (key, value) in &self.set {
            words.extend(["--set".to_owned(), format!("{key}={value}")]);
        }
        let config = self.config.as_ref().map(|path| path.display().to_string());
        for (flag, value) in [
            ("--config", config),
            ("--api-url", self.api_url.clone()),
            ("--log-level", self.log_level.clone()),
            ("--log-format", self.log_format.clone()),
        ] {
            words.extend(value.into_iter().flat_map(|value| [flag.to_owned(), value]));
        }
        words.extend(self.dev.then(|| "--dev".to_owned()));
        words
    }

    /// `--set` comes first, so that a dedicated flag takes precedence.
    fn flags(&self) -> Vec<Flag> {
        let flag = |name: &str, path: &str, value: &str| Flag {
            name: name.into(),
            path: path.into(),
            value: value.into(),
        };
        let mut flags: Vec<Flag> = self
            .set
            .iter()
            .map(|(path, value)| flag("--set", path, value))
            .collect();
        for (name, path, value) in [
            ("--api-url", "api.base_url", &self.api_url),
            ("--log-level", "log.level", &self.log_level),
            ("--log-format", "log.format", &self.log_format),
        ] {
            flags.extend(value.as_deref().map(|value| flag(name, path, value)));
        }
        if self.dev {
            flags.push(flag("--dev", "env", "dev"));
        }
        flags
    }
}

/// The environment of a command, injected so that tests can replace it.
pub struct CommandContext {
    pub environment: BTreeMap<String, String>,
    pub directory: PathBuf,
    pub now: SystemTime,
    pub output: Output,
}

impl CommandContext {
    pub fn of_this_process() -> Self {
        Self {
            // A value that is not UTF-8 is invalid for every setting; it is rejected where it is
            // read.
            environment: std::env::vars_os()
                .map(|(name, value)| {
                    (
                        name.to_string_lossy().into_owned(),
                        value.to_string_lossy().into_owned(),
                    )
                })
                .collect(),
            directory: PathBuf::new(),
            now: SystemTime::now(),
            output: Output::of_this_process(),
        }
    }

    fn load(&self, settings: &Settings, more: &[Flag]) -> Result<Loaded, CliError> {
        let mut flags = settings.flags();
        flags.extend_from_slice(more);
        Ok(configuration::load(&Sources {
            environment: self.environment.clone(),
            directory: self.directory.clone(),
            file: settings.config.clone(),
            flags,
        })?)
    }

    /// The log of a command with output for a person: warnings only, unless the command line asks
    /// for more.
    fn quiet_log(&self, config: &Config, settings: &Settings) -> Log {
        let mut log = config.log.clone();
        if settings.log_level.is_none() {
            log.level = "warn".to_owned();
        }
        log
    }
}

/// Runs the command line and returns the exit code.
pub fn run(words: impl IntoIterator<Item = OsString>, mut context: CommandContext) -> Exit {
    let outcome = match parse(words) {
        Ok(cli) => dispatch(&cli, &mut context),
        Err(error) => print_parser(&error, &mut context),
    };
    let outcome = outcome.and_then(|()| Ok(context.output.flush()?));
    match outcome {
        Ok(()) => Exit::Done,
        Err(stop) => {
            // If standard error is closed too, only the exit code remains.
            if !stop.is_silent() {
                let _ = context.output.error(&stop);
            }
            let _ = context.output.flush();
            stop.exit()
        }
    }
}

fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let matches = command().try_get_matches_from(words)?;
    Cli::from_arg_matches(&matches)
}

/// The clap command with the customised help.
fn command() -> clap::Command {
    help::arranged(<Cli as clap::CommandFactory>::command())
}

fn print_parser(error: &clap::Error, context: &mut CommandContext) -> Result<(), CliError> {
    if error.exit_code() == 0 {
        return Ok(error.print()?);
    }
    // The error echoes user input, so it is sanitised like all other output.
    context
        .output
        .note(error.render().ansi().to_string().trim_end())?;
    Err(CliError::Silent(Exit::Usage))
}

fn dispatch(cli: &Cli, context: &mut CommandContext) -> Result<(), CliError> {
    let settings = &cli.settings;
    match &cli.command {
        Command::Serve(args) => serve::run(args, settings, context),
        Command::Stdio(args) => stdio::run(args, settings, context),
        Command::Connect(args) => connect::run(args, settings, context),
        Command::Tools(args) => tools::run(args, context),
        Command::Call(args) => call::run(args, settings, context),
        Command::Search(args) => search::run(args, settings, context),
        Command::History(args) => versions::history(args, settings, context),
        Command::Restore(args) => versions::restore(args, settings, context),
        Command::Batch(args) => batch::run(args, settings, context),
        Command::ClientConfig(args) => client_config::run(args, settings, context),
        Command::Token(args) => token::run(args, settings, context),
        Command::Config(args) => config::run(args, settings, context),
        Command::Doctor(args) => doctor::run(args, settings, context),
        Command::Audit(args) => audit::run(args, settings, context),
        Command::Healthcheck(args) => healthcheck::run(args, settings, context),
        Command::Version(args) => version::run(args, &mut context.output),
        Command::Completions(args) => completions::run(args, &mut context.output),
    }
}

/// Runs a future on a new runtime, which most commands do not need. One thread suffices: a server's
/// requests run on its worker loops, and other commands do one thing at a time.
fn block_on<T>(work: impl Future<Output = T>) -> Result<T, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|why| {
            CliError::because(Exit::Software, format!("the runtime cannot start ({why})."))
        })?;
    let result = runtime.block_on(work);
    // Dropping it would wait for a blocking read of standard input that may never end.
    runtime.shutdown_background();
    Ok(result)
}
