//! The packets of MQTT 3.1.1 and 5 that a device needs, as bytes. Nothing is allocated when a
//! packet is read, since the load generator shares its cores with the server.

use bytes::{BufMut, BytesMut};

/// The version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// MQTT 3.1.1.
    V3,
    /// MQTT 5.0.
    V5,
}

/// A packet from the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// The answer to CONNECT.
    ConnAck {
        /// Whether the session was there.
        is_present: bool,
        /// 0 is success.
        code: u8,
        /// What MQTT 5 says besides.
        terms: Terms<'a>,
    },
    /// A PUBLISH was taken over.
    PubAck {
        /// The packet id of the PUBLISH.
        id: u16,
        /// 0x80 and above: refused; always 0 in 3.1.1.
        code: u8,
    },
    /// The answer to a SUBSCRIBE with one filter.
    SubAck {
        /// The packet id of the SUBSCRIBE.
        id: u16,
        /// The granted QoS, or 0x80 and above.
        code: u8,
    },
    /// A message.
    Publish {
        /// Its topic name.
        topic: &'a str,
        /// Its bytes.
        payload: &'a [u8],
        /// The id that a PUBACK answers; 0 at QoS 0.
        id: u16,
    },
    /// The answer to PINGREQ.
    PingResp,
    /// The server says goodbye (MQTT 5).
    Disconnect {
        /// Why, as a number.
        code: u8,
        /// Why, in words; empty without any.
        reason: &'a str,
    },
    /// Anything else.
    Other,
}

/// What a CONNACK of MQTT 5 says besides its code; 3.1.1 says none of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms<'a> {
    /// Why the server refuses, in words; empty without any.
    pub reason: &'a str,
    /// Publishes that may wait for their acknowledgement.
    pub receive_max: Option<u16>,
    /// Seconds of the keep alive that holds instead of the one that was asked for.
    pub keep_alive_s: Option<u16>,
    /// Longest packet that the server takes.
    pub packet_bytes_max: Option<u32>,
}

/// Bytes that are no MQTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Longest packet that is accepted from the server.
const PACKET_BYTES_MAX: usize = 1024 * 1024;

/// Reads the first packet of the buffer and its length; `None` until it is complete.
///
/// # Errors
/// [`Malformed`], when the bytes are no packet, or one larger than we take.
#[inline]
pub fn read(buffer: &[u8], version: Version) -> Result<Option<(Packet<'_>, usize)>, Malformed> {
    let Some((first, rest)) = buffer.split_first() else { return Ok(None) };
    let (mut length, mut shift, mut header) = (0_usize, 0, 1);
    for byte in rest.iter().take(4) {
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        header += 1;
        if byte & 0x80 == 0 {
            if length > PACKET_BYTES_MAX {
                return Err(Malformed);
            }
            let Some(body) = buffer.get(header..header + length) else { return Ok(None) };
            return Ok(Some((body_of(*first, body, version).ok_or(Malformed)?, header + length)));
        }
    }
    if shift >= 28 { Err(Malformed) } else { Ok(None) }
}

fn body_of(first: u8, body: &[u8], version: Version) -> Option<Packet<'_>> {
    Some(match first >> 4 {
        2 => {
            let terms = match version {
                Version::V3 => Terms::default(),
                Version::V5 => terms_of(body.get(2..)?)?,
            };
            Packet::ConnAck { is_present: *body.first()? & 1 == 1, code: *body.get(1)?, terms }
        }
        3 => return publish_of(first, body, version),
        4 => Packet::PubAck { id: id_of(body)?, code: body.get(2).copied().unwrap_or(0) },
        9 => {
            let (id, rest) = (id_of(body)?, body.get(2..)?);
            let rest = if version == Version::V5 { skip_properties(rest)? } else { rest };
            Packet::SubAck { id, code: *rest.first()? }
        }
        13 => Packet::PingResp,
        14 => {
            let reason = terms_of(body.get(1..).unwrap_or_default())?.reason;
            Packet::Disconnect { code: body.first().copied().unwrap_or(0), reason }
        }
        _ => Packet::Other,
    })
}

fn publish_of(first: u8, body: &[u8], version: Version) -> Option<Packet<'_>> {
    let (topic, mut rest) = body.get(2..)?.split_at_checked(usize::from(id_of(body)?))?;
    let mut id = 0;
    if first & 0x06 != 0 {
        id = id_of(rest)?;
        rest = rest.get(2..)?;
    }
    if version == Version::V5 {
        rest = skip_properties(rest)?;
    }
    Some(Packet::Publish { topic: std::str::from_utf8(topic).ok()?, payload: rest, id })
}

fn id_of(body: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes([*body.first()?, *body.get(1)?]))
}

fn skip_properties(body: &[u8]) -> Option<&[u8]> {
    Some(split_properties(body)?.1)
}

/// Properties, and what follows them.
fn split_properties(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = variable(body)?;
    rest.split_at_checked(length)
}

/// A variable byte integer, and what follows it.
fn variable(body: &[u8]) -> Option<(usize, &[u8])> {
    let (mut length, mut rest) = (0_usize, body);
    for shift in [0, 7, 14, 21] {
        let (byte, after) = rest.split_first()?;
        length |= usize::from(byte & 0x7f) << shift;
        rest = after;
        if byte & 0x80 == 0 {
            return Some((length, rest));
        }
    }
    None
}

/// The properties of CONNACK and DISCONNECT that a device acts upon.
fn terms_of(body: &[u8]) -> Option<Terms<'_>> {
    let mut terms = Terms::default();
    // A DISCONNECT without properties may leave out their length.
    if body.is_empty() {
        return Some(terms);
    }
    let (mut rest, _) = split_properties(body)?;
    while let Some((name, after)) = rest.split_first() {
        let length = match name {
            // One byte: maximum QoS, retain, wildcards, subscription ids, shared subscriptions.
            0x24 | 0x25 | 0x28..=0x2a => 1,
            // Two: keep alive, receive maximum, topic alias maximum.
            0x13 | 0x21 | 0x22 => 2,
            // Four: session expiry, maximum packet size.
            0x11 | 0x27 => 4,
            // Text or bytes with their length.
            0x12 | 0x15 | 0x16 | 0x1a | 0x1c | 0x1f => 2 + usize::from(id_of(after)?),
            // A user property: two texts.
            0x26 => {
                let first = 2 + usize::from(id_of(after)?);
                first + 2 + usize::from(id_of(after.get(first..)?)?)
            }
            _ => return None,
        };
        let (value, next) = after.split_at_checked(length)?;
        match name {
            0x13 => terms.keep_alive_s = Some(id_of(value)?),
            0x21 => terms.receive_max = Some(id_of(value)?),
            0x27 => terms.packet_bytes_max = Some(u32::from_be_bytes(value.try_into().ok()?)),
            0x1f => terms.reason = std::str::from_utf8(value.get(2..)?).ok()?,
            _ => {}
        }
        rest = next;
    }
    Some(terms)
}

/// Writes the fixed header.
fn header(first: u8, mut length: usize, out: &mut BytesMut) {
    out.put_u8(first);
    loop {
        let low = u8::try_from(length & 0x7f).unwrap_or(0);
        length >>= 7;
        out.put_u8(if length == 0 { low } else { low | 0x80 });
        if length == 0 {
            return;
        }
    }
}

fn text(text: &str, out: &mut BytesMut) {
    out.put_u16(u16::try_from(text.len()).unwrap_or(0));
    out.put_slice(text.as_bytes());
}

/// Writes CONNECT with a clean start. `client_id` stays below 64 KiB.
pub fn connect(version: Version, client_id: &str, keep_alive_s: u16, out: &mut BytesMut) {
    let is_v5 = version == Version::V5;
    header(0x10, 10 + usize::from(is_v5) + 2 + client_id.len(), out);
    text("MQTT", out);
    out.put_u8(if is_v5 { 5 } else { 4 });
    out.put_u8(0x02);
    out.put_u16(keep_alive_s);
    if is_v5 {
        out.put_u8(0);
    }
    text(client_id, out);
}

/// Writes PUBLISH at QoS 1. `topic` stays below 64 KiB.
#[inline]
pub fn publish(version: Version, topic: &str, id: u16, payload: &[u8], out: &mut BytesMut) {
    let properties = usize::from(version == Version::V5);
    out.reserve(topic.len() + payload.len() + 10);
    header(0x32, 2 + topic.len() + 2 + properties + payload.len(), out);
    text(topic, out);
    out.put_u16(id);
    if version == Version::V5 {
        out.put_u8(0);
    }
    out.put_slice(payload);
}

/// Writes SUBSCRIBE for one filter at QoS 1.
pub fn subscribe(version: Version, id: u16, filter: &str, out: &mut BytesMut) {
    let properties = usize::from(version == Version::V5);
    header(0x82, 2 + properties + 2 + filter.len() + 1, out);
    out.put_u16(id);
    if version == Version::V5 {
        out.put_u8(0);
    }
    text(filter, out);
    out.put_u8(1);
}

/// Writes PUBACK.
pub fn puback(id: u16, out: &mut BytesMut) {
    header(0x40, 2, out);
    out.put_u16(id);
}

/// Writes PINGREQ.
pub fn ping(out: &mut BytesMut) {
    out.put_slice(&[0xc0, 0]);
}

/// Writes DISCONNECT.
pub fn disconnect(out: &mut BytesMut) {
    out.put_slice(&[0xe0, 0]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut BytesMut)) -> Vec<u8> {
        let mut out = BytesMut::new();
        write(&mut out);
        out.to_vec()
    }

    #[test]
    fn writes_the_bytes_of_the_standard() {
        let v3 = written(|out| connect(Version::V3, "b-1", 60, out));
        assert_eq!(v3, b"\x10\x0f\x00\x04MQTT\x04\x02\x00\x3c\x00\x03b-1");
        let v5 = written(|out| connect(Version::V5, "b-1", 60, out));
        assert_eq!(v5, b"\x10\x10\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x03b-1");
        let v3 = written(|out| publish(Version::V3, "t", 7, b"hi", out));
        assert_eq!(v3, b"\x32\x07\x00\x01t\x00\x07hi");
        let v5 = written(|out| publish(Version::V5, "t", 7, b"hi", out));
        assert_eq!(v5, b"\x32\x08\x00\x01t\x00\x07\x00hi");
        let long = written(|out| publish(Version::V3, "t", 1, &[0; 200], out));
        assert_eq!((&long[..3], long.len()), (&b"\x32\xcd\x01"[..], 3 + 205));
        let v5 = written(|out| subscribe(Version::V5, 2, "c/#", out));
        assert_eq!(v5, b"\x82\x09\x00\x02\x00\x00\x03c/#\x01");
        assert_eq!(written(|out| puback(258, out)), b"\x40\x02\x01\x02");
    }

    #[test]
    fn reads_what_servers_send() {
        use Packet::{ConnAck, Disconnect, PingResp, PubAck, Publish, SubAck};
        let none = Terms::default();
        let refused = Terms { reason: "no", ..none };
        let terms = Terms {
            receive_max: Some(256),
            packet_bytes_max: Some(0x20000),
            keep_alive_s: Some(1200),
            ..none
        };
        let cases: [(&[u8], Version, Packet<'_>); 12] = [
            (b"\x20\x02\x01\x00", Version::V3, ConnAck { is_present: true, code: 0, terms: none }),
            (
                b"\x20\x03\x00\x87\x00",
                Version::V5,
                ConnAck { is_present: false, code: 0x87, terms: none },
            ),
            (
                b"\x20\x08\x00\x87\x05\x1f\x00\x02no",
                Version::V5,
                ConnAck { is_present: false, code: 0x87, terms: refused },
            ),
            (
                b"\x20\x16\x00\x00\x13\x21\x01\x00\x27\x00\x02\x00\x00\
                  \x24\x01\x26\x00\x01a\x00\x00\x13\x04\xb0",
                Version::V5,
                ConnAck { is_present: false, code: 0, terms },
            ),
            (
                b"\xe0\x07\x8e\x05\x1f\x00\x02no",
                Version::V5,
                Disconnect { code: 0x8e, reason: "no" },
            ),
            (b"\x40\x02\x01\x02", Version::V3, PubAck { id: 258, code: 0 }),
            (b"\x40\x03\x00\x01\x10", Version::V5, PubAck { id: 1, code: 0x10 }),
            (b"\x90\x03\x00\x02\x01", Version::V3, SubAck { id: 2, code: 1 }),
            (b"\x90\x06\x00\x02\x02\x1f\x00\x80", Version::V5, SubAck { id: 2, code: 0x80 }),
            (
                b"\x32\x07\x00\x01t\x00\x07hi",
                Version::V3,
                Publish { topic: "t", payload: b"hi", id: 7 },
            ),
            (
                b"\x30\x06\x00\x01t\x00hi",
                Version::V5,
                Publish { topic: "t", payload: b"hi", id: 0 },
            ),
            (b"\xe0\x01\x8b", Version::V5, Disconnect { code: 0x8b, reason: "" }),
        ];
        for (bytes, version, packet) in cases {
            assert_eq!(read(bytes, version), Ok(Some((packet, bytes.len()))), "{bytes:x?}");
            for end in 0..bytes.len() {
                assert_eq!(read(&bytes[..end], version), Ok(None), "{bytes:x?} cut at {end}");
            }
        }
        assert_eq!(read(b"\xd0\x00rest", Version::V3), Ok(Some((PingResp, 2))));
    }

    #[test]
    fn garbage_is_malformed_and_never_a_panic() {
        assert_eq!(read(b"\x30\xff\xff\xff\xff\x01", Version::V3), Err(Malformed));
        assert_eq!(read(b"\x30\x01\x00", Version::V3), Err(Malformed));
        assert_eq!(read(b"\x30\x03\x00\x09t", Version::V3), Err(Malformed));
        let mut state = 3_u64;
        for _ in 0..20_000 {
            let bytes: Vec<u8> = (0..16)
                .map(|_place| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    state.to_be_bytes()[0]
                })
                .collect();
            for version in [Version::V3, Version::V5] {
                let _seen = read(&bytes, version);
            }
        }
    }
}
