//! `axle user …`

use clap::{Args, Subcommand, ValueEnum};

use super::{ListArgs, Target, ThingArgs};

/// `axle user …`
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Add a person and print the one-time link where the person chooses a password or a passkey.
    Add(UserAddArgs),
    /// List people.
    List(ListArgs),
    /// Show a person.
    Show(ThingArgs),
    /// Print a new one-time link for a person. Once it is used, the old password, passkeys and
    /// sessions end.
    Invite(ThingArgs),
    /// Refuse a person, and end the sessions of the person at once.
    Disable(ThingArgs),
    /// Let a person sign in again.
    Enable(ThingArgs),
    /// Forget a person.
    Delete(ThingArgs),
}

/// What a person may do.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum UserRole {
    /// Everything.
    Admin,
    /// Everything but people and tokens.
    Operator,
    /// Reads and commands every device; no registry, no SQL.
    Support,
    /// Reads and commands its own devices alone.
    Household,
}

/// A new person.
#[derive(Clone, Debug, Args)]
pub struct UserAddArgs {
    /// The name to sign in with: small letters, digits and . _ @ -
    pub name: String,
    /// What the person may do.
    #[arg(long, value_enum)]
    pub role: UserRole,
    /// A device of a household; several times for several.
    #[arg(long = "device", value_name = "DEVICE")]
    pub devices: Vec<String>,
    /// What the person is called.
    #[arg(long, default_value = "")]
    pub display_name: String,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Which server.
    #[command(flatten)]
    pub target: Target,
}
