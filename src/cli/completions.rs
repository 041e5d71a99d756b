//! The `completions` command: generates a completion script for a shell.

use clap::Args;
use clap_complete::Shell;

use super::exit::CliError;
use super::output::Output;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  toolbridge-mcp completions bash > ~/.local/share/bash-completion/completions/toolbridge-mcp
  toolbridge-mcp completions fish > ~/.config/fish/completions/toolbridge-mcp.fish")]
pub struct Completions {
    shell: Shell,
}

pub fn run(args: &Completions, output: &mut Output) -> Result<(), CliError> {
    // Buffered, because the generator panics on a write error.
    let mut script = Vec::new();
    clap_complete::generate(
        args.shell,
        &mut super::command(),
        env!("CARGO_PKG_NAME"),
        &mut script,
    );
    Ok(output.raw(&script)?)
}
