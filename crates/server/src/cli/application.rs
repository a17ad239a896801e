//! `axle application …`

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::{ListArgs, Target, ThingArgs};

/// `axle application …`
#[derive(Debug, Subcommand)]
pub enum ApplicationCommand {
    /// Make an application and print its token. It is shown this once.
    ///
    /// It connects over MQTT with TLS, brings the token as password, and reaches what was granted
    /// and nothing else. Its client id is its name, or its name, a slash and a suffix; the user
    /// name is ignored.
    Create(ApplicationCreateArgs),
    /// Write a key and a certificate that speak for an application.
    Certify(ApplicationCertifyArgs),
    /// List applications, without their secrets.
    List(ListArgs),
    /// Withdraw an application: token and certificates end at once, and so do its connections.
    Revoke(ThingArgs),
}

/// A new application.
#[derive(Clone, Debug, Args)]
pub struct ApplicationCreateArgs {
    /// Its name: small letters, digits, _ and -, a letter first, at most 48; no device's id.
    pub name: String,
    /// A filter of topics that it may publish to; several times for several.
    #[arg(long, value_name = "FILTER")]
    pub publish: Vec<String>,
    /// A filter within which its subscriptions may lie; several times for several.
    #[arg(long, value_name = "FILTER")]
    pub subscribe: Vec<String>,
    /// Make no token: it comes with a certificate of `axle application certify`.
    #[arg(long)]
    pub no_token: bool,
    /// Make it a claim: an identity that devices share until each has its own, and that may ask
    /// for those of these ids; `*` stands for any characters. It gets no token.
    #[arg(long, value_name = "IDS", conflicts_with_all = ["publish", "subscribe", "no_token"])]
    pub claim: Option<String>,
    /// How many devices the claim may bring.
    #[arg(long, value_name = "N", requires = "claim", default_value_t = 1000)]
    pub count: u32,
    /// What the devices of the claim are: bike, car, meter, …
    #[arg(long, value_name = "KIND", requires = "claim", default_value = "")]
    pub kind: String,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Which server.
    #[command(flatten)]
    pub target: Target,
}

/// Which application gets a certificate.
#[derive(Clone, Debug, Args)]
pub struct ApplicationCertifyArgs {
    /// Its name.
    pub name: String,
    /// Where NAME.key, NAME.crt and ca.crt are written.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub out: PathBuf,
    /// Which server.
    #[command(flatten)]
    pub target: Target,
}
