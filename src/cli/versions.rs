//! The `history` and `restore` commands: the tools of these names, for people.

use std::io;

use clap::Args;
use serde_json::{Value, json};

use super::call::{failed, perform};
use super::credentials::Credentials;
use super::exit::{CliError, Exit};
use super::output::{HEADING, NAME, Output, QUIET, styled};
use super::render::{self, text_of, timestamp};
use super::wiring::CallAnswer;
use super::{CommandContext, Settings};
use crate::foundation::json::Json;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  toolbridge-mcp history note/01890a5d-ac96-774b-bcce-b302099a8057
  toolbridge-mcp history note/01890a5d-ac96-774b-bcce-b302099a8057 --version 3 --as ada

To go back to a version: toolbridge-mcp restore ID --to-version N")]
pub struct History {
    /// The item, as KIND/UID
    #[arg(value_name = "ID")]
    id: String,
    /// Print the item as it was at this version
    #[arg(long, value_name = "NUMBER")]
    version: Option<u64>,
    /// Most versions to list, 1 to 100
    #[arg(long, value_name = "NUMBER", conflicts_with = "version")]
    limit: Option<u64>,
    /// Print the result, or the error, as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    credentials: Credentials,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Without --to-version it brings back a deleted item. A restore can itself be undone.

Examples:
  toolbridge-mcp restore note/01890a5d-ac96-774b-bcce-b302099a8057
  toolbridge-mcp restore note/01890a5d-ac96-774b-bcce-b302099a8057 --to-version 3 --as ada

To find the version: toolbridge-mcp history ID")]
pub struct Restore {
    /// The item, as KIND/UID
    #[arg(value_name = "ID")]
    id: String,
    /// Bring back this version
    #[arg(long, value_name = "NUMBER")]
    to_version: Option<u64>,
    /// Print the result, or the error, as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    credentials: Credentials,
}

pub fn history(
    args: &History,
    settings: &Settings,
    context: &mut CommandContext,
) -> Result<(), CliError> {
    let arguments = arguments(&args.id, [("version", args.version), ("limit", args.limit)])?;
    run(
        "history",
        &arguments,
        args.json,
        &args.credentials,
        settings,
        context,
    )
}

pub fn restore(
    args: &Restore,
    settings: &Settings,
    context: &mut CommandContext,
) -> Result<(), CliError> {
    let arguments = arguments(&args.id, [("to_version", args.to_version)])?;
    run(
        "restore",
        &arguments,
        args.json,
        &args.credentials,
        settings,
        context,
    )
}

fn run(
    tool: &str,
    arguments: &Value,
    as_json: bool,
    credentials: &Credentials,
    settings: &Settings,
    context: &mut CommandContext,
) -> Result<(), CliError> {
    match perform(tool, arguments.to_string(), credentials, settings, context)? {
        CallAnswer::Result(text) if as_json => Ok(context
            .output
            .json_text(&Json::trusted(&text).to_pretty())?),
        CallAnswer::Result(text) => {
            let result = Json::trusted(&text).to_value().unwrap_or_default();
            let kind = arguments
                .get("kind")
                .and_then(Value::as_str)
                .unwrap_or_default();
            match result.get("versions").and_then(Value::as_array) {
                Some(versions) => show(&mut context.output, versions)?,
                None => render::result(&mut context.output, kind, &result, &|_| None)?,
            }
            Ok(())
        }
        CallAnswer::Error(body) => Err(failed(&body, as_json, context)?),
    }
}

/// The arguments of a call about an item with this id, such as `note/UID`.
fn arguments<const N: usize>(
    id: &str,
    numbers: [(&str, Option<u64>); N],
) -> Result<Value, CliError> {
    let id = id.strip_prefix("toolbridge://").unwrap_or(id);
    let (kind, uid) = id.split_once('/').ok_or_else(|| {
        CliError::because(
            Exit::Usage,
            "the id is a kind and a UID, such as note/01890a5d-ac96-774b-bcce-b302099a8057.",
        )
    })?;
    let texts = [("kind", json!(kind)), ("uid", json!(uid))];
    let numbers = numbers
        .into_iter()
        .filter_map(|(name, value)| Some((name, json!(value?))));
    let members = texts.into_iter().chain(numbers);
    Ok(members
        .map(|(name, value)| (name.to_owned(), value))
        .collect())
}

/// One line for each version.
fn show(output: &mut Output, versions: &[Value]) -> io::Result<()> {
    output.line(styled(
        HEADING,
        "VERSION  TIME                 OPERATION  BYTES  CHANGED",
    ))?;
    for version in versions {
        let operation = match text_of(version, "operation") {
            unknown if unknown.is_empty() => "-".to_owned(),
            known => known,
        };
        let mut changed = text_of(version, "changed");
        let more = text_of(version, "changed_more");
        if !more.is_empty() {
            changed += &format!(" and {more} more");
        }
        let from = text_of(version, "from_version");
        if !from.is_empty() {
            changed = format!("{changed} (from version {from})").trim().to_owned();
        }
        let number = format!("{:>7}", text_of(version, "version"));
        let line = format!(
            "{}  {:<19}  {operation:<9}  {:>5}  {changed}",
            styled(NAME, number),
            timestamp(&text_of(version, "updated_at")),
            text_of(version, "bytes"),
        );
        output.line(line.trim_end().to_owned())?;
    }
    let count = match versions.len() {
        1 => "1 version".to_owned(),
        count => format!("{count} versions"),
    };
    output.note(styled(QUIET, count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_kind_and_a_uid() {
        let numbers = [("version", Some(2)), ("limit", None)];
        let expected = json!({"kind": "note", "uid": "u", "version": 2});
        for id in ["note/u", "toolbridge://note/u"] {
            assert_eq!(arguments(id, numbers).unwrap(), expected);
        }
        assert!(arguments("u", numbers).is_err());
    }
}
