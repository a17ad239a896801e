//! `axle config`: what is set, where it comes from, and whether it is right.

use crate::cli::ServeArgs;
use crate::config::{Loaded, Sources};
use crate::failure::Failure;
use crate::output::{note, print};

impl ServeArgs {
    /// The configuration that the server would start with.
    ///
    /// # Errors
    /// Every fault of it.
    pub fn load(&self) -> Result<Loaded, Failure> {
        Loaded::read(&Sources {
            file: self.config.clone(),
            variables: std::env::vars_os().collect(),
            flags: self.settings.clone(),
            allow_insecure: self.allow_insecure,
        })
    }
}

pub(super) fn check(args: &ServeArgs) -> Result<(), Failure> {
    args.load()?;
    note("the configuration is valid");
    Ok(())
}

pub(super) fn print_effective(args: &ServeArgs) -> Result<(), Failure> {
    print(&args.load()?.print())
}
