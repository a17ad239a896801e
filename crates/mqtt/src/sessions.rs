//! Who is connected, and the sessions that outlive connections.

mod down;
#[cfg(test)]
mod weight;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use axle_app::{Departure, Presence, Registry};
use axle_domain::port::StoredSessions;
use axle_domain::{
    ConnectionId, DeviceId, Layouts, Offset, ProtocolVersion, ReceivedPublish, Subscription,
    Timestamp, Will, limit,
};
use tokio::sync::{Notify, oneshot};

use crate::inbox::Inbox;
use crate::ledger::{Ledger, Owed};
use crate::link::Link;
use crate::packet::refusal::Refusal;
use crate::retained::{Bounds, Retained};
use crate::routes::{Member, Routes};
use crate::session::Shared;
use crate::will::Wills;

/// The live connections of devices and local tools, and the sessions that outlive them. Made
/// before the use cases, which reach devices through it; the gateway fills it.
#[derive(Default)]
pub struct Sessions {
    live: Mutex<Live>,
    departed: Notify,
    ids: AtomicU64,
    /// Numbers of sessions.
    numbers: AtomicU64,
    routing: Mutex<Routing>,
    pub(crate) ledger: Ledger,
    pub(crate) retained: Retained,
    pub(crate) wills: Wills,
    /// Other topics on which commands go down; set by the gateway.
    pub(crate) layouts: OnceLock<Arc<Layouts>>,
}

#[derive(Default)]
struct Live {
    /// By client id: all of a device's stand between `device` and `device/…`.
    devices: BTreeMap<Arc<str>, Arc<Link>>,
    tools: BTreeMap<Arc<str>, Arc<Link>>,
    /// Sessions that outlive their connection, of devices and of others.
    kept: [BTreeMap<Arc<str>, Arc<Inbox>>; 2],
    is_stopping: bool,
}

/// The index of subscriptions, and where the router is to begin once there are any.
#[derive(Default)]
pub(crate) struct Routing {
    pub(crate) routes: Routes,
    pub(crate) begin_at: Option<Offset>,
}

/// What a client wants of its session.
#[derive(Clone)]
pub(crate) struct Wish {
    /// Whether an earlier session is to be forgotten.
    pub(crate) is_clean: bool,
    /// Seconds that it is to last after its connection.
    pub(crate) expiry_seconds: u32,
    pub(crate) will: Option<Arc<Will>>,
}

/// Which retained messages a subscription gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RetainedWish {
    /// All, however often it is made.
    Always,
    /// All, if it is a new one.
    IfNew,
    /// None.
    Never,
}

/// What a client gets.
#[derive(Debug)]
pub(crate) struct Granted {
    /// Whether it goes on with an earlier session.
    pub(crate) is_present: bool,
    /// Seconds that the session lasts after its connection.
    pub(crate) expiry_seconds: u32,
    /// Told when it is stored what session there is now, where that is another one than before:
    /// not before then the client may rely on it.
    pub(crate) stored: Option<oneshot::Receiver<()>>,
}

impl Live {
    fn of(&mut self, link: &Link) -> &mut BTreeMap<Arc<str>, Arc<Link>> {
        if link.device.is_some() { &mut self.devices } else { &mut self.tools }
    }

    fn kept(&mut self, is_device: bool) -> &mut BTreeMap<Arc<str>, Arc<Inbox>> {
        let [devices, others] = &mut self.kept;
        if is_device { devices } else { others }
    }

    fn of_device(&self, device: &DeviceId) -> Vec<Arc<Link>> {
        let first: &str = &format!("{device}/");
        let suffixed = self.devices.range::<str, _>((Bound::Included(first), Bound::Unbounded));
        let suffixed = suffixed.take_while(|(id, _)| id.starts_with(first)).map(|(_, link)| link);
        self.devices.get(device.as_str()).into_iter().chain(suffixed).cloned().collect()
    }

    /// Whether no connection of a device is there.
    fn is_away(&self, device: Option<&DeviceId>) -> bool {
        device.is_some_and(|device| self.of_device(device).is_empty())
    }

    fn count(&self) -> usize {
        self.devices.len() + self.tools.len()
    }

    fn kept_count(&self) -> usize {
        self.kept.iter().map(BTreeMap::len).sum()
    }
}

impl Sessions {
    /// Nobody is connected yet.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The index of subscriptions.
    pub(crate) fn routing(&self) -> MutexGuard<'_, Routing> {
        self.routing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn next_id(&self) -> ConnectionId {
        ConnectionId(self.ids.fetch_add(1, Ordering::Relaxed))
    }

    /// Takes in the sessions that were kept over a restart.
    pub(crate) fn load(
        &self,
        stored: StoredSessions,
        bounds: Bounds,
        registry: &Registry,
        now: Timestamp,
    ) {
        self.retained.load(bounds, stored.retained);
        let mut received: BTreeMap<u64, Vec<ReceivedPublish>> = BTreeMap::new();
        for publish in stored.received {
            received.entry(publish.session).or_default().push(publish);
        }
        let (mut live, mut routing) = (self.live(), self.routing());
        for (session, figures) in stored.sessions {
            self.numbers.fetch_max(session.number + 1, Ordering::Relaxed);
            let inbox = Inbox::load(session, figures, now);
            if !is_known(registry, &inbox) {
                self.ledger.end(inbox.number);
                continue;
            }
            for publish in received.remove(&inbox.number).unwrap_or_default() {
                inbox.receive(publish.packet_id, publish.offset);
            }
            self.wills.put(&inbox);
            for subscription in inbox.subscriptions() {
                if subscription.retained_after.is_some() {
                    let (inbox, subscription) = (Arc::clone(&inbox), Arc::clone(&subscription));
                    self.ledger.owe(Owed { inbox, subscription });
                }
                if inbox.is_routed(&subscription) {
                    routing.routes.insert(Member { inbox: Arc::clone(&inbox), subscription });
                    routing.begin_at = Some(stored.through);
                }
            }
            let is_device = inbox.device.is_some();
            live.kept(is_device).insert(Arc::clone(&inbox.client_id), inbox);
        }
    }

    /// Lets a connection in. One of the same client id ends, whatever it waits for: the new one
    /// is never refused on account of the old.
    pub(crate) fn register(
        &self,
        link: &Arc<Link>,
        shared: &Shared,
        wish: Wish,
    ) -> Result<Granted, Refusal> {
        let mut live = self.live();
        if live.is_stopping {
            return Err(Refusal::SHUTTING_DOWN);
        }
        if self.ledger.is_full() {
            return Err(Refusal::UNAVAILABLE);
        }
        let is_full = live.count() >= shared.settings.connections_max;
        let has_room = live.kept_count() < limit::KEPT_SESSIONS_MAX;
        if is_full && !live.of(link).contains_key(&link.client_id) {
            return Err(Refusal::FULL);
        }
        let was_there = !live.is_away(link.device.as_ref());
        let same = live.of(link);
        // [MQTT-3.1.4-3]
        if let Some(old) = same.insert(Arc::clone(&link.client_id), Arc::clone(link)) {
            shared.metrics.takeovers.inc();
            let is_tool = link.device.is_none() && link.application.is_none();
            let now = tokio::time::Instant::now();
            let is_fight = !is_tool && shared.takeovers.count(&link.client_id, now);
            old.close(if is_fight { Refusal::CLONES } else { Refusal::TAKEN_OVER });
            if let Some(inbox) = old.inbox.get().filter(|inbox| !inbox.is_kept()) {
                self.end(inbox);
            }
        }
        // Under the lock, so that what is told comes in the order in which it happened.
        if let (Some(device), false) = (&link.device, was_there) {
            let words = (&*link.client_id, ProtocolVersion::from(link.version).as_str());
            shared.app.presence.arrive(device, words, link.connected_at);
        }
        let is_device = link.device.is_some();
        let kept = live.kept(is_device).remove(&link.client_id);
        // [MQTT-3.1.2-4]
        let mut has_ended = false;
        let kept = kept.filter(|inbox| {
            let is_its_own = inbox.device == link.device && inbox.application == link.application;
            let goes_on = !wish.is_clean && is_its_own && !inbox.is_over(link.connected_at);
            if !goes_on {
                has_ended = true;
                self.end(inbox);
            }
            goes_on
        });
        let is_present = kept.is_some();
        let inbox = kept.unwrap_or_else(|| {
            let number = self.numbers.fetch_add(1, Ordering::Relaxed);
            Inbox::new(number, link)
        });
        let expiry_seconds = if has_room || is_present { wish.expiry_seconds } else { 0 };
        // A will that is promised is there after a crash, and one that is taken away is not.
        let changes_will = wish.will.is_some() || inbox.has_will();
        inbox.attach(link, expiry_seconds, wish.will);
        if is_present && inbox.has_rows() {
            link.expect_backlog();
        }
        let is_kept = expiry_seconds > 0;
        if is_kept {
            live.kept(is_device).insert(Arc::clone(&link.client_id), Arc::clone(&inbox));
        }
        // Also one that ends with this connection now: it must not outlive the server's end.
        if inbox.is_stored() {
            self.ledger.put(&inbox);
        }
        let must_wait = has_ended || (is_kept && (!is_present || changes_will));
        let stored = must_wait.then(|| self.ledger.wait());
        let _first = link.inbox.set(inbox).is_ok();
        Ok(Granted { is_present, expiry_seconds, stored })
    }

    /// Forgets a connection that has ended; once more changes nothing.
    pub(crate) fn deregister(
        &self,
        link: &Link,
        presence: &Presence,
        departure: &Departure<'_>,
        now: Timestamp,
    ) {
        link.close(Refusal::SHUTTING_DOWN);
        let mut live = self.live();
        let same = live.of(link);
        if same.get(&link.client_id).is_some_and(|current| current.id == link.id) {
            same.remove(&link.client_id);
            if let Some(device) = link.device.as_ref().filter(|it| live.is_away(Some(it))) {
                presence.depart(device, departure, now);
            }
        }
        if let Some(inbox) = link.inbox.get()
            && inbox.link().is_some_and(|current| current.id == link.id)
        {
            inbox.detach(now);
            if inbox.is_kept() {
                self.wills.put(inbox);
                self.ledger.put(inbox);
            } else {
                let kept = live.kept(link.device.is_some());
                // A new session of the same client id may be there already.
                if kept.get(&link.client_id).is_some_and(|it| it.number == inbox.number) {
                    kept.remove(&link.client_id);
                }
                self.end(inbox);
            }
        }
        drop(live);
        self.departed.notify_waiters();
    }

    /// Ends a session with all it has.
    fn end(&self, inbox: &Arc<Inbox>) {
        if let Some(will) = inbox.end() {
            self.ledger.send(Arc::clone(inbox), will);
        }
        let mut routing = self.routing();
        for subscription in inbox.subscriptions() {
            routing.routes.remove(inbox.number, &subscription);
        }
        drop(routing);
        if inbox.is_stored() {
            self.ledger.end(inbox.number);
        }
    }

    /// Ends the sessions whose time is over.
    pub(crate) fn end_overdue(&self, now: Timestamp) {
        let mut live = self.live();
        for kept in &mut live.kept {
            kept.retain(|_, inbox| {
                let is_over = inbox.is_over(now);
                if is_over {
                    self.end(inbox);
                }
                !is_over
            });
        }
    }

    /// Ends the sessions at rest of who may not come back.
    fn end_kept(&self, is_device: bool, is_theirs: impl Fn(&Inbox) -> bool) {
        let mut live = self.live();
        live.kept(is_device).retain(|_, inbox| {
            let ends = is_theirs(inbox);
            if ends {
                // What is connected still ends with its connection.
                inbox.put_expiry(0);
                self.end(inbox);
            }
            !ends
        });
    }

    /// The number of the next session; those up to `known` are taken.
    pub(crate) fn skip_numbers(&self, known: u64) {
        self.numbers.fetch_max(known + 1, Ordering::Relaxed);
    }

    /// A session that outlives its connection, by its number. Looks at all of them.
    pub(crate) fn kept_by_number(&self) -> BTreeMap<u64, Arc<Inbox>> {
        let live = self.live();
        let kept = live.kept.iter().flat_map(BTreeMap::values);
        kept.map(|inbox| (inbox.number, Arc::clone(inbox))).collect()
    }

    /// The connections that have come with a certificate.
    pub(crate) fn certified(&self) -> Vec<Arc<Link>> {
        let live = self.live();
        let links = live.devices.values().chain(live.tools.values());
        links.filter(|link| link.fingerprint.is_some()).cloned().collect()
    }

    /// Ends all connections and lets nobody in any more.
    pub(crate) fn close_all(&self) {
        let mut live = self.live();
        live.is_stopping = true;
        for link in live.devices.values().chain(live.tools.values()) {
            link.close(Refusal::SHUTTING_DOWN);
        }
    }

    /// Adds or replaces a subscription; says whether there was one, or `None` without room.
    pub(crate) fn subscribe(
        &self,
        inbox: &Arc<Inbox>,
        mut subscription: Subscription,
        retained: RetainedWish,
    ) -> Option<bool> {
        let is_routed = inbox.is_routed(&subscription);
        let was_there = inbox.subscriptions().iter().any(|it| it.filter == subscription.filter);
        // [MQTT-3.3.1-9] to [MQTT-3.3.1-11]; a share of the messages is none of the old ones.
        let is_owed = is_routed
            && subscription.share().is_none()
            && match retained {
                RetainedWish::Always => true,
                RetainedWish::IfNew => !was_there,
                RetainedWish::Never => false,
            };
        subscription.retained_after = is_owed.then(Box::default);
        let subscription = Arc::new(subscription);
        inbox.subscribe(Arc::clone(&subscription))?;
        inbox.put_owed(&subscription.filter, is_owed.then_some(""));
        if is_routed {
            let mut routing = self.routing();
            if routing.routes.is_empty() || routing.begin_at.is_some() {
                let begin_at = routing.begin_at.unwrap_or(subscription.since);
                routing.begin_at = Some(begin_at.min(subscription.since));
            }
            let member =
                Member { inbox: Arc::clone(inbox), subscription: Arc::clone(&subscription) };
            routing.routes.insert(member);
            drop(routing);
            self.ledger.wake();
        }
        if is_owed {
            self.ledger.owe(Owed { inbox: Arc::clone(inbox), subscription });
        }
        Some(was_there)
    }

    /// Takes a subscription away; says whether there was one.
    pub(crate) fn unsubscribe(&self, inbox: &Inbox, filter: &str) -> bool {
        let Some(subscription) = inbox.unsubscribe(filter) else { return false };
        self.routing().routes.remove(inbox.number, &subscription);
        true
    }
}

/// Whether whose session it is may still come back.
fn is_known(registry: &Registry, inbox: &Inbox) -> bool {
    match (&inbox.device, &inbox.application) {
        (Some(device), _) => registry.check(device).is_ok(),
        (None, Some(name)) => registry.find_application(name.as_str()).is_some(),
        (None, None) => true,
    }
}
