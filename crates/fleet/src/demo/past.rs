//! The past of vehicles: lived before the demonstration begins, told behind it.

use super::bike::{Bike, Past};
use super::life::{Sample, Saying};

/// What a bike has to tell of the weeks before.
#[derive(Debug, Default)]
pub(super) struct History {
    /// Its rides: the bike when it set out, and when that was.
    pub(super) rides: Vec<(Box<Bike>, i64)>,
    /// What it said of itself.
    pub(super) status: Vec<Sample>,
    /// What failed.
    pub(super) faults: Vec<Sample>,
    /// What a workshop put in, and when.
    pub(super) swaps: Vec<(&'static str, i64)>,
}

impl History {
    /// Lets a bike live the weeks before `now_ms`. Takes some milliseconds of computing.
    pub(super) fn of(bike: &mut Bike, now_ms: i64) -> Self {
        let mut history = Self::default();
        bike.live_past(now_ms, &mut |past| match past {
            Past::Ride(bike, from_ms) => history.rides.push((bike, from_ms)),
            Past::Said(Saying::Sample(sample)) if sample.stream == "fault" => {
                history.faults.push(sample);
            }
            Past::Said(Saying::Sample(sample)) => history.status.push(sample),
            Past::Said(Saying::Swapped(component, time_ms)) => {
                history.swaps.push((component, time_ms));
            }
            Past::Said(Saying::Bytes(..)) => {}
        });
        history
    }
}
