//! Publishes: to the log at once, acknowledged in order when they are durable.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axle_app::Content;
use axle_domain::{Envelope, Error, Kind, Offset, limit};
use tokio::time::Instant;

use super::pace::Effort;
use super::received::PUBREC;
use super::{End, Flow, PENDING_ENTRIES_MAX, Session, TOPIC_ALIAS_MAX, Wait};
use crate::delivery::ITEM_BYTES;
use crate::inbox::Known;
use crate::ledger::Taken;
use crate::origin::{Mark, Origin};
use crate::packet::Version;
use crate::packet::forward;
use crate::packet::header::Header;
use crate::packet::publish::{self, Publish};
use crate::packet::refusal::Refusal;
use crate::packet::write;

/// First byte of PUBACK.
const PUBACK: u8 = 0x40;

/// A publish that waits for the commit.
pub(crate) struct Pending {
    /// Its record; for a refusal that of its count.
    offset: Offset,
    /// 0 at QoS 0.
    packet_id: u16,
    /// 0, 1 or 2: how it is acknowledged.
    qos: u8,
    /// Why it was refused, if it was.
    refusal: Option<Refused>,
}

/// A publish that is acknowledged with an error: it will never be accepted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    NotAuthorized,
    PayloadFormat,
    RetainedFull,
    PacketIdInUse,
}

impl Refused {
    fn code_and_reason(self) -> (u8, &'static str) {
        match self {
            Self::NotAuthorized => {
                (0x87, "a device publishes to t/, e/ and c/{command}/r of v1/d/{its own id}/ only")
            }
            Self::PayloadFormat => (Refusal::PAYLOAD_FORMAT.code, Refusal::PAYLOAD_FORMAT.text),
            Self::RetainedFull => (Refusal::RETAINED_FULL.code, Refusal::RETAINED_FULL.text),
            Self::PacketIdInUse => (0x91, "wait for PUBCOMP before the packet id is used anew"),
        }
    }
}

/// A wait for the log.
pub(crate) type Waiting<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl Session {
    pub(super) fn handle_publish(
        &mut self,
        header: Header,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Flow, End> {
        let publish = publish::read(header, body, self.version())?;
        if publish.qos > 0 && self.is_window_full(&publish) {
            // [MQTT-3.3.4-9]; 3.1.1 knows no Receive Maximum and waits.
            return match self.version() {
                Version::V5 => Err(Refusal::RECEIVE_MAXIMUM.into()),
                Version::V3 => Ok(Flow::Later(Wait::Commit)),
            };
        }
        if self.pending.len() >= PENDING_ENTRIES_MAX {
            return Ok(Flow::Later(Wait::Commit));
        }
        if let Some(wait) = self.must_wait() {
            return Ok(Flow::Later(wait));
        }
        if publish.alias != 0 {
            let topic = self.resolve_alias(&publish)?;
            let flow = self.take_publish(&Publish { topic: &topic, ..publish }, out);
            let aliases = self.aliases.as_mut().map(|aliases| &mut aliases.0);
            let slot = aliases.and_then(|it| it.get_mut(usize::from(publish.alias) - 1));
            if let Some(slot) = slot {
                *slot = topic;
            }
            return flow;
        }
        self.take_publish(&publish, out)
    }

    /// What a publish has to wait for, so that others come to their right.
    fn must_wait(&mut self) -> Option<Wait> {
        let (ingest, settings) = (&self.shared.app.ingest, &self.shared.settings);
        let effort =
            self.effort.get_or_insert_with(|| Effort::new(settings.publishes_per_second_max));
        if let Some(offset) = effort.unsynced.too_much(|offset| ingest.is_durable(offset)) {
            if self.pending.back().is_none_or(|pending| pending.offset < offset) {
                self.pending.push_back(Pending { offset, packet_id: 0, qos: 0, refusal: None });
                self.shared.metrics.count_slowed("unsynced");
            }
            return Some(Wait::Commit);
        }
        let is_early = effort.pace.as_mut().is_some_and(|pace| !pace.take());
        if is_early {
            self.shared.metrics.count_slowed("rate");
        }
        is_early.then_some(Wait::Rate)
    }

    /// Until when it may not publish, because it was too fast.
    pub(crate) fn slowed_until(&self) -> Option<Instant> {
        self.effort.as_ref()?.pace.as_ref()?.until()
    }

    /// It may publish again.
    pub(crate) fn go_on(&mut self) {
        if let Some(pace) = self.effort.as_mut().and_then(|effort| effort.pace.as_mut()) {
            pace.go_on();
        }
    }

    /// That it was slowed down, in words to end a reason with.
    pub(crate) fn slowness(&self) -> Option<String> {
        self.effort.as_ref()?.pace.as_ref()?.words()
    }

    /// Whether the client has as many publishes in flight as it may. At QoS 2 they are until it
    /// has released them; of 3.1.1, which was told no number, only those that wait for the log.
    fn is_window_full(&self, publish: &Publish<'_>) -> bool {
        let released_last = match self.version() {
            Version::V5 if publish.qos == 2 && self.known(publish) != Known::New => return false,
            Version::V5 => self.received.count(),
            Version::V3 => 0,
        };
        usize::from(self.unacknowledged) + released_last >= limit::PENDING_PUBLISHES_MAX
    }

    /// What the session knows of the packet id of a publish at QoS 2.
    fn known(&self, publish: &Publish<'_>) -> Known {
        self.link.inbox.get().map_or(Known::New, |inbox| inbox.known(publish.packet_id))
    }

    /// The topic that an alias stands for, taken out of its slot.
    fn resolve_alias(&mut self, publish: &Publish<'_>) -> Result<Box<str>, Refusal> {
        // [MQTT-3.3.2-9]
        if publish.alias > TOPIC_ALIAS_MAX {
            return Err(Refusal::ALIAS);
        }
        let index = usize::from(publish.alias) - 1;
        let aliases = &mut self.aliases.get_or_insert_default().0;
        if aliases.len() <= index {
            aliases.resize_with(index + 1, Box::default);
        }
        if !publish.topic.is_empty() {
            return Ok(Box::from(publish.topic));
        }
        match aliases.get_mut(index).map(std::mem::take) {
            Some(topic) if !topic.is_empty() => Ok(topic),
            _ => Err(Refusal::ALIAS),
        }
    }

    fn take_publish(&mut self, publish: &Publish<'_>, out: &mut Vec<u8>) -> Result<Flow, End> {
        // [MQTT-4.3.3-10]: whatever it says now, it was taken already.
        if publish.qos == 2 {
            match self.known(publish) {
                Known::New => {}
                Known::Received(offset) => {
                    self.published += 1;
                    self.received.insert(publish.packet_id);
                    self.acknowledge_in_turn(publish, None, Some(offset), out);
                    return Ok(Flow::Next);
                }
                // [MQTT-4.3.3-6]: it was released, and the client has to wait for our PUBCOMP.
                Known::Released if self.version() == Version::V3 => {
                    self.published += 1;
                    self.acknowledge_in_turn(publish, None, None, out);
                    return Ok(Flow::Next);
                }
                Known::Released => {
                    self.published += 1;
                    return Ok(self.refuse(publish, Refused::PacketIdInUse, out));
                }
            }
        }
        if publish.topic.starts_with("$aws/")
            && let Some(claim) = self.claim()
        {
            return self.take_request(publish, claim, out);
        }
        // [MQTT-3.3.2-4]
        if publish.is_text && std::str::from_utf8(publish.payload).is_err() {
            return Ok(self.refuse(publish, Refused::PayloadFormat, out));
        }
        if self.lacks_room(publish) {
            self.published += 1;
            return Ok(self.refuse(publish, Refused::RetainedFull, out));
        }
        let sent = self.append(publish);
        let offset = match sent {
            Ok(offset) => offset,
            Err(error) => return self.not_taken(publish, &error, out),
        };
        if let Some(effort) = &mut self.effort {
            effort.unsynced.add(offset, publish.topic.len() + publish.payload.len());
        }
        self.published += 1;
        if publish.packet_id != 0 {
            let (packet_id, qos) = (publish.packet_id, publish.qos);
            self.unacknowledged += u16::from(qos == 1);
            if qos == 2 {
                self.received.insert(packet_id);
            }
            self.pending.push_back(Pending { offset, packet_id, qos, refusal: None });
        }
        Ok(Flow::Next)
    }

    /// Whether it asks to be retained, can be told, and there is no room for it.
    fn lacks_room(&self, publish: &Publish<'_>) -> bool {
        let bytes = publish.topic.len() + publish.payload.len() + publish.properties.len();
        publish.is_retained
            && publish.qos > 0
            && self.version() == Version::V5
            && !publish.payload.is_empty()
            && !self.shared.sessions.retained.has_room(publish.topic, bytes + ITEM_BYTES)
    }

    /// Appends a publish to the log, with what makes it the same when it comes again.
    fn append(&self, publish: &Publish<'_>) -> Result<Offset, Error> {
        let kept = if publish.has_kept { forward::kept(publish.properties) } else { Vec::new() };
        let inbox = self.link.inbox.get().filter(|_| publish.qos == 2);
        let stored = inbox.filter(|inbox| inbox.is_kept());
        let mark = stored
            .map(|inbox| Mark::Received { session: inbox.number, packet_id: publish.packet_id });
        let is_named = self.is_named || publish.is_retained || mark.is_some();
        let client_id = if is_named { &*self.link.client_id } else { "" };
        let marked = mark.map(|_| Origin { client_id, mark }.to_text());
        let content = Content {
            topic: publish.topic,
            content_type: publish.content_type,
            payload: publish.payload,
            envelope: Envelope {
                qos: publish.qos,
                is_retained: publish.is_retained,
                properties: &kept,
            },
            origin: marked.as_deref().unwrap_or(client_id),
        };
        let ingest = &self.shared.app.ingest;
        if !publish.is_retained && inbox.is_none() {
            return ingest.publish(&self.publisher, &content);
        }
        let ledger = &self.shared.sessions.ledger;
        let offset = ledger.note(|entries| {
            let offset = ingest.publish(&self.publisher, &content)?;
            let packet_id = publish.packet_id;
            if let Some(inbox) = inbox {
                inbox.receive(packet_id, offset);
            }
            if let Some(inbox) = stored.cloned() {
                entries.notes.taken.push(Taken { inbox, packet_id, offset });
            }
            if publish.is_retained {
                entries.notes.retained.push(offset);
            }
            Ok::<_, Error>(offset)
        })?;
        if publish.is_retained {
            ledger.wake();
        }
        Ok(offset)
    }

    pub(super) fn not_taken(
        &mut self,
        publish: &Publish<'_>,
        error: &Error,
        out: &mut Vec<u8>,
    ) -> Result<Flow, End> {
        match error.kind {
            Kind::Busy if publish.qos > 0 => return Ok(Flow::Later(Wait::Room)),
            Kind::Busy => self.shared.app.ingest.count_shed(1),
            // [MQTT-3.3.5-2]: 3.1.1 cannot say no, so it is closed; neither can QoS 0.
            Kind::Denied if publish.qos == 0 || self.version() == Version::V3 => {
                let _record = self.shared.app.ingest.count_rejected(1);
                self.published += 1;
                return Err(Refusal::TOPIC_DENIED.into());
            }
            Kind::Denied => {
                let flow = self.refuse(publish, Refused::NotAuthorized, out);
                self.published += 1;
                return Ok(flow);
            }
            Kind::TooLarge => return Err(Refusal::TOO_LARGE.into()),
            Kind::Invalid
            | Kind::Unauthenticated
            | Kind::NotFound
            | Kind::Conflict
            | Kind::Unavailable
            | Kind::Corrupt
            | Kind::Internal => return Err(Refusal::UNAVAILABLE.into()),
        }
        self.published += 1;
        Ok(Flow::Next)
    }

    /// Acknowledges with an error, after the publishes before it and once the refusal is counted.
    fn refuse(&mut self, publish: &Publish<'_>, refused: Refused, out: &mut Vec<u8>) -> Flow {
        let counted = self.shared.app.ingest.count_rejected(1);
        if publish.packet_id != 0 {
            self.unacknowledged += 1;
            self.acknowledge_in_turn(publish, Some(refused), counted, out);
        }
        Flow::Next
    }

    /// Acknowledges a publish that is no new record, after the publishes before it, and not before
    /// the record is safe that it is a repetition of, or that counts its refusal.
    pub(super) fn acknowledge_in_turn(
        &mut self,
        publish: &Publish<'_>,
        refusal: Option<Refused>,
        after: Option<Offset>,
        out: &mut Vec<u8>,
    ) {
        let (packet_id, qos) = (publish.packet_id, publish.qos);
        let after = after.filter(|offset| !self.shared.app.ingest.is_durable(*offset));
        let last = self.pending.back().map(|pending| pending.offset).max(after);
        let offset = last.unwrap_or_default();
        let pending = Pending { offset, packet_id, qos, refusal };
        if last.is_none() {
            self.release(pending, out);
        } else {
            self.pending.push_back(pending);
        }
    }

    /// Whether a publish of this packet id waits to be acknowledged.
    pub(super) fn has_pending_id(&self, packet_id: u16) -> bool {
        self.pending.iter().any(|pending| pending.packet_id == packet_id)
    }

    /// Acknowledges what has become durable, in order: up to `known` at least.
    pub(crate) fn release_durable(&mut self, known: Offset, out: &mut Vec<u8>) {
        let ingest = &self.shared.app.ingest;
        let is_durable =
            |pending: &Pending| pending.offset <= known || ingest.is_durable(pending.offset);
        // A commit mostly releases all that waits.
        let count = match self.pending.back() {
            Some(last) if is_durable(last) => self.pending.len(),
            Some(_) => self.pending.partition_point(is_durable),
            None => return,
        };
        out.reserve(4 * count);
        for _ in 0..count {
            let Some(pending) = self.pending.pop_front() else { break };
            self.release(pending, out);
        }
        if self.pending.is_empty() && self.pending.capacity() > 0 {
            self.pending = std::collections::VecDeque::new();
        }
    }

    fn release(&mut self, pending: Pending, out: &mut Vec<u8>) {
        if pending.packet_id != 0 {
            let is_counted = pending.qos == 1 || pending.refusal.is_some();
            self.unacknowledged -= u16::from(is_counted);
            match pending.refusal {
                None if pending.qos == 2 => {
                    write::put_ack(out, PUBREC, pending.packet_id, 0);
                }
                None => write::put_puback(out, pending.packet_id),
                Some(refused) => self.put_refusal(&pending, refused, out),
            }
        }
    }

    fn put_refusal(&self, pending: &Pending, refused: Refused, out: &mut Vec<u8>) {
        let (code, reason) = refused.code_and_reason();
        // [MQTT-3.1.2-29], [MQTT-3.4.2-2]
        let reason = if self.wants_reasons { reason } else { "" };
        let reason = write::reason_for(self.link.packet_bytes_max, reason);
        let first = if pending.qos == 2 { PUBREC } else { PUBACK };
        write::put_ack_refusal(out, first, pending.packet_id, code, reason);
    }

    /// Whether publishes wait for a commit.
    pub(crate) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// The oldest publish that waits, and the wait for its commit.
    pub(crate) fn wait_for_commit(&self) -> Option<(Offset, Waiting<Result<(), Error>>)> {
        let offset = self.pending.front()?.offset;
        let app = Arc::clone(&self.shared.app);
        Some((offset, Box::pin(async move { app.ingest.durable(offset).await })))
    }

    /// The wait for room in the log.
    pub(crate) fn wait_for_room(&self) -> Waiting<()> {
        let app = Arc::clone(&self.shared.app);
        Box::pin(async move { app.ingest.room().await })
    }
}
