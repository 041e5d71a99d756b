//! Flags of `serve` and `stdio` that restrict the tools.

use clap::Args;
use clap::builder::NonEmptyStringValueParser;

use crate::config::Flag;

#[derive(Debug, Args)]
#[command(next_help_heading = "Which tools")]
pub struct ToolFilter {
    /// Serve these toolsets only, such as notes,tasks
    // Elsewhere an empty value means unset. Here that would serve all tools to a user who asked for
    // fewer.
    #[arg(long, value_name = "NAMES", value_parser = NonEmptyStringValueParser::new())]
    toolsets: Option<String>,
    /// Serve only tools that change nothing
    #[arg(long)]
    read_only: bool,
}

impl ToolFilter {
    pub fn flags(&self) -> Vec<Flag> {
        let read_only = self.read_only.then(|| "true".to_owned());
        [
            ("--toolsets", "tools.toolsets", self.toolsets.clone()),
            ("--read-only", "tools.read_only", read_only),
        ]
        .into_iter()
        .filter_map(|(name, path, value)| {
            Some(Flag {
                name: name.to_owned(),
                path: path.to_owned(),
                value: value?,
            })
        })
        .collect()
    }
}
