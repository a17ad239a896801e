//! `axle load-test`: what load, how much of it, and what is proved.

use clap::{Args, ValueEnum};

use super::{SwitchArgs, Target};

/// A kind of device that load is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LoadProfile {
    /// An e-bike: ten fields once a second while it rides.
    #[default]
    Bike,
    /// A car.
    Car,
    /// A household with smart sockets.
    Meter,
}

/// How much of axle a load goes through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LoadStage {
    /// Everything.
    #[default]
    All,
    /// Up to the acknowledgement.
    Gateway,
    /// The log alone, without a socket.
    Log,
    /// The store alone, without a socket.
    Store,
}

/// A load.
#[derive(Clone, Debug, Args)]
pub struct LoadTestArgs {
    /// What the devices are.
    #[arg(long, value_enum, default_value_t)]
    pub profile: LoadProfile,
    /// Devices.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub devices: u32,
    /// Connections over which their messages go; one each when absent.
    #[arg(long, value_name = "N")]
    pub connections: Option<u32>,
    /// Messages per second, over all devices.
    #[arg(long, value_name = "R", default_value_t = 1000.0)]
    pub rate: f64,
    /// How long.
    #[arg(long, value_name = "TIME", default_value = "30s")]
    pub duration: crate::config::Span,
    /// How much of axle the load goes through.
    #[arg(long, value_enum, default_value_t)]
    pub stage: LoadStage,
    /// What goes wrong on purpose.
    #[command(flatten)]
    pub switches: SwitchArgs,
    /// What contents and mistakes derive from.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Read everything back; prove nothing lost, nothing doubled, and in quarantine exactly what
    /// belongs there.
    #[arg(long)]
    pub verify: bool,
    /// Print the report as JSON.
    #[arg(long)]
    pub json: bool,
    /// Without TLS, over the server's plain listener.
    #[arg(long)]
    pub plain: bool,
    /// Against a server of its own in a temporary data directory, even where one runs.
    #[arg(long)]
    pub self_contained: bool,
    /// Which server; without one that runs, the test starts its own.
    #[command(flatten)]
    pub target: Target,
}
