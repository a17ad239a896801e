//! The events in memory: those that are not written yet, and those that a repeat may still add to.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};

use axle_domain::{ConnectionEvent, GATHER_TIME, Timestamp, limit};

/// Places that the index keeps, so that it does not grow and shrink all the time.
const SPARE: usize = 256;

/// Events by their number, which is the number of their row.
pub(super) struct Recent {
    ///
    /// In boxes: new numbers come behind all others, which leaves the nodes of the tree half empty.
    events: BTreeMap<u64, Box<ConnectionEvent>>,
    /// The newest event of each cause, by the hash of the cause: the event has the cause itself,
    /// and takes no repeat of another one.
    newest: HashMap<u64, u64>,
    hasher: RandomState,
    unwritten: BTreeSet<u64>,
    next: u64,
    dropped: u64,
    last_at: Timestamp,
}

impl Recent {
    pub(super) fn new(next: u64) -> Self {
        Self {
            events: BTreeMap::new(),
            newest: HashMap::new(),
            hasher: RandomState::new(),
            unwritten: BTreeSet::new(),
            next,
            dropped: 0,
            last_at: Timestamp(0),
        }
    }

    /// Takes an event; one too many pushes the oldest out.
    pub(super) fn record(&mut self, event: ConnectionEvent) {
        self.last_at = self.last_at.max(event.at);
        let cause = self.hash(&event);
        if let Some(number) = self.newest.get(&cause)
            && let Some(known) = self.events.get_mut(number)
            && known.gather(&event)
        {
            self.unwritten.insert(*number);
            return;
        }
        while self.events.len() >= limit::CONNECTION_EVENTS_IN_MEMORY_MAX {
            let Some((&oldest, _)) = self.events.first_key_value() else { break };
            self.forget(oldest);
        }
        self.newest.insert(cause, self.next);
        self.unwritten.insert(self.next);
        self.events.insert(self.next, Box::new(event));
        self.next += 1;
    }

    fn hash(&self, event: &ConnectionEvent) -> u64 {
        self.hasher.hash_one(event.cause())
    }

    fn forget(&mut self, number: u64) {
        let Some(event) = self.events.remove(&number) else { return };
        if self.unwritten.remove(&number) {
            self.dropped += 1;
        }
        let cause = self.hash(&event);
        if self.newest.get(&cause) == Some(&number) {
            self.newest.remove(&cause);
        }
    }

    pub(super) fn unwritten_count(&self) -> usize {
        self.unwritten.len()
    }

    /// Copies of the oldest events that are to be written; they count as written from now on.
    pub(super) fn take_unwritten(&mut self, most: usize) -> Vec<(u64, ConnectionEvent)> {
        let mut taken = Vec::with_capacity(most.min(self.unwritten.len()));
        while taken.len() < most
            && let Some(number) = self.unwritten.pop_first()
        {
            taken.extend(
                self.events.get(&number).map(|event| (number, ConnectionEvent::clone(event))),
            );
        }
        taken
    }

    /// These were not written after all.
    pub(super) fn put_back(&mut self, numbers: impl Iterator<Item = u64>) {
        for number in numbers {
            if self.events.contains_key(&number) {
                self.unwritten.insert(number);
            } else {
                self.dropped += 1;
            }
        }
    }

    /// Forgets what is written and too old to be repeated, and the oldest of what is written and
    /// too much: a repeat of those is a row of its own.
    pub(super) fn forget_old(&mut self) {
        let written = self.events.len() - self.unwritten.len();
        let mut excess = written.saturating_sub(limit::CONNECTION_EVENTS_REPEATABLE_MAX);
        let written = self.events.iter().filter(|(number, _)| !self.unwritten.contains(number));
        let old: Vec<u64> = written
            .filter(|(_, event)| {
                let is_old = excess > 0 || event.first_at.after(GATHER_TIME) <= self.last_at;
                excess = excess.saturating_sub(1);
                is_old
            })
            .map(|(number, _)| *number)
            .collect();
        old.into_iter().for_each(|number| self.forget(number));
        if self.newest.capacity() > 4 * self.newest.len() + SPARE {
            self.newest.shrink_to(self.newest.len() + SPARE);
        }
    }

    pub(super) fn count_dropped(&mut self, events: u64) {
        self.dropped += events;
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axle_domain::{ConnectionOutcome, RefusalStage};

    fn event(second: i64, client: usize) -> ConnectionEvent {
        let at = Timestamp(second * 1_000_000);
        ConnectionEvent {
            first_at: at,
            at,
            count: 1,
            device: None,
            is_proved: false,
            fingerprint: None,
            address: [127, 0, 0, 1].into(),
            protocol: None,
            client_id: client.to_string(),
            outcome: ConnectionOutcome::Refused { stage: RefusalStage::Connect },
            code: "not_mqtt".to_owned(),
            reason: String::new(),
            next_step: String::new(),
        }
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_go_first() {
        let mut recent = Recent::new(1);
        let most = limit::CONNECTION_EVENTS_IN_MEMORY_MAX;
        (0..most + 3).for_each(|client| recent.record(event(0, client)));
        assert_eq!((recent.events.len(), recent.newest.len(), recent.dropped()), (most, most, 3));
        assert_eq!(recent.take_unwritten(1)[0].1.client_id, "3");
        recent.record(event(0, most + 3));
        assert_eq!(recent.dropped(), 3, "the one that went was written");
    }

    #[test]
    fn a_repeat_of_a_written_event_is_written_again_under_its_number() {
        let mut recent = Recent::new(7);
        recent.record(event(0, 1));
        assert_eq!(recent.take_unwritten(9).len(), 1);
        assert_eq!(recent.unwritten_count(), 0);
        recent.record(event(30, 1));
        let (number, again) = recent.take_unwritten(9).remove(0);
        assert_eq!((number, again.count, again.at), (7, 2, Timestamp(30_000_000)));
        recent.record(event(60, 1));
        recent.forget_old();
        assert_eq!(recent.events.keys().copied().collect::<Vec<_>>(), [8]);
    }

    #[test]
    fn of_what_is_written_no_more_is_kept_than_is_worth_it() {
        let mut recent = Recent::new(1);
        let most = limit::CONNECTION_EVENTS_REPEATABLE_MAX;
        (0..most + 5).for_each(|client| recent.record(event(0, client)));
        assert_eq!(recent.take_unwritten(most + 3).len(), most + 3);
        recent.forget_old();
        assert_eq!((recent.events.len(), recent.unwritten_count()), (most + 2, 2));
        assert_eq!(recent.events.keys().next(), Some(&4), "the oldest went");
        recent.record(event(1, most + 2));
        assert_eq!(recent.take_unwritten(9)[0].1.count, 2, "the newest may be repeated");
        assert_eq!(recent.dropped(), 0);
    }

    #[test]
    fn what_could_not_be_written_is_tried_again() {
        let mut recent = Recent::new(1);
        recent.record(event(0, 1));
        let taken = recent.take_unwritten(9);
        recent.put_back(taken.iter().map(|(number, _)| *number).chain([99]));
        assert_eq!((recent.take_unwritten(9), recent.dropped()), (taken, 1));
    }
}
