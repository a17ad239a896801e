//! The machine's clock.

use std::time::{SystemTime, UNIX_EPOCH};

use axle_domain::Timestamp;
use axle_domain::port::Clock;

/// The clock of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "this is the one clock that others take")]
        let now = SystemTime::now();
        let micros = |since: std::time::Duration| i64::try_from(since.as_micros());
        // A clock that stands before 1970 is wrong; what it says is carried on all the same.
        Timestamp(match now.duration_since(UNIX_EPOCH) {
            Ok(since) => micros(since).unwrap_or(i64::MAX),
            Err(before) => micros(before.duration()).map_or(i64::MIN, |micros| -micros),
        })
    }
}
