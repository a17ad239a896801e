//! What others may do to a connection: give it messages, and end it. The connection's own task
//! does the rest.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use axle_domain::port::SendError;
use axle_domain::{ApplicationName, ConnectionId, DeviceId, Fingerprint, Timestamp};
use futures_util::task::AtomicWaker;

use crate::delivery::{Delivery, ITEM_BYTES};
use crate::inbox::Inbox;
use crate::packet::Version;
use crate::packet::refusal::Refusal;

/// Most messages that wait for one connection.
pub(crate) const QUEUE_ITEMS_MAX: usize = 1024;
/// Most bytes of messages that wait for one connection.
pub(crate) const QUEUE_BYTES_MAX: usize = 1024 * 1024;

/// With so many messages in the queue retained ones wait, so that newer ones find room.
const SPARE_ITEMS: usize = QUEUE_ITEMS_MAX / 4;
/// The same in bytes.
const SPARE_BYTES: usize = QUEUE_BYTES_MAX / 4;

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
    /// What it has subscribed to; set when it is let in.
    pub(crate) inbox: OnceLock<Arc<Inbox>>,
    /// Whether there is something new in `state`.
    has_news: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// In a box, as few are to end at any time.
    closing: Option<Box<Refusal>>,
    /// Whether its certificate is to be looked at again.
    is_in_question: bool,
    queue: VecDeque<Delivery>,
    queued_bytes: usize,
    backlog: Backlog,
    /// What is written down of messages at QoS 2, as long as the client has not heard of it.
    written: Option<Box<Written>>,
    /// Whether more waits for room in the queue.
    is_awaited: bool,
}

#[derive(Default)]
struct Written {
    /// Packet ids of which it is written down that the client has their message.
    released: Vec<u16>,
    /// Packet ids of which it is written down that the client has released them.
    completed: Vec<u16>,
}

/// What waits at rest and is not in the connection's queue.
#[derive(Default)]
struct Backlog {
    is_there: bool,
    /// Whether something was added since it was read last.
    has_more: bool,
    is_loading: bool,
    /// The newest sequence that the connection's queue has had.
    loaded_through: u64,
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
            inbox: OnceLock::new(),
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

    /// Ends the connection; the first reason stays.
    pub(crate) fn close(&self, why: Refusal) {
        self.state().closing.get_or_insert_with(|| Box::new(why));
        self.tell();
    }

    /// Has the connection look whether its certificate is good still.
    pub(crate) fn question(&self) {
        self.state().is_in_question = true;
        self.tell();
    }

    /// Whether the certificate is to be looked at again.
    pub(crate) fn take_question(&self) -> bool {
        std::mem::take(&mut self.state().is_in_question)
    }

    /// Whether something happened since this was asked last.
    pub(crate) fn take_news(&self) -> bool {
        self.has_news.load(Ordering::Relaxed) && self.has_news.swap(false, Ordering::Acquire)
    }

    /// Why the connection is to end, if it is.
    pub(crate) fn closing(&self) -> Option<Refusal> {
        self.state().closing.as_deref().copied()
    }

    /// The next message to send; none once the connection is to end.
    pub(crate) fn take_delivery(&self) -> Option<Delivery> {
        let mut state = self.state();
        if state.closing.is_some() {
            return None;
        }
        let delivery = state.queue.pop_front()?;
        state.queued_bytes -= delivery.content.cost();
        if state.queue.is_empty() {
            state.queue = VecDeque::new();
        }
        Some(delivery)
    }

    /// Puts a message back that cannot be sent yet.
    pub(crate) fn put_back(&self, delivery: Delivery) {
        let mut state = self.state();
        state.queued_bytes += delivery.content.cost();
        state.queue.push_front(delivery);
    }

    /// All that was not sent.
    pub(crate) fn drain(&self) -> Vec<Delivery> {
        let mut state = self.state();
        state.queued_bytes = 0;
        std::mem::take(&mut state.queue).into()
    }

    /// Whether a message that costs so much fits into the queue.
    pub(crate) fn has_room(&self, cost: usize) -> bool {
        self.state().has_room(cost)
    }

    /// Takes a message into the queue.
    pub(crate) fn offer(&self, delivery: Delivery) -> Result<(), SendError> {
        let mut state = self.state();
        let cost = delivery.content.cost();
        // [MQTT-3.1.2-24]: what the client does not take is not sent.
        let is_large = cost > self.packet_bytes_max.saturating_add(ITEM_BYTES);
        if state.closing.is_some() || (is_large && delivery.sequence.is_none()) {
            return Err(SendError::Away);
        }
        if let Some(sequence) = delivery.sequence {
            if state.backlog.is_there || !state.has_room(cost) {
                // It stands in the queue at rest; the connection reads it from there.
                state.backlog.is_there = true;
                state.backlog.has_more = true;
                drop(state);
                self.tell();
                return Ok(());
            }
            state.backlog.loaded_through = state.backlog.loaded_through.max(sequence);
        } else if !state.has_room(cost) {
            return Err(SendError::Busy);
        }
        state.queue.push_back(delivery);
        state.queued_bytes += cost;
        drop(state);
        self.tell();
        Ok(())
    }

    /// Says that messages wait at rest.
    pub(crate) fn expect_backlog(&self) {
        self.state().backlog.is_there = true;
        self.tell();
    }

    /// Whether the queue at rest is to be read now, and behind which sequence.
    pub(crate) fn begin_loading(&self) -> Option<u64> {
        let mut state = self.state();
        let backlog = &mut state.backlog;
        if !backlog.is_there || backlog.is_loading {
            return None;
        }
        backlog.is_loading = true;
        backlog.has_more = false;
        Some(backlog.loaded_through)
    }

    /// Takes what was read from rest; `through` is the last sequence that was looked at, and
    /// `is_all` says whether there was nothing behind it.
    pub(crate) fn finish_loading(&self, loaded: Vec<Delivery>, through: u64, is_all: bool) {
        let mut state = self.state();
        for delivery in loaded {
            state.queued_bytes += delivery.content.cost();
            state.queue.push_back(delivery);
        }
        let backlog = &mut state.backlog;
        backlog.loaded_through = backlog.loaded_through.max(through);
        backlog.is_loading = false;
        backlog.is_there = !is_all || backlog.has_more;
        drop(state);
        self.tell();
    }

    /// The client has a message, and that is written down.
    pub(crate) fn release(&self, packet_id: u16) {
        self.state().written.get_or_insert_default().released.push(packet_id);
        self.tell();
    }

    /// The client has released a packet id, and that is written down.
    pub(crate) fn complete(&self, packet_id: u16) {
        self.state().written.get_or_insert_default().completed.push(packet_id);
        self.tell();
    }

    /// Packet ids that the client may forget, and those that it may use anew.
    pub(crate) fn take_written(&self) -> Option<(Vec<u16>, Vec<u16>)> {
        let written = self.state().written.take()?;
        Some((written.released, written.completed))
    }

    /// How many more messages the queue takes before others have to wait for it. Without any,
    /// [`Link::take_awaited`] says when it is worth to ask again.
    pub(crate) fn spare(&self) -> usize {
        let mut state = self.state();
        let is_full = state.queue.len() >= SPARE_ITEMS || state.queued_bytes >= SPARE_BYTES;
        state.is_awaited = is_full;
        if is_full { 0 } else { SPARE_ITEMS - state.queue.len() }
    }

    /// Whether somebody waits for the queue to become empty.
    pub(crate) fn take_awaited(&self) -> bool {
        std::mem::take(&mut self.state().is_awaited)
    }
}

impl State {
    fn has_room(&self, cost: usize) -> bool {
        self.queue.len() < QUEUE_ITEMS_MAX
            && self.queued_bytes.saturating_add(cost) <= QUEUE_BYTES_MAX
    }
}
