//! The one error type of axle. Its kind is the reader's duty; its code is stable; its message is
//! for the person or program that asked. Drivers' errors stay behind as the source.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

/// What the caller should do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request is wrong: mend it.
    Invalid,
    /// Nobody we know: present a credential.
    Unauthenticated,
    /// Known, but not entitled.
    Denied,
    /// No such thing, or none that the caller may see.
    NotFound,
    /// The thing has changed or exists already: read again, then decide.
    Conflict,
    /// Over a size limit: send less.
    TooLarge,
    /// Over a rate or a queue limit: slow down and try again.
    Busy,
    /// A part of axle is not there just now: try again later.
    Unavailable,
    /// Stored bytes are damaged: stop and restore.
    Corrupt,
    /// Our own mistake.
    Internal,
}

impl Kind {
    /// Whether the same request may succeed later without being changed.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::Busy | Self::Unavailable)
    }
}

/// An error in the caller's terms.
#[derive(Debug)]
pub struct Error {
    /// The caller's duty.
    pub kind: Kind,
    /// A stable, dotted name such as `device.not_found`.
    pub code: &'static str,
    /// One sentence, lower case, naming the thing and the input.
    pub message: String,
    /// The limit that was hit and what was there instead, in the unit that the message names.
    pub limit: Option<(u64, u64)>,
    /// How long to wait before trying again.
    pub retry_after: Option<Duration>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error without a limit or a source.
    pub fn new(kind: Kind, code: &'static str, message: impl Into<String>) -> Self {
        Self { kind, code, message: message.into(), limit: None, retry_after: None, source: None }
    }

    /// The request is wrong.
    pub fn invalid(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, code, message)
    }

    /// There is no such thing.
    pub fn not_found(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, code, message)
    }

    /// A part of axle is not there just now.
    pub fn unavailable(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Kind::Unavailable, code, message)
    }

    /// Our own mistake.
    pub fn internal(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, code, message)
    }

    /// Names the limit that was hit and the actual value.
    #[must_use]
    pub fn with_limit(mut self, limit: u64, actual: u64) -> Self {
        self.limit = Some((limit, actual));
        self
    }

    /// Says when trying again makes sense.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Keeps the error of a driver behind this one.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// This error and everything behind it, for one line in the server's own log.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut line = format!("{}: {}", self.code, self.message);
        let mut next = StdError::source(self);
        while let Some(error) = next {
            line.push_str(": ");
            line.push_str(&error.to_string());
            next = error.source();
        }
        line
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}
