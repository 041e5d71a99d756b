//! The `toolbridge-mcp` binary: runs [`toolbridge_mcp::cli`] with the environment of this process.

use std::process::ExitCode;

use mimalloc::MiMalloc;
use toolbridge_mcp::cli;

/// Serves a quarter more calls a second than the allocator of the C library (docs/PERFORMANCE.md).
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    ExitCode::from(cli::run(std::env::args_os(), cli::CommandContext::of_this_process()).code())
}
