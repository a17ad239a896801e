//! What others may do to a connection: give it messages, and end it. The connection's own task
//! does the rest.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axle_domain::port::SendError;
use axle_domain::{ApplicationName, ConnectionId, DeviceId, Fingerprint, Timestamp, limit};
use bytes::Bytes;
use futures_util::task::AtomicWaker;
use tokio::sync::oneshot;

use crate::packet::Version;
use crate::packet::refusal::Refusal;
use crate::packet::topic;

/// Most messages that wait for one connection.
const QUEUE_ITEMS_MAX: usize = 1024;
/// Most bytes of messages that wait for one connection.
const QUEUE_BYTES_MAX: usize = 1024 * 1024;
/// What a message in the queue costs beside its own bytes.
const ITEM_BYTES: usize = 128;

/// A subscription of a live connection.
#[derive(Clone, Debug)]
pub(crate) struct Subscription {
    pub(crate) filter: Box<str>,
    /// The QoS that was granted: 0 or 1.
    pub(crate) qos: u8,
    /// 0 if none.
    pub(crate) identifier: u32,
    pub(crate) is_no_local: bool,
}

/// A message on its way out.
pub(crate) struct Delivery {
    pub(crate) topic: Arc<str>,
    pub(crate) payload: Bytes,
    /// MQTT 5 properties as they stand on the wire.
    pub(crate) properties: Bytes,
    pub(crate) qos: u8,
    pub(crate) identifiers: Vec<u32>,
    /// Told the evidence of the acknowledgement; dropped when there will be none.
    pub(crate) receipt: Option<oneshot::Sender<String>>,
}

impl Delivery {
    fn cost(&self) -> usize {
        self.topic.len() + self.payload.len() + self.properties.len() + ITEM_BYTES
    }
}

/// One connection as the others see it.
pub(crate) struct Link {
    pub(crate) id: ConnectionId,
    pub(crate) client_id: Arc<str>,
    /// The device; a local tool has none.
    pub(crate) device: Option<DeviceId>,
    /// The backend application, if it is one; it has no device.
    pub(crate) application: Option<ApplicationName>,
    /// The certificate that it came with.
    pub(crate) fingerprint: Option<Fingerprint>,
    pub(crate) connected_at: Timestamp,
    pub(crate) version: Version,
    /// Largest packet that the client takes.
    pub(crate) packet_bytes_max: usize,
    pub(crate) waker: AtomicWaker,
    /// Whether there is something new in `state`.
    has_news: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    closing: Option<Refusal>,
    subscriptions: Vec<Subscription>,
    queue: VecDeque<Delivery>,
    queued_bytes: usize,
}

/// Who a connection is, settled before there is a link.
pub(crate) struct LinkOf {
    pub(crate) id: ConnectionId,
    pub(crate) client_id: Arc<str>,
    pub(crate) device: Option<DeviceId>,
    pub(crate) application: Option<ApplicationName>,
    pub(crate) fingerprint: Option<Fingerprint>,
    pub(crate) connected_at: Timestamp,
    pub(crate) version: Version,
    pub(crate) packet_bytes_max: usize,
}

impl Link {
    pub(crate) fn new(of: LinkOf) -> Arc<Self> {
        Arc::new(Self {
            id: of.id,
            client_id: of.client_id,
            device: of.device,
            application: of.application,
            fingerprint: of.fingerprint,
            connected_at: of.connected_at,
            version: of.version,
            packet_bytes_max: of.packet_bytes_max,
            waker: AtomicWaker::new(),
            has_news: AtomicBool::new(false),
            state: Mutex::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        self.has_news.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Ends the connection; the first reason stays. What waited for it is lost.
    pub(crate) fn close(&self, why: Refusal) {
        let mut state = self.state();
        state.closing.get_or_insert(why);
        state.queue.clear();
        state.queued_bytes = 0;
        drop(state);
        self.tell();
    }

    /// Whether something happened since this was asked last.
    pub(crate) fn take_news(&self) -> bool {
        self.has_news.load(Ordering::Relaxed) && self.has_news.swap(false, Ordering::Acquire)
    }

    /// Why the connection is to end, if it is.
    pub(crate) fn closing(&self) -> Option<Refusal> {
        self.state().closing
    }

    /// The next message to send.
    pub(crate) fn take_delivery(&self) -> Option<Delivery> {
        let mut state = self.state();
        let delivery = state.queue.pop_front()?;
        state.queued_bytes -= delivery.cost();
        if state.queue.is_empty() {
            state.queue = VecDeque::new();
        }
        Some(delivery)
    }

    /// Adds or replaces a subscription; says whether there was room, and whether it is a new one.
    pub(crate) fn subscribe(&self, subscription: Subscription) -> Option<bool> {
        let mut state = self.state();
        let same = |other: &&mut Subscription| other.filter == subscription.filter;
        if let Some(known) = state.subscriptions.iter_mut().find(same) {
            *known = subscription;
            return Some(false);
        }
        if state.subscriptions.len() >= limit::SUBSCRIPTIONS_MAX {
            return None;
        }
        state.subscriptions.push(subscription);
        Some(true)
    }

    /// Takes a subscription away; says whether there was one.
    pub(crate) fn unsubscribe(&self, filter: &str) -> bool {
        let mut state = self.state();
        let before = state.subscriptions.len();
        state.subscriptions.retain(|subscription| &*subscription.filter != filter);
        state.subscriptions.len() < before
    }

    pub(crate) fn subscription_count(&self) -> usize {
        self.state().subscriptions.len()
    }

    /// Takes a message that its subscriptions ask for into the queue.
    ///
    /// `make` is told the QoS to send at and the identifiers of the subscriptions that match.
    pub(crate) fn offer(
        &self,
        from: Option<ConnectionId>,
        topic: &str,
        make: impl FnOnce(u8, Vec<u32>) -> Delivery,
    ) -> Result<u8, SendError> {
        let mut state = self.state();
        if state.closing.is_some() {
            return Err(SendError::Away);
        }
        let matching = state.subscriptions.iter().filter(|subscription| {
            let is_own = subscription.is_no_local && from == Some(self.id);
            !is_own && topic::matches(&subscription.filter, topic)
        });
        let (mut qos, mut identifiers) = (None, Vec::new());
        for subscription in matching {
            qos = qos.max(Some(subscription.qos));
            if subscription.identifier != 0 {
                identifiers.push(subscription.identifier);
            }
        }
        let delivery = make(qos.ok_or(SendError::Away)?, identifiers);
        // [MQTT-3.1.2-24]: what the client does not take is not sent.
        if delivery.cost() > self.packet_bytes_max.saturating_add(ITEM_BYTES) {
            return Err(SendError::Away);
        }
        let (qos, cost) = (delivery.qos, delivery.cost());
        let is_full = state.queue.len() >= QUEUE_ITEMS_MAX
            || state.queued_bytes.saturating_add(cost) > QUEUE_BYTES_MAX;
        if is_full {
            return Err(SendError::Busy);
        }
        state.queue.push_back(delivery);
        state.queued_bytes += cost;
        drop(state);
        self.tell();
        Ok(qos)
    }
}
