//! The binary: takes the process's own surroundings, hands over to [`toolbridge_mcp::cli`], returns its exit code.

use std::process::ExitCode;

use toolbridge_mcp::cli;

fn main() -> ExitCode {
    ExitCode::from(cli::run(std::env::args_os(), cli::Surroundings::of_this_process()).code())
}
