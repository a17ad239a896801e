//! `axle feed …`, `axle component …` and `axle device import`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::{Target, ThingArgs};

/// `axle feed …`
#[derive(Debug, Subcommand)]
pub enum FeedCommand {
    /// Check a file without handing it in: its form here, and with a plant also what the server
    /// would make of it.
    Check(FeedCheckArgs),
    /// Hand in a file. Handing it in again changes nothing.
    Submit(FeedSubmitArgs),
    /// Look at records that wait for a person, and decide.
    #[command(subcommand)]
    Review(FeedReviewCommand),
}

/// A file to check.
#[derive(Clone, Debug, Args)]
pub struct FeedCheckArgs {
    /// `{"records":[…]}`, or one record a line; `-` reads stdin.
    pub file: PathBuf,
    /// Ask the server what it would make of the file as this plant's.
    #[arg(long, value_name = "PLANT")]
    pub plant: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Which server.
    #[command(flatten)]
    pub target: Target,
}

/// A file to hand in.
#[derive(Clone, Debug, Args)]
pub struct FeedSubmitArgs {
    /// In whose name.
    pub plant: String,
    /// `{"records":[…]}`, or one record a line; `-` reads stdin.
    pub file: PathBuf,
    /// Only say what would become of each record.
    #[arg(long)]
    pub dry_run: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Which server.
    #[command(flatten)]
    pub target: Target,
}

/// `axle feed review …`
#[derive(Debug, Subcommand)]
pub enum FeedReviewCommand {
    /// List records that wait, newest first.
    List(FeedReviewArgs),
    /// Let a record in; it is checked again.
    Accept(FeedAcceptArgs),
    /// Refuse a record.
    Reject(FeedRejectArgs),
}

/// Which records to list.
#[derive(Clone, Debug, Args)]
pub struct FeedReviewArgs {
    /// Only of this plant.
    #[arg(long)]
    pub plant: Option<String>,
    /// waiting, accepted or rejected.
    #[arg(long, default_value = "waiting", value_parser = ["waiting", "accepted", "rejected"])]
    pub status: String,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Which server.
    #[command(flatten)]
    pub target: Target,
}

/// A record that is let in.
#[derive(Clone, Debug, Args)]
pub struct FeedAcceptArgs {
    /// Its number: `r-…`.
    pub id: String,
    /// Why.
    #[arg(long, default_value = "")]
    pub note: String,
    /// It was a swap: what stands in the way of the installation ended at this time, RFC 3339.
    #[arg(long, value_name = "TIME")]
    pub close_other_at: Option<String>,
    /// Which server.
    #[command(flatten)]
    pub target: Target,
}

/// A record that is refused.
#[derive(Clone, Debug, Args)]
pub struct FeedRejectArgs {
    /// Its number: `r-…`.
    pub id: String,
    /// Why.
    #[arg(long, default_value = "")]
    pub note: String,
    /// Which server.
    #[command(flatten)]
    pub target: Target,
}

/// `axle component …`
#[derive(Debug, Subcommand)]
pub enum ComponentCommand {
    /// List components by serial, or those of a device.
    List(ComponentListArgs),
    /// Show a component and the device that it sits in.
    Show(ThingArgs),
    /// Show which devices a component sat in, from when to when.
    History(ThingArgs),
}

/// Which components to list.
#[derive(Clone, Debug, Args)]
pub struct ComponentListArgs {
    /// Only what sits and sat in this device.
    #[arg(long, value_name = "DEVICE", conflicts_with_all = ["kind", "status"])]
    pub device: Option<String>,
    /// Only this kind, such as `battery`.
    #[arg(long)]
    pub kind: Option<String>,
    /// in_use, spare, remanufactured or recycled.
    #[arg(long, value_parser = ["in_use", "spare", "remanufactured", "recycled"])]
    pub status: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Which server.
    #[command(flatten)]
    pub target: Target,
}

/// A file of devices.
#[derive(Clone, Debug, Args)]
pub struct DeviceImportArgs {
    /// CSV: a first line with the columns `id`, `kind`, `name` and `model`, in any order, of
    /// which `id` must be there.
    pub file: PathBuf,
    /// Also issue a certificate for each device that has none here, and write keys and
    /// certificates here. After an interruption the same command goes on where it ended.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Which server.
    #[command(flatten)]
    pub target: Target,
}
