//! From a command line to an agent that runs until a signal.

use std::sync::Arc;

use axle_domain::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{Agent, AgentArgs, MachineClock};

/// Runs an agent until SIGTERM or SIGINT; then it sends what it can, and ends. A second signal
/// ends it at once: nothing is lost by that, since nothing is forgotten before it is acknowledged.
///
/// # Errors
/// As [`AgentArgs::settings`], [`Agent::open`] and [`Agent::run`].
pub fn run_until_signal(args: &AgentArgs) -> Result<(), Error> {
    let settings = args.settings()?;
    let agent = Agent::open(settings, Arc::new(MachineClock::open()?))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(4)
        .enable_all()
        .build()
        .map_err(|error| cannot_start(&error))?;
    let outcome = runtime.block_on(async {
        let mut terminate =
            signal(SignalKind::terminate()).map_err(|error| cannot_start(&error))?;
        let mut interrupt =
            signal(SignalKind::interrupt()).map_err(|error| cannot_start(&error))?;
        let stop = CancellationToken::new();
        let signals = async {
            for is_first in [true, false] {
                tokio::select! {
                    _signal = terminate.recv() => {}
                    _signal = interrupt.recv() => {}
                }
                if is_first {
                    info!("stopping; a second signal ends at once");
                    stop.cancel();
                }
            }
        };
        tokio::select! {
            outcome = agent.run(stop.clone()) => outcome,
            () = signals => Ok(()),
        }
    });
    runtime.shutdown_background();
    outcome
}

fn cannot_start(error: &std::io::Error) -> Error {
    Error::internal("agent.start", format!("cannot start: {error}"))
}
