//! `axle consumer …`

use clap::{Args, Subcommand};

use crate::cli::{ListArgs, Target, ThingArgs};

/// `axle consumer …`
#[derive(Debug, Subcommand)]
pub enum ConsumerCommand {
    /// Register a consumer: from there on nothing that it has not worked off is forgotten.
    ///
    /// It reads over HTTP with a token of scope `log:read` and commits its position there. One
    /// that rests for too long or holds too much is declared lost: see `log.consumer_idle` and
    /// `log.consumer_bytes`.
    Create(ConsumerCreateArgs),
    /// List consumers: where each is, how far behind, and how much of the log it holds.
    List(ListArgs),
    /// Forget a consumer; retention goes on without it.
    Remove(ThingArgs),
}

/// A new consumer.
#[derive(Clone, Debug, Args)]
pub struct ConsumerCreateArgs {
    /// Its name: [A-Za-z0-9_-]{1,64}.
    pub name: String,
    /// Where it begins: `first`, `next`, an offset, or a moment (RFC 3339).
    #[arg(long, value_name = "PLACE", default_value = "next")]
    pub from: String,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Which server.
    #[command(flatten)]
    pub target: Target,
}
