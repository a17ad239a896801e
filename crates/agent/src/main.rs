//! `axle-agent`: the agent alone, for a computer that should carry nothing else. The same as
//! `axle agent`.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use axle_agent::AgentArgs;
use axle_domain::{Error, Kind};
use clap::Parser;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// Reads values, keeps them while there is no network, sends them to axle, executes commands once.
#[derive(Debug, Parser)]
#[command(name = "axle-agent", version)]
struct Cli {
    #[command(flatten)]
    args: AgentArgs,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match start_log().and_then(|()| axle_agent::run_until_signal(&cli.args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // There is nobody left to tell when stderr is gone.
            let _unread = writeln!(std::io::stderr(), "error: {error}").is_err();
            ExitCode::from(match error.kind {
                Kind::Invalid => 2,
                Kind::NotFound => 3,
                Kind::Conflict => 4,
                Kind::Unauthenticated
                | Kind::Denied
                | Kind::TooLarge
                | Kind::Busy
                | Kind::Corrupt => 5,
                Kind::Unavailable => 6,
                Kind::Internal => 1,
            })
        }
    }
}

/// The log goes to stderr, filtered by `AXLE_LOG`.
fn start_log() -> Result<(), Error> {
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .parse(std::env::var("AXLE_LOG").unwrap_or_default())
        .map_err(|error| Error::invalid("agent.log", format!("AXLE_LOG: {error}")))?;
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(!no_color && std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    Ok(())
}
