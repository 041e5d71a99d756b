//! The binary: takes the process's own surroundings, hands over to [`toolbridge_mcp::cli`], returns its exit code.

use std::process::ExitCode;

use mimalloc::MiMalloc;
use toolbridge_mcp::cli;

/// A quarter more calls a second than with the C library's own (docs/PERFORMANCE.md).
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    ExitCode::from(cli::run(std::env::args_os(), cli::Surroundings::of_this_process()).code())
}
