//! What the use cases count: the law of the door, and how far each projection is.

use std::sync::atomic::{AtomicU64, Ordering};

use axle_domain::port::Counters;

/// Counts at the door that the log does not hold: what was refused or turned away.
///
/// They wait here until the projection commits them together with what the log holds, so that
/// the law of the door stays exact over restarts.
#[derive(Debug, Default)]
pub struct DoorMetrics {
    rejected: AtomicU64,
    shed: AtomicU64,
}

impl DoorMetrics {
    pub(crate) fn rejected(&self, messages: u64) {
        self.rejected.fetch_add(messages, Ordering::Relaxed);
    }

    pub(crate) fn shed(&self, messages: u64) {
        self.shed.fetch_add(messages, Ordering::Relaxed);
    }

    /// Takes the counts away, to be committed.
    pub(crate) fn take(&self) -> Counters {
        Counters {
            rejected: self.rejected.swap(0, Ordering::Relaxed),
            shed: self.shed.swap(0, Ordering::Relaxed),
            ..Counters::default()
        }
    }

    /// Takes counts back whose commit has failed.
    pub(crate) fn put_back(&self, counts: Counters) {
        self.rejected(counts.rejected);
        self.shed(counts.shed);
    }

    /// What waits to be committed.
    pub(crate) fn pending(&self) -> Counters {
        Counters {
            rejected: self.rejected.load(Ordering::Relaxed),
            shed: self.shed.load(Ordering::Relaxed),
            ..Counters::default()
        }
    }
}
