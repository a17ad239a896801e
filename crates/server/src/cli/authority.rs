//! `axle authority …`

use clap::{Args, Subcommand};

use crate::cli::DirArgs;

/// `axle authority …`
#[derive(Debug, Subcommand)]
pub enum AuthorityCommand {
    /// Show when what the server proves itself by, and believes devices by, ends.
    Show(AuthorityArgs),
    /// Let a new device authority sign from now on; the one before is believed still.
    ///
    /// Works with the server running and with it stopped. No session is dropped: the listeners
    /// show what they did, and who knows only the new authority trusts it as well. Give every
    /// device a new certificate and the new ca.crt (axle device rotate), then `axle authority
    /// finish`.
    Replace(AuthorityArgs),
    /// Believe the authority before no more, and show devices what the new one has signed.
    ///
    /// Devices that have a certificate of the one before, or know that one alone, are out.
    Finish(AuthorityArgs),
}

/// Which server's authority.
#[derive(Clone, Debug, Args)]
pub struct AuthorityArgs {
    /// Which server's.
    #[command(flatten)]
    pub dir: DirArgs,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}
