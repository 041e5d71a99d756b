//! The `batch` command: the tool of that name, with the operations of a file.

use std::fs::File;
use std::io;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;

use super::call::{failed, perform};
use super::credentials::Credentials;
use super::exit::{CliError, Exit};
use super::output::{HEADING, NAME, Output, QUIET, styled};
use super::render::text_of;
use super::wiring::CallAnswer;
use super::{CommandContext, Settings};
use crate::foundation::json::Json;

/// The largest file that is read. The API takes no larger request.
const MAX_FILE_BYTES: u64 = 1 << 20;

#[derive(Debug, Args)]
#[command(after_help = "\
The file is a JSON list of operations, as the tool batch takes them:
  [{\"op\": \"patch\", \"kind\": \"task\", \"uid\": \"…\", \
\"updates\": {\"status\": \"completed\"}},
   {\"op\": \"tag\", \"kind\": \"note\", \"uid\": \"…\", \"add_tags\": [\"2026\"]}]

Examples:
  toolbridge-mcp batch tidy.json --dry-run
  toolbridge-mcp batch tidy.json --as ada
  toolbridge-mcp batch tidy.json --each --json

All members of an operation: toolbridge-mcp tools batch")]
pub struct Batch {
    /// The operations, in JSON
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Only say what would happen
    #[arg(long)]
    dry_run: bool,
    /// Make each operation that can be made, instead of all or none
    #[arg(long)]
    each: bool,
    /// Print the result, or the error, as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    credentials: Credentials,
}

pub fn run(
    args: &Batch,
    settings: &Settings,
    context: &mut CommandContext,
) -> Result<(), CliError> {
    let text = read(&args.file)?;
    // The operations travel as they are, with all digits of their numbers.
    let operations = operations(&text).map_err(|why| unusable(&args.file, &why))?;
    let dry_run = if args.dry_run {
        r#","dry_run":true"#
    } else {
        ""
    };
    let atomic = if args.each { r#","atomic":false"# } else { "" };
    let arguments = format!(r#"{{"operations":{}{dry_run}{atomic}}}"#, operations.get());
    match perform("batch", arguments, &args.credentials, settings, context)? {
        CallAnswer::Result(text) => {
            let result = Json::trusted(&text).to_value().unwrap_or_default();
            if args.json {
                context
                    .output
                    .json_text(&Json::trusted(&text).to_pretty())?;
            } else {
                show(&mut context.output, &result)?;
            }
            match result.get("failed").and_then(Value::as_u64) {
                Some(0) => Ok(()),
                _ => Err(CliError::Silent(Exit::Failed)),
            }
        }
        CallAnswer::Error(body) => Err(failed(&body, args.json, context)?),
    }
}

fn unusable(path: &Path, why: &str) -> CliError {
    CliError::because(Exit::Usage, format!("{} {why}.", path.display()))
}

fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    let failed = |why: io::Error| unusable(path, &format!("cannot be read ({why})"));
    let mut text = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut text)
        .map_err(failed)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(unusable(
            path,
            &format!("is larger than {MAX_FILE_BYTES} bytes"),
        ));
    }
    Ok(text)
}

fn operations(text: &[u8]) -> Result<Json<'_>, String> {
    match Json::parse(text) {
        Ok(list) if list.is_array() => Ok(list),
        Ok(_) => Err("is not a list of operations".to_owned()),
        Err(why) => Err(format!("cannot be used: {why}")),
    }
}

/// One line for each operation.
fn show(output: &mut Output, result: &Value) -> io::Result<()> {
    let results = result.get("results").and_then(Value::as_array);
    output.line(styled(HEADING, "INDEX  STATUS  OPERATION"))?;
    for each in results.into_iter().flatten() {
        let mut line = format!(
            "{:>5}  {:>6}  {} {} {}",
            text_of(each, "index"),
            text_of(each, "status"),
            text_of(each, "op"),
            text_of(each, "kind"),
            styled(NAME, text_of(each, "uid")),
        );
        let error = text_of(each, "error");
        if !error.is_empty() {
            line += &styled(QUIET, format!("  {error}"));
        }
        output.line(line)?;
    }
    let tense = match result.get("dry_run").and_then(Value::as_bool) {
        Some(true) => "would be made",
        _ => "made",
    };
    let (done, failed) = (text_of(result, "done"), text_of(result, "failed"));
    output.note(styled(QUIET, format!("{done} {tense}, {failed} refused")))
}
