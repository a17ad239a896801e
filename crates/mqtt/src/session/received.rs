//! Publishes at QoS 2 from a client: each is stored once, however often it is sent before the
//! client has released its packet id, over whatever connections and restarts of the server its
//! session lasts.

use std::sync::Arc;

use super::Session;
use crate::inbox::{Known, Release};
use crate::ledger::{Completed, Taken};
use crate::packet::Version;
use crate::packet::publish;
use crate::packet::refusal::Refusal;
use crate::packet::write;

/// First byte of PUBREC.
pub(super) const PUBREC: u8 = 0x50;
/// First byte of PUBCOMP.
pub(super) const PUBCOMP: u8 = 0x70;
const PACKET_ID_NOT_FOUND: u8 = 0x92;

/// The packet ids of messages that came by this connection and were not released yet: those that
/// count for the Receive Maximum. Which message each stands for is known to the session
/// ([`crate::inbox::Inbox::known`]).
#[derive(Debug, Default)]
pub(super) struct Received {
    /// Of most connections nothing: in a box, since every idle one keeps room for it.
    ids: Option<Box<Ids>>,
}

/// Packet ids in ascending order.
#[derive(Debug, Default)]
struct Ids(Vec<u16>);

impl Received {
    pub(super) fn count(&self) -> usize {
        self.ids.as_ref().map_or(0, |ids| ids.0.len())
    }

    pub(super) fn insert(&mut self, packet_id: u16) {
        let ids = &mut self.ids.get_or_insert_default().0;
        if let Err(at) = ids.binary_search(&packet_id) {
            ids.insert(at, packet_id);
        }
    }

    /// Forgets a packet id; says whether it was there.
    pub(super) fn remove(&mut self, packet_id: u16) -> bool {
        let Some(ids) = &mut self.ids else { return false };
        let Ok(at) = ids.0.binary_search(&packet_id) else { return false };
        ids.0.remove(at);
        if ids.0.is_empty() {
            self.ids = None;
        }
        true
    }
}

impl Session {
    /// Takes a PUBREL: the client knows that the message is safe, and may use its packet id anew
    /// [MQTT-4.3.3-11], [MQTT-4.3.3-12].
    pub(super) fn handle_pubrel(&mut self, body: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
        let version = self.version();
        let (packet_id, _) = publish::read_completion(body, version)?;
        let Some(inbox) = self.link.inbox.get().cloned() else { return Err(Refusal::PROTOCOL) };
        let is_safe = match inbox.known(packet_id) {
            Known::Received(offset) => self.shared.app.ingest.is_durable(offset),
            Known::New | Known::Released => true,
        };
        if !is_safe || self.has_pending_id(packet_id) {
            // Before our PUBREC there is nothing to release, and the message is not safe yet.
            return Err(Refusal::PROTOCOL);
        }
        self.received.remove(packet_id);
        let code = match inbox.release(packet_id, self.link.id) {
            Release::UnderWay => return Ok(()),
            // Not before it is written down: else a new message of this packet id could be taken
            // for the old one after a crash.
            Release::Begins(offset) if inbox.is_kept() => {
                let (link, taken) = (Arc::clone(&self.link), Taken { inbox, packet_id, offset });
                self.shared.sessions.ledger.complete(Completed { taken, link });
                return Ok(());
            }
            Release::Begins(offset) => {
                inbox.complete(packet_id, offset);
                0
            }
            // 3.1.1 cannot be told, and goes on sending PUBREL until it has its PUBCOMP.
            Release::Unknown if version == Version::V3 => 0,
            Release::Unknown => PACKET_ID_NOT_FOUND,
        };
        write::put_ack(out, PUBCOMP, packet_id, code);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_id_is_known_until_it_is_released() {
        let mut received = Received::default();
        for id in [7, 1, u16::MAX, 7] {
            received.insert(id);
        }
        assert_eq!(received.ids.as_ref().unwrap().0, [1, 7, u16::MAX]);
        assert!(received.remove(7) && !received.remove(7));
        assert_eq!(received.count(), 2);
        assert!(received.remove(1) && received.remove(u16::MAX));
        assert!(received.ids.is_none(), "an idle connection keeps nothing");
    }
}
