//! `axle device rotate|transfer`: what a device goes through after it was added.

use std::path::PathBuf;

use clap::Args;

use crate::cli::Target;
use crate::config::Span;

/// A new certificate for a device.
#[derive(Clone, Debug, Args)]
pub struct DeviceRotateArgs {
    /// The device.
    pub id: String,
    /// Where ID.key, ID.crt and ca.crt are written; what is there is replaced.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub out: PathBuf,
    /// How long the certificates before it let the device in still; 0s ends them at once.
    #[arg(long, value_name = "SPAN", default_value = "7d")]
    pub overlap: Span,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Which server.
    #[command(flatten)]
    pub target: Target,
}

/// A change of owner.
#[derive(Clone, Debug, Args)]
pub struct DeviceTransferArgs {
    /// The device.
    pub id: String,
    /// The user who has it from now on.
    #[arg(long, value_name = "USER", required_unless_present = "to_nobody")]
    pub to: Option<String>,
    /// It belongs to nobody from now on.
    #[arg(long, conflicts_with = "to")]
    pub to_nobody: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Which server.
    #[command(flatten)]
    pub target: Target,
}
