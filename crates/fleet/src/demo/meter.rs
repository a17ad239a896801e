//! A household's meter: an energy container every ten seconds.

use std::time::Duration;

use super::life::{Life, Saying, Verdict};
use crate::content::{Profile, Source};

/// A meter.
pub(super) struct Meter {
    seed: u64,
    number: usize,
    round: u64,
}

impl Meter {
    /// The meter of a household.
    pub(super) fn new(seed: u64, number: usize) -> Self {
        Self { seed, number, round: 0 }
    }
}

impl Life for Meter {
    fn moment(&self) -> Duration {
        Duration::from_secs(10)
    }

    fn live(&mut self, now_ms: i64, says: &mut Vec<Saying>) {
        let number = u32::try_from(self.number).unwrap_or(0);
        let mut payload = Vec::with_capacity(480);
        // The container of a round, at the time of now.
        let base_ms = now_ms.saturating_sub(self.round.cast_signed());
        let source = Source::new(Profile::Meter, self.seed, number, base_ms, 1);
        source.write_payload(self.round, &mut payload);
        self.round += 1;
        says.push(Saying::Bytes("energy", payload));
    }

    fn execute(&mut self, _name: &str) -> (Duration, Verdict) {
        (Duration::ZERO, Verdict::Rejected("a meter takes no commands"))
    }
}
