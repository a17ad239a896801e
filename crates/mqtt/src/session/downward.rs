//! Messages to a client: as many at a time as it takes, and the receipts of what it acknowledged.

use axle_domain::limit;
use tokio::sync::oneshot;

use super::{End, Session};
use crate::link::Delivery;
use crate::packet::refusal::Refusal;
use crate::packet::write::{self, Outbound};

/// Most messages in flight to one client, whatever it says it takes.
const IN_FLIGHT_MAX: u16 = 64;
/// With more than this unsent nothing more is taken from the queue.
const UNSENT_BYTES_MAX: usize = 64 * 1024;

type Receipt = Option<oneshot::Sender<String>>;

/// What is in flight to a client.
pub(super) struct Downward {
    receive_max: u16,
    last_packet_id: u16,
    in_flight: Vec<(u16, Receipt)>,
    /// Receipts of messages that the client refused. They fail with the connection: sending them
    /// again at once would be refused again at once.
    refused: Vec<Receipt>,
    has_queue: bool,
}

impl Downward {
    pub(super) fn new(receive_max: u16) -> Self {
        Self {
            receive_max: receive_max.min(IN_FLIGHT_MAX),
            last_packet_id: 0,
            in_flight: Vec::new(),
            refused: Vec::new(),
            has_queue: false,
        }
    }

    /// Takes a PUBACK. One for an unknown packet id is an echo of an earlier connection.
    pub(super) fn acknowledge(&mut self, packet_id: u16, code: u8) {
        let Some(at) = self.in_flight.iter().position(|(id, _)| *id == packet_id) else { return };
        let (_, receipt) = self.in_flight.remove(at);
        if self.in_flight.is_empty() {
            self.in_flight = Vec::new();
        }
        if code >= 0x80 {
            if self.refused.len() < limit::COMMANDS_OPEN_PER_DEVICE_MAX {
                self.refused.push(receipt);
            }
        } else if let Some(receipt) = receipt {
            // Nobody may be waiting any more; then nobody is told.
            drop(receipt.send(format!("PUBACK of packet {packet_id}")));
        }
    }

    fn has_window(&self) -> bool {
        self.in_flight.len() < usize::from(self.receive_max)
    }

    /// The next packet id that is not in flight [MQTT-2.2.1-3].
    fn next_packet_id(&mut self) -> u16 {
        loop {
            self.last_packet_id = self.last_packet_id.checked_add(1).unwrap_or(1);
            if !self.in_flight.iter().any(|(id, _)| *id == self.last_packet_id) {
                return self.last_packet_id;
            }
        }
    }
}

impl Session {
    /// Notes that messages may wait in the queue.
    pub(crate) fn expect_deliveries(&mut self) {
        self.down.has_queue = true;
    }

    /// Writes what waits for the client, as far as it takes it.
    pub(crate) fn deliver(&mut self, out: &mut Vec<u8>) -> Result<(), End> {
        while self.down.has_queue && self.down.has_window() && out.len() < UNSENT_BYTES_MAX {
            let Some(delivery) = self.link.take_delivery() else {
                self.down.has_queue = false;
                break;
            };
            // Rights are asked for again at the moment of writing.
            if let Some(device) = self.device()
                && self.shared.app.registry.check(device).is_err()
            {
                return Err(Refusal::ADMINISTRATIVE.into());
            }
            self.send(delivery, out);
        }
        Ok(())
    }

    fn send(&mut self, delivery: Delivery, out: &mut Vec<u8>) {
        let mut message = Outbound {
            topic: &delivery.topic,
            payload: &delivery.payload,
            properties: &delivery.properties,
            packet_id: u16::from(delivery.qos > 0),
            identifiers: &delivery.identifiers,
        };
        // [MQTT-3.1.2-24]
        if write::publish_length(self.version(), &message) > self.link.packet_bytes_max {
            return;
        }
        if delivery.qos > 0 {
            message.packet_id = self.down.next_packet_id();
            self.down.in_flight.push((message.packet_id, delivery.receipt));
        }
        write::put_publish(out, self.version(), &message);
        self.counts.sent += 1;
    }
}
