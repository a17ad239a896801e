//! The command line: nouns and verbs, and what each takes.

mod application;
mod authority;
mod dir;
mod lifecycle;
mod load;
mod log;
mod master;
mod user;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub use application::{ApplicationCertifyArgs, ApplicationCommand, ApplicationCreateArgs};
pub use authority::{AuthorityArgs, AuthorityCommand};
pub use dir::DirArgs;
pub use lifecycle::{DeviceRotateArgs, DeviceTransferArgs};
pub use load::{LoadProfile, LoadStage, LoadTestArgs};
pub use log::{ConsumerCommand, ConsumerCreateArgs, LogCommand, LogDumpArgs, LogSource};
pub use master::{
    ComponentCommand, ComponentListArgs, DeviceImportArgs, FeedAcceptArgs, FeedCheckArgs,
    FeedCommand, FeedRejectArgs, FeedReviewArgs, FeedReviewCommand, FeedSubmitArgs,
};
pub use user::{UserAddArgs, UserCommand, UserRole};

/// The cloud backend for connected fleets, in one program.
///
/// `axle serve` starts it, with no configuration at all. Data goes to stdout, everything else to
/// stderr. Exit codes: 0 ok, 2 usage, 3 not found, 4 conflict, 5 refused or over a limit,
/// 6 unreachable.
#[derive(Debug, Parser)]
#[command(name = "axle", version, disable_help_subcommand = true, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What `axle` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server.
    Serve(ServeArgs),
    /// Run the server with simulated fleets that come in through the real doors.
    Demo(DemoArgs),
    /// Register devices, look at them, withdraw their right to connect.
    #[command(subcommand)]
    Device(DeviceCommand),
    /// Show who connected, who was refused, and why: strangers too.
    Connections(ConnectionsArgs),
    /// Look at components and where they sit and sat.
    #[command(subcommand)]
    Component(ComponentCommand),
    /// Hand in what a plant says of devices and components, and decide on what conflicts.
    #[command(subcommand)]
    Feed(FeedCommand),
    /// Make, list and withdraw backend applications that speak MQTT.
    #[command(subcommand)]
    Application(ApplicationCommand),
    /// Look at the device authority, and let a new one take its place.
    #[command(subcommand)]
    Authority(AuthorityCommand),
    /// Register, list and forget programs that follow the log with a position of their own.
    #[command(subcommand)]
    Consumer(ConsumerCommand),
    /// Make, list and withdraw bearer tokens.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Say who may sign in with a browser, and what they may do.
    #[command(subcommand)]
    User(UserCommand),
    /// Send commands to devices and see what became of them.
    #[command(subcommand)]
    Command(SendCommand),
    /// Look at what was set aside, and mend it.
    #[command(subcommand)]
    Quarantine(QuarantineCommand),
    /// Show live events until interrupted.
    Tail(TailArgs),
    /// Ask a question in SQL.
    Query(QueryArgs),
    /// Send recorded rides, FIT or GPX, through the upload door.
    Import(ImportArgs),
    /// Print a fresh one-time link to the console.
    Login(Target),
    /// Run the agent of a device on the device's own computer: values up, commands down.
    Agent(axle_agent::AgentArgs),
    /// Look into the log's files.
    #[command(subcommand)]
    Log(LogCommand),
    /// Check log, store and state of a data directory, changing nothing.
    Verify(VerifyArgs),
    /// Put load on a server through its real doors, and prove that nothing was lost.
    LoadTest(LoadTestArgs),
    /// Check and show the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print the version.
    Version,
}

/// What the server is started with.
#[derive(Clone, Debug, Default, Args)]
pub struct ServeArgs {
    /// Configuration, TOML.
    #[arg(long, value_name = "FILE", env = "AXLE_CONFIG", hide_env_values = true)]
    pub config: Option<PathBuf>,
    /// Where everything is kept; created on first start.
    #[arg(
        long,
        value_name = "DIR",
        env = "AXLE_DATA_DIR",
        hide_env_values = true,
        default_value = "./data"
    )]
    pub data_dir: PathBuf,
    /// Allow listeners without TLS beyond loopback.
    #[arg(long)]
    pub allow_insecure: bool,
    /// A setting that overrides file and environment.
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    pub settings: Vec<String>,
    /// What this process does; one process does all of it.
    #[arg(long, value_name = "ROLES", default_value = "all", value_parser = ["all"])]
    pub roles: String,
}

/// What a simulated world consists of.
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    /// E-bikes, in seven cities.
    #[arg(long, value_name = "N", default_value_t = 60)]
    pub bikes: u32,
    /// Cars.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub cars: u32,
    /// Households with smart meters of ten sockets.
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub meters: u32,
    /// What every life derives from: the same number, the same lives.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// How much more often than in life devices report and vehicles are taken, 0.1 to 100.
    /// Speeds and distances stay those of life.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    pub speed: f64,
    /// What goes wrong on purpose; a little of everything where nothing is said.
    #[command(flatten)]
    pub switches: SwitchArgs,
    /// Where everything is kept; created on first start.
    #[arg(long, value_name = "DIR", default_value = "./data/demo")]
    pub data_dir: PathBuf,
}

/// What simulated devices do wrong on purpose, as shares from 0 to 1.
#[derive(Clone, Copy, Debug, Default, Args)]
#[command(next_help_heading = "What goes wrong, as shares from 0 to 1")]
pub struct SwitchArgs {
    /// Of rides and drives: a component fails. Under load, of messages: they go to `fault`.
    #[arg(long, value_name = "SHARE")]
    pub faults: Option<f64>,
    /// Of messages: they tell of something days ago.
    #[arg(long, value_name = "SHARE")]
    pub late: Option<f64>,
    /// Of messages: their time is days ahead; a quarter of them is beyond belief, and quarantined.
    #[arg(long, value_name = "SHARE")]
    pub future: Option<f64>,
    /// Of devices: their clock is wrong, and they say what it shows.
    #[arg(long, value_name = "SHARE")]
    pub wrong_clock: Option<f64>,
    /// Of messages: they are sent twice.
    #[arg(long, value_name = "SHARE")]
    pub duplicates: Option<f64>,
    /// Of messages: they arrive in another order than they were made in.
    #[arg(long, value_name = "SHARE")]
    pub out_of_order: Option<f64>,
    /// Of messages: the end is missing, and they are quarantined.
    #[arg(long, value_name = "SHARE")]
    pub torn: Option<f64>,
    /// Of devices: a second connection fights for their client id.
    #[arg(long, value_name = "SHARE")]
    pub double_client_ids: Option<f64>,
}

impl SwitchArgs {
    /// The shares, `otherwise` where nothing was said.
    #[must_use]
    pub fn or(&self, otherwise: axle_fleet::Switches) -> axle_fleet::Switches {
        axle_fleet::Switches {
            faults: self.faults.unwrap_or(otherwise.faults),
            late: self.late.unwrap_or(otherwise.late),
            future: self.future.unwrap_or(otherwise.future),
            duplicates: self.duplicates.unwrap_or(otherwise.duplicates),
            out_of_order: self.out_of_order.unwrap_or(otherwise.out_of_order),
            wrong_clock: self.wrong_clock.unwrap_or(otherwise.wrong_clock),
            double_client_ids: self.double_client_ids.unwrap_or(otherwise.double_client_ids),
            torn: self.torn.unwrap_or(otherwise.torn),
        }
    }
}

/// Which server a command talks to.
#[derive(Clone, Debug, Default, Args)]
pub struct Target {
    /// The server's data directory, where its address and the administrator's token are. Without
    /// it: AXLE_URL and AXLE_TOKEN, else `./data`.
    #[arg(long, value_name = "DIR", env = "AXLE_DATA_DIR", hide_env_values = true)]
    pub data_dir: Option<PathBuf>,
}

/// `axle device …`
#[derive(Debug, Subcommand)]
pub enum DeviceCommand {
    /// Register a device; write its key, its certificate and the authority's.
    Add(DeviceAddArgs),
    /// Register many devices from a CSV file; all of it is checked before anything changes.
    Import(DeviceImportArgs),
    /// List devices.
    List(ListArgs),
    /// Show a device and its latest values.
    Show(ThingArgs),
    /// Show when a device connected, why it went, and why it was refused.
    Connections(ThingArgs),
    /// Write a new key and certificate of a device; those before let it in a while longer.
    Rotate(DeviceRotateArgs),
    /// Withdraw a device's right to connect. Its data stays.
    Revoke(ThingArgs),
    /// Give a device to another household, or to nobody: who had it loses it at once.
    Transfer(DeviceTransferArgs),
    /// Take a device out of service for good. Its data and its id stay.
    Retire(ThingArgs),
}

/// What a new device is.
#[derive(Clone, Debug, Args)]
pub struct DeviceAddArgs {
    /// Its id: [A-Za-z0-9._:-]{1,128}.
    pub id: String,
    /// Where ID.key, ID.crt and ca.crt are written.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub out: PathBuf,
    /// What people call it.
    #[arg(long, default_value = "")]
    pub name: String,
    /// What it is: bike, car, meter, …
    #[arg(long, default_value = "")]
    pub kind: String,
    /// Issue one more certificate for a device that is registered already.
    #[arg(long)]
    pub renew: bool,
    /// Which server.
    #[command(flatten)]
    pub target: Target,
}

/// A list.
#[derive(Clone, Debug, Args)]
pub struct ListArgs {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Which server.
    #[command(flatten)]
    pub target: Target,
}

/// Which connection events.
#[derive(Clone, Debug, Args)]
pub struct ConnectionsArgs {
    /// Only from this address.
    #[arg(long, value_name = "IP")]
    pub address: Option<String>,
    /// Only with this client certificate: its SHA-256, hexadecimal, colons allowed.
    #[arg(long, value_name = "SHA256")]
    pub fingerprint: Option<String>,
    /// At most so many, from 1 to 1000.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub limit: u16,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Which server.
    #[command(flatten)]
    pub target: Target,
}

/// One thing by its id.
#[derive(Clone, Debug, Args)]
pub struct ThingArgs {
    /// Its id.
    pub id: String,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Which server.
    #[command(flatten)]
    pub target: Target,
}

/// `axle token …`
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token and print it. It is shown this once.
    Create(TokenCreateArgs),
    /// List tokens, without their secrets.
    List(ListArgs),
    /// Withdraw a token.
    Revoke(ThingArgs),
}

/// What a new token allows.
#[derive(Clone, Debug, Args)]
pub struct TokenCreateArgs {
    /// admin, upload:DEVICE, read:DEVICE, command:DEVICE, feed:PLANT, log:read or log:write; several times for several.
    #[arg(long = "scope", value_name = "SCOPE", required = true)]
    pub scopes: Vec<String>,
    /// Print JSON, with the token's id.
    #[arg(long)]
    pub json: bool,
    /// Which server.
    #[command(flatten)]
    pub target: Target,
}

/// `axle command …`
#[derive(Debug, Subcommand)]
pub enum SendCommand {
    /// Send a command.
    Send(CommandSendArgs),
    /// Show a command and its life so far.
    Show(ThingArgs),
}

/// A new command.
#[derive(Clone, Debug, Args)]
pub struct CommandSendArgs {
    /// To whom.
    pub device: String,
    /// What to do, such as `unlock`.
    pub name: String,
    /// Parameters; what reads as JSON is JSON, anything else is text.
    #[arg(value_name = "KEY=VALUE", conflicts_with = "payload")]
    pub parameters: Vec<String>,
    /// All parameters as one JSON text.
    #[arg(long, value_name = "JSON")]
    pub payload: Option<String>,
    /// How long it may wait and run.
    #[arg(long, value_name = "TIME", default_value = "60s")]
    pub timeout: crate::config::Span,
    /// Ask the device what it would do, without doing it.
    #[arg(long)]
    pub dry_run: bool,
    /// Wait for its end: exit 0 when it succeeded, 5 when it did not.
    #[arg(long)]
    pub wait: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Which server.
    #[command(flatten)]
    pub target: Target,
}

/// `axle quarantine …`
#[derive(Debug, Subcommand)]
pub enum QuarantineCommand {
    /// List what was set aside, newest first.
    List(QuarantineListArgs),
    /// Show one item with its payload.
    Show(ThingArgs),
    /// Put an item through again, mended where need be.
    Replay(QuarantineReplayArgs),
}

/// Which items to list.
#[derive(Clone, Debug, Args)]
pub struct QuarantineListArgs {
    /// Of one device alone.
    #[arg(long, value_name = "ID")]
    pub device: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Which server.
    #[command(flatten)]
    pub target: Target,
}

/// How to replay an item.
#[derive(Clone, Debug, Args)]
pub struct QuarantineReplayArgs {
    /// The item's id.
    pub id: String,
    /// A mended payload, or `-` for stdin.
    #[arg(long, value_name = "FILE")]
    pub payload: Option<PathBuf>,
    /// The sender's clock when it sent, RFC 3339.
    #[arg(long, value_name = "TIME")]
    pub sent_at: Option<String>,
    /// Which server.
    #[command(flatten)]
    pub target: Target,
}

/// What to show live.
#[derive(Clone, Debug, Args)]
pub struct TailArgs {
    /// Of one device alone.
    pub device: Option<String>,
    /// Print each event as JSON, the payload as it came, in Base64.
    #[arg(long)]
    pub raw: bool,
    /// Which server.
    #[command(flatten)]
    pub target: Target,
}

/// A question.
#[derive(Clone, Debug, Args)]
pub struct QueryArgs {
    /// One SELECT.
    pub sql: String,
    /// Print JSON.
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,
    /// Print CSV.
    #[arg(long)]
    pub csv: bool,
    /// Which server.
    #[command(flatten)]
    pub target: Target,
}

/// Rides, and how to send them.
///
/// A file is read as a whole before anything is sent. A damaged one is refused with the byte
/// where it breaks and nothing of it is stored. Importing a file again stores nothing twice.
#[derive(Clone, Debug, Args)]
pub struct ImportArgs {
    /// FIT or GPX files.
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Whose rides they are: a registered device.
    #[arg(long, value_name = "ID")]
    pub device: String,
    /// Play the ride as if it began now, N times as fast as it was: its samples get the times at
    /// which they are sent. Each play is a new ride.
    #[arg(long, value_name = "N", conflicts_with = "at_once")]
    pub speed: Option<f64>,
    /// Send all of it now, with the times that were recorded; this is the default.
    #[arg(long)]
    pub at_once: bool,
    /// Play a phone whose clock is wrong by so much, such as 36h or -90m: what it recorded and
    /// what it says when it sends are both wrong by that, and the server corrects it.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub clock_offset: Option<crate::config::SignedSpan>,
    /// Store the good part of a damaged file, and report the rest.
    #[arg(long)]
    pub salvage: bool,
    /// Read the files and report; send nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Print the report as JSON.
    #[arg(long)]
    pub json: bool,
    /// Which server.
    #[command(flatten)]
    pub target: Target,
}

/// What to check.
#[derive(Clone, Debug, Args)]
pub struct VerifyArgs {
    /// Which server's.
    #[command(flatten)]
    pub dir: DirArgs,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `axle config …`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Say whether the configuration is valid; open nothing.
    Check(ServeArgs),
    /// Print the effective configuration, each value with its origin.
    Print(ServeArgs),
}
