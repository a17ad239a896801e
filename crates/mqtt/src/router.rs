//! Brings published messages to who has subscribed to them: a follower of the durable log.
//!
//! For a session that outlives its connection it writes down that a message waits (never the
//! message itself), in one transaction with its own position and with what sessions have changed
//! meanwhile. To a live connection it gives the message once that is durable. Without any
//! subscription it reads retained messages alone: whoever appends one has noted where it stands.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axle_domain::port::{QueueFigures, Record, SendError, SessionChanges};
use axle_domain::{
    Error, Kind, Offset, QueuedMessage, ReceivedPublish, RetainedMessage, Source, limit,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::delivery::{Content, Delivery, bytes_at_rest};
use crate::inbox::Inbox;
use crate::ledger::{Completed, Entries, Notes, Orphan};
use crate::origin::Origin;
use crate::packet::refusal::Refusal;
use crate::recovery::recover;
use crate::retained::{Applied, Bounds};
use crate::routes::{Group, Member, Routes};
use crate::session::Shared;
use crate::will;

mod owed;
mod sent;

/// Bytes of the log that are matched at once.
pub(crate) const READ_BYTES_MAX: usize = 1024 * 1024;
/// Pause after a failure, before it is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Shortest pause before a will that is due is looked at again.
const WILL_PAUSE: Duration = Duration::from_millis(10);
/// How often sessions whose time is over are looked for, and the position is written down where
/// nothing else is: what was appended since is read again when the server starts.
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_secs(5);
/// Retained messages that are read one by one in a turn.
const MARKS_PER_TURN: usize = 64;
/// With so many publishes at QoS 2 noted the position is written down, so that they can be let go.
const NOTED_MAX: usize = 4096;

/// The follower.
pub(crate) struct Router {
    shared: Arc<Shared>,
    /// The next record to match.
    next: Offset,
    /// Where retained messages stand that were not read yet.
    marks: BTreeSet<Offset>,
    /// What waits until the position is beyond its record, or its time has come.
    notes: Notes,
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
    retained: Vec<RetainedMessage>,
    /// Who hears that a publish at QoS 2 is complete.
    completed: Vec<Completed>,
}

impl Router {
    /// Takes in the sessions that were kept.
    pub(crate) async fn open(shared: &Arc<Shared>) -> Result<Self, Error> {
        let ports = &shared.app.ports;
        let mut stored = ports.client_sessions.load_client_sessions().await?;
        stored.through = stored.through.min(ports.log.bounds().durable);
        let (through, now) = (stored.through, ports.clock.now());
        let settings = &shared.settings;
        let bounds =
            Bounds { messages: settings.retained_messages_max, bytes: settings.retained_bytes_max };
        shared.sessions.load(stored, bounds, &shared.app.registry, now);
        recover(shared, through).await?;
        let oldest = ports.client_sessions.oldest_needed().await?;
        Ok(Self {
            shared: Arc::clone(shared),
            next: through,
            marks: BTreeSet::new(),
            notes: Notes::default(),
            stored: through,
            oldest: Some(oldest),
            house_kept: Instant::now(),
        })
    }

    /// Follows the log until `stop`, then writes down what is left.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut is_failing = false;
        loop {
            let is_last = stop.is_cancelled();
            // Before the notes are taken: of every record up to here they are there then.
            let durable = self.shared.app.ports.log.bounds().durable;
            let mut turn = Turn { entries: self.shared.sessions.ledger.take(), ..Turn::default() };
            self.take_notes(&mut turn);
            self.place_orphans(&mut turn);
            match self.read(&mut turn, durable).await {
                Ok(()) => is_failing = false,
                Err(error) => {
                    if !is_failing {
                        error!(error = %error.chain(), "messages cannot be routed, trying again");
                    }
                    is_failing = true;
                }
            }
            self.give_owed(&mut turn);
            self.take_completed(&mut turn);
            let was_idle = turn.is_empty();
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
        let has_routes = !self.shared.sessions.routing().routes.is_empty();
        let next = self.marks.first().copied().filter(|_| !has_routes);
        let next = next.or(has_routes.then_some(self.next)).filter(|_| !is_failing);
        let due = self.shared.sessions.wills.next_due().map(|due| {
            let wait = due.micros_since(app.ports.clock.now());
            Duration::from_micros(u64::try_from(wait).unwrap_or(0))
        });
        let durable = async {
            match next {
                // A failed log says so to whoever publishes; here it only wakes us later.
                Some(next) if app.ports.log.durable(next).await.is_ok() => {}
                _ => std::future::pending().await,
            }
        };
        let pause = if is_failing { RETRY_PAUSE } else { HOUSEKEEPING_INTERVAL };
        let pause = due.map_or(pause, |due| due.clamp(WILL_PAUSE, pause));
        tokio::select! {
            () = self.shared.sessions.ledger.news.notified() => {}
            () = durable => {}
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => {}
        }
    }

    /// Takes over what was noted, and sends the wills whose time has come.
    fn take_notes(&mut self, turn: &mut Turn) {
        self.notes.append(std::mem::take(&mut turn.entries.notes));
        self.marks.extend(self.notes.retained.drain(..));
        let (shared, now) = (&self.shared, self.shared.app.ports.clock.now());
        self.notes.wills.extend(shared.sessions.wills.take_due(now));
        // Without room in the log they wait for the next turn.
        self.notes.wills.retain(|(inbox, will)| will::send(shared, inbox, will).is_err());
    }

    /// Matches the next stretch of the log up to `end`, if anybody asks for it.
    async fn read(&mut self, turn: &mut Turn, end: Offset) -> Result<(), Error> {
        let has_routes = {
            let mut routing = self.shared.sessions.routing();
            if let Some(begin_at) = routing.begin_at.take() {
                self.next = self.next.min(begin_at);
            }
            !routing.routes.is_empty()
        };
        if !has_routes {
            return self.read_marks(turn, end).await;
        }
        if self.next >= end {
            return Ok(());
        }
        let (next, log) = (self.next, &self.shared.app.ports.log);
        let records = match log.read(next, READ_BYTES_MAX).await {
            Ok(records) => records,
            Err(damage) if matches!(damage.kind, Kind::Corrupt | Kind::NotFound) => {
                let first = log.bounds().first;
                let good = damage.limit.map_or(first, |(good, _)| Offset(good).max(first));
                if good <= next {
                    return Err(damage);
                }
                warn!(error = %damage.chain(), "damaged records are not routed");
                self.next = good;
                return Ok(());
            }
            Err(other) => return Err(other),
        };
        let sessions = Arc::clone(&self.shared.sessions);
        let routing = sessions.routing();
        for record in records.iter().take_while(|record| record.offset < end) {
            self.next = record.offset.next();
            if matches!(record.source, Source::Mqtt | Source::Service | Source::Presence) {
                self.retain(record, turn);
                self.route(record, &routing.routes, turn);
            }
        }
        self.marks = self.marks.split_off(&self.next);
        Ok(())
    }

    /// Without subscriptions: reads the retained messages up to `end` and nothing else.
    async fn read_marks(&mut self, turn: &mut Turn, end: Offset) -> Result<(), Error> {
        let log = Arc::clone(&self.shared.app.ports.log);
        for _ in 0..MARKS_PER_TURN {
            let Some(mark) = self.marks.first().copied().filter(|mark| *mark < end) else {
                self.next = self.next.max(end);
                return Ok(());
            };
            match log.read(mark, 1).await {
                Ok(records) => {
                    let record = records.first().filter(|record| record.offset == mark);
                    record.into_iter().for_each(|record| self.retain(record, turn));
                }
                Err(damage) if matches!(damage.kind, Kind::Corrupt | Kind::NotFound) => {
                    warn!(error = %damage.chain(), "a damaged record is not retained");
                }
                Err(other) => return Err(other),
            }
            self.marks.remove(&mark);
            self.next = self.next.max(mark.next());
        }
        Ok(())
    }

    fn retain(&self, record: &Record, turn: &mut Turn) {
        match self.shared.sessions.retained.apply(record) {
            Applied::Nothing => {}
            Applied::Changed(change) => turn.retained.push(change),
            Applied::Full(change) => {
                turn.retained.extend(change);
                self.count_dropped("retained_full", 1);
            }
        }
    }

    /// Completes the publishes at QoS 2 whose records the position is beyond with this turn.
    fn take_completed(&mut self, turn: &mut Turn) {
        let next = self.next;
        let completed = self.notes.completed.extract_if(.., |it| it.taken.offset < next);
        turn.completed.extend(completed);
    }

    fn route(&self, record: &Record, routes: &Routes, turn: &mut Turn) {
        let message = record.message();
        let mut matched = routes.matching(message.topic);
        if matched.members.is_empty() && matched.groups.is_empty() {
            return;
        }
        let content = Content::of(record);
        let (offset, from) = (record.offset, Origin::read(message.origin).client_id);
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
        if is_time {
            turn.retained.extend(sessions.retained.expire(self.shared.app.ports.clock.now()));
        }
        self.take_sent(&mut turn);
        let mut changes = turn.entries.changes();
        changes.queued = std::mem::take(&mut turn.queued);
        changes.retained = std::mem::take(&mut turn.retained);
        changes.completed = turn.completed.iter().map(|it| it.taken.publish()).collect();
        let excess = turn.grown.values().filter_map(|inbox| Some((inbox.number, inbox.excess()?)));
        changes.excess = excess.collect();
        let is_time = is_time || self.notes.taken.len() >= NOTED_MAX;
        if !changes.is_empty() || (is_time && self.next > self.stored) {
            changes.through = Some(self.next);
            changes.received = self.take_received();
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
        self.shared.app.consumers.put_sessions(Some(needed));
        self.tell(turn);
    }

    /// The publishes at QoS 2 that the position is beyond now and that were not released.
    fn take_received(&mut self) -> Vec<ReceivedPublish> {
        let next = self.next;
        let passed = self.notes.taken.extract_if(.., |it| it.offset < next);
        let open = passed.filter(|it| it.inbox.holds(it.packet_id, it.offset));
        open.map(|it| it.publish()).collect()
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
        let (messages, bytes) = self.shared.sessions.retained.figures();
        let metrics = &self.shared.metrics;
        metrics.retained_messages.set(i64::try_from(messages).unwrap_or(i64::MAX));
        metrics.retained_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        for waiting in turn.entries.waiting {
            // Its connection may be gone.
            let _gone = waiting.send(()).is_err();
        }
        for released in turn.entries.released {
            released.link.release(released.packet_id);
        }
        for Completed { taken, link } in turn.completed {
            taken.inbox.complete(taken.packet_id, taken.offset);
            link.complete(taken.packet_id);
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
    fn is_empty(&self) -> bool {
        self.entries.is_empty()
            && self.deliveries.is_empty()
            && self.retained.is_empty()
            && self.completed.is_empty()
    }

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
