//! What the router is to write down of sessions with its next commit: one transaction for all
//! that gathered meanwhile.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axle_domain::port::SessionChanges;
use axle_domain::{Offset, ReceivedPublish, Subscription, Timestamp, Will, limit};
use tokio::sync::{Notify, oneshot};

use crate::delivery::Delivery;
use crate::inbox::Inbox;
use crate::link::Link;

/// A message that the client has (QoS 2): once that is written down it may forget the packet id.
pub(crate) struct Released {
    pub(crate) link: Arc<Link>,
    pub(crate) packet_id: u16,
    pub(crate) key: (u64, u64),
}

/// A message of a shared subscription whose member went away.
pub(crate) struct Orphan {
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) delivery: Delivery,
}

/// A publish at QoS 2 that a session has taken.
pub(crate) struct Taken {
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) packet_id: u16,
    pub(crate) offset: Offset,
}

impl Taken {
    pub(crate) fn publish(&self) -> ReceivedPublish {
        let session = self.inbox.number;
        ReceivedPublish { session, packet_id: self.packet_id, offset: self.offset }
    }
}

/// A publish at QoS 2 that its client has released: once that is written down it hears so.
pub(crate) struct Completed {
    pub(crate) taken: Taken,
    pub(crate) link: Arc<Link>,
}

/// A will that stands in the log: with its record the state lets it go.
pub(crate) struct Sent {
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) connected_at: Timestamp,
    pub(crate) offset: Offset,
}

/// A subscription that is to get the retained messages of its topics.
pub(crate) struct Owed {
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) subscription: Arc<Subscription>,
}

/// What is noted of records that were appended, and what else the router does by and by.
#[derive(Default)]
pub(crate) struct Notes {
    /// Records with the retain flag.
    pub(crate) retained: Vec<Offset>,
    pub(crate) taken: Vec<Taken>,
    pub(crate) completed: Vec<Completed>,
    pub(crate) owed: Vec<Owed>,
    /// Wills that are to be sent now.
    pub(crate) wills: Vec<(Arc<Inbox>, Arc<Will>)>,
    pub(crate) sent: Vec<Sent>,
}

impl Notes {
    pub(crate) fn is_empty(&self) -> bool {
        self.retained.is_empty()
            && self.taken.is_empty()
            && self.completed.is_empty()
            && self.owed.is_empty()
            && self.wills.is_empty()
            && self.sent.is_empty()
    }

    /// Adds those of another.
    pub(crate) fn append(&mut self, mut other: Self) {
        self.retained.append(&mut other.retained);
        self.taken.append(&mut other.taken);
        self.completed.append(&mut other.completed);
        self.owed.append(&mut other.owed);
        self.wills.append(&mut other.wills);
        self.sent.append(&mut other.sent);
    }
}

/// Changes that wait.
#[derive(Default)]
pub(crate) struct Entries {
    /// Sessions that are to be stored as they are then.
    pub(crate) changed: BTreeMap<u64, Arc<Inbox>>,
    pub(crate) ended: Vec<u64>,
    pub(crate) settled: Vec<(Arc<Inbox>, u64)>,
    pub(crate) released: Vec<Released>,
    pub(crate) orphans: Vec<Orphan>,
    pub(crate) notes: Notes,
    /// Told when all this is durable.
    pub(crate) waiting: Vec<oneshot::Sender<()>>,
}

impl Entries {
    fn len(&self) -> usize {
        self.changed.len() + self.ended.len() + self.settled.len() + self.released.len()
    }

    /// As the store takes it.
    pub(crate) fn changes(&self) -> SessionChanges {
        SessionChanges {
            ended: self.ended.clone(),
            put: self.changed.values().map(|inbox| inbox.session()).collect(),
            settled: self.settled.iter().map(|(inbox, it)| (inbox.number, *it)).collect(),
            released: self.released.iter().map(|released| released.key).collect(),
            ..SessionChanges::default()
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
            && self.orphans.is_empty()
            && self.waiting.is_empty()
            && self.notes.is_empty()
    }
}

/// The entries and who hears of new ones.
#[derive(Default)]
pub(crate) struct Ledger {
    entries: Mutex<Entries>,
    pub(crate) news: Notify,
}

impl Ledger {
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, change: impl FnOnce(&mut Entries)) {
        change(&mut self.entries());
        self.news.notify_one();
    }

    /// Appends to the log and notes what of it the router must know, as one step: when the router
    /// takes what waits, the notes of every record are there that was appended before it looked
    /// at the end of the log.
    pub(crate) fn note<T>(&self, append: impl FnOnce(&mut Entries) -> T) -> T {
        append(&mut self.entries())
    }

    /// Tells the router that there is something to do.
    pub(crate) fn wake(&self) {
        self.news.notify_one();
    }

    /// Takes all that waits.
    pub(crate) fn take(&self) -> Entries {
        std::mem::take(&mut *self.entries())
    }

    /// Whether so much waits that clients should not add to it.
    pub(crate) fn is_full(&self) -> bool {
        self.entries().len() >= limit::SESSION_CHANGES_WAITING_MAX
    }

    /// A session is to be stored as it is.
    pub(crate) fn put(&self, inbox: &Arc<Inbox>) {
        self.write(|entries| {
            entries.changed.insert(inbox.number, Arc::clone(inbox));
        });
    }

    /// The same, and hears when it is durable.
    pub(crate) fn put_and_wait(&self, inbox: &Arc<Inbox>) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        self.write(|entries| {
            entries.changed.insert(inbox.number, Arc::clone(inbox));
            entries.waiting.push(sender);
        });
        receiver
    }

    /// Hears when what waits now is durable.
    pub(crate) fn wait(&self) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        self.write(|entries| entries.waiting.push(sender));
        receiver
    }

    /// A session has ended.
    pub(crate) fn end(&self, number: u64) {
        self.write(|entries| {
            entries.changed.remove(&number);
            entries.ended.push(number);
        });
    }

    /// A message is done with.
    pub(crate) fn settle(&self, inbox: &Arc<Inbox>, sequence: u64) {
        self.write(|entries| entries.settled.push((Arc::clone(inbox), sequence)));
    }

    /// A client has a message.
    pub(crate) fn release(&self, released: Released) {
        self.write(|entries| entries.released.push(released));
    }

    /// A client has released a publish at QoS 2.
    pub(crate) fn complete(&self, completed: Completed) {
        self.write(|entries| entries.notes.completed.push(completed));
    }

    /// A subscription is owed retained messages.
    pub(crate) fn owe(&self, owed: Owed) {
        self.write(|entries| entries.notes.owed.push(owed));
    }

    /// A will is to be sent.
    pub(crate) fn send(&self, inbox: Arc<Inbox>, will: Arc<Will>) {
        self.write(|entries| entries.notes.wills.push((inbox, will)));
    }

    /// Messages need another member of their group.
    pub(crate) fn orphan(&self, orphans: Vec<Orphan>) {
        if !orphans.is_empty() {
            self.write(|entries| entries.orphans.extend(orphans));
        }
    }
}
