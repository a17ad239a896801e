//! What a client has subscribed to, and how much waits for it. It is there without a connection
//! where the client asked for that; the messages themselves stand in the log, and in the state
//! which of them wait.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use axle_domain::port::QueueFigures;
use axle_domain::{
    ApplicationName, ClientSession, DeviceId, Subscription, Timestamp, Topic, limit,
};

use crate::link::Link;
use crate::packet::topic;

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

#[derive(Default)]
struct State {
    link: Weak<Link>,
    subscriptions: Vec<Arc<Subscription>>,
    /// 0: it ends with its connection.
    expiry_seconds: u32,
    left_at: Option<Timestamp>,
    rows: u64,
    bytes: u64,
    last_sequence: u64,
    sent_through: u64,
    /// Whether the state knows of it.
    is_stored: bool,
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
        let state = State {
            link: Weak::new(),
            subscriptions: session.subscriptions.into_iter().map(Arc::new).collect(),
            expiry_seconds: session.expiry_seconds,
            // While the server was down nobody could come back.
            left_at: Some(now),
            rows: figures.rows,
            bytes: figures.bytes,
            last_sequence: figures.last_sequence.max(session.sent_through),
            sent_through: session.sent_through,
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
        let is_live = state.link.strong_count() > 0;
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
            sent_through: if is_live { state.last_sequence } else { state.sent_through },
            subscriptions: state.subscriptions.iter().map(|it| Subscription::clone(it)).collect(),
        }
    }

    /// The live connection, if there is one.
    pub(crate) fn link(&self) -> Option<Arc<Link>> {
        self.state().link.upgrade()
    }

    /// A connection takes it.
    pub(crate) fn attach(&self, link: &Arc<Link>, expiry_seconds: u32) {
        let mut state = self.state();
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
        state.subscriptions.push(subscription);
        Some(false)
    }

    /// Takes a subscription away and returns it.
    pub(crate) fn unsubscribe(&self, filter: &str) -> Option<Arc<Subscription>> {
        let mut state = self.state();
        let at = state.subscriptions.iter().position(|other| &*other.filter == filter)?;
        Some(state.subscriptions.remove(at))
    }

    pub(crate) fn subscriptions(&self) -> Vec<Arc<Subscription>> {
        self.state().subscriptions.clone()
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
            matching.filter(|it| it.share().is_none() && topic::matches(&it.filter, name));
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
        state.last_sequence += 1;
        state.rows += 1;
        state.bytes += u64::from(bytes);
        state.last_sequence
    }

    /// Notes what has left the queue.
    pub(crate) fn subtract(&self, gone: QueueFigures) {
        let mut state = self.state();
        state.rows = state.rows.saturating_sub(gone.rows);
        state.bytes = state.bytes.saturating_sub(gone.bytes);
    }

    /// How much too long the queue is.
    pub(crate) fn excess(&self) -> Option<QueueFigures> {
        let state = self.state();
        let over = QueueFigures {
            rows: state.rows.saturating_sub(limit::SESSION_QUEUE_ROWS_MAX),
            bytes: state.bytes.saturating_sub(limit::SESSION_QUEUE_BYTES_MAX),
            last_sequence: 0,
        };
        (over.rows > 0 || over.bytes > 0).then_some(over)
    }

    /// Whether one more message may wait without another giving way.
    pub(crate) fn has_room(&self, bytes: u32) -> bool {
        let state = self.state();
        state.rows < limit::SESSION_QUEUE_ROWS_MAX
            && state.bytes + u64::from(bytes) <= limit::SESSION_QUEUE_BYTES_MAX
    }

    pub(crate) fn has_rows(&self) -> bool {
        self.state().rows > 0
    }

    /// Notes that a message was sent; says whether it may have been before.
    pub(crate) fn note_sent(&self, sequence: u64) -> bool {
        let mut state = self.state();
        let is_again = sequence <= state.sent_through;
        state.sent_through = state.sent_through.max(sequence);
        is_again
    }
}

/// The packet id of a message that waits at rest.
pub(crate) fn packet_id(sequence: u64) -> u16 {
    let most = u64::from(QUEUED_PACKET_ID_MAX);
    u16::try_from(sequence % most + 1).unwrap_or(1)
}
