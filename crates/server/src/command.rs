//! The commands, one file each.

mod agent;
mod application;
mod authority;
mod component;
mod config;
mod connections;
mod consumer;
mod demo;
mod device;
mod feed;
mod import;
mod load_test;
mod log;
mod login;
mod quarantine;
mod query;
mod send;
mod serve;
mod tail;
mod token;
mod user;
mod verify;

use crate::cli::{Cli, Command, ConfigCommand, LogCommand};
use crate::failure::{Exit, Failure};
use crate::output::print;

/// Does what the command line asks for.
///
/// # Errors
/// What the command could not do, with its exit code.
pub fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Serve(args) => serve::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Agent(args) => agent::run(&args),
        Command::LoadTest(args) => load_test::run(&args),
        Command::Log(LogCommand::Dump(args)) => log::dump(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Config(ConfigCommand::Check(args)) => config::check(&args),
        Command::Config(ConfigCommand::Print(args)) => config::print_effective(&args),
        Command::Version => print(&format!("axle {}\n", env!("CARGO_PKG_VERSION"))),
        Command::Authority(command) => authority::run(&command),
        Command::Device(command) => block_on(device::run(command)),
        Command::Connections(args) => block_on(connections::run(args)),
        Command::Component(command) => block_on(component::run(command)),
        Command::Feed(command) => block_on(feed::run(command)),
        Command::Application(command) => block_on(application::run(command)),
        Command::Consumer(command) => block_on(consumer::run(command)),
        Command::Token(command) => block_on(token::run(command)),
        Command::User(command) => block_on(user::run(command)),
        Command::Command(command) => block_on(send::run(command)),
        Command::Quarantine(command) => block_on(quarantine::run(command)),
        Command::Tail(args) => block_on(tail::run(args)),
        Command::Query(args) => block_on(query::run(args)),
        Command::Import(args) => block_on(import::run(args)),
        Command::Login(target) => block_on(login::run(target)),
    }
}

/// Runs a command that waits for the network more than it works.
fn block_on(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Internal, format!("cannot start: {error}")))?
        .block_on(command)
}
