//! The `audit verify` command: checks whether an audit trail is unchanged.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::exit::{CliError, Exit};
use super::output::{ERROR, GOOD, QUIET, styled};
use super::{CommandContext, Settings};
use crate::telemetry::audit::chain::Hash;
use crate::telemetry::audit::files;
use crate::telemetry::audit::verify::{Anchors, Finding, Report, Summary, Trails};
use crate::telemetry::settings::AuditTo;

#[derive(Debug, Args)]
pub struct AuditArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Say which lines are altered, missing, doubled or out of order
    #[command(after_help = "\
Without a FILE it reads those of the configuration (audit.to), the rotated ones included. Files may
come in any order. \"-\" is standard input, where lines of a log are passed over.

What a chain alone cannot show is that its end was cut off, or that all of it was written anew: for
that, give a hash that was kept elsewhere. The log tells one when a trail begins, every ten minutes,
and at its end (\"head\"). Half a line that a killed process has left is told, and is no fault.

Exit codes: 0 it is as it was written; 1 it is not, or cannot be read; 2 the command line was not
understood; 64 no FILE was given, and the configuration has none.

Examples:
  toolbridge-mcp audit verify
  toolbridge-mcp audit verify audit.jsonl audit.jsonl.1 --head 5c0f…
  toolbridge-mcp audit verify archive/*.jsonl --after 9a41… --json
  flyctl logs --app toolbridge-acme --no-tail | toolbridge-mcp audit verify -")]
    Verify(Verify),
}

#[derive(Debug, Args)]
struct Verify {
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The files are a log: pass over what is no line of a trail
    #[arg(long)]
    log: bool,
    /// The first line has to follow the one with this hash
    #[arg(long, value_name = "HASH", value_parser = hash)]
    after: Option<Hash>,
    /// A line with this hash has to be there; may be given more than once
    #[arg(long, value_name = "HASH", value_parser = hash)]
    head: Vec<Hash>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn hash(text: &str) -> Result<Hash, String> {
    Hash::read(text).ok_or_else(|| "a hash has 64 hexadecimal digits".to_owned())
}

pub fn run(
    args: &AuditArgs,
    settings: &Settings,
    context: &mut CommandContext,
) -> Result<(), CliError> {
    let Action::Verify(args) = &args.action;
    let paths = if args.files.is_empty() {
        configured(settings, context)?
    } else {
        args.files.clone()
    };
    let mut trails = Trails::default();
    for path in &paths {
        read(&mut trails, path, args.log).map_err(|why| {
            let sentence = format!(
                "{} cannot be read ({why}), so nothing is verified.",
                path.display()
            );
            CliError::because(Exit::Failed, sentence)
        })?;
    }
    let report = trails.report(&Anchors {
        after: args.after,
        heads: args.head.clone(),
    });
    let shown = Shown { report, paths };
    if args.json {
        context.output.json(&shown.as_json())?;
    } else {
        shown.print(context)?;
    }
    if shown.is_valid() {
        Ok(())
    } else {
        Err(CliError::Silent(Exit::Failed))
    }
}

fn configured(settings: &Settings, context: &CommandContext) -> Result<Vec<PathBuf>, CliError> {
    let config = context.load(settings, &[])?.config;
    match config.audit.destination() {
        Some(AuditTo::File(path)) => Ok(files(path)),
        _ => {
            let sentence = format!(
                "audit.to is \"{}\", so there is no file to look at: name one, or give the log to \
                 \"audit verify -\".",
                config.audit.to
            );
            Err(CliError::because(Exit::Configuration, sentence))
        }
    }
}

fn read(trails: &mut Trails, path: &Path, log: bool) -> io::Result<()> {
    if path == Path::new("-") {
        return trails.read(io::stdin().lock(), true);
    }
    trails.read(BufReader::new(File::open(path)?), log)
}

struct Shown {
    report: Report,
    paths: Vec<PathBuf>,
}

impl Shown {
    fn is_valid(&self) -> bool {
        let wrong = self
            .report
            .findings
            .iter()
            .any(|finding| finding.kind.is_wrong());
        !wrong && !self.report.chains.is_empty()
    }

    /// The name of a file and a line number in it.
    fn location(&self, finding: &Finding) -> Option<(String, u64)> {
        let position = finding.position?;
        let path = self.paths.get(position.source)?;
        Some((path.display().to_string(), position.line))
    }

    fn print(&self, context: &mut CommandContext) -> io::Result<()> {
        let output = &mut context.output;
        for finding in &self.report.findings {
            let (style, mark) = if finding.kind.is_wrong() {
                (ERROR, "WRONG")
            } else {
                (QUIET, "note")
            };
            let mark = styled(style, format!("{mark:<5}"));
            match self.location(finding) {
                Some((file, line)) => {
                    output.line(format!("{mark}  {file}, line {line}, {}", finding.what))?
                }
                None => output.line(format!("{mark}  {}", finding.what))?,
            }
        }
        for chain in &self.report.chains {
            output.line(format!(
                "chain {}: lines {} to {}, from {} to {}{}",
                chain.chain,
                chain.first.0,
                chain.last.0,
                chain.first.1,
                chain.last.1,
                if chain.ended { "" } else { ", not ended" },
            ))?;
            output.line(format!("  head {}", chain.head))?;
        }
        if self.report.passed_over > 0 {
            output.line(format!(
                "{} other lines were passed over",
                self.report.passed_over
            ))?;
        }
        output.line(if self.is_valid() {
            styled(GOOD, "The trail is as it was written.")
        } else if self.report.chains.is_empty() {
            styled(ERROR, "There is no line of a trail.")
        } else {
            styled(ERROR, "The trail is not as it was written.")
        })
    }

    fn as_json(&self) -> Value {
        let finding = |finding: &Finding| {
            let location = self.location(finding);
            json!({
                "kind": finding.kind.as_str(),
                "wrong": finding.kind.is_wrong(),
                "file": location.as_ref().map(|(file, _)| file),
                "line": location.as_ref().map(|(_, line)| line),
                "what": finding.what,
            })
        };
        let chain = |chain: &Summary| {
            json!({
                "chain": chain.chain,
                "lines": chain.lines,
                "first": { "seq": chain.first.0, "time": chain.first.1 },
                "last": { "seq": chain.last.0, "time": chain.last.1 },
                "head": chain.head.to_string(),
                "ended": chain.ended,
            })
        };
        json!({
            "ok": self.is_valid(),
            "findings": self.report.findings.iter().map(finding).collect::<Vec<_>>(),
            "chains": self.report.chains.iter().map(chain).collect::<Vec<_>>(),
            "passed_over": self.report.passed_over,
        })
    }
}
