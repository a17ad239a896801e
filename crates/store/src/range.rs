//! What a run of rows spans: the statistics that planning reads.

use axle_domain::Timestamp;
use serde::{Deserialize, Serialize};

use crate::columns::Columns;
use crate::layout::Layout;

/// Least and greatest of what the rows of a file or of memory have. Times are microseconds since
/// the epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Range {
    /// How many rows there are.
    pub(crate) rows: u64,
    /// Least and greatest device, byte by byte.
    pub(crate) device: (String, String),
    /// Least and greatest `time`.
    pub(crate) time: (i64, i64),
    /// Least and greatest `time_claimed`.
    pub(crate) claimed: (i64, i64),
    /// Least and greatest `time - time_claimed`: 0 where no clock was corrected.
    pub(crate) shift: (i64, i64),
}

impl Default for Range {
    fn default() -> Self {
        let none = (i64::MAX, i64::MIN);
        let device = (String::new(), String::new());
        Self { rows: 0, device, time: none, claimed: none, shift: none }
    }
}

impl Range {
    /// The range of a batch with all columns.
    pub(crate) fn of(layout: &Layout, columns: &Columns) -> Self {
        let (times, claims) = (columns.times(Layout::TIME), columns.times(layout.claimed()));
        let mut range = Self { rows: columns.rows as u64, ..Self::default() };
        for (time, claimed) in times.iter().zip(claims) {
            widen(&mut range.time, *time);
            widen(&mut range.claimed, *claimed);
            widen(&mut range.shift, Timestamp(*time).micros_since(Timestamp(*claimed)));
        }
        if let Some(devices) = columns.text(Layout::DEVICE) {
            // Every text of a dictionary of ours is in use.
            let least = devices.texts.iter().flatten().min();
            let greatest = devices.texts.iter().flatten().max();
            range.device = (least.unwrap_or("").to_owned(), greatest.unwrap_or("").to_owned());
        }
        range
    }

    /// Takes in another range.
    pub(crate) fn extend(&mut self, other: &Self) {
        if other.rows == 0 {
            return;
        }
        if self.rows == 0 {
            self.device.clone_from(&other.device);
        } else {
            if other.device.0 < self.device.0 {
                self.device.0.clone_from(&other.device.0);
            }
            if other.device.1 > self.device.1 {
                self.device.1.clone_from(&other.device.1);
            }
        }
        self.rows += other.rows;
        for (mine, theirs) in [
            (&mut self.time, other.time),
            (&mut self.claimed, other.claimed),
            (&mut self.shift, other.shift),
        ] {
            widen(mine, theirs.0);
            widen(mine, theirs.1);
        }
    }
}

fn widen(range: &mut (i64, i64), value: i64) {
    range.0 = range.0.min(value);
    range.1 = range.1.max(value);
}

/// Whether two closed ranges share a moment.
pub(crate) fn meet(a: (i64, i64), b: (i64, i64)) -> bool {
    a.0 <= b.1 && b.0 <= a.1
}

/// What two closed ranges share; empty ranges have their ends crossed.
pub(crate) fn common(a: (i64, i64), b: (i64, i64)) -> (i64, i64) {
    (a.0.max(b.0), a.1.min(b.1))
}
