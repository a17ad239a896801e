//! What the use cases count: the law of the door, and how far each projection is.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use axle_domain::port::{Counters, EventLog};
use axle_domain::{Envelope, Message, Offset, Source, Timestamp, Turned};

/// Counts at the door of what was refused or turned away.
///
/// They go into the log as small records, and what was refused is acknowledged once its record is
/// durable: so the law of the door stays exact over any crash. Where the log has no room they
/// wait here for the next record, or for the projection's next commit. Only what nobody was told
/// of (QoS 0 that was shed) can be lost with the process.
#[derive(Debug, Default)]
pub struct DoorMetrics {
    rejected: AtomicU64,
    shed: AtomicU64,
    /// The most that was told of. Counts on their way from here into the state are in neither for
    /// a moment; they came all the same, and a monitoring system takes less for a restart.
    told: Mutex<Counters>,
}

impl DoorMetrics {
    pub(crate) fn rejected(&self, messages: u64) {
        self.rejected.fetch_add(messages, Ordering::Relaxed);
    }

    pub(crate) fn shed(&self, messages: u64) {
        self.shed.fetch_add(messages, Ordering::Relaxed);
    }

    /// Writes counts into the log, with all that wait here. Says which record has them; `None`
    /// where the log takes none now: then they wait.
    pub(crate) fn note(
        &self,
        log: &dyn EventLog,
        now: Timestamp,
        turned: Turned,
    ) -> Option<Offset> {
        let waiting = self.take();
        let turned = Turned {
            rejected: turned.rejected + waiting.rejected,
            shed: turned.shed + waiting.shed,
        };
        let appended = log.append(&Message {
            source: Source::Door,
            device: "",
            topic: "",
            content_type: "",
            payload: &turned.to_payload(),
            received_at: now,
            connected_at: now,
            sent_at: None,
            replayed_at: None,
            origin: "",
            envelope: Envelope::default(),
        });
        if appended.is_err() {
            self.rejected(turned.rejected);
            self.shed(turned.shed);
        }
        appended.ok()
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

    /// What to tell where `counters` were found: never less than before.
    pub(crate) fn tell(&self, counters: Counters) -> Counters {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.raise_to(counters);
        *told
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
