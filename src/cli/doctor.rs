//! The `doctor` command: what is wrong with a deployment, and how to fix it.

use std::time::Duration;

use clap::Args;
use clap::builder::styling::{AnsiColor, Style};
use serde_json::{Value, json};

use super::credentials::Credentials;
use super::exit::{CliError, Exit};
use super::output::{ERROR, GOOD, Output, QUIET, styled};
use super::token::{Claims, mint};
use super::{CommandContext, Settings, wiring};
use crate::config::Config;
use crate::doctor::{Examined, Outcome, Override, Token};
use crate::foundation::parse;
use crate::foundation::secret::Secret;
use crate::telemetry::{self, Destination};

const DOUBT: Style = AnsiColor::Yellow.on_default();

/// The user of a generated token, unless one is given.
const USER: &str = "toolbridge-doctor";

/// A generated token is used for one examination.
const TOKEN_LIFETIME: Duration = Duration::from_secs(300);

#[derive(Debug, Args)]
#[command(after_help = "\
Without a URL it checks from inside, with the configuration of \"serve\" on this machine: the API,
its clock, the tenant signature, a token, the database, and the MCP server.
With a URL it checks from outside, as a client: name, certificate, health, OAuth metadata, a
token, the tools, and whether a proxy buffers streams.

Each finding comes with its fix. Checks that cannot succeed because of a finding are skipped. It
creates, reads and deletes one note of the token's user, unless --read-only is given. From inside,
without a token, it makes one for the user \"toolbridge-doctor\" if an HS256 secret is configured.
A token is never sent over plain http to another machine.

Exit codes: 0 nothing failed, perhaps with warnings; 1 something failed, or the configuration is
invalid; 2 the command line was not understood; 77 the token cannot be read.

Examples:
  toolbridge-mcp doctor
  toolbridge-mcp doctor https://acme.example.com --token-file token
  toolbridge-mcp doctor https://acme.example.com --resolve acme.example.com:443:10.0.0.7
  toolbridge-mcp doctor --json | jq '.checks[] | select(.outcome == \"failed\")'")]
pub struct Doctor {
    /// Check the server at this URL from outside; with /mcp or without
    #[arg(value_name = "URL")]
    url: Option<String>,
    /// Write nothing: no note is created
    #[arg(long)]
    read_only: bool,
    /// Use this address for that name and port; may be given more than once
    #[arg(long, value_name = "HOST:PORT:ADDRESS", requires = "url")]
    resolve: Vec<Override>,
    /// The longest time to take
    #[arg(long, value_name = "DURATION", default_value = "30s",
        value_parser = parse::parse_duration)]
    timeout: Duration,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    credentials: Credentials,
}

/// How to examine the deployment.
#[derive(Debug, Clone, Copy)]
pub struct DoctorOptions {
    /// Time limit of all checks together.
    pub within: Duration,
    /// Skips the checks that write.
    pub read_only: bool,
}

impl Doctor {
    fn options(&self) -> DoctorOptions {
        DoctorOptions {
            within: self.timeout,
            read_only: self.read_only,
        }
    }
}

pub fn run(
    args: &Doctor,
    settings: &Settings,
    context: &mut CommandContext,
) -> Result<(), CliError> {
    match &args.url {
        Some(url) => outside(args, url, settings, context),
        None => inside(args, settings, context),
    }
}

fn inside(
    args: &Doctor,
    settings: &Settings,
    context: &mut CommandContext,
) -> Result<(), CliError> {
    let loaded = match context.load(settings, &[]) {
        Ok(loaded) => Ok(loaded.config),
        // A configuration error is a finding of the examination.
        Err(CliError::Configuration(mistake)) => Err(mistake.to_string()),
        Err(other) => return Err(other),
    };
    let token = match &loaded {
        Ok(config) => {
            telemetry::start(
                &context.quiet_log(config, settings),
                Destination::Stderr,
                true,
            );
            args.inside_token(config, context)?
        }
        Err(_) => Token::None("there is no configuration".to_owned()),
    };
    let mut report = Report::new("this machine", args.json, &mut context.output)?;
    let examined = wiring::from_inside(loaded, token, args.options(), |examined| {
        report.receive(examined)
    });
    let examined = super::block_on(examined)??;
    report.end(examined)
}

fn outside(
    args: &Doctor,
    url: &str,
    settings: &Settings,
    context: &mut CommandContext,
) -> Result<(), CliError> {
    let target = wiring::target(url)?;
    let token = args.outside_token(settings, context)?;
    let shown = target.shown().to_owned();
    let mut report = Report::new(&shown, args.json, &mut context.output)?;
    let examined = wiring::from_outside(
        target,
        token,
        args.resolve.clone(),
        args.options(),
        |examined| {
            report.receive(examined);
        },
    );
    let examined = super::block_on(examined)??;
    report.end(examined)
}

impl Doctor {
    /// Without a given token, generates one.
    fn inside_token(&self, config: &Config, context: &CommandContext) -> Result<Token, CliError> {
        if self.credentials.make_one() {
            let token = self.credentials.token(config, TOKEN_LIFETIME, context)?;
            return Ok(Token::Some(token, "a token made for that user".to_owned()));
        }
        if let Some(token) = self.credentials.given(context)? {
            return Ok(Token::Some(token, "the token that was given".to_owned()));
        }
        Ok(
            match mint(config, &Claims::of(USER, TOKEN_LIFETIME), context.now) {
                Ok(token) => Token::Some(token, format!("a token made for the user {USER}")),
                Err(_) => Token::None(
                    "none was given, and without an HS256 secret none can be made: set \
                 TOOLBRIDGE_TOKEN, or pass --token-file FILE"
                        .to_owned(),
                ),
            },
        )
    }

    /// From the outside the configuration is only needed to generate a token.
    fn outside_token(
        &self,
        settings: &Settings,
        context: &CommandContext,
    ) -> Result<Option<Secret>, CliError> {
        if !self.credentials.make_one() {
            return self.credentials.given(context);
        }
        let config = context.load(settings, &[])?.config;
        self.credentials
            .token(&config, TOKEN_LIFETIME, context)
            .map(Some)
    }
}

/// Prints each result as it arrives for a person, or all at the end as JSON.
struct Report<'a> {
    target: String,
    json: bool,
    output: &'a mut Output,
    /// The first error of writing the output.
    write_error: Option<std::io::Error>,
}

impl<'a> Report<'a> {
    fn new(target: &str, json: bool, output: &'a mut Output) -> Result<Self, CliError> {
        if !json {
            output.line(target)?;
        }
        Ok(Self {
            target: target.to_owned(),
            json,
            output,
            write_error: None,
        })
    }

    fn receive(&mut self, examined: &Examined) {
        // Checks skipped because of another are summarised at the end.
        if self.json || examined.because.is_some() {
            return;
        }
        let written = self.print(examined);
        self.write_error = self.write_error.take().or(written.err());
    }

    fn print(&mut self, examined: &Examined) -> std::io::Result<()> {
        let (style, mark) = match examined.outcome {
            Outcome::Ok => (GOOD, "ok"),
            Outcome::Warning => (DOUBT, "hm"),
            Outcome::Failed => (ERROR, "WRONG"),
            Outcome::Skipped => (QUIET, "-"),
        };
        let mark = styled(style, format!("{mark:<6}"));
        self.output
            .line(format!("  {mark} {}: {}", examined.title, examined.what))?;
        if let Some(fix) = &examined.fix {
            self.output.line(format!("         what to do: {fix}"))?;
        }
        // Flushed because the next check may take long.
        self.output.flush()
    }

    fn end(mut self, examined: Vec<Examined>) -> Result<(), CliError> {
        if let Some(write_error) = self.write_error.take() {
            return Err(write_error.into());
        }
        let wrong = examined
            .iter()
            .filter(|examined| examined.outcome == Outcome::Failed)
            .count();
        if self.json {
            let checks: Vec<Value> = examined.iter().map(as_json).collect();
            let report = json!({ "target": self.target, "ok": wrong == 0, "checks": checks });
            self.output.json(&report)?;
        } else {
            self.untried(&examined)?;
            let summary = match wrong {
                0 => styled(GOOD, format!("{} is well.", self.target)),
                _ => styled(ERROR, format!("{} is not well.", self.target)),
            };
            self.output.line(summary)?;
        }
        match wrong {
            0 => Ok(()),
            _ => Err(CliError::Silent(Exit::Failed)),
        }
    }

    /// Prints one line per cause.
    fn untried(&mut self, all: &[Examined]) -> std::io::Result<()> {
        for cause in all {
            let untried = all
                .iter()
                .filter(|examined| examined.because == Some(cause.id));
            let titles: Vec<&str> = untried.map(|examined| examined.title).collect();
            if !titles.is_empty() {
                let mark = styled(QUIET, format!("{:<6}", "-"));
                let titles = titles.join(", ");
                self.output.line(format!(
                    "  {mark} not tried because of \"{}\": {titles}",
                    cause.title
                ))?;
            }
        }
        Ok(())
    }
}

fn as_json(examined: &Examined) -> Value {
    let mut check = json!({
        "id": examined.id,
        "title": examined.title,
        "outcome": examined.outcome.as_str(),
        "what": examined.what,
    });
    if let Some(check) = check.as_object_mut() {
        check.extend(
            examined
                .fix
                .as_ref()
                .map(|fix| ("fix".to_owned(), json!(fix))),
        );
        check.extend(examined.because.map(|id| ("because".to_owned(), json!(id))));
        let took = u64::try_from(examined.took.as_millis()).unwrap_or(u64::MAX);
        check.insert("took_ms".to_owned(), json!(took));
    }
    check
}
