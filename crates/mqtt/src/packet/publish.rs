//! PUBLISH and PUBACK: what most of the traffic is, read without a copy.

use super::Version;
use super::forward;
use super::header::Header;
use super::property::{self, Properties, Value};
use super::reader::Reader;
use super::refusal::Refusal;
use super::topic::check_name;

/// A PUBLISH packet in the buffer that it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Publish<'a> {
    /// The topic name; empty where an alias stands for it.
    pub(crate) topic: &'a str,
    /// 0, 1 or 2.
    pub(crate) qos: u8,
    /// Whether the message is to be kept for later subscribers.
    pub(crate) is_retained: bool,
    /// The packet id; 0 at QoS 0.
    pub(crate) packet_id: u16,
    /// The topic alias; 0 if none.
    pub(crate) alias: u16,
    /// The content type; empty if none.
    pub(crate) content_type: &'a str,
    /// Whether the payload is said to be UTF-8.
    pub(crate) is_text: bool,
    /// Whether there are properties that subscribers get back, beside the content type.
    pub(crate) has_kept: bool,
    /// The properties as they stand there.
    pub(crate) properties: &'a [u8],
    /// The message.
    pub(crate) payload: &'a [u8],
}

/// Reads the body of a PUBLISH packet.
pub(crate) fn read<'a>(
    header: Header,
    body: &'a [u8],
    version: Version,
) -> Result<Publish<'a>, Refusal> {
    let mut reader = Reader::new(body);
    let topic = reader.binary()?;
    let qos = (header.flags >> 1) & 0x03;
    let packet_id = if qos == 0 { 0 } else { reader.packet_id()? };
    let mut publish = Publish {
        topic: "",
        qos,
        is_retained: header.flags & 0x01 != 0,
        packet_id,
        alias: 0,
        content_type: "",
        is_text: false,
        has_kept: false,
        properties: &[],
        payload: &[],
    };
    if version == Version::V5 {
        publish.properties = Properties::take_raw(&mut reader)?;
        if !publish.properties.is_empty() {
            read_properties(&mut publish)?;
        }
    }
    // [MQTT-3.3.2-8]: only an alias stands for the topic.
    if publish.alias == 0 || !topic.is_empty() {
        publish.topic = check_name(topic)?;
    }
    publish.payload = reader.rest();
    Ok(publish)
}

fn read_properties(publish: &mut Publish<'_>) -> Result<(), Refusal> {
    let mut properties = Properties::of(publish.properties);
    while let Some((id, value)) = properties.next()? {
        publish.has_kept |= forward::is_kept(id);
        match (id, value) {
            (property::PAYLOAD_FORMAT, Value::Flag(is_text)) => publish.is_text = is_text,
            (property::CONTENT_TYPE, Value::Text(text)) => publish.content_type = text,
            // [MQTT-3.3.2-14]
            (property::RESPONSE_TOPIC, Value::Text(topic)) => {
                check_name(topic.as_bytes())?;
            }
            (property::TOPIC_ALIAS, Value::Number(alias)) => {
                // [MQTT-3.3.2-8]
                publish.alias = u16::try_from(alias).unwrap_or(0);
                if publish.alias == 0 {
                    return Err(Refusal::ALIAS);
                }
            }
            (property::MESSAGE_EXPIRY | property::CORRELATION_DATA | property::USER, _) => {}
            // Also a subscription identifier [MQTT-3.3.4-6].
            _ => return Err(Refusal::PROPERTY),
        }
    }
    Ok(())
}

/// Reads the body of a PUBACK or PUBREC packet: packet id and reason code.
pub(crate) fn read_ack(body: &[u8], version: Version) -> Result<(u16, u8), Refusal> {
    read_code(body, version, |code| {
        matches!(code, 0 | 0x10 | 0x80 | 0x83 | 0x87 | 0x90 | 0x91 | 0x97 | 0x99)
    })
}

/// Reads the body of a PUBREL or PUBCOMP packet: packet id and reason code.
pub(crate) fn read_completion(body: &[u8], version: Version) -> Result<(u16, u8), Refusal> {
    read_code(body, version, |code| matches!(code, 0 | 0x92))
}

fn read_code(
    body: &[u8],
    version: Version,
    is_allowed: impl Fn(u8) -> bool,
) -> Result<(u16, u8), Refusal> {
    let mut reader = Reader::new(body);
    let packet_id = reader.packet_id()?;
    if version == Version::V3 || reader.is_empty() {
        reader.end()?;
        return Ok((packet_id, 0));
    }
    let code = reader.u8()?;
    if !is_allowed(code) {
        return Err(Refusal::MALFORMED);
    }
    if !reader.is_empty() {
        let mut properties = Properties::take(&mut reader)?;
        while let Some((id, _)) = properties.next()? {
            if !matches!(id, property::REASON_STRING | property::USER) {
                return Err(Refusal::PROPERTY);
            }
        }
        reader.end()?;
    }
    Ok((packet_id, code))
}
