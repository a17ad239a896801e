//! Writes the packets that a server sends. Callers have checked the sizes.

use super::Version;
use super::property;

/// What CONNACK says to an MQTT 5 client that is let in.
pub(crate) struct Welcome<'a> {
    pub(crate) assigned_client_id: Option<&'a str>,
    pub(crate) server_keep_alive: Option<u16>,
    pub(crate) receive_max: u16,
    pub(crate) packet_bytes_max: u32,
    pub(crate) topic_alias_max: u16,
    /// Whether the client goes on with an earlier session.
    pub(crate) is_present: bool,
    /// Seconds that the session lasts, where that is not what was asked for.
    pub(crate) session_expiry: Option<u32>,
}

/// A PUBLISH packet to be sent.
pub(crate) struct Outbound<'a> {
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a [u8],
    /// Properties as they stand on the wire, without a topic alias.
    pub(crate) properties: &'a [u8],
    /// 0 for QoS 0.
    pub(crate) packet_id: u16,
    pub(crate) qos: u8,
    pub(crate) is_retained: bool,
    /// Whether it may have been sent before.
    pub(crate) is_duplicate: bool,
    /// What stands for the topic from now on.
    pub(crate) alias: Option<u16>,
    /// Subscription identifiers; 0 is none.
    pub(crate) identifiers: &'a [u32],
}

pub(crate) fn put_connack_welcome(out: &mut Vec<u8>, version: Version, welcome: &Welcome<'_>) {
    if version == Version::V3 {
        out.extend_from_slice(&[0x20, 2, u8::from(welcome.is_present), 0]);
        return;
    }
    let mut properties = Vec::with_capacity(64);
    if let Some(seconds) = welcome.session_expiry {
        properties.push(property::SESSION_EXPIRY);
        properties.extend_from_slice(&seconds.to_be_bytes());
    }
    put_number(&mut properties, property::RECEIVE_MAXIMUM, welcome.receive_max);
    properties.push(property::MAXIMUM_PACKET_SIZE);
    properties.extend_from_slice(&welcome.packet_bytes_max.to_be_bytes());
    if let Some(client_id) = welcome.assigned_client_id {
        properties.push(property::ASSIGNED_CLIENT_ID);
        put_text(&mut properties, client_id);
    }
    put_number(&mut properties, property::TOPIC_ALIAS_MAXIMUM, welcome.topic_alias_max);
    if let Some(seconds) = welcome.server_keep_alive {
        put_number(&mut properties, property::SERVER_KEEP_ALIVE, seconds);
    }
    out.push(0x20);
    put_var_int(out, 2 + var_int_length(properties.len()) + properties.len());
    out.extend_from_slice(&[u8::from(welcome.is_present), 0]);
    put_var_int(out, properties.len());
    out.extend_from_slice(&properties);
}

/// `code` is the MQTT 5 reason code; 3.1.1 gets the return code that comes nearest.
pub(crate) fn put_connack_refusal(out: &mut Vec<u8>, version: Version, code: u8, reason: &str) {
    match version {
        Version::V3 => {
            let code = match code {
                0x84 => 1,
                0x85 => 2,
                0x88 | 0x89 | 0x8b | 0x97 => 3,
                0x86 => 4,
                _ => 5,
            };
            out.extend_from_slice(&[0x20, 2, 0, code]);
        }
        // Only DISCONNECT says that the server is stopping.
        Version::V5 if code == 0x8b => put_with_reason(out, 0x20, &[0, 0x88], reason),
        Version::V5 => put_with_reason(out, 0x20, &[0, code], reason),
    }
}

/// The reason, if a packet with it is surely not larger than what the client takes.
pub(crate) fn reason_for(packet_bytes_max: usize, reason: &str) -> &str {
    const AROUND: usize = 16;
    if packet_bytes_max >= reason.len() + AROUND { reason } else { "" }
}

/// DISCONNECT; 3.1.1 has none that a server may send.
pub(crate) fn put_disconnect(out: &mut Vec<u8>, version: Version, code: u8, reason: &str) {
    if version == Version::V5 {
        put_with_reason(out, 0xe0, &[code], reason);
    }
}

#[inline]
pub(crate) fn put_puback(out: &mut Vec<u8>, packet_id: u16) {
    let [high, low] = packet_id.to_be_bytes();
    out.extend_from_slice(&[0x40, 2, high, low]);
}

/// The first byte of a PUBREL packet.
pub(crate) const PUBREL: u8 = 0x62;

/// An acknowledgement without a reason string; `code` is for MQTT 5 alone, and 0 for success.
pub(crate) fn put_ack(out: &mut Vec<u8>, first: u8, packet_id: u16, code: u8) {
    let [high, low] = packet_id.to_be_bytes();
    match code {
        0 => out.extend_from_slice(&[first, 2, high, low]),
        code => out.extend_from_slice(&[first, 3, high, low, code]),
    }
}

/// PUBACK (0x40) or PUBREC (0x50) of MQTT 5 with a code other than success.
pub(crate) fn put_ack_refusal(
    out: &mut Vec<u8>,
    first: u8,
    packet_id: u16,
    code: u8,
    reason: &str,
) {
    let [high, low] = packet_id.to_be_bytes();
    put_with_reason(out, first, &[high, low, code], reason);
}

pub(crate) fn put_suback(out: &mut Vec<u8>, version: Version, packet_id: u16, codes: &[u8]) {
    put_codes(out, 0x90, version, packet_id, codes);
}

pub(crate) fn put_unsuback(out: &mut Vec<u8>, version: Version, packet_id: u16, codes: &[u8]) {
    // 3.1.1 has no codes here.
    let codes = if version == Version::V3 { &[] } else { codes };
    put_codes(out, 0xb0, version, packet_id, codes);
}

fn put_codes(out: &mut Vec<u8>, first: u8, version: Version, packet_id: u16, codes: &[u8]) {
    let has_properties = version == Version::V5;
    out.push(first);
    put_var_int(out, 2 + usize::from(has_properties) + codes.len());
    out.extend_from_slice(&packet_id.to_be_bytes());
    if has_properties {
        out.push(0);
    }
    out.extend_from_slice(codes);
}

pub(crate) fn put_pingresp(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0xd0, 0]);
}

/// The bytes that [`put_publish`] will write.
pub(crate) fn publish_length(version: Version, message: &Outbound<'_>) -> usize {
    let body = publish_body_length(version, message);
    1 + var_int_length(body) + body
}

fn publish_properties_length(message: &Outbound<'_>) -> usize {
    let identifiers = message.identifiers.iter().filter(|id| **id != 0);
    let identifiers: usize =
        identifiers.map(|id| 1 + var_int_length(usize::try_from(*id).unwrap_or(0))).sum();
    let alias = if message.alias.is_some() { 3 } else { 0 };
    message.properties.len() + identifiers + alias
}

fn publish_body_length(version: Version, message: &Outbound<'_>) -> usize {
    let packet_id = if message.qos == 0 { 0 } else { 2 };
    let properties = match version {
        Version::V3 => 0,
        Version::V5 => {
            let length = publish_properties_length(message);
            var_int_length(length) + length
        }
    };
    2 + message.topic.len() + packet_id + properties + message.payload.len()
}

pub(crate) fn put_publish(out: &mut Vec<u8>, version: Version, message: &Outbound<'_>) {
    let body = publish_body_length(version, message);
    out.reserve(body + 5);
    let flags =
        u8::from(message.is_retained) | (message.qos << 1) | (u8::from(message.is_duplicate) << 3);
    out.push(0x30 | flags);
    put_var_int(out, body);
    put_text(out, message.topic);
    if message.qos != 0 {
        out.extend_from_slice(&message.packet_id.to_be_bytes());
    }
    if version == Version::V5 {
        put_var_int(out, publish_properties_length(message));
        out.extend_from_slice(message.properties);
        if let Some(alias) = message.alias {
            put_number(out, property::TOPIC_ALIAS, alias);
        }
        for id in message.identifiers.iter().filter(|id| **id != 0) {
            out.push(property::SUBSCRIPTION_ID);
            put_var_int(out, usize::try_from(*id).unwrap_or(0));
        }
    }
    out.extend_from_slice(message.payload);
}

/// A packet of a few bytes and a reason string.
fn put_with_reason(out: &mut Vec<u8>, first: u8, head: &[u8], reason: &str) {
    let properties = if reason.is_empty() { 0 } else { 3 + reason.len() };
    out.push(first);
    put_var_int(out, head.len() + var_int_length(properties) + properties);
    out.extend_from_slice(head);
    put_var_int(out, properties);
    if properties > 0 {
        out.push(property::REASON_STRING);
        put_text(out, reason);
    }
}

fn put_number(out: &mut Vec<u8>, id: u8, number: u16) {
    let [high, low] = number.to_be_bytes();
    out.extend_from_slice(&[id, high, low]);
}

/// Text of at most 65535 bytes; what is longer never gets here.
pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(text.as_bytes().get(..usize::from(length)).unwrap_or_default());
}

fn var_int_length(value: usize) -> usize {
    match value {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    }
}

fn put_var_int(out: &mut Vec<u8>, mut value: usize) {
    loop {
        let byte = u8::try_from(value & 0x7f).unwrap_or(0);
        value >>= 7;
        if value == 0 {
            out.push(byte);
            return;
        }
        out.push(byte | 0x80);
    }
}
