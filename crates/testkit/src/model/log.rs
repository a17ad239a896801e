//! A log is a `Vec` of messages; the offset is the index.

use axle_domain::port::Record;
use axle_domain::{Envelope, Message, Source, Timestamp};
use bytes::Bytes;
use proptest::prelude::*;

/// A message that owns its bytes. See [`Message`] for the fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedMessage {
    /// The door.
    pub source: Source,
    /// The device.
    pub device: String,
    /// The topic.
    pub topic: String,
    /// The media type.
    pub content_type: String,
    /// The bytes.
    pub payload: Bytes,
    /// When the server had it.
    pub received_at: Timestamp,
    /// When the connection was opened.
    pub connected_at: Timestamp,
    /// The sender's clock.
    pub sent_at: Option<Timestamp>,
    /// The moment of the replay.
    pub replayed_at: Option<Timestamp>,
    /// How it is recognised.
    pub origin: String,
    /// The QoS of its publisher.
    pub qos: u8,
    /// Whether it is to be retained.
    pub is_retained: bool,
    /// Its MQTT 5 properties.
    pub properties: Bytes,
}

impl OwnedMessage {
    /// A telemetry message, different for every number, with a payload of that many bytes.
    #[must_use]
    pub fn numbered(number: u64, payload_bytes: usize) -> Self {
        let device = format!("b-{}", number % 1000);
        let filler = format!("{{\"n\":{number}}}").into_bytes();
        let payload: Vec<u8> = filler.into_iter().cycle().take(payload_bytes).collect();
        let received_at = Timestamp::YEAR_2000.shifted(number.cast_signed());
        Self {
            source: Source::Mqtt,
            topic: format!("v1/d/{device}/t/ride"),
            device,
            content_type: String::new(),
            payload: payload.into(),
            received_at,
            connected_at: Timestamp::YEAR_2000,
            sent_at: None,
            replayed_at: None,
            origin: String::new(),
            qos: 0,
            is_retained: false,
            properties: Bytes::new(),
        }
    }

    /// The message of a record.
    #[must_use]
    pub fn of(record: &Record) -> Self {
        let message = record.message();
        Self {
            source: message.source,
            device: message.device.to_owned(),
            topic: message.topic.to_owned(),
            content_type: message.content_type.to_owned(),
            payload: Bytes::copy_from_slice(message.payload),
            received_at: message.received_at,
            connected_at: message.connected_at,
            sent_at: message.sent_at,
            replayed_at: message.replayed_at,
            origin: message.origin.to_owned(),
            qos: message.envelope.qos,
            is_retained: message.envelope.is_retained,
            properties: Bytes::copy_from_slice(message.envelope.properties),
        }
    }

    /// The message as a port takes it.
    #[must_use]
    pub fn borrow(&self) -> Message<'_> {
        Message {
            source: self.source,
            device: &self.device,
            topic: &self.topic,
            content_type: &self.content_type,
            payload: &self.payload,
            received_at: self.received_at,
            connected_at: self.connected_at,
            sent_at: self.sent_at,
            replayed_at: self.replayed_at,
            origin: &self.origin,
            envelope: Envelope {
                qos: self.qos,
                is_retained: self.is_retained,
                properties: &self.properties,
            },
        }
    }
}

/// Any message, with payloads mostly small and sometimes up to `payload_bytes_max`.
pub fn message(payload_bytes_max: usize) -> impl Strategy<Value = OwnedMessage> {
    let source = prop_oneof![Just(Source::Mqtt), Just(Source::Upload), Just(Source::Replay)];
    let length = prop_oneof![4 => 0..64_usize, 1 => 0..=payload_bytes_max];
    let payload = (length, any::<u8>()).prop_map(|(length, seed)| {
        let byte = |n: usize| seed.wrapping_mul(31).wrapping_add(n.to_le_bytes()[0]);
        (0..length).map(byte).collect::<Vec<u8>>()
    });
    let texts = ("[a-z0-9-]{0,12}", "[a-zü/]{0,20}", "[a-z/]{0,10}", "[a-z0-9]{0,8}");
    let times = (any::<i64>(), any::<i64>(), any::<Option<i64>>(), any::<Option<i64>>());
    let envelopes = (0..=2_u8, any::<bool>(), proptest::collection::vec(any::<u8>(), 0..20));
    (source, texts, payload, times, envelopes).prop_map(
        |(source, texts, payload, times, envelope)| OwnedMessage {
            source,
            device: texts.0,
            topic: texts.1,
            content_type: texts.2,
            payload: payload.into(),
            received_at: Timestamp(times.0),
            connected_at: Timestamp(times.1),
            sent_at: times.2.map(Timestamp),
            replayed_at: times.3.map(Timestamp),
            origin: texts.3,
            qos: envelope.0,
            is_retained: envelope.1,
            properties: envelope.2.into(),
        },
    )
}
