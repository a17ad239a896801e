//! `--data-dir` of commands that read a server's files.

use std::path::PathBuf;

use clap::Args;

/// The data directory of a server on this machine, running or stopped.
#[derive(Clone, Debug, Args)]
pub struct DirArgs {
    /// The server's data directory, on this machine.
    #[arg(
        long,
        value_name = "DIR",
        env = "AXLE_DATA_DIR",
        hide_env_values = true,
        default_value = "./data"
    )]
    pub data_dir: PathBuf,
}
