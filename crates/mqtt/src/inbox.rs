//! What a client has subscribed to, and how much waits for it. It is there without a connection
//! where the client asked for that; the messages themselves stand in the log, and in the state
//! which of them wait.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use axle_domain::port::QueueFigures;
use axle_domain::{
    ApplicationName, ClientSession, ConnectionId, DeviceId, Offset, Subscription, Timestamp, Topic,
    Will, filter_contains, limit,
};
use smallvec::SmallVec;

use crate::link::Link;

/// Packet ids of messages that wait at rest are 1 to this: the same after a restart. Those of
/// messages that are only in memory are above.
pub(crate) const QUEUED_PACKET_ID_MAX: u16 = 0x7fff;

/// How the owner of a session at rest begins that is a device.
const DEVICE: &str = "device:";
/// The same of a backend application.
const APPLICATION: &str = "application:";

/// A client's subscriptions and the figures of its queue.
pub(crate) struct Inbox {
    /// Never given twice.
    pub(crate) number: u64,
    pub(crate) client_id: Arc<str>,
    /// The device; a local tool has none.
    pub(crate) device: Option<DeviceId>,
    /// The backend application, if it is one.
    pub(crate) application: Option<ApplicationName>,
    state: Mutex<State>,
}

/// What there is of every client, connected or not: what most have not is in boxes.
#[derive(Default)]
struct State {
    link: Weak<Link>,
    /// Of most clients one or two.
    subscriptions: SmallVec<[Arc<Subscription>; 2]>,
    /// 0: it ends with its connection.
    expiry_seconds: u32,
    left_at: Option<Timestamp>,
    /// None as long as no message has waited.
    queue: Option<Box<Queue>>,
    /// Whether the state knows of it.
    is_stored: bool,
    /// Whether it is over; whoever still holds it holds nothing.
    is_ended: bool,
    will: Option<Arc<Will>>,
    /// Whether it stands in the log: until that is durable, the state keeps it.
    is_will_sent: bool,
    /// What few have.
    rare: Option<Box<Rare>>,
}

/// The figures of a queue at rest.
#[derive(Clone, Copy, Default)]
struct Queue {
    rows: u64,
    bytes: u64,
    last_sequence: u64,
    sent_through: u64,
}

#[derive(Default)]
struct Rare {
    /// Publishes at QoS 2 that the client has not released, by packet id.
    received: BTreeMap<u16, Received>,
    /// Filters whose retained messages are still owed, and the topic of the last one given.
    owed: Vec<(Box<str>, Box<str>)>,
}

#[derive(Clone, Copy)]
struct Received {
    offset: Offset,
    /// The connection that waits to hear that it is released.
    released_by: Option<ConnectionId>,
}

/// What is known of a packet id that a client publishes at QoS 2 with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// Nothing: a new message.
    New,
    /// This message, which was not released.
    Received(Offset),
    /// The client has released it, and has not heard that this is stored.
    Released,
}

/// What follows from PUBREL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Release {
    /// Nothing was there to be released.
    Unknown,
    /// It is to be written down that this message is.
    Begins(Offset),
    /// That is under way already.
    UnderWay,
}

/// What a topic's subscriptions grant together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) qos: u8,
    pub(crate) identifiers: Vec<u32>,
}

impl Inbox {
    pub(crate) fn new(number: u64, link: &Link) -> Arc<Self> {
        Arc::new(Self {
            number,
            client_id: Arc::clone(&link.client_id),
            device: link.device.clone(),
            application: link.application.clone(),
            state: Mutex::default(),
        })
    }

    /// One that was kept.
    pub(crate) fn load(session: ClientSession, figures: QueueFigures, now: Timestamp) -> Arc<Self> {
        let owed = session.subscriptions.iter();
        let owed = owed.filter_map(|it| Some((it.filter.clone(), it.retained_after.clone()?)));
        let owed: Vec<_> = owed.collect();
        let rare = Rare { owed, ..Rare::default() };
        let queue = Queue {
            rows: figures.rows,
            bytes: figures.bytes,
            last_sequence: figures.last_sequence.max(session.sent_through),
            sent_through: session.sent_through,
        };
        let state = State {
            is_ended: false,
            will: session.will.map(Arc::new),
            is_will_sent: false,
            rare: (!rare.owed.is_empty()).then(|| Box::new(rare)),
            link: Weak::new(),
            subscriptions: session.subscriptions.into_iter().map(Arc::new).collect(),
            expiry_seconds: session.expiry_seconds,
            // While the server was down nobody could come back.
            left_at: Some(now),
            queue: (queue.last_sequence > 0).then(|| Box::new(queue)),
            is_stored: true,
        };
        Arc::new(Self {
            number: session.number,
            client_id: Arc::from(session.client_id),
            device: session.owner.strip_prefix(DEVICE).and_then(|id| DeviceId::parse(id).ok()),
            application: session
                .owner
                .strip_prefix(APPLICATION)
                .and_then(|name| ApplicationName::parse(name).ok()),
            state: Mutex::new(state),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As it is stored. What may have been sent of a live one is taken for sent.
    pub(crate) fn session(&self) -> ClientSession {
        let state = self.state();
        let (is_live, queue) = (state.link.strong_count() > 0, state.queue());
        ClientSession {
            number: self.number,
            client_id: self.client_id.to_string(),
            owner: match (&self.device, &self.application) {
                (Some(device), _) => format!("{DEVICE}{device}"),
                (None, Some(application)) => format!("{APPLICATION}{application}"),
                (None, None) => String::new(),
            },
            expiry_seconds: state.expiry_seconds,
            left_at: state.left_at,
            sent_through: if is_live { queue.last_sequence } else { queue.sent_through },
            subscriptions: state
                .subscriptions
                .iter()
                .map(|it| Subscription {
                    retained_after: state.owed(&it.filter).map(Into::into),
                    ..Subscription::clone(it)
                })
                .collect(),
            will: state.will.as_deref().cloned(),
        }
    }

    /// The live connection, if there is one.
    pub(crate) fn link(&self) -> Option<Arc<Link>> {
        self.state().link.upgrade()
    }

    /// A connection takes it, with the will that it has made.
    pub(crate) fn attach(&self, link: &Arc<Link>, expiry_seconds: u32, will: Option<Arc<Will>>) {
        let mut state = self.state();
        // [MQTT-3.1.3-9]: whoever comes back takes away what waited.
        state.will = will.filter(|_| expiry_seconds > 0);
        state.is_will_sent = false;
        state.link = Arc::downgrade(link);
        state.expiry_seconds = expiry_seconds;
        state.left_at = None;
        state.is_stored |= expiry_seconds > 0;
    }

    /// Its connection has ended.
    pub(crate) fn detach(&self, now: Timestamp) {
        let mut state = self.state();
        state.link = Weak::new();
        state.left_at = Some(now);
    }

    pub(crate) fn put_expiry(&self, seconds: u32) {
        self.state().expiry_seconds = seconds;
    }

    /// Whether it outlives its connection.
    pub(crate) fn is_kept(&self) -> bool {
        self.state().expiry_seconds > 0
    }

    /// It is over; returns the will that nobody is left to send.
    pub(crate) fn end(&self) -> Option<Arc<Will>> {
        let mut state = self.state();
        state.is_ended = true;
        let will = state.will.take();
        will.filter(|_| state.link.strong_count() == 0 && !state.is_will_sent)
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.state().is_ended
    }

    /// When its will is to be sent, if nobody comes back before.
    pub(crate) fn will_due(&self) -> Option<(Timestamp, Arc<Will>)> {
        let state = self.state();
        let will = state.will.as_ref().filter(|_| !state.is_will_sent)?;
        let left_at = state.left_at?;
        let wait = will.delay_seconds.min(state.expiry_seconds);
        let due = left_at.0.saturating_add(i64::from(wait) * 1_000_000);
        Some((Timestamp(due), Arc::clone(will)))
    }

    /// Whether it has a will.
    pub(crate) fn has_will(&self) -> bool {
        self.state().will.is_some()
    }

    /// Whether the will of that connection is here and was not sent.
    pub(crate) fn holds_will(&self, connected_at: Timestamp) -> bool {
        let state = self.state();
        state.is_will_of(connected_at) && !state.is_will_sent
    }

    /// Notes that the will of that connection stands in the log; says whether it was here.
    pub(crate) fn note_will_sent(&self, connected_at: Timestamp) -> bool {
        let mut state = self.state();
        let is_there = state.is_will_of(connected_at);
        state.is_will_sent |= is_there;
        is_there
    }

    /// Forgets a will that was sent or withdrawn; says whether it was there.
    pub(crate) fn forget_will(&self, connected_at: Timestamp) -> bool {
        let mut state = self.state();
        let is_there = state.is_will_of(connected_at);
        if is_there {
            state.will = None;
        }
        is_there
    }

    /// What is known of a packet id.
    pub(crate) fn known(&self, packet_id: u16) -> Known {
        let state = self.state();
        match state.rare.as_ref().and_then(|rare| rare.received.get(&packet_id)) {
            None => Known::New,
            Some(Received { released_by: Some(_), .. }) => Known::Released,
            Some(Received { offset, .. }) => Known::Received(*offset),
        }
    }

    /// Notes a publish at QoS 2.
    pub(crate) fn receive(&self, packet_id: u16, offset: Offset) {
        let received = Received { offset, released_by: None };
        self.state().rare.get_or_insert_default().received.insert(packet_id, received);
    }

    /// The client has released a packet id, and waits to hear that this is stored.
    pub(crate) fn release(&self, packet_id: u16, by: ConnectionId) -> Release {
        let mut state = self.state();
        let received = state.rare.as_mut().and_then(|rare| rare.received.get_mut(&packet_id));
        let Some(received) = received else { return Release::Unknown };
        if received.released_by.replace(by) == Some(by) {
            return Release::UnderWay;
        }
        Release::Begins(received.offset)
    }

    /// Forgets a message at QoS 2, if its packet id does not stand for another one already.
    pub(crate) fn complete(&self, packet_id: u16, offset: Offset) {
        let mut state = self.state();
        let Some(rare) = &mut state.rare else { return };
        if rare.received.get(&packet_id).is_some_and(|received| received.offset == offset) {
            rare.received.remove(&packet_id);
        }
        state.tidy();
    }

    /// Whether a message at QoS 2 is not released, as far as is known.
    pub(crate) fn holds(&self, packet_id: u16, offset: Offset) -> bool {
        let state = self.state();
        let received = state.rare.as_ref().and_then(|rare| rare.received.get(&packet_id));
        received.is_some_and(|received| received.offset == offset)
    }

    /// The topic behind which retained messages are owed to a subscription; `None` where none
    /// are, or it is no subscription any more.
    pub(crate) fn owed(&self, subscription: &Arc<Subscription>) -> Option<Box<str>> {
        let state = self.state();
        let is_there = state.subscriptions.iter().any(|it| Arc::ptr_eq(it, subscription));
        is_there.then(|| state.owed(&subscription.filter).map(Into::into))?
    }

    /// Notes how far retained messages were given; `None`: all of them.
    pub(crate) fn put_owed(&self, filter: &str, after: Option<&str>) {
        let mut state = self.state();
        let owed = &mut state.rare.get_or_insert_default().owed;
        owed.retain(|(other, _)| &**other != filter);
        if let Some(after) = after {
            owed.push((filter.into(), after.into()));
        }
        state.tidy();
    }

    /// Messages that wait at rest.
    pub(crate) fn rows(&self) -> u64 {
        self.state().queue().rows
    }

    /// Whether the state knows of it.
    pub(crate) fn is_stored(&self) -> bool {
        self.state().is_stored
    }

    /// Whether its time is over.
    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        let state = self.state();
        let Some(left_at) = state.left_at else { return false };
        let expiry = Duration::from_secs(u64::from(state.expiry_seconds));
        u128::try_from(now.micros_since(left_at)).is_ok_and(|gone| gone >= expiry.as_micros())
    }

    /// Adds or replaces a subscription; says whether there was one of that filter already, or
    /// `None` where there is no room.
    pub(crate) fn subscribe(&self, subscription: Arc<Subscription>) -> Option<bool> {
        let mut state = self.state();
        let same = |other: &&mut Arc<Subscription>| other.filter == subscription.filter;
        if let Some(known) = state.subscriptions.iter_mut().find(same) {
            *known = subscription;
            return Some(true);
        }
        if state.subscriptions.len() >= limit::SUBSCRIPTIONS_MAX {
            return None;
        }
        // One more at a time: there are few, and they stay.
        state.subscriptions.reserve_exact(1);
        state.subscriptions.push(subscription);
        Some(false)
    }

    /// Takes a subscription away and returns it.
    pub(crate) fn unsubscribe(&self, filter: &str) -> Option<Arc<Subscription>> {
        let mut state = self.state();
        let at = state.subscriptions.iter().position(|other| &*other.filter == filter)?;
        if let Some(rare) = &mut state.rare {
            rare.owed.retain(|(other, _)| &**other != filter);
        }
        Some(state.subscriptions.remove(at))
    }

    pub(crate) fn subscriptions(&self) -> Vec<Arc<Subscription>> {
        self.state().subscriptions.to_vec()
    }

    /// Whether messages of others come by this subscription. Commands of a device's own tree
    /// come by the dispatch alone, and never wait.
    pub(crate) fn is_routed(&self, subscription: &Subscription) -> bool {
        match &self.device {
            None => true,
            Some(device) => !Topic::may_subscribe(device.as_str(), &subscription.filter),
        }
    }

    /// What its subscriptions grant to a message that the server itself sends.
    pub(crate) fn grant(&self, name: &str) -> Option<Grant> {
        let state = self.state();
        let matching = state.subscriptions.iter();
        let mut matching =
            matching.filter(|it| it.share().is_none() && filter_contains(&it.filter, name));
        let first = matching.next()?;
        let (mut qos, mut identifiers) = (first.qos, vec![first.identifier]);
        for other in matching {
            qos = qos.max(other.qos);
            identifiers.push(other.identifier);
        }
        identifiers.retain(|identifier| *identifier != 0);
        Some(Grant { qos, identifiers })
    }

    /// The sequence of a message that is to wait.
    pub(crate) fn take_sequence(&self, bytes: u32) -> u64 {
        let mut state = self.state();
        let queue = state.queue.get_or_insert_default();
        queue.last_sequence += 1;
        queue.rows += 1;
        queue.bytes += u64::from(bytes);
        queue.last_sequence
    }

    /// Notes what has left the queue.
    pub(crate) fn subtract(&self, gone: QueueFigures) {
        let mut state = self.state();
        let Some(queue) = &mut state.queue else { return };
        queue.rows = queue.rows.saturating_sub(gone.rows);
        queue.bytes = queue.bytes.saturating_sub(gone.bytes);
    }

    /// How much too long the queue is.
    pub(crate) fn excess(&self) -> Option<QueueFigures> {
        let queue = self.state().queue();
        let over = QueueFigures {
            rows: queue.rows.saturating_sub(limit::SESSION_QUEUE_ROWS_MAX),
            bytes: queue.bytes.saturating_sub(limit::SESSION_QUEUE_BYTES_MAX),
            last_sequence: 0,
        };
        (over.rows > 0 || over.bytes > 0).then_some(over)
    }

    /// Whether one more message may wait without another giving way.
    pub(crate) fn has_room(&self, bytes: u32) -> bool {
        let queue = self.state().queue();
        queue.rows < limit::SESSION_QUEUE_ROWS_MAX
            && queue.bytes + u64::from(bytes) <= limit::SESSION_QUEUE_BYTES_MAX
    }

    pub(crate) fn has_rows(&self) -> bool {
        self.state().queue().rows > 0
    }

    /// Notes that a message was sent; says whether it may have been before.
    pub(crate) fn note_sent(&self, sequence: u64) -> bool {
        let mut state = self.state();
        let queue = state.queue.get_or_insert_default();
        let is_again = sequence <= queue.sent_through;
        queue.sent_through = queue.sent_through.max(sequence);
        is_again
    }
}

impl State {
    fn is_will_of(&self, connected_at: Timestamp) -> bool {
        self.will.as_ref().is_some_and(|will| will.connected_at == connected_at)
    }

    fn queue(&self) -> Queue {
        self.queue.as_deref().copied().unwrap_or_default()
    }

    fn owed(&self, filter: &str) -> Option<&str> {
        let mut owed = self.rare.as_ref()?.owed.iter();
        owed.find(|(other, _)| &**other == filter).map(|(_, after)| &**after)
    }

    /// An idle session keeps nothing.
    fn tidy(&mut self) {
        if self.rare.as_ref().is_some_and(|it| it.received.is_empty() && it.owed.is_empty()) {
            self.rare = None;
        }
    }
}

/// The packet id of a message that waits at rest.
pub(crate) fn packet_id(sequence: u64) -> u16 {
    let most = u64::from(QUEUED_PACKET_ID_MAX);
    u16::try_from(sequence % most + 1).unwrap_or(1)
}
