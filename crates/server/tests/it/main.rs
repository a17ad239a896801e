//! The binary as people run it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::string_slice,
    reason = "a test that fails says so"
)]

mod agent;
mod cli;
mod config;
mod damage;
mod device;
mod import;
mod kill_harness;
mod law;
mod lifecycle;
mod path;
mod promises;
mod reference;
mod server;
