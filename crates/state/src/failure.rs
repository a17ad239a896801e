//! From the driver's errors to ours: what the caller should do, with the driver's words behind it.

use axle_domain::{Error, Kind};
use rusqlite::ErrorCode;

/// An error within a job: one of ours already, or the driver's on its way to become one.
#[derive(Debug)]
pub(crate) struct Failure(Error);

impl Failure {
    /// Whether the driver gave up with this code.
    pub(crate) fn is(&self, code: ErrorCode) -> bool {
        let source = std::error::Error::source(&self.0);
        let driver = source.and_then(|source| source.downcast_ref::<rusqlite::Error>());
        driver.is_some_and(|driver| driver.sqlite_error_code() == Some(code))
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        failure.0
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        let seen = if is_damage(&error) {
            let message = "the state is damaged: run `axle verify`, then restore a backup";
            Error::new(Kind::Corrupt, "state.corrupt", message)
        } else if error.sqlite_error_code() == Some(ErrorCode::DiskFull) {
            unavailable("the disk of the state is full: make room, then try again")
        } else {
            unavailable("the state is not available just now: try again later")
        };
        Self(seen.with_source(error))
    }
}

/// What stands in the file cannot be what we wrote there.
pub(crate) fn corrupt(what: impl Into<String>) -> Failure {
    Failure(Error::new(Kind::Corrupt, "state.corrupt", what))
}

/// The state does not work just now.
pub(crate) fn unavailable(what: impl Into<String>) -> Error {
    Error::unavailable("state.unavailable", what)
}

/// Whether the driver could not make bytes or a sync reach the disk.
pub(crate) fn is_disk_failure(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure)
}

fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::Error as Driver;
    let code = error.sqlite_error_code();
    matches!(code, Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
        || matches!(
            error,
            Driver::FromSqlConversionFailure(..)
                | Driver::IntegralValueOutOfRange(..)
                | Driver::InvalidColumnType(..)
                | Driver::Utf8Error(..)
        )
}
