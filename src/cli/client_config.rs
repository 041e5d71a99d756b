//! The `client-config` command: what to paste into a client, and where.

use std::path::{Path, PathBuf};

use clap::Args;
use url::Url;

use super::exit::{CliError, Exit};
use super::output::{HEADING, NAME, Output, QUIET, fitted, styled};
use super::{CommandContext, Settings};
use crate::clients::{self, Abilities, Client, Entry, File, Recipe, Snippet, Step, Way, pieces};
use crate::config::error::nearest;
use crate::foundation::parse;

#[derive(Debug, Args)]
#[command(after_help = "\
Without a CLIENT it lists those it knows. The token itself is never printed: each client gets a \
way of its own to keep it
out of files.

Examples:
  toolbridge-mcp client-config claude-code --url https://acme.example.com
  toolbridge-mcp client-config claude-desktop --url https://acme.example.com --oauth
  toolbridge-mcp client-config zed --url https://acme.example.com --stdio
  toolbridge-mcp client-config vscode --url https://acme.example.com --json > .vscode/mcp.json")]
pub struct ClientConfig {
    /// claude-desktop, claude-code, vscode, cursor, zed, codex, gemini, chatgpt or generic
    #[arg(value_name = "CLIENT")]
    client: Option<String>,
    /// The server; without a path, /mcp is added [default: server.public_url]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The client signs in by itself; no token is needed
    #[arg(long, group = "way")]
    oauth: bool,
    /// The client starts this program, which connects to the URL
    #[arg(long, group = "way")]
    stdio: bool,
    /// The client starts this program, which talks to the API itself; for the machine that the API
    /// runs on
    #[arg(long, group = "way", conflicts_with = "url")]
    local: bool,
    /// The process is started by npx, which fetches this program where it is missing
    #[arg(long)]
    npx: bool,
    /// What the client calls the server
    #[arg(long, default_value = "toolbridge", value_parser = name)]
    name: String,
    /// Print the snippet alone, in the format of the client's file
    #[arg(long, requires = "client")]
    json: bool,
}

fn name(text: &str) -> Result<String, String> {
    clients::is_name(text)
        .then(|| text.to_owned())
        .ok_or_else(|| {
            "use at most 64 letters, digits, hyphens and underscores, a letter or digit first"
                .to_owned()
        })
}

impl ClientConfig {
    fn way(&self) -> Way {
        match (self.oauth, self.stdio || self.local) {
            (true, _) => Way::OAuth,
            (_, true) => Way::Process,
            _ => Way::Token,
        }
    }
}

pub fn run(
    args: &ClientConfig,
    settings: &Settings,
    context: &mut CommandContext,
) -> Result<(), CliError> {
    let Some(key) = &args.client else {
        return list(&mut context.output);
    };
    let client = find(key)?;
    let entry = entry(args, settings, context)?;
    let Some(recipe) = client.recipe(args.way()) else {
        return list(&mut context.output);
    };
    if !args.json {
        return show(client, recipe, &entry, args.local, &mut context.output);
    }
    if let Some(cannot) = recipe.cannot {
        context.output.note(styled(QUIET, plain(cannot)))?;
    }
    match recipe.snippet(&entry) {
        Some(Snippet::Json(snippet)) => Ok(context.output.json(&snippet)?),
        Some(Snippet::Toml(snippet)) => Ok(context.output.line(snippet)?),
        None => Err(CliError::because(
            Exit::Usage,
            format!(
                "{} has no file for this: leave out --json to see how it is done.",
                client.name
            ),
        )),
    }
}

fn list(output: &mut Output) -> Result<(), CliError> {
    let keys = clients::ALL
        .iter()
        .map(|client| client.key.len())
        .max()
        .unwrap_or(0);
    let names = clients::ALL
        .iter()
        .map(|client| client.name.len())
        .max()
        .unwrap_or(0);
    let text_width = output
        .width
        .unwrap_or(160)
        .saturating_sub(keys + names + 6)
        .max(20);
    for client in clients::ALL {
        let rows = client.abilities.as_ref().map(Abilities::rows);
        let can: Vec<_> = rows
            .iter()
            .flatten()
            .map(|(what, can)| format!("{what}: {can}"))
            .collect();
        let can = styled(QUIET, fitted(&can.join("; "), text_width));
        let line = format!(
            "  {}  {:names$}  {can}",
            styled(NAME, format!("{:keys$}", client.key)),
            client.name
        );
        output.line(line.trim_end())?;
    }
    let hint = "\n\"toolbridge-mcp client-config CLIENT --url URL\" prints what to paste; --oauth \
        and --stdio are other ways in";
    Ok(output.note(styled(QUIET, hint))?)
}

fn find(key: &str) -> Result<&'static Client, CliError> {
    Client::find(key).ok_or_else(|| {
        let meant = match nearest(key, clients::ALL.iter().map(|client| client.key)) {
            Some(meant) => format!("did you mean {meant}?"),
            None => {
                "\"generic\" is for all others, and \"toolbridge-mcp client-config\" lists those \
                 there are."
                    .to_owned()
            }
        };
        CliError::because(
            Exit::Usage,
            format!("there is no client \"{key}\": {meant}"),
        )
    })
}

fn entry(
    args: &ClientConfig,
    settings: &Settings,
    context: &CommandContext,
) -> Result<Entry, CliError> {
    let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("toolbridge-mcp"));
    let program = program.display().to_string();
    let (command, launcher) = if args.npx || is_temporary(&program) {
        ("npx".to_owned(), NPX.map(str::to_owned).to_vec())
    } else {
        (program, Vec::new())
    };
    let homes = ["HOME", "USERPROFILE"];
    let home = homes.iter().find_map(|name| context.environment.get(*name));
    let home = home.map_or("/path/to", String::as_str);
    Ok(Entry {
        name: args.name.clone(),
        url: if args.local {
            String::new()
        } else {
            url(args, settings, context)?
        },
        command,
        launcher,
        token_file: Path::new(home)
            .join(".toolbridge-token")
            .display()
            .to_string(),
        local: args.local.then(|| local(settings, context)),
    })
}

/// What npx takes before the arguments of this program.
const NPX: [&str; 2] = ["-y", "@toolbridge/mcp"];

/// Whether npx has started this program, from a folder that it clears now and then.
fn is_temporary(program: &str) -> bool {
    program.contains("/_npx/") || program.contains(r"\_npx\")
}

/// The URL of `/mcp`.
fn url(
    args: &ClientConfig,
    settings: &Settings,
    context: &CommandContext,
) -> Result<String, CliError> {
    let usage = |sentence: String| CliError::because(Exit::Usage, sentence);
    let mut url: Url = match &args.url {
        Some(text) => parse::parse_url(text).map_err(|why| usage(format!("--url {why}.")))?,
        None => context
            .load(settings, &[])?
            .config
            .server
            .public_url
            .ok_or_else(|| {
                usage(
                    "it is not known where the server is: give --url, or set server.public_url."
                        .to_owned(),
                )
            })?,
    };
    if url.query().is_some() {
        return Err(usage(
            "--url has a query, and the server takes none: leave it out.".to_owned(),
        ));
    }
    if url.path() == "/" {
        url.set_path("/mcp");
    }
    Ok(url.into())
}

/// The arguments of `stdio` with the same flags. The client starts it in another directory, so the
/// config file needs an absolute path.
fn local(settings: &Settings, context: &CommandContext) -> Vec<String> {
    let absolute = |path: &Path| {
        let path = context.directory.join(path);
        std::path::absolute(&path)
            .unwrap_or(path)
            .display()
            .to_string()
    };
    let mut words = settings.words();
    let named = words
        .iter()
        .position(|word| word == "--config")
        .map(|index| index + 1);
    if let Some(file) = named.and_then(|index| words.get_mut(index)) {
        *file = absolute(Path::new(file.as_str()));
    } else {
        let usual = context.directory.join("toolbridge.toml");
        let file = context
            .environment
            .get("TOOLBRIDGE_CONFIG")
            .filter(|file| !file.is_empty());
        let file = file
            .map(PathBuf::from)
            .or_else(|| usual.exists().then_some(usual));
        words.extend(
            file.into_iter()
                .flat_map(|file| ["--config".to_owned(), absolute(&file)]),
        );
    }
    words.insert(0, "stdio".to_owned());
    words
}

fn show(
    client: &Client,
    recipe: &Recipe,
    entry: &Entry,
    local: bool,
    output: &mut Output,
) -> Result<(), CliError> {
    output.line(styled(
        HEADING,
        format!("{} · {}", client.name, recipe.way.title()),
    ))?;
    if let Some(cannot) = recipe.cannot {
        output.line(format!("\n{}", styled_code(cannot)))?;
    }
    for step in recipe.steps {
        output.line("")?;
        match step {
            Step::Say(say) => output.line(styled_code(say))?,
            Step::Run { say, line } => {
                output.line(styled_code(say))?;
                output.line(format!("\n  {}", styled(NAME, line(entry))))?;
            }
            Step::Paste { say, files, json } => {
                output.line(styled_code(say))?;
                locations(files, output)?;
                output.line("")?;
                output.json(&json(entry))?;
            }
            Step::PasteToml { say, files, toml } => {
                output.line(styled_code(say))?;
                locations(files, output)?;
                output.line("")?;
                output.line(toml(entry))?;
            }
            Step::Enter { say, fields } => {
                output.line(styled_code(say))?;
                let width = fields
                    .iter()
                    .map(|field| field.label.len())
                    .max()
                    .unwrap_or(0);
                for field in *fields {
                    let text = styled(NAME, (field.text)(entry));
                    output.line(format!("  {:width$}  {text}", field.label))?;
                }
            }
            Step::Install {
                say,
                link,
                redirect,
            } => {
                output.line(styled_code(say))?;
                output.line(format!("\n  {}", styled(NAME, link(entry))))?;
                output.line(
                    "\nWhere only https links are let through, the same by way of the \
                    maker's page:",
                )?;
                output.line(format!("\n  {}", styled(NAME, redirect(entry))))?;
            }
        }
    }
    if local {
        let hint = "\nClients do not hand on your environment: what \"stdio\" needs, secrets \
            included, has to be in the file that --config names.";
        output.note(styled(QUIET, hint))?;
    }
    Ok(())
}

fn locations(files: &[File], output: &mut Output) -> Result<(), CliError> {
    let width = files.iter().map(|file| file.r#for.len()).max().unwrap_or(0);
    for file in files {
        output.line(format!(
            "  {:width$}  {}",
            file.r#for,
            styled(NAME, file.path)
        ))?;
    }
    Ok(())
}

fn styled_code(sentence: &str) -> String {
    let piece = |(code, text): (bool, &str)| {
        if code {
            styled(NAME, text)
        } else {
            text.to_owned()
        }
    };
    pieces(sentence).map(piece).collect()
}

fn plain(sentence: &str) -> String {
    sentence.replace('`', "")
}
