//! What a command ends with when it does not succeed: one exit code, what went wrong, and the next
//! command to try.

use std::fmt;
use std::path::Path;

use axle_domain::{Error, Kind};

/// The exit codes of `axle`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Our own mistake, or a damaged machine.
    Internal = 1,
    /// The command line, the configuration or the request is wrong.
    Usage = 2,
    /// No such thing.
    NotFound = 3,
    /// It exists already, or something else holds it.
    Conflict = 4,
    /// Refused, over a limit, failed on the device, or damaged.
    Refused = 5,
    /// No server answers.
    Unreachable = 6,
}

/// Why a command did not succeed.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What went wrong and why, without a full stop; several lines where several things are wrong.
    pub message: String,
    /// The next command to try, or what to mend.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure without a hint.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: None }
    }

    /// The command line or the configuration is wrong.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// A file or folder cannot be used.
    pub fn file(verb: &str, path: &Path, error: &std::io::Error) -> Self {
        Self::new(Exit::Internal, format!("cannot {verb} {}: {error}", path.display()))
    }

    /// Says what to try next.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let exit = match error.kind {
            Kind::Invalid => Exit::Usage,
            Kind::NotFound => Exit::NotFound,
            Kind::Conflict => Exit::Conflict,
            Kind::Unauthenticated | Kind::Denied | Kind::TooLarge | Kind::Busy | Kind::Corrupt => {
                Exit::Refused
            }
            Kind::Unavailable => Exit::Unreachable,
            Kind::Internal => Exit::Internal,
        };
        Self::new(exit, error.message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "\n  try: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}
