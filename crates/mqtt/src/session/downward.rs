//! Messages to a client: as many at a time as it takes, each acknowledged as its QoS asks for.

use std::collections::HashMap;
use std::sync::Arc;

use axle_domain::port::Acknowledgement;
use axle_domain::{Error, Kind, limit};
use tokio::sync::oneshot;

use super::received::PUBCOMP;
use super::{End, Session, Shared};
use crate::delivery::{Content, Delivery};
use crate::inbox::{Inbox, QUEUED_PACKET_ID_MAX, packet_id};
use crate::ledger::{Orphan, Released};
use crate::link::QUEUE_BYTES_MAX;
use crate::packet::Version;
use crate::packet::forward;
use crate::packet::refusal::Refusal;
use crate::packet::write::{self, Outbound};

/// Most messages in flight to one client, whatever it says it takes.
const IN_FLIGHT_MAX: u16 = 64;
/// With more than this unsent nothing more is taken from the queue.
const UNSENT_BYTES_MAX: usize = 64 * 1024;
/// Most topic aliases towards one client.
const ALIASES_MAX: u16 = 32;
/// Messages that are read from rest at once.
const LOADED_MAX: usize = 64;
/// Pause after messages at rest could not be read.
const LOAD_PAUSE: std::time::Duration = std::time::Duration::from_secs(1);
const PACKET_ID_NOT_FOUND: u8 = 0x92;

type Receipt = Option<oneshot::Sender<Acknowledgement>>;

/// What is in flight to a client.
pub(super) struct Downward {
    receive_max: u16,
    last_packet_id: u16,
    in_flight: Vec<InFlight>,
    has_queue: bool,
    rare: Option<Box<Rare>>,
}

/// What few connections have.
#[derive(Default)]
struct Rare {
    /// Receipts of messages that the client refused. They fail with the connection: sending them
    /// again at once would be refused again at once.
    refused: Vec<Receipt>,
    aliases: Aliases,
}

/// What a message in flight waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// PUBACK.
    Acknowledged,
    /// PUBREC.
    Received,
    /// That it is written down that the client has it.
    Stored,
    /// PUBCOMP.
    Completed,
}

struct InFlight {
    packet_id: u16,
    stage: Stage,
    delivery: Delivery,
}

/// Topics that a number stands for towards this client.
#[derive(Default)]
struct Aliases {
    most: u16,
    known: HashMap<Arc<str>, u16>,
}

impl Aliases {
    /// The alias of a topic, and whether the client knows it already.
    fn of(&mut self, topic: &Arc<str>) -> Option<(u16, bool)> {
        if let Some(alias) = self.known.get(topic) {
            return Some((*alias, true));
        }
        let alias = u16::try_from(self.known.len()).ok()?.checked_add(1)?;
        (alias <= self.most).then(|| {
            self.known.insert(Arc::clone(topic), alias);
            (alias, false)
        })
    }
}

impl Downward {
    pub(super) fn new(receive_max: u16, alias_max: u16) -> Self {
        let most = alias_max.min(ALIASES_MAX);
        let aliases = Aliases { most, known: HashMap::new() };
        let rare = Rare { refused: Vec::new(), aliases };
        Self {
            receive_max: receive_max.min(IN_FLIGHT_MAX),
            last_packet_id: QUEUED_PACKET_ID_MAX,
            in_flight: Vec::new(),
            has_queue: true,
            rare: (most > 0).then(|| Box::new(rare)),
        }
    }

    fn has_window(&self) -> bool {
        self.in_flight.len() < usize::from(self.receive_max)
    }

    fn find(&mut self, packet_id: u16) -> Option<&mut InFlight> {
        self.in_flight.iter_mut().find(|it| it.packet_id == packet_id)
    }

    fn take(&mut self, packet_id: u16) -> Option<InFlight> {
        let at = self.in_flight.iter().position(|it| it.packet_id == packet_id)?;
        let taken = self.in_flight.remove(at);
        if self.in_flight.is_empty() {
            self.in_flight = Vec::new();
        }
        self.has_queue = true;
        Some(taken)
    }

    /// The next packet id that is not in flight [MQTT-2.2.1-3], of those that stand for nothing
    /// at rest.
    fn next_packet_id(&mut self) -> u16 {
        loop {
            let next = self.last_packet_id.checked_add(1);
            self.last_packet_id = next.unwrap_or(QUEUED_PACKET_ID_MAX + 1);
            let id = self.last_packet_id;
            if !self.in_flight.iter().any(|it| it.packet_id == id) {
                return id;
            }
        }
    }
}

impl Session {
    /// Notes that messages may wait in the queue.
    pub(crate) fn expect_deliveries(&mut self) {
        self.down.has_queue = true;
    }

    /// Takes a PUBACK. One for an unknown packet id is an echo of an earlier connection.
    pub(super) fn handle_puback(&mut self, packet_id: u16, code: u8) -> Result<(), Refusal> {
        match self.down.find(packet_id).map(|it| it.stage) {
            None => return Ok(()),
            Some(Stage::Acknowledged) => {}
            Some(_) => return Err(Refusal::PROTOCOL),
        }
        self.done(packet_id, code, "PUBACK");
        Ok(())
    }

    /// Takes a PUBREC: the client has the message, or does not want it.
    pub(super) fn handle_pubrec(
        &mut self,
        packet_id: u16,
        code: u8,
        out: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        let (link, version) = (Arc::clone(&self.link), self.version());
        let Some(it) = self.down.find(packet_id) else {
            // An error says to MQTT 5 that we know nothing of it; 3.1.1 can only be let go on.
            if code < 0x80 {
                let code = if version == Version::V5 { PACKET_ID_NOT_FOUND } else { 0 };
                write::put_ack(out, write::PUBREL, packet_id, code);
            }
            return Ok(());
        };
        match it.stage {
            Stage::Acknowledged => return Err(Refusal::PROTOCOL),
            Stage::Stored => return Ok(()),
            // [MQTT-4.3.3-4]
            Stage::Completed => {
                write::put_ack(out, write::PUBREL, packet_id, 0);
                return Ok(());
            }
            Stage::Received => {}
        }
        if code >= 0x80 {
            self.done(packet_id, code, "PUBREC");
            return Ok(());
        }
        match (it.delivery.sequence, link.inbox.get()) {
            // Not before it is written down: else a message could come twice after a crash.
            (Some(sequence), Some(inbox)) => {
                it.stage = Stage::Stored;
                let key = (inbox.number, sequence);
                self.shared.sessions.ledger.release(Released { link, packet_id, key });
            }
            _ => {
                it.stage = Stage::Completed;
                write::put_ack(out, write::PUBREL, packet_id, 0);
            }
        }
        Ok(())
    }

    /// Takes a PUBCOMP.
    pub(super) fn handle_pubcomp(&mut self, packet_id: u16) -> Result<(), Refusal> {
        match self.down.find(packet_id).map(|it| it.stage) {
            None => return Ok(()),
            Some(Stage::Completed) => {}
            Some(_) => return Err(Refusal::PROTOCOL),
        }
        self.done(packet_id, 0, "PUBCOMP");
        Ok(())
    }

    fn done(&mut self, packet_id: u16, code: u8, packet: &str) {
        let Some(taken) = self.down.take(packet_id) else { return };
        let Delivery { sequence, receipt, .. } = taken.delivery;
        if let (Some(sequence), Some(inbox)) = (sequence, self.link.inbox.get()) {
            self.shared.sessions.ledger.settle(inbox, sequence);
        }
        if code >= 0x80 {
            self.shared.metrics.count_dropped("refused", 1);
            let rare = self.down.rare.get_or_insert_default();
            if rare.refused.len() < limit::COMMANDS_OPEN_PER_DEVICE_MAX {
                rare.refused.push(receipt);
            }
        } else if let Some(receipt) = receipt {
            // Nobody may be waiting any more; then nobody is told.
            let time = self.shared.app.ports.clock.now();
            let evidence = format!("{packet} of packet {packet_id}");
            drop(receipt.send(Acknowledgement { time, evidence }));
        }
    }

    /// Writes what waits for the client, as far as it takes it.
    pub(crate) fn deliver(&mut self, out: &mut Vec<u8>) -> Result<(), End> {
        if !self.down.has_queue {
            return Ok(());
        }
        let (released, completed) = self.link.take_written().unwrap_or_default();
        for packet_id in released {
            if let Some(it) = self.down.find(packet_id).filter(|it| it.stage == Stage::Stored) {
                it.stage = Stage::Completed;
                write::put_ack(out, write::PUBREL, packet_id, 0);
            }
        }
        for packet_id in completed {
            write::put_ack(out, PUBCOMP, packet_id, 0);
        }
        while self.down.has_window() && out.len() < UNSENT_BYTES_MAX {
            let Some(delivery) = self.link.take_delivery() else {
                self.down.has_queue = false;
                if self.link.take_awaited() {
                    self.shared.sessions.ledger.wake();
                }
                self.load_backlog();
                break;
            };
            // Rights are asked for again at the moment of writing.
            if let Some(device) = self.device()
                && self.shared.app.registry.check(device).is_err()
            {
                return Err(Refusal::ADMINISTRATIVE.into());
            }
            if !self.publisher.may_subscribe(&delivery.content.topic) {
                self.drop_delivery(&delivery, "not_authorized");
                continue;
            }
            let is_taken = delivery
                .sequence
                .map(packet_id)
                .is_some_and(|id| self.down.in_flight.iter().any(|it| it.packet_id == id));
            if is_taken {
                // Its packet id comes free with the acknowledgement of the one before it.
                self.link.put_back(delivery);
                self.down.has_queue = false;
                break;
            }
            self.send(delivery, out);
        }
        Ok(())
    }

    fn send(&mut self, delivery: Delivery, out: &mut Vec<u8>) {
        let packet_id = match delivery.sequence {
            Some(sequence) => packet_id(sequence),
            None if delivery.qos > 0 => self.down.next_packet_id(),
            None => 0,
        };
        if delivery.is_released {
            // [MQTT-4.4.0-1]
            write::put_ack(out, write::PUBREL, packet_id, 0);
            self.down.in_flight.push(InFlight { packet_id, stage: Stage::Completed, delivery });
            return;
        }
        let content = Arc::clone(&delivery.content);
        let waited = self.shared.app.ports.clock.now().micros_since(content.received_at);
        let waited = u64::try_from(waited / 1_000_000).unwrap_or(0);
        let inbox = delivery.sequence.zip(self.link.inbox.get());
        let is_again = inbox.is_some_and(|(sequence, inbox)| inbox.note_sent(sequence));
        // [MQTT-3.3.2-5], [MQTT-3.3.2-6]; [MQTT-4.3.3-7]: only before it is sent for the first time.
        let properties = match forward::aged(&content.properties, waited) {
            Some(properties) => properties,
            None if is_again => forward::spent(&content.properties),
            None => return self.drop_delivery(&delivery, "expired"),
        };
        let mut message = Outbound {
            topic: &content.topic,
            payload: &content.payload,
            properties: &properties,
            packet_id,
            qos: delivery.qos,
            is_retained: delivery.is_retained,
            // [MQTT-3.3.1-1]
            is_duplicate: is_again,
            alias: None,
            identifiers: &delivery.identifiers,
        };
        // [MQTT-3.1.2-24]
        if write::publish_length(self.version(), &message) > self.link.packet_bytes_max {
            return self.drop_delivery(&delivery, "too_large");
        }
        if let Some((alias, is_known)) =
            self.down.rare.as_mut().and_then(|rare| rare.aliases.of(&content.topic))
        {
            message.alias = Some(alias);
            if is_known {
                message.topic = "";
            } else if write::publish_length(self.version(), &message) > self.link.packet_bytes_max {
                return self.drop_delivery(&delivery, "too_large");
            }
        }
        write::put_publish(out, self.version(), &message);
        self.counts.sent += 1;
        if delivery.qos > 0 {
            let stage = if delivery.qos == 1 { Stage::Acknowledged } else { Stage::Received };
            self.down.in_flight.push(InFlight { packet_id, stage, delivery });
        }
    }

    /// A message that this client never gets.
    fn drop_delivery(&self, delivery: &Delivery, reason: &str) {
        self.shared.metrics.count_dropped(reason, 1);
        tracing::debug!(connection = self.link.id.0, reason, "a message was dropped");
        if let (Some(sequence), Some(inbox)) = (delivery.sequence, self.link.inbox.get()) {
            self.shared.sessions.ledger.settle(inbox, sequence);
        }
    }

    /// Has more read from the queue at rest, if there is more.
    fn load_backlog(&self) {
        let Some(inbox) = self.link.inbox.get() else { return };
        let Some(after) = self.link.begin_loading() else { return };
        let (shared, link) = (Arc::clone(&self.shared), Arc::clone(&self.link));
        let inbox = Arc::clone(inbox);
        self.shared.tracker.spawn(async move {
            match read_backlog(&shared, &inbox, after).await {
                Ok((loaded, through, is_all)) => link.finish_loading(loaded, through, is_all),
                Err(error) => {
                    tracing::warn!(error = %error.chain(), "messages at rest cannot be read");
                    tokio::time::sleep(LOAD_PAUSE).await;
                    link.finish_loading(Vec::new(), after, false);
                }
            }
        });
    }

    /// What members of a group did not acknowledge goes to others. A message at QoS 2 that was
    /// sent stays with this client [MQTT-4.8.2-4], [MQTT-4.8.2-5].
    pub(super) fn orphan_shared(&mut self) {
        let Some(inbox) = self.link.inbox.get() else { return };
        let in_flight = std::mem::take(&mut self.down.in_flight);
        let in_flight = in_flight.into_iter().filter(|it| it.stage == Stage::Acknowledged);
        let unsent = self.link.drain().into_iter().filter(|delivery| !delivery.is_released);
        let orphans = in_flight
            .map(|it| it.delivery)
            .chain(unsent)
            .filter(|delivery| delivery.share.is_some())
            .map(|delivery| Orphan { inbox: Arc::clone(inbox), delivery });
        self.shared.sessions.ledger.orphan(orphans.collect());
    }
}

/// The next messages of a queue at rest, the last sequence that was looked at, and whether
/// nothing is behind it.
async fn read_backlog(
    shared: &Shared,
    inbox: &Arc<Inbox>,
    after: u64,
) -> Result<(Vec<Delivery>, u64, bool), Error> {
    let ports = &shared.app.ports;
    let rows = ports.client_sessions.list_queued(inbox.number, after, LOADED_MAX).await?;
    let (mut loaded, mut through, mut bytes) = (Vec::new(), after, 0);
    let count = rows.len();
    for (index, row) in rows.into_iter().enumerate() {
        if bytes > QUEUE_BYTES_MAX {
            return Ok((loaded, through, false));
        }
        through = row.sequence;
        let read = match ports.log.read(row.offset, 1).await {
            Err(error) if !matches!(error.kind, Kind::Corrupt | Kind::NotFound) => {
                return Err(error);
            }
            read => read.unwrap_or_default(),
        };
        let record = read.into_iter().next().filter(|record| record.offset == row.offset);
        let content = match record {
            Some(record) => Some(Content::of(&record)),
            // What was retained may be older than what is left of the log.
            None => shared.sessions.retained.at(row.offset),
        };
        let Some(content) = content else {
            // Only damage takes away what a queue still needs, or a newer message of the topic.
            shared.metrics.count_dropped("unreadable", 1);
            shared.sessions.ledger.settle(inbox, row.sequence);
            continue;
        };
        let mut delivery = Delivery::new(&content, row.qos, row.identifiers);
        delivery.sequence = Some(row.sequence);
        delivery.is_retained = row.is_retained;
        delivery.is_released = row.is_released;
        bytes += delivery.content.cost();
        loaded.push(delivery);
        if index + 1 == LOADED_MAX {
            return Ok((loaded, through, false));
        }
    }
    Ok((loaded, through, count < LOADED_MAX))
}
