//! `axle log …`, `axle consumer …`

use clap::{Args, Subcommand, ValueEnum};

use crate::cli::{DirArgs, ListArgs, Target, ThingArgs};

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

/// `axle log …`
#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// Print the records of a data directory, one a line, changing nothing.
    ///
    /// It reads the files: of a stopped server, or beside a running one. A record whose checksum
    /// is wrong is not printed but told of on stderr; then the exit code is 5.
    Dump(LogDumpArgs),
}

/// Which records, and how.
#[derive(Clone, Debug, Args)]
pub struct LogDumpArgs {
    /// Which server's.
    #[command(flatten)]
    pub dir: DirArgs,
    /// The first record: its offset, or the moment (RFC 3339) that it came at or after.
    #[arg(long, value_name = "PLACE")]
    pub from: Option<String>,
    /// The end: the first offset, or the moment of arrival, that is not printed any more.
    #[arg(long, value_name = "PLACE")]
    pub to: Option<String>,
    /// Only topics that match this filter of MQTT.
    #[arg(long, value_name = "FILTER")]
    pub topic: Option<String>,
    /// Only messages of this device.
    #[arg(long, value_name = "ID")]
    pub device: Option<String>,
    /// Only messages that came by this door.
    #[arg(long)]
    pub source: Option<LogSource>,
    /// At most so many records.
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// Print the segment files and not their records.
    #[arg(long, conflicts_with_all = ["from", "to", "topic", "device", "source", "limit"])]
    pub segments: bool,
    /// Print one JSON object a line, with everything that a record says.
    #[arg(long)]
    pub json: bool,
}

/// A door.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogSource {
    /// MQTT.
    Mqtt,
    /// A batch over HTTP.
    Upload,
    /// What was set aside, put through again.
    Replay,
    /// A program over HTTP.
    Service,
    /// What the door counts itself: refused and shed messages.
    Door,
    /// That devices came, went or fell silent.
    Presence,
}
