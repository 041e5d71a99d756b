//! The `call` command: runs one tool from the terminal, along the same path as a call of an MCP
//! client.

use std::io::{self, Read};
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::arguments::{self, Reader, Types};
use super::credentials::Credentials;
use super::exit::{CliError, Exit};
use super::output::escape_controls;
use super::wiring::{self, CallAnswer};
use super::{CommandContext, Settings, render, tools};
use crate::foundation::json::Json;
use crate::telemetry::{self, Destination};

/// A generated token needs to be valid for one call only.
const TOKEN_LIFETIME: Duration = Duration::from_secs(300);

#[derive(Debug, Args)]
#[command(after_help = "\
Values:
  key=text        what the tool's schema says: text, a number, true or false, a list (a,b or JSON)
  key=@file       the content of a file; key=- is standard input; key=@@text begins with an \"@\"
  key.field=text  a field of an argument that is an object

Examples:
  toolbridge-mcp call create_note title=Groceries content=@list.md tags=home,food --as ada
  toolbridge-mcp call list_notes limit=10
  toolbridge-mcp call patch_note uid=UID updates.title=Weekend if_match=3
  toolbridge-mcp call create_task --args '{\"title\":\"Rent\"}' --json | jq -r .uid

Exit codes:
   0  done                              69  the API cannot be reached, or not in time
   1  the call failed                   70  a fault of this program
   2  no such tool, unreadable pairs    75  too many calls: try again later
  64  the configuration has a mistake   77  token missing, not accepted or not allowed")]
pub struct Call {
    /// The tool; "toolbridge-mcp tools" lists them
    name: String,
    /// Its arguments
    #[arg(value_name = "KEY=VALUE")]
    pairs: Vec<String>,
    /// Arguments as a JSON object (or @file, or -); KEY=VALUE overrides them
    #[arg(long, value_name = "JSON")]
    args: Option<String>,
    /// Print the result, or the error, as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    credentials: Credentials,
}

pub fn run(call: &Call, settings: &Settings, context: &mut CommandContext) -> Result<(), CliError> {
    let entries = wiring::entries()?;
    let entry = tools::find(&entries, &call.name)?;
    let create = format!("create_{}", entry.entity);
    let fields = entries
        .iter()
        .find(|entry| entry.name() == create)
        .and_then(wiring::Entry::properties);
    let types = Types {
        arguments: entry.properties(),
        fields,
    };
    let arguments = arguments::read(
        call.args.as_deref(),
        &call.pairs,
        &types,
        &mut ProcessReader,
    )
    .map_err(|why| CliError::because(Exit::Usage, format!("{why}.")))?;

    let answer = perform(&call.name, arguments, &call.credentials, settings, context)?;
    match answer {
        CallAnswer::Result(text) if call.json => Ok(context
            .output
            .json_text(&Json::trusted(&text).to_pretty())?),
        CallAnswer::Result(text) => {
            let value = Json::trusted(&text).to_value().unwrap_or_default();
            let more = |cursor: &str| next_page(call, settings, cursor);
            Ok(render::result(
                &mut context.output,
                &entry.entity.replace('_', " "),
                &value,
                &more,
            )?)
        }
        CallAnswer::Error(body) => Err(failed(&body, call.json, context)?),
    }
}

/// Runs one tool with the configuration and the token of the command line.
pub fn perform(
    tool: &str,
    arguments: String,
    credentials: &Credentials,
    settings: &Settings,
    context: &mut CommandContext,
) -> Result<CallAnswer, CliError> {
    let config = context.load(settings, &[])?.config;
    config.tenant.identity()?;
    let token = credentials.token(&config, TOKEN_LIFETIME, context)?;
    // Warnings only by default, since a person reads the output.
    let log = context.quiet_log(&config, settings);
    telemetry::start(&log, Destination::Stderr, true);
    super::block_on(wiring::call(&config, token, tool, arguments))?
}

/// Prints the error of a tool, and returns how the command ends.
pub fn failed(
    body: &Value,
    json: bool,
    context: &mut CommandContext,
) -> Result<CliError, CliError> {
    let category = body.pointer("/error/category").and_then(Value::as_str);
    if json {
        context.output.json(body)?;
    } else {
        render::failure(&mut context.output, body)?;
    }
    let exit = Exit::of_category(category.unwrap_or_default());
    Ok(CliError::Silent(exit))
}

/// The command line for the next page; `None` if standard input was an argument, because it cannot
/// be read twice.
fn next_page(call: &Call, settings: &Settings, cursor: &str) -> Option<String> {
    if call.args.as_deref() == Some("-") || call.pairs.iter().any(|pair| pair.ends_with("=-")) {
        return None;
    }
    let pairs = call
        .pairs
        .iter()
        .filter(|pair| !pair.starts_with("cursor="))
        .cloned();
    let mut words = vec![
        "toolbridge-mcp".to_owned(),
        "call".to_owned(),
        call.name.clone(),
    ];
    words.extend(pairs);
    words.push(format!("cursor={cursor}"));
    if let Some(args) = &call.args {
        words.extend(["--args".to_owned(), args.clone()]);
    }
    words.extend(settings.words());
    words.extend(call.credentials.words());
    command_line(&words)
}

/// A command line that can be pasted. `None` if it would lose characters when it is displayed.
pub fn command_line(words: &[String]) -> Option<String> {
    let quoted: Vec<_> = words.iter().map(|word| quoted(word)).collect();
    let shown = quoted.join(" ");
    (escape_controls(&shown) == shown).then_some(shown)
}

/// Quotes a word for a POSIX shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:@%+,".contains(c);
    if word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// Reads files and standard input of this process.
struct ProcessReader;

impl Reader for ProcessReader {
    fn file(&mut self, path: &str) -> io::Result<String> {
        std::fs::read_to_string(path)
    }

    fn stdin(&mut self) -> io::Result<String> {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).map(|_| text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suggested_command_can_be_pasted() {
        assert_eq!(quoted("cursor=YQ=="), "cursor=YQ==");
        assert_eq!(quoted("title=it's; rm -rf"), r"'title=it'\''s; rm -rf'");
    }

    #[test]
    fn the_next_page_repeats_the_command() {
        let next = |words: &[&str]| {
            let words = ["toolbridge-mcp", "call", "list_notes"].iter().chain(words);
            let cli = crate::cli::parse(words.map(Into::into)).unwrap();
            let crate::cli::Command::Call(call) = &cli.command else {
                unreachable!()
            };
            next_page(call, &cli.settings, "abc")
        };
        assert_eq!(
            next(&[
                "limit=2", "cursor=x", "--args", "{}", "--config", "a b.toml", "--as", "ada"
            ])
            .unwrap(),
            "toolbridge-mcp call list_notes limit=2 cursor=abc --args '{}' --config 'a b.toml' \
             --as ada"
        );
        assert_eq!(next(&["--args", "-"]), None);
        assert_eq!(next(&["limit=-"]), None);
    }
}
