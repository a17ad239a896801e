//! The fixed header: looked at before anything else of a packet.

use super::reader::var_int;
use super::refusal::Refusal;

/// The kinds of packet that a client may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PacketKind {
    Connect,
    Publish,
    PubAck,
    PubRec,
    PubRel,
    PubComp,
    Subscribe,
    Unsubscribe,
    PingReq,
    Disconnect,
    Auth,
}

/// A fixed header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// The kind.
    pub(crate) kind: PacketKind,
    /// The lower four bits of the first byte.
    pub(crate) flags: u8,
    /// Bytes before the body.
    pub(crate) body_at: usize,
    /// Bytes of the whole packet.
    pub(crate) length: usize,
}

/// Reads the fixed header at the start of these bytes; `None` where they end within it. What is
/// larger than `bytes_max` is refused here, before a byte of it is kept.
pub(crate) fn peek(bytes: &[u8], bytes_max: usize) -> Result<Option<Header>, Refusal> {
    let Some((first, rest)) = bytes.split_first() else { return Ok(None) };
    let kind = kind(*first)?;
    let Some((remaining, length_bytes)) = var_int(rest)? else { return Ok(None) };
    let body_at = 1 + length_bytes;
    let length = usize::try_from(remaining).unwrap_or(usize::MAX).saturating_add(body_at);
    if length > bytes_max {
        return Err(Refusal::TOO_LARGE);
    }
    Ok(Some(Header { kind, flags: first & 0x0f, body_at, length }))
}

/// Whether these bytes begin a PUBLISH packet.
pub(crate) fn is_publish(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| first >> 4 == 3)
}

fn kind(first: u8) -> Result<PacketKind, Refusal> {
    let (kind, flags) = match first >> 4 {
        1 => (PacketKind::Connect, 0),
        3 => return check_publish(first & 0x0f),
        4 => (PacketKind::PubAck, 0),
        5 => (PacketKind::PubRec, 0),
        6 => (PacketKind::PubRel, 2),
        7 => (PacketKind::PubComp, 0),
        8 => (PacketKind::Subscribe, 2),
        10 => (PacketKind::Unsubscribe, 2),
        12 => (PacketKind::PingReq, 0),
        14 => (PacketKind::Disconnect, 0),
        15 => (PacketKind::Auth, 0),
        0 => return Err(Refusal::MALFORMED),
        // CONNACK, SUBACK, UNSUBACK, PINGRESP: ours to send.
        _ => return Err(Refusal::PROTOCOL),
    };
    // [MQTT-2.1.3-1]
    if first & 0x0f == flags { Ok(kind) } else { Err(Refusal::FLAGS) }
}

fn check_publish(flags: u8) -> Result<PacketKind, Refusal> {
    let (is_duplicate, qos) = (flags & 0x08 != 0, (flags >> 1) & 0x03);
    // [MQTT-3.3.1-4], [MQTT-3.3.1-2]
    if qos == 3 || (qos == 0 && is_duplicate) {
        return Err(Refusal::FLAGS);
    }
    Ok(PacketKind::Publish)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], expected: Result<Option<(PacketKind, usize)>, Refusal>) {
        let seen = peek(bytes, 100).map(|header| header.map(|header| (header.kind, header.length)));
        assert_eq!(seen, expected, "{bytes:x?}");
    }

    #[test]
    fn refuses_by_the_header_alone() {
        check(&[], Ok(None));
        check(&[0x10], Ok(None));
        check(&[0x10, 0x05], Ok(Some((PacketKind::Connect, 7))));
        check(&[0x10, 98], Ok(Some((PacketKind::Connect, 100))));
        check(&[0x10, 99], Err(Refusal::TOO_LARGE));
        check(&[0x10, 0xff, 0xff, 0xff, 0x7f], Err(Refusal::TOO_LARGE));
        check(&[0x10, 0xff, 0xff, 0xff, 0xff, 1], Err(Refusal::LENGTH));
        check(&[0x11, 0x00], Err(Refusal::FLAGS));
        check(&[0x80, 0x00], Err(Refusal::FLAGS));
        check(&[0x36, 0x00], Err(Refusal::FLAGS));
        check(&[0x38, 0x00], Err(Refusal::FLAGS));
        check(&[0x3a, 0x00], Ok(Some((PacketKind::Publish, 2))));
        check(&[0x00, 0x00], Err(Refusal::MALFORMED));
        for sent_by_servers in [0x20, 0x90, 0xb0, 0xd0] {
            check(&[sent_by_servers, 0x00], Err(Refusal::PROTOCOL));
        }
    }
}
