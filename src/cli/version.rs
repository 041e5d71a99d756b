//! The `version` command.

use clap::Args;
use serde::Serialize;

use super::exit::CliError;
use super::output::Output;

/// Facts recorded when the binary was built.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Build {
    pub version: &'static str,
    /// The git revision, if the build had it.
    pub revision: Option<&'static str>,
    pub target: &'static str,
    pub rustc: &'static str,
}

pub const BUILD: Build = Build {
    version: env!("CARGO_PKG_VERSION"),
    revision: match env!("BUILD_REVISION") {
        revision if revision.is_empty() => None,
        revision => Some(revision),
    },
    target: env!("BUILD_TARGET"),
    rustc: env!("BUILD_RUSTC"),
};

#[derive(Debug, Args)]
pub struct Version {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Version, output: &mut Output) -> Result<(), CliError> {
    if args.json {
        return Ok(output.json(&BUILD)?);
    }
    output.line(format!("{} {}", env!("CARGO_PKG_NAME"), BUILD.version))?;
    output.line(format!("revision  {}", BUILD.revision.unwrap_or("unknown")))?;
    output.line(format!("target    {}", BUILD.target))?;
    output.line(format!("compiler  {}", BUILD.rustc))?;
    Ok(())
}
