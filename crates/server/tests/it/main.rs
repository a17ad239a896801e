//! The binary as people run it.

mod cli;
mod config;
mod device;
mod kill_harness;
mod path;
mod reference;
mod server;
