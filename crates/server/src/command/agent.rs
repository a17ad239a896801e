//! `axle agent`: the program on the device's side.

use axle_agent::AgentArgs;

use crate::failure::Failure;
use crate::telemetry::start_log;

pub(super) fn run(args: &AgentArgs) -> Result<(), Failure> {
    start_log()?;
    Ok(axle_agent::run_until_signal(args)?)
}
