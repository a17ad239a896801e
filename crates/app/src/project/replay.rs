//! What the log means, computed again: to be compared with what the projections have.

use axle_domain::port::{Projected, Record};
use axle_domain::{DeviceId, LatestValue, Offset, RowBatch, Schemas, Timestamp};

use super::fold::Fold;
use super::stretch::Stretch;

/// Which projections have gone beyond a stretch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// The store has its rows.
    pub store: bool,
    /// The state has learned from it.
    pub state: bool,
}

/// A replay of the log that touches no projection.
pub struct Replay<'a> {
    schemas: &'a Schemas,
    fold: Fold,
}

impl<'a> Replay<'a> {
    /// A replay from nothing.
    #[must_use]
    pub fn new(schemas: &'a Schemas) -> Self {
        Self { schemas, fold: Fold::default() }
    }

    /// The rows of a stretch for the store, and what the state learns from it but for latest
    /// values and signs of life, which gather.
    pub fn stretch(&mut self, records: &[Record], reached: Reached) -> (Vec<RowBatch>, Projected) {
        let from = |is_reached| if is_reached { Offset(0) } else { Offset(u64::MAX) };
        let mut stretch = Stretch::new(self.schemas, from(reached.store), from(reached.state));
        // What the state has not learned must not gather.
        let mut beyond = Fold::default();
        let fold = if reached.state { &mut self.fold } else { &mut beyond };
        for record in records {
            stretch.take(record, fold);
        }
        (stretch.take_batches(fold), stretch.changes)
    }

    /// The latest value of each field, and when each device was last heard of.
    #[must_use]
    pub fn finish(self) -> (Vec<LatestValue>, Vec<(DeviceId, Timestamp)>) {
        self.fold.finish()
    }
}
