//! How long after its arrival a message is shown, by projection.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use axle_domain::port::{Clock, Record};
use axle_domain::{LatencyCounts, LatencyHistogram, Timestamp};

/// When the first and the last message of a stretch arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrived {
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
}

impl Arrived {
    pub(crate) fn of(records: &[Record]) -> Option<Self> {
        // A replay arrived when it was replayed.
        let arrived = |record: &Record| record.replayed_at.unwrap_or(record.received_at);
        Some(Self { first: arrived(records.first()?), last: arrived(records.last()?) })
    }

    /// With what came after it.
    pub(crate) fn and(self, later: Self) -> Self {
        Self { first: self.first, last: later.last }
    }
}

/// The lag of one projection.
#[derive(Debug)]
pub(crate) struct Lag {
    shown_after: LatencyHistogram,
    /// When the newest message that is shown arrived; 0 where none is yet.
    newest: AtomicI64,
}

impl Default for Lag {
    fn default() -> Self {
        Self { shown_after: LatencyHistogram::default(), newest: AtomicI64::new(0) }
    }
}

impl Lag {
    /// Takes a stretch that is shown from now on; its oldest message is what counts.
    pub(crate) fn shown(&self, arrived: Arrived, clock: &Arc<dyn Clock>) {
        let took = clock.now().micros_since(arrived.first);
        self.shown_after.record(Duration::from_micros(u64::try_from(took).unwrap_or(0)));
        self.newest.store(arrived.last.0, Ordering::Relaxed);
    }

    pub(crate) fn figures(&self) -> LagFigures {
        let newest = self.newest.load(Ordering::Relaxed);
        LagFigures {
            shown_after: self.shown_after.counts(),
            newest: (newest != 0).then_some(Timestamp(newest)),
        }
    }
}

/// How long after its arrival a message is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LagFigures {
    /// From the arrival of the oldest message of a stretch until it is shown, since the start.
    pub shown_after: LatencyCounts,
    /// When the newest message that is shown arrived.
    pub newest: Option<Timestamp>,
}
