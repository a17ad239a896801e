//! Publishes at QoS 2 from a client: each is stored once, however often it is sent before the
//! client has released its packet id.

use super::Session;
use crate::packet::Version;
use crate::packet::publish;
use crate::packet::refusal::Refusal;
use crate::packet::write;

/// First byte of PUBREC.
pub(super) const PUBREC: u8 = 0x50;
/// First byte of PUBCOMP.
const PUBCOMP: u8 = 0x70;
const PACKET_ID_NOT_FOUND: u8 = 0x92;

/// The packet ids of messages that were taken and not released yet. There are no more than packet
/// ids; MQTT 5 clients keep to the Receive Maximum.
#[derive(Debug, Default)]
pub(super) struct Received {
    /// Of most connections nothing: in a box, since every idle one keeps room for it.
    ids: Option<Box<Ids>>,
}

/// Packet ids in ascending order.
#[derive(Debug, Default)]
struct Ids(Vec<u16>);

impl Received {
    pub(super) fn contains(&self, packet_id: u16) -> bool {
        self.ids.as_ref().is_some_and(|ids| ids.0.binary_search(&packet_id).is_ok())
    }

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
        if self.has_pending_id(packet_id) {
            // Before our PUBREC there is nothing to release, and the message is not safe yet.
            return Err(Refusal::PROTOCOL);
        }
        let is_known = self.received.remove(packet_id);
        // 3.1.1 cannot be told, and goes on sending PUBREL until it has its PUBCOMP.
        let code = if is_known || version == Version::V3 { 0 } else { PACKET_ID_NOT_FOUND };
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
        assert!(received.contains(7) && received.remove(7));
        assert!(!received.contains(7) && !received.remove(7));
        assert_eq!(received.count(), 2);
        assert!(received.remove(1) && received.remove(u16::MAX));
        assert!(received.ids.is_none(), "an idle connection keeps nothing");
    }
}
