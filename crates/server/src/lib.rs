//! The binary `axle`: command line, configuration, assembly, run.
//!
//! What this crate is not: it decides nothing about devices or data. It reads what people want,
//! opens the parts, and owns their tasks.
//!
//! Reading order: [`cli`] (what one can say), `command` (one file each), [`config`], then for the
//! server [`assemble`] and [`run`].

pub mod assemble;
pub mod cli;
pub mod client;
mod clock;
mod command;
pub mod config;
pub mod data_dir;
mod descriptor;
mod failure;
mod machine;
mod output;
pub mod run;
mod telemetry;

pub use clock::SystemClock;
pub use command::run as run_command;
pub use failure::{Exit, Failure};
