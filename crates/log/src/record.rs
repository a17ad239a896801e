//! A record on disk: encode, check, decode.
//!
//! ```text
//!  0  magic         "AXR1"
//!  4  checksum      u32, CRC-32C over the segment's id and bytes 8..length
//!  8  length        u32, of the whole record
//! 12  source        u8, number of `Source`
//! 13  flags         u8, bit 0: has sent_at; bit 1: has replayed_at; bits 2 and 3: QoS;
//!                   bit 4: to be retained
//! 14  properties    u16, length of the MQTT 5 properties
//! 16  offset        u64
//! 24  received_at   i64, microseconds since 1970
//! 32  connected_at  i64
//! 40  device        u16, length of the text; likewise
//! 42  topic         u16
//! 44  content_type  u16
//! 46  origin        u16
//! 48  sent_at       i64, if flag bit 0
//!     replayed_at   i64, if flag bit 1
//!     device, topic, content_type, origin, properties, payload
//! ```
//!
//! All numbers are little endian. Records follow each other without padding; zeros follow the last.

use axle_domain::port::Record;
use axle_domain::{Error, Kind, Message, Offset, Source, Timestamp, limit};
use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Bytes of a record before its variable part.
pub(crate) const HEADER_BYTES: usize = 48;
/// The first bytes of every record: what a search behind damage looks for.
pub(crate) const MAGIC: [u8; 4] = *b"AXR1";
/// Where the checksummed part begins.
const CHECKED_FROM: usize = 8;
const HAS_SENT_AT: u8 = 1;
const HAS_REPLAYED_AT: u8 = 2;
const QOS_SHIFT: u8 = 2;
const QOS_MAX: u8 = 2;
const IS_RETAINED: u8 = 16;
const FLAGS_MAX: u8 = 31;

/// What every checksum of a segment starts from, so that no record is valid in another segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seed(u32);

impl Seed {
    /// The seed of the segment with that id.
    pub(crate) fn new(segment_id: u64) -> Self {
        Self(crc32c::crc32c(&segment_id.to_le_bytes()))
    }
}

/// What a checked record says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// Bytes of the record.
    pub(crate) length: usize,
    /// Its place in the log.
    pub(crate) offset: u64,
    /// When the server had it, microseconds since 1970.
    pub(crate) received_at: i64,
}

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// They may be one if there are so many bytes.
    Short(usize),
    /// They are none, however many bytes follow.
    Damaged,
}

/// How many bytes a message takes.
///
/// # Errors
/// `TooLarge`, when the record or one of its texts does not fit into the format.
pub(crate) fn size(message: &Message<'_>) -> Result<usize, Error> {
    let texts = [message.device, message.topic, message.content_type, message.origin];
    let properties = message.envelope.properties.len();
    let longest = texts.iter().map(|text| text.len()).max().unwrap_or(0).max(properties);
    if longest > usize::from(u16::MAX) {
        let text =
            format!("a text of the message has {longest} bytes, a record takes {}", u16::MAX);
        return Err(Error::new(Kind::TooLarge, "log.text_too_large", text)
            .with_limit(u64::from(u16::MAX), longest as u64));
    }
    let options =
        usize::from(message.sent_at.is_some()) + usize::from(message.replayed_at.is_some());
    let texts: usize = texts.iter().map(|text| text.len()).sum();
    let before = HEADER_BYTES + 8 * options + texts + properties;
    let size = before.saturating_add(message.payload.len());
    if size > limit::RECORD_BYTES_MAX {
        let text =
            format!("the record has {size} bytes, the log takes {}", limit::RECORD_BYTES_MAX);
        return Err(Error::new(Kind::TooLarge, "log.record_too_large", text)
            .with_limit(limit::RECORD_BYTES_MAX as u64, size as u64));
    }
    Ok(size)
}

/// Appends a record to the buffer. `size` is what [`size`] said.
pub(crate) fn encode(
    buffer: &mut BytesMut,
    message: &Message<'_>,
    offset: u64,
    size: usize,
    seed: Seed,
) {
    let start = buffer.len();
    buffer.reserve(size);
    buffer.put_slice(&MAGIC);
    buffer.put_u32_le(0);
    buffer.put_u32_le(u32::try_from(size).unwrap_or(u32::MAX));
    buffer.put_u8(message.source as u8);
    let sent = if message.sent_at.is_some() { HAS_SENT_AT } else { 0 };
    let replayed = if message.replayed_at.is_some() { HAS_REPLAYED_AT } else { 0 };
    let envelope = &message.envelope;
    let qos = envelope.qos.min(QOS_MAX) << QOS_SHIFT;
    let retained = if envelope.is_retained { IS_RETAINED } else { 0 };
    buffer.put_u8(sent | replayed | qos | retained);
    buffer.put_u16_le(u16::try_from(envelope.properties.len()).unwrap_or(u16::MAX));
    buffer.put_u64_le(offset);
    buffer.put_i64_le(message.received_at.0);
    buffer.put_i64_le(message.connected_at.0);
    let texts = [message.device, message.topic, message.content_type, message.origin];
    for text in texts {
        buffer.put_u16_le(u16::try_from(text.len()).unwrap_or(u16::MAX));
    }
    for time in [message.sent_at, message.replayed_at].into_iter().flatten() {
        buffer.put_i64_le(time.0);
    }
    for text in texts {
        buffer.put_slice(text.as_bytes());
    }
    buffer.put_slice(envelope.properties);
    buffer.put_slice(message.payload);
    let checksum = buffer
        .get(start + CHECKED_FROM..)
        .map_or(0, |checked| crc32c::crc32c_append(seed.0, checked));
    if let Some(place) = buffer.get_mut(start + 4..start + CHECKED_FROM) {
        place.copy_from_slice(&checksum.to_le_bytes());
    }
}

fn field<const N: usize>(header: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    header.get(at..at + N).and_then(|bytes| bytes.try_into().ok()).unwrap_or([0; N])
}

/// The length that a header claims, if it can be one. Bounds every allocation that follows.
fn claimed_length(header: &[u8; HEADER_BYTES]) -> Option<usize> {
    let length = usize::try_from(u32::from_le_bytes(field(header, 8))).ok()?;
    let flags = field::<1>(header, 13)[0];
    let texts: usize = [14, 40, 42, 44, 46]
        .map(|at| usize::from(u16::from_le_bytes(field(header, at))))
        .iter()
        .sum();
    let options = 8 * usize::try_from((flags & 3).count_ones()).ok()?;
    let is_known = header.starts_with(&MAGIC)
        && flags <= FLAGS_MAX
        && qos(flags) <= QOS_MAX
        && Source::from_number(field::<1>(header, 12)[0]).is_some();
    (is_known && (HEADER_BYTES + options + texts..=limit::RECORD_BYTES_MAX).contains(&length))
        .then_some(length)
}

fn qos(flags: u8) -> u8 {
    (flags >> QOS_SHIFT) & 3
}

/// Checks whether a record of that segment begins here.
///
/// # Errors
/// A [`Flaw`], when there is none.
pub(crate) fn check(bytes: &[u8], seed: Seed) -> Result<Head, Flaw> {
    let header = bytes.first_chunk().ok_or(Flaw::Short(HEADER_BYTES))?;
    let length = claimed_length(header).ok_or(Flaw::Damaged)?;
    let checked = bytes.get(CHECKED_FROM..length).ok_or(Flaw::Short(length))?;
    let checksum = u32::from_le_bytes(field(header, 4));
    if crc32c::crc32c_append(seed.0, checked) != checksum {
        return Err(Flaw::Damaged);
    }
    Ok(Head {
        length,
        offset: u64::from_le_bytes(field(header, 16)),
        received_at: i64::from_le_bytes(field(header, 24)),
    })
}

/// Takes the record that begins at the front of the bytes, which share their memory with it;
/// `None` where there is none. The checksum is the business of [`check`].
pub(crate) fn decode(bytes: &mut Bytes) -> Option<(Record, usize)> {
    let header: [u8; HEADER_BYTES] = *bytes.first_chunk()?;
    let length = claimed_length(&header)?;
    if bytes.len() < length {
        return None;
    }
    let mut rest = bytes.split_to(length);
    rest.advance(HEADER_BYTES);
    let flags = field::<1>(&header, 13)[0];
    let sent_at = (flags & HAS_SENT_AT != 0).then(|| Timestamp(rest.get_i64_le()));
    let replayed_at = (flags & HAS_REPLAYED_AT != 0).then(|| Timestamp(rest.get_i64_le()));
    let mut text = |at| match u16::from_le_bytes(field(&header, at)) {
        // An empty text holds no reference to the buffer.
        0 => Bytes::new(),
        length => rest.split_to(usize::from(length)),
    };
    let (device, topic, content_type, origin) = (text(40), text(42), text(44), text(46));
    let properties = text(14);
    let record = Record {
        offset: Offset(u64::from_le_bytes(field(&header, 16))),
        source: Source::from_number(field::<1>(&header, 12)[0])?,
        received_at: Timestamp(i64::from_le_bytes(field(&header, 24))),
        connected_at: Timestamp(i64::from_le_bytes(field(&header, 32))),
        sent_at,
        replayed_at,
        device,
        topic,
        content_type,
        origin,
        qos: qos(flags),
        is_retained: flags & IS_RETAINED != 0,
        properties,
        payload: rest,
    };
    Some((record, length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axle_domain::Envelope;

    const MESSAGE: Message<'static> = Message {
        source: Source::Replay,
        device: "b-1",
        topic: "v1/d/b-1/t/ride",
        content_type: "",
        payload: b"{}",
        received_at: Timestamp(7),
        connected_at: Timestamp(-3),
        sent_at: Some(Timestamp(i64::MIN)),
        replayed_at: None,
        origin: "q-9",
        envelope: Envelope { qos: 2, is_retained: true, properties: b"\x01\x01" },
    };

    fn encoded(segment_id: u64) -> BytesMut {
        let mut buffer = BytesMut::new();
        let size = size(&MESSAGE).unwrap();
        encode(&mut buffer, &MESSAGE, 42, size, Seed::new(segment_id));
        assert_eq!(buffer.len(), size);
        buffer
    }

    #[test]
    fn reads_what_it_wrote() {
        let mut bytes = encoded(1).freeze();
        let head = check(&bytes, Seed::new(1)).unwrap();
        assert_eq!((head.length, head.offset, head.received_at), (bytes.len(), 42, 7));
        let (record, _length) = decode(&mut bytes).unwrap();
        assert_eq!((record.message(), record.offset), (MESSAGE, Offset(42)));
        assert!(bytes.is_empty());
    }

    #[test]
    fn a_record_is_valid_in_its_own_segment_alone() {
        assert_eq!(check(&encoded(1), Seed::new(2)), Err(Flaw::Damaged));
    }

    #[test]
    fn notices_every_flipped_bit() {
        let good = encoded(1);
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(check(&bad, Seed::new(1)).is_err(), "bit {bit}");
        }
        for length in 0..good.len() {
            assert!(matches!(check(&good[..length], Seed::new(1)), Err(Flaw::Short(_))));
        }
    }

    #[test]
    fn a_claimed_length_is_bounded_before_anyone_reads_so_much() {
        let mut bytes = encoded(1);
        bytes[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(check(&bytes, Seed::new(1)), Err(Flaw::Damaged));
    }

    #[test]
    fn a_text_that_does_not_fit_is_too_large() {
        let text = "x".repeat(usize::from(u16::MAX) + 1);
        let error = size(&Message { topic: &text, ..MESSAGE }).unwrap_err();
        assert_eq!((error.kind, error.code), (Kind::TooLarge, "log.text_too_large"));
    }
}
