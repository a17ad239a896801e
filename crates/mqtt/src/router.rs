//! Brings published messages to who has subscribed to them: a follower of the durable log.
//!
//! For a session that outlives its connection it writes down that a message waits (never the
//! message itself), in one transaction with its own position and with what sessions have changed
//! meanwhile. To a live connection it gives the message once that is durable. Without any
//! subscription it reads nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axle_domain::port::{QueueFigures, Record, SendError, SessionChanges};
use axle_domain::{Error, Kind, Offset, QueuedMessage, Source, limit};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::delivery::{Content, Delivery, bytes_at_rest};
use crate::inbox::Inbox;
use crate::ledger::{Entries, Orphan};
use crate::packet::refusal::Refusal;
use crate::routes::{Group, Member, Routes};
use crate::session::Shared;

/// Bytes of the log that are matched at once.
const READ_BYTES_MAX: usize = 1024 * 1024;
/// Pause after a failure, before it is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// How often sessions whose time is over are looked for, and the position is written down where
/// nothing else is.
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_secs(15);

/// The follower.
pub(crate) struct Router {
    shared: Arc<Shared>,
    /// The next record to match; `None` while nobody has subscribed to anything.
    next: Option<Offset>,
    /// The position that is stored.
    stored: Offset,
    oldest: Option<Offset>,
    house_kept: Instant,
}

/// What one turn comes to.
#[derive(Default)]
struct Turn {
    entries: Entries,
    queued: Vec<QueuedMessage>,
    deliveries: Vec<(Arc<Inbox>, Delivery)>,
    /// Sessions whose queues grow.
    grown: BTreeMap<u64, Arc<Inbox>>,
}

impl Router {
    /// Takes in the sessions that were kept.
    pub(crate) async fn open(shared: &Arc<Shared>) -> Result<Self, Error> {
        let ports = &shared.app.ports;
        let mut stored = ports.client_sessions.load_client_sessions().await?;
        stored.through = stored.through.min(ports.log.bounds().durable);
        let (through, now) = (stored.through, ports.clock.now());
        shared.sessions.load(stored, now);
        let oldest = ports.client_sessions.oldest_needed().await?;
        Ok(Self {
            shared: Arc::clone(shared),
            next: None,
            stored: through,
            oldest,
            house_kept: Instant::now(),
        })
    }

    /// Follows the log until `stop`, then writes down what is left.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut is_failing = false;
        loop {
            let is_last = stop.is_cancelled();
            let mut turn = Turn { entries: self.shared.sessions.ledger.take(), ..Turn::default() };
            self.place_orphans(&mut turn);
            match self.read(&mut turn).await {
                Ok(()) => is_failing = false,
                Err(error) => {
                    if !is_failing {
                        error!(error = %error.chain(), "messages cannot be routed, trying again");
                    }
                    is_failing = true;
                }
            }
            let was_idle = turn.entries.is_empty() && turn.deliveries.is_empty();
            self.commit(turn, &stop).await;
            if is_last {
                return;
            }
            if was_idle {
                self.wait(&stop, is_failing).await;
            }
        }
    }

    /// Waits until there is something to do.
    async fn wait(&mut self, stop: &CancellationToken, is_failing: bool) {
        let app = &self.shared.app;
        let next = self.next.filter(|_| !is_failing);
        let durable = async {
            match next {
                // A failed log says so to whoever publishes; here it only wakes us later.
                Some(next) if app.ports.log.durable(next).await.is_ok() => {}
                _ => std::future::pending().await,
            }
        };
        let pause = if is_failing { RETRY_PAUSE } else { HOUSEKEEPING_INTERVAL };
        tokio::select! {
            () = self.shared.sessions.ledger.news.notified() => {}
            () = durable => {}
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => {}
        }
    }

    /// Matches the next stretch of the log, if there is one and anybody asks for it.
    async fn read(&mut self, turn: &mut Turn) -> Result<(), Error> {
        let log = &self.shared.app.ports.log;
        {
            let mut routing = self.shared.sessions.routing();
            let begin_at = routing.begin_at.take();
            if routing.routes.is_empty() {
                self.next = None;
            } else if self.next.is_none() {
                self.next = begin_at.or(Some(log.bounds().durable));
            }
        }
        let Some(next) = self.next else { return Ok(()) };
        if next >= log.bounds().durable {
            return Ok(());
        }
        let records = match log.read(next, READ_BYTES_MAX).await {
            Ok(records) => records,
            Err(damage) if matches!(damage.kind, Kind::Corrupt | Kind::NotFound) => {
                let first = log.bounds().first;
                let good = damage.limit.map_or(first, |(good, _)| Offset(good).max(first));
                if good <= next {
                    return Err(damage);
                }
                warn!(error = %damage.chain(), "damaged records are not routed");
                self.next = Some(good);
                return Ok(());
            }
            Err(other) => return Err(other),
        };
        if let Some(last) = records.last() {
            self.next = Some(last.offset.next());
        }
        let sessions = Arc::clone(&self.shared.sessions);
        let routing = sessions.routing();
        let is_published = |it: &&Record| matches!(it.source, Source::Mqtt | Source::Service);
        for record in records.iter().filter(is_published) {
            self.route(record, &routing.routes, turn);
        }
        Ok(())
    }

    fn route(&self, record: &Record, routes: &Routes, turn: &mut Turn) {
        let message = record.message();
        let mut matched = routes.matching(message.topic);
        if matched.members.is_empty() && matched.groups.is_empty() {
            return;
        }
        let content = Content::of(record);
        let (offset, from) = (record.offset, message.origin);
        matched.members.retain(|member| {
            let Member { inbox, subscription } = member;
            // [MQTT-3.8.3-3]
            let is_own = subscription.is_no_local && *inbox.client_id == *from;
            subscription.since <= offset && !is_own
        });
        // One copy for a client, whichever of its subscriptions match [MQTT-3.3.4-2].
        matched.members.sort_by_key(|member| member.inbox.number);
        for members in matched.members.chunk_by(|a, b| a.inbox.number == b.inbox.number) {
            let Some(first) = members.first() else { continue };
            let subscriptions = || members.iter().map(|member| &member.subscription);
            let qos = subscriptions().map(|it| it.qos).max().unwrap_or(0).min(content.qos);
            let identifiers = subscriptions().map(|it| it.identifier).filter(|id| *id != 0);
            let mut delivery = Delivery::new(&content, qos, identifiers.collect());
            delivery.is_retained =
                content.is_retained && subscriptions().any(|it| it.is_retain_as_published);
            turn.give(&first.inbox, delivery);
        }
        for group in matched.groups {
            let is_before = |member: &Member| member.subscription.since > offset;
            if group.members.iter().all(is_before) {
                continue;
            }
            match choose(group, &content, None) {
                Some(member) => turn.give_shared(member, &content),
                None => self.count_dropped("no_member", 1),
            }
        }
    }

    /// Gives messages of members that went away to others of their group.
    fn place_orphans(&self, turn: &mut Turn) {
        let orphans = std::mem::take(&mut turn.entries.orphans);
        if orphans.is_empty() {
            return;
        }
        let routing = self.shared.sessions.routing();
        for Orphan { inbox, delivery } in orphans {
            let group = delivery.share.as_ref().and_then(|share| routing.routes.group(share));
            let is_at_rest = delivery.sequence.is_some() && inbox.is_kept();
            let other =
                group.and_then(|group| choose(group, &delivery.content, Some(inbox.number)));
            // What waits at rest stays with its session, unless another is there right now.
            let other = other.filter(|other| !is_at_rest || other.inbox.link().is_some());
            match other {
                Some(other) => {
                    turn.give_shared(other, &delivery.content);
                    if let Some(sequence) = delivery.sequence {
                        turn.entries.settled.push((inbox, sequence));
                    }
                }
                None if is_at_rest => {}
                None => self.count_dropped("no_member", 1),
            }
        }
    }

    /// Makes a turn durable, then tells everybody.
    async fn commit(&mut self, mut turn: Turn, stop: &CancellationToken) {
        let sessions = Arc::clone(&self.shared.sessions);
        let is_time = self.house_kept.elapsed() >= HOUSEKEEPING_INTERVAL;
        if is_time {
            self.house_kept = Instant::now();
            sessions.end_overdue(self.shared.app.ports.clock.now());
        }
        let mut changes = turn.entries.changes();
        changes.queued = std::mem::take(&mut turn.queued);
        let excess = turn.grown.values().filter_map(|inbox| Some((inbox.number, inbox.excess()?)));
        changes.excess = excess.collect();
        let has_kept = sessions.has_kept();
        let is_behind = has_kept && is_time && self.next.is_some_and(|next| next > self.stored);
        if !changes.is_empty() || is_behind {
            changes.through = self.next;
            let Some((settled, dropped)) = self.store(changes, stop).await else { return };
            for (inbox, _) in &turn.entries.settled {
                turn.grown.insert(inbox.number, Arc::clone(inbox));
            }
            for (number, figures) in settled.iter().chain(&dropped) {
                if let Some(inbox) = turn.grown.get(number) {
                    inbox.subtract(*figures);
                }
            }
            self.count_dropped("queue_full", dropped.iter().map(|(_, it)| it.rows).sum());
        }
        let needed = self.oldest.map_or(self.stored, |oldest| oldest.min(self.stored));
        self.shared.app.consumers.put_sessions(has_kept.then_some(needed));
        self.tell(turn);
    }

    /// Tries until it is stored; `None` when told to stop before.
    async fn store(
        &mut self,
        changes: SessionChanges,
        stop: &CancellationToken,
    ) -> Option<(Vec<(u64, QueueFigures)>, Vec<(u64, QueueFigures)>)> {
        let store = Arc::clone(&self.shared.app.ports.client_sessions);
        let mut is_failing = false;
        loop {
            let failure = match store.commit_client_sessions(changes.clone()).await {
                Ok(committed) => {
                    self.stored = changes.through.unwrap_or(self.stored).max(self.stored);
                    self.oldest = committed.oldest;
                    return Some((committed.settled, committed.dropped));
                }
                Err(failure) => failure,
            };
            if !is_failing {
                error!(error = %failure.chain(), "sessions cannot be stored, trying again");
            }
            is_failing = true;
            tokio::select! {
                () = tokio::time::sleep(RETRY_PAUSE) => {}
                () = stop.cancelled() => return None,
            }
        }
    }

    fn tell(&self, turn: Turn) {
        for waiting in turn.entries.waiting {
            // Its connection may be gone.
            let _gone = waiting.send(()).is_err();
        }
        for released in turn.entries.released {
            released.link.release(released.packet_id);
        }
        for (inbox, delivery) in turn.deliveries {
            let Some(link) = inbox.link() else { continue };
            let (qos, is_at_rest) = (delivery.qos, delivery.sequence.is_some());
            match link.offer(delivery) {
                Ok(()) => {}
                Err(SendError::Away | SendError::Lost) if is_at_rest => {}
                Err(SendError::Away | SendError::Lost) => {
                    let is_open = link.closing().is_none();
                    self.count_dropped(if is_open { "too_large" } else { "not_taken" }, 1);
                }
                Err(SendError::Busy) => {
                    self.count_dropped("queue_full", 1);
                    // Who does not take its messages off loses those of QoS 0, then its
                    // connection.
                    if qos > 0 {
                        link.close(Refusal::QUOTA);
                    }
                }
            }
        }
    }

    fn count_dropped(&self, reason: &str, count: u64) {
        self.shared.metrics.count_dropped(reason, count);
    }
}

impl Turn {
    /// A copy for a client.
    fn give(&mut self, inbox: &Arc<Inbox>, mut delivery: Delivery) {
        if delivery.qos > 0 && inbox.is_kept() {
            let bytes = bytes_at_rest(&delivery.content);
            let sequence = inbox.take_sequence(bytes);
            delivery.sequence = Some(sequence);
            self.queued.push(QueuedMessage {
                session: inbox.number,
                sequence,
                offset: delivery.content.offset,
                qos: delivery.qos,
                is_retained: delivery.is_retained,
                is_released: false,
                bytes,
                identifiers: delivery.identifiers.clone(),
            });
            self.grown.insert(inbox.number, Arc::clone(inbox));
        }
        self.deliveries.push((Arc::clone(inbox), delivery));
    }

    /// A copy for one member of a group.
    fn give_shared(&mut self, member: &Member, content: &Arc<Content>) {
        let Member { inbox, subscription } = member;
        let identifiers = [subscription.identifier].into_iter().filter(|id| *id != 0).collect();
        let mut delivery = Delivery::new(content, subscription.qos.min(content.qos), identifiers);
        delivery.is_retained = content.is_retained && subscription.is_retain_as_published;
        delivery.share = Some(Arc::clone(subscription));
        self.give(inbox, delivery);
    }
}

/// The member of a group that gets a message: who is there and has room, in turn; else a session
/// that keeps it until its client is back.
fn choose<'a>(group: &'a Group, content: &Content, except: Option<u64>) -> Option<&'a Member> {
    let members: Vec<&Member> = group
        .in_turn()
        .filter(|member| Some(member.inbox.number) != except)
        .filter(|member| member.subscription.since <= content.offset)
        .collect();
    let is_there = |member: &&Member| {
        member
            .inbox
            .link()
            .is_some_and(|link| link.closing().is_none() && link.has_room(content.cost()))
    };
    let may_wait = |member: &&Member| {
        content.qos.min(member.subscription.qos) > 0
            && member.inbox.is_kept()
            && member.inbox.has_room(bytes_at_rest(content))
    };
    let there = members.iter().copied().find(is_there);
    there.or_else(|| members.iter().copied().find(may_wait))
}

const _: () = assert!(limit::SESSION_QUEUE_ROWS_MAX < crate::inbox::QUEUED_PACKET_ID_MAX as u64);
