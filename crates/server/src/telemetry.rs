//! What the server says about itself on stderr.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::failure::Failure;

/// Sends the server's log to stderr, filtered by `AXLE_LOG` (`info`, `debug`,
/// `warn,axle_mqtt=debug`, …). Colors where stderr is a terminal and `NO_COLOR` is not set.
///
/// # Errors
/// `Usage`, when `AXLE_LOG` is no filter.
pub(crate) fn start_log() -> Result<(), Failure> {
    let wanted = std::env::var("AXLE_LOG").unwrap_or_default();
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .parse(&wanted)
        .map_err(|error| {
            Failure::usage(format!("AXLE_LOG is `{}`: {error}", wanted.escape_debug()))
                .with_hint("AXLE_LOG=info, AXLE_LOG=debug or AXLE_LOG=warn,axle_mqtt=debug")
        })?;
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(!no_color && std::io::stderr().is_terminal())
        .with_target(false)
        .finish();
    // A second server in one process (tests) writes into the first one's log.
    let _taken = tracing::subscriber::set_global_default(subscriber).is_err();
    Ok(())
}
