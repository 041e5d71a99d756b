//! The `tools` command: lists the tools, or shows one.

use clap::Args;
use serde_json::Value;

use super::CommandContext;
use super::exit::{CliError, Exit};
use super::output::{HEADING, NAME, QUIET, fitted, styled};
use super::wiring::{self, Entry};
use crate::config::error::nearest;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  toolbridge-mcp tools
  toolbridge-mcp tools create_note
  toolbridge-mcp tools create_note --json | jq .inputSchema")]
pub struct Tools {
    /// The tool to show
    name: Option<String>,
    /// Print what MCP clients get to see, as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Tools, context: &mut CommandContext) -> Result<(), CliError> {
    let entries = wiring::entries()?;
    let Some(name) = &args.name else {
        return if args.json {
            let offered = entries.iter().filter(|entry| !entry.only_if_named);
            let listed: Vec<_> = offered.map(|entry| &entry.listed).collect();
            Ok(context.output.json(&listed)?)
        } else {
            list(&entries, context)
        };
    };
    let entry = find(&entries, name)?;
    if args.json {
        Ok(context.output.json(&entry.listed)?)
    } else {
        show(entry, context)
    }
}

/// Finds a tool by name; the error suggests a similar name.
pub fn find<'a>(entries: &'a [Entry], name: &str) -> Result<&'a Entry, CliError> {
    entries
        .iter()
        .find(|entry| entry.name() == name)
        .ok_or_else(|| {
            let meant = match nearest(name, entries.iter().map(Entry::name)) {
                Some(meant) => format!("did you mean {meant}?"),
                None => "\"toolbridge-mcp tools\" lists those there are.".to_owned(),
            };
            CliError::because(Exit::Usage, format!("there is no tool \"{name}\": {meant}"))
        })
}

fn list(entries: &[Entry], context: &mut CommandContext) -> Result<(), CliError> {
    let name_width = entries
        .iter()
        .map(|entry| entry.name().len())
        .max()
        .unwrap_or(0);
    let text_width = context
        .output
        .width
        .unwrap_or(120)
        .saturating_sub(name_width + 4)
        .max(20);
    let mut toolset = "";
    for entry in entries {
        if entry.toolset != toolset {
            let gap = if toolset.is_empty() { "" } else { "\n" };
            toolset = entry.toolset;
            context.output.line(format!(
                "{gap}{}",
                styled(HEADING, toolset.replace('_', " "))
            ))?;
        }
        let name = styled(NAME, format!("{:name_width$}", entry.name()));
        let first = entry
            .text("description")
            .split_inclusive(". ")
            .next()
            .unwrap_or_default()
            .trim();
        context
            .output
            .line(format!("  {name}  {}", fitted(first, text_width)))?;
    }
    context.output.note(styled(
        QUIET,
        "\n\"toolbridge-mcp tools NAME\" shows one with its arguments",
    ))?;
    Ok(())
}

fn show(entry: &Entry, context: &mut CommandContext) -> Result<(), CliError> {
    let output = &mut context.output;
    output.line(format!(
        "{}  {}",
        styled(NAME, entry.name()),
        styled(HEADING, entry.text("title"))
    ))?;
    output.line(entry.text("description"))?;
    output.line(styled(QUIET, hints(entry)))?;

    let required: Vec<&str> = entry
        .listed
        .pointer("/inputSchema/required")
        .and_then(Value::as_array)
        .map(|names| names.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let properties = entry.properties();
    let name_width = properties
        .into_iter()
        .flatten()
        .map(|(name, _)| name.len())
        .max()
        .unwrap_or(0);
    let kinds: Vec<String> = properties
        .into_iter()
        .flatten()
        .map(|(_, schema)| kind(schema))
        .collect();
    let kind_width = kinds
        .iter()
        .map(|kind| kind.chars().count())
        .max()
        .unwrap_or(0)
        .min(32);
    output.line(format!("\n{}", styled(HEADING, "Arguments")))?;
    for ((name, schema), kind) in properties.into_iter().flatten().zip(&kinds) {
        let mark = if required.contains(&name.as_str()) {
            "*"
        } else {
            " "
        };
        let name = styled(NAME, format!("{name:name_width$}"));
        let about = schema
            .get("description")
            .and_then(Value::as_str)
            .unwrap_or_default();
        output.line(format!("{mark} {name}  {kind:kind_width$}  {about}"))?;
    }
    if !required.is_empty() {
        output.line(styled(QUIET, "* required"))?;
    }
    let example: Vec<String> = required.iter().map(|name| format!("{name}=…")).collect();
    output.line(format!("\n{}", styled(HEADING, "Try")))?;
    output.line(
        format!(
            "  toolbridge-mcp call {} {}",
            entry.name(),
            example.join(" ")
        )
        .trim_end(),
    )?;
    Ok(())
}

fn hints(entry: &Entry) -> String {
    let hint = |name: &str| {
        entry
            .listed
            .get("annotations")
            .and_then(|all| all.get(name))
            .and_then(Value::as_bool)
    };
    let mut words = Vec::new();
    if hint("readOnlyHint") == Some(true) {
        words.push("only reads");
    } else {
        words.push(if hint("destructiveHint") == Some(true) {
            "can lose content"
        } else {
            "writes, loses nothing"
        });
        words.push(if hint("idempotentHint") == Some(true) {
            "may be repeated"
        } else {
            "do not repeat blindly"
        });
    }
    words.join("; ")
}

fn kind(schema: &Value) -> String {
    if let Some(choices) = schema.get("enum").and_then(Value::as_array) {
        return choices
            .iter()
            .filter_map(Value::as_str)
            .collect::<Vec<_>>()
            .join("|");
    }
    let kind = schema.get("type").and_then(Value::as_str).unwrap_or("any");
    match (schema.get("minimum"), schema.get("maximum")) {
        (Some(least), Some(most)) => format!("{kind} {least}–{most}"),
        _ => kind.to_owned(),
    }
}
