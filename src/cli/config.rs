//! The `config show` and `config check` commands.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::exit::CliError;
use super::output::{GOOD, HEADING, NAME, QUIET, escape_controls, styled};
use super::{CommandContext, Settings};
use crate::config::layers::DEFAULTS;
use crate::config::{Config, Effective, Origin, Shown, warnings};
use crate::foundation::secret::REDACTED;

#[derive(Debug, Args)]
pub struct ConfigArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print every setting, its value and where that came from; secrets are redacted
    #[command(after_help = "\
Examples:
  toolbridge-mcp config show
  toolbridge-mcp config show --json | jq '.settings[] | select(.from != \"default\")'
  toolbridge-mcp config show --defaults > toolbridge.toml")]
    Show {
        /// Print the commented file with all defaults instead; a good start for a toolbridge.toml
        #[arg(long, conflicts_with = "json")]
        defaults: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Say whether the configuration is good, and what the server would do with it
    Check,
}

pub fn run(
    args: &ConfigArgs,
    settings: &Settings,
    context: &mut CommandContext,
) -> Result<(), CliError> {
    match args.action {
        Action::Show { defaults: true, .. } => Ok(context.output.raw(DEFAULTS.as_bytes())?),
        Action::Show { json, .. } => show(json, settings, context),
        Action::Check => check(&context.load(settings, &[])?.config, context),
    }
}

fn show(json: bool, settings: &Settings, context: &mut CommandContext) -> Result<(), CliError> {
    let loaded = context.load(settings, &[])?;
    if json {
        let lines: Vec<Value> = loaded.effective().map(as_json).collect();
        return Ok(context
            .output
            .json(&json!({ "settings": lines, "warnings": warnings(&loaded.config) }))?);
    }
    let lines: Vec<Effective> = loaded.effective().collect();
    let width = lines
        .iter()
        .map(|line| shown(line).chars().count())
        .max()
        .unwrap_or(0)
        .min(48);
    let leaf_width = lines
        .iter()
        .map(|line| line.key.leaf().len())
        .max()
        .unwrap_or(0);
    let mut section = "";
    for line in &lines {
        if line.key.section() != section {
            section = line.key.section();
            context
                .output
                .line(format!("\n{}", styled(HEADING, format!("[{section}]"))))?;
        }
        let value = format!("{:width$}", shown(line));
        let value = match line.origin {
            Origin::Default => styled(QUIET, value),
            _ => styled(NAME, value),
        };
        let origin = styled(QUIET, format!("# {}", escape_controls(&origin(line))));
        context.output.line(format!(
            "{:leaf_width$} = {value}  {origin}",
            line.key.leaf()
        ))?;
    }
    for warning in warnings(&loaded.config) {
        context.output.note(format!("\nwarning: {warning}"))?;
    }
    Ok(())
}

fn shown(line: &Effective) -> String {
    match &line.value {
        Shown::Unset => "(not set)".to_owned(),
        Shown::Redacted => REDACTED.to_owned(),
        Shown::Plain(value) => value.to_string(),
    }
}

fn origin(line: &Effective) -> String {
    match (&line.value, &line.origin) {
        (Shown::Unset, _) => format!("set {} to change this", line.key.variable()),
        (_, origin) => origin.to_string(),
    }
}

fn as_json(line: Effective) -> Value {
    let value = match &line.value {
        Shown::Unset => Value::Null,
        Shown::Redacted => Value::from(REDACTED),
        Shown::Plain(value) => value.clone(),
    };
    json!({
        "key": line.key.path,
        "value": value,
        "from": line.origin.layer(),
        "name": line.origin.name(),
        "environment": line.key.variables().collect::<Vec<_>>(),
    })
}

/// Also used by `serve --check`.
pub fn check(config: &Config, context: &mut CommandContext) -> Result<(), CliError> {
    for warning in warnings(config) {
        context.output.note(format!("warning: {warning}"))?;
    }
    let good = styled(GOOD, "configuration is good:");
    match config
        .tenant
        .id
        .as_ref()
        .filter(|_| config.tenant.has_identity())
    {
        None => context.output.line(format!(
            "{good} but tenant.header_secret is not set, so the server stays off"
        ))?,
        Some(tenant) => context.output.line(format!(
            "{good} serves tenant {tenant} on {}, calls {}, verifies tokens by {}",
            super::serve::listens_on(config),
            config.api.base_url,
            super::serve::verifiers(config).join(" and "),
        ))?,
    }
    Ok(())
}
