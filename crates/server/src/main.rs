//! `axle`, the cloud backend for connected fleets in one program.

use std::io::Write;
use std::process::ExitCode;

use axle_server::cli::Cli;
use clap::Parser;
use mimalloc::MiMalloc;

/// What a connection or a session leaves behind lives for years among what lives for a moment:
/// the system's allocator keeps a kibibyte of holes for each.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match axle_server::run_command(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // There is nobody left to tell when stderr is gone.
            let _unread = writeln!(std::io::stderr(), "error: {failure}").is_err();
            ExitCode::from(failure.exit as u8)
        }
    }
}
