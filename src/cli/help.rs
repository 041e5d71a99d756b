//! The main help: grouped commands, examples and exit codes. Generated from clap's data and
//! [`Exit`], so that it is always complete.

use std::fmt::Write;

use clap::Command;
use clap::builder::styling::{AnsiColor, Styles};

use super::exit::Exit;
use super::output::{HEADING, NAME, styled};

const GROUPS: &[(&str, &[&str])] = &[
    ("Run the server", &["serve", "stdio"]),
    ("Use a server elsewhere", &["connect", "client-config"]),
    (
        "Use the tools",
        &[
            "tools", "call", "search", "history", "restore", "batch", "token",
        ],
    ),
    (
        "Look after it",
        &[
            "doctor",
            "audit",
            "config",
            "healthcheck",
            "version",
            "completions",
        ],
    ),
];

const EXAMPLES: &str =
    "  toolbridge-mcp serve --check                         is the configuration good?
  toolbridge-mcp serve                                 serve MCP at /mcp
  toolbridge-mcp connect https://acme.example.com      be its client's way there
  toolbridge-mcp tools create_note                     what does it take?
  toolbridge-mcp call create_note title=Hi content=@note.md --as ada
  toolbridge-mcp config show                           what is in force, and where from?
  toolbridge-mcp doctor                                what is wrong, and how to fix it";

const STYLES: Styles = Styles::styled()
    .header(HEADING)
    .usage(HEADING)
    .literal(NAME)
    .error(AnsiColor::Red.on_default().bold())
    .valid(AnsiColor::Green.on_default());

pub fn arranged(command: Command) -> Command {
    let template = format!(
        "{{about}}\n\n{{usage-heading}} {{usage}}\n{}\n{}\n{{options}}\n{}",
        groups(&command),
        styled(HEADING, "Options:"),
        after()
    );
    command
        .styles(STYLES)
        .max_term_width(120)
        .help_template(template)
}

fn groups(command: &Command) -> String {
    let width = command
        .get_subcommands()
        .map(|sub| sub.get_name().len())
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    for (heading, names) in GROUPS {
        let _ = writeln!(text, "\n{}", styled(HEADING, format!("{heading}:")));
        for sub in names
            .iter()
            .filter_map(|name| command.find_subcommand(name))
        {
            let name = styled(NAME, format!("{:width$}", sub.get_name()));
            let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
            let _ = writeln!(text, "  {name}  {about}");
        }
    }
    text
}

fn after() -> String {
    let mut text = format!(
        "\n{}\n{EXAMPLES}\n\n{}\n",
        styled(HEADING, "Examples:"),
        styled(HEADING, "Exit codes:")
    );
    for exit in Exit::ALL {
        let _ = writeln!(text, "  {:>2}  {}", exit.code(), exit.meaning());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_in_exactly_one_group() {
        let command = crate::cli::command();
        let mut grouped: Vec<&str> = GROUPS
            .iter()
            .flat_map(|(_, names)| names.iter().copied())
            .collect();
        let mut there: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
        grouped.sort_unstable();
        there.sort_unstable();
        assert_eq!(grouped, there);
    }
}
