//! Drivers' errors in the caller's terms.

use std::error::Error as StdError;

use axle_domain::{Error, Kind};

/// Something that cannot happen did.
pub(crate) fn internal(
    code: &'static str,
    error: impl Into<Box<dyn StdError + Send + Sync>>,
) -> Error {
    Error::internal(code, "the telemetry store failed; its log has the reason").with_source(error)
}

/// The disk refused.
pub(crate) fn io(what: &str, error: std::io::Error) -> Error {
    Error::unavailable("store.io", format!("cannot {what}: {error}")).with_source(error)
}

/// Stored bytes are not what was written.
pub(crate) fn corrupt(code: &'static str, message: impl Into<String>) -> Error {
    Error::new(Kind::Corrupt, code, message)
}
