//! CONNECT: the first packet, from someone we do not know yet.

use super::Version;
use super::property::{self, Properties, Value};
use super::reader::Reader;
use super::refusal::Refusal;
use super::topic::check_name;

/// A CONNECT packet in the buffer that it came in. The user name is read over.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Connect<'a> {
    /// The version.
    pub(crate) version: Version,
    /// Clean session, or clean start.
    pub(crate) is_clean: bool,
    /// Seconds; 0 for none.
    pub(crate) keep_alive: u16,
    /// May be empty.
    pub(crate) client_id: &'a str,
    /// Seconds that the session is to last after its connection; 3.1.1 says 0 or for ever.
    pub(crate) session_expiry: u32,
    /// How many publishes the client takes unacknowledged.
    pub(crate) receive_max: u16,
    /// Topic aliases that the client takes.
    pub(crate) topic_alias_max: u16,
    /// Largest packet that the client takes.
    pub(crate) packet_bytes_max: u32,
    /// Whether the client wants reason strings with acknowledgements.
    pub(crate) wants_reasons: bool,
    /// The will.
    pub(crate) will: Option<WillRead<'a>>,
    /// The password, if there is one.
    pub(crate) password: Option<&'a [u8]>,
}

/// A will in the buffer that it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WillRead<'a> {
    /// Where to.
    pub(crate) topic: &'a str,
    /// Its content type; empty if none.
    pub(crate) content_type: &'a str,
    /// The message.
    pub(crate) payload: &'a [u8],
    /// 0, 1 or 2.
    pub(crate) qos: u8,
    /// Whether it is to be kept.
    pub(crate) is_retained: bool,
    /// Seconds that it waits after the end of the connection.
    pub(crate) delay_seconds: u32,
    /// Its properties as they stand there.
    pub(crate) properties: &'a [u8],
}

/// A refused CONNECT and the version to answer in, where there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConnectRefused {
    /// Why.
    pub(crate) refusal: Refusal,
    /// `None`: close without an answer.
    pub(crate) answer_in: Option<Version>,
}

const CLEAN: u8 = 0x02;
const WILL: u8 = 0x04;
const WILL_RETAIN: u8 = 0x20;
const PASSWORD: u8 = 0x40;
const USERNAME: u8 = 0x80;

/// Reads the body of a CONNECT packet.
pub(crate) fn read(body: &[u8]) -> Result<Connect<'_>, ConnectRefused> {
    let mut reader = Reader::new(body);
    let version = read_version(&mut reader)?;
    read_rest(&mut reader, version).map_err(|refusal| {
        // 3.1.1 has return codes for a few things only; the rest closes.
        let has_code = version == Version::V5;
        ConnectRefused { refusal, answer_in: has_code.then_some(version) }
    })
}

fn read_version(reader: &mut Reader<'_>) -> Result<Version, ConnectRefused> {
    let silent = |refusal| ConnectRefused { refusal, answer_in: None };
    let name = reader.binary().map_err(silent)?;
    if name != b"MQTT" && name != b"MQIsdp" {
        return Err(silent(Refusal::NOT_MQTT));
    }
    // [MQTT-3.1.2-2]
    let refused = |version| ConnectRefused { refusal: Refusal::VERSION, answer_in: Some(version) };
    match (name, reader.u8().map_err(silent)?) {
        (b"MQTT", 4) => Ok(Version::V3),
        (b"MQTT", 5) => Ok(Version::V5),
        (b"MQTT", level) if level > 5 => Err(refused(Version::V5)),
        _ => Err(refused(Version::V3)),
    }
}

fn read_rest<'a>(reader: &mut Reader<'a>, version: Version) -> Result<Connect<'a>, Refusal> {
    let flags = reader.u8()?;
    check_flags(flags, version)?;
    let mut connect = Connect {
        version,
        is_clean: flags & CLEAN != 0,
        keep_alive: reader.u16()?,
        client_id: "",
        session_expiry: if version == Version::V3 && flags & CLEAN == 0 { u32::MAX } else { 0 },
        topic_alias_max: 0,
        receive_max: u16::MAX,
        packet_bytes_max: u32::MAX,
        wants_reasons: true,
        will: None,
        password: None,
    };
    if version == Version::V5 {
        read_properties(reader, &mut connect)?;
    }
    connect.client_id = reader.text()?;
    if flags & WILL != 0 {
        connect.will = Some(read_will(reader, flags, version)?);
    }
    if flags & USERNAME != 0 {
        reader.text()?;
    }
    if flags & PASSWORD != 0 {
        connect.password = Some(reader.binary()?);
    }
    reader.end()?;
    Ok(connect)
}

fn check_flags(flags: u8, version: Version) -> Result<(), Refusal> {
    // [MQTT-3.1.2-3]
    if flags & 0x01 != 0 {
        return Err(Refusal::FLAGS);
    }
    let will_bits = flags & 0x38;
    // [MQTT-3.1.2-11], [MQTT-3.1.2-13]
    if flags & WILL == 0 && will_bits != 0 {
        return Err(Refusal::WILL_FLAGS);
    }
    // [MQTT-3.1.2-12]
    if will_bits & 0x18 == 0x18 {
        return Err(Refusal::FLAGS);
    }
    // 3.1.1 [MQTT-3.1.2-22]; MQTT 5 allows a password alone.
    if version == Version::V3 && flags & USERNAME == 0 && flags & PASSWORD != 0 {
        return Err(Refusal::FLAGS);
    }
    Ok(())
}

fn read_properties<'a>(reader: &mut Reader<'a>, connect: &mut Connect<'a>) -> Result<(), Refusal> {
    let mut properties = Properties::take(reader)?;
    let (mut has_method, mut has_data) = (false, false);
    while let Some((id, value)) = properties.next()? {
        match (id, value) {
            (property::SESSION_EXPIRY, Value::Number(seconds)) => {
                connect.session_expiry = seconds;
            }
            // 0 is a protocol error in both.
            (property::RECEIVE_MAXIMUM, Value::Number(count)) if count > 0 => {
                connect.receive_max = u16::try_from(count).unwrap_or(u16::MAX);
            }
            (property::MAXIMUM_PACKET_SIZE, Value::Number(bytes)) if bytes > 0 => {
                connect.packet_bytes_max = bytes;
            }
            (property::REQUEST_PROBLEM, Value::Flag(wanted)) => connect.wants_reasons = wanted,
            (property::AUTH_METHOD, _) => has_method = true,
            (property::AUTH_DATA, _) => has_data = true,
            (property::TOPIC_ALIAS_MAXIMUM, Value::Number(count)) => {
                connect.topic_alias_max = u16::try_from(count).unwrap_or(u16::MAX);
            }
            (property::REQUEST_RESPONSE | property::USER, _) => {}
            _ => return Err(Refusal::PROPERTY),
        }
    }
    match (has_method, has_data) {
        (true, _) => Err(Refusal::AUTH_METHOD),
        (false, true) => Err(Refusal::PROPERTY),
        (false, false) => Ok(()),
    }
}

fn read_will<'a>(
    reader: &mut Reader<'a>,
    flags: u8,
    version: Version,
) -> Result<WillRead<'a>, Refusal> {
    let (mut content_type, mut is_text, mut delay_seconds) = ("", false, 0);
    let mut raw: &[u8] = &[];
    if version == Version::V5 {
        raw = Properties::take_raw(reader)?;
        let mut properties = Properties::of(raw);
        while let Some((id, value)) = properties.next()? {
            match (id, value) {
                (property::CONTENT_TYPE, Value::Text(text)) => content_type = text,
                (property::PAYLOAD_FORMAT, Value::Flag(said)) => is_text = said,
                (property::RESPONSE_TOPIC, Value::Text(topic)) => {
                    check_name(topic.as_bytes())?;
                }
                (property::WILL_DELAY, Value::Number(seconds)) => delay_seconds = seconds,
                (property::MESSAGE_EXPIRY | property::CORRELATION_DATA | property::USER, _) => {}
                _ => return Err(Refusal::PROPERTY),
            }
        }
    }
    let topic = check_name(reader.binary()?)?;
    let payload = reader.binary()?;
    if is_text && std::str::from_utf8(payload).is_err() {
        return Err(Refusal::PAYLOAD_FORMAT);
    }
    let (qos, is_retained) = ((flags >> 3) & 0x03, flags & WILL_RETAIN != 0);
    let properties = raw;
    Ok(WillRead { topic, content_type, payload, qos, is_retained, delay_seconds, properties })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &[u8], expected: Result<(Version, &str), (Refusal, Option<Version>)>) {
        let seen = read(body)
            .map(|connect| (connect.version, connect.client_id))
            .map_err(|refused| (refused.refusal, refused.answer_in));
        assert_eq!(seen, expected, "{}", body.escape_ascii());
    }

    #[test]
    fn knows_its_versions_and_answers_each_in_its_own_words() {
        use Version::{V3, V5};
        check(b"\0\x04MQTT\x04\x02\0\x3c\0\x03b-1", Ok((V3, "b-1")));
        check(b"\0\x04MQTT\x05\x02\0\x3c\0\0\x03b-1", Ok((V5, "b-1")));
        check(b"\0\x06MQIsdp\x03\x02\0\x3c\0\x03b-1", Err((Refusal::VERSION, Some(V3))));
        check(b"\0\x04MQTT\x06\x02\0\x3c\0\x03b-1", Err((Refusal::VERSION, Some(V5))));
        check(b"\0\x04MQTT\xff\x02\0\x3c\0\x03b-1", Err((Refusal::VERSION, Some(V5))));
        check(b"\0\x04mqtt\x04\x02\0\x3c\0\x03b-1", Err((Refusal::NOT_MQTT, None)));
        check(b"\0\x04MQTT\x05\x03\0\x3c\0\0\x03b-1", Err((Refusal::FLAGS, Some(V5))));
        check(b"\0\x04MQTT\x04\x03\0\x3c\0\x03b-1", Err((Refusal::FLAGS, None)));
        check(b"\0\x04MQTT\x05\x0a\0\x3c\0\0\x03b-1", Err((Refusal::WILL_FLAGS, Some(V5))));
        check(b"\0\x04MQTT\x05\x02\0\x3c\0\0\x03b-1x", Err((Refusal::TRAILING, Some(V5))));
        check(b"\0\x04MQTT\x05\x02\0\x3c\0\0\x04b-1", Err((Refusal::TRAILING, Some(V5))));
        // Level 4 with properties: the length of the client id is read from them.
        check(b"\0\x04MQTT\x04\x02\0\x3c\0\0\x03b-1", Err((Refusal::TRAILING, None)));
        check(b"\0\x04MQTT\x05\x02\0\x3c\x03\x21\0\0\0\x03b-1", Err((Refusal::PROPERTY, Some(V5))));
        check(
            b"\0\x04MQTT\x05\x02\0\x3c\x05\x15\0\x02XX\0\x03b-1",
            Err((Refusal::AUTH_METHOD, Some(V5))),
        );
    }
}
