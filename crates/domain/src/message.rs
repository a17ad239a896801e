//! A message: bytes as they came, before anyone understands them.

use std::fmt;

use crate::Timestamp;

/// The place of a record in the log: a number without gaps, from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(pub u64);

impl Offset {
    /// The place after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One socket, unique while the server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// The door through which a message came. The numbers stand in the log's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Source {
    /// An MQTT PUBLISH.
    Mqtt = 1,
    /// `POST /api/v1/uploads`: the whole body is one message.
    Upload = 2,
    /// A quarantined payload that a person sent in again.
    Replay = 3,
    /// `POST /api/v1/streams/messages`: a program's message.
    Service = 4,
    /// The door itself: what it refused and turned away, so that the counts of it are durable
    /// before anyone is told. See [`crate::Turned`].
    Door = 5,
    /// The server itself: that a device came, went, or fell silent.
    Presence = 6,
}

impl Source {
    /// Every door there is.
    pub const ALL: [Self; 6] =
        [Self::Mqtt, Self::Upload, Self::Replay, Self::Service, Self::Door, Self::Presence];

    /// Its word, as in the API, on the pages and in what `axle log dump` prints.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mqtt => "mqtt",
            Self::Upload => "upload",
            Self::Replay => "replay",
            Self::Service => "service",
            Self::Door => "door",
            Self::Presence => "presence",
        }
    }

    /// The source of that number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|source| *source as u8 == number)
    }
}

/// One message as it came, borrowed from the buffer it arrived in or the segment it was read from.
///
/// The meaning is computed later and from these fields alone, so that a schema that is mended
/// tomorrow repairs what arrived today.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// The door.
    pub source: Source,
    /// The device that the credential named; empty for a local tool without one.
    pub device: &'a str,
    /// The MQTT topic; uploads carry the topic that the same data would have over MQTT.
    pub topic: &'a str,
    /// The media type that the sender declared; empty if none.
    pub content_type: &'a str,
    /// The bytes inside, after content decoding.
    pub payload: &'a [u8],
    /// When the server had the message whole, by its own clock.
    pub received_at: Timestamp,
    /// When the connection was opened; for uploads the time of the request.
    pub connected_at: Timestamp,
    /// The sender's clock when it sent, where it stands outside the payload (NDJSON uploads).
    pub sent_at: Option<Timestamp>,
    /// For a replay the moment of the replay: what was in the future then may be past now.
    pub replayed_at: Option<Timestamp>,
    /// How the message is recognised when it comes again: for an upload its identity as the use
    /// case wrote it, for a replay the quarantine id. For an MQTT client that has subscribed with
    /// No Local, and with a retained message, its client id; at QoS 2 in a session that outlives
    /// its connection also the session and the packet id, as the gateway wrote them. Else empty.
    pub origin: &'a str,
    /// What an MQTT publisher said about its delivery; the default for every other door.
    pub envelope: Envelope<'a>,
}

/// What a publisher said about the delivery of a message to others, beside its content type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// The QoS that it was published at: 0, 1 or 2.
    pub qos: u8,
    /// Whether the message is to be kept for later subscribers of its topic.
    pub is_retained: bool,
    /// The MQTT 5 properties that subscribers get back, as MQTT 5 writes them, in the order they
    /// came: payload format indicator, message expiry interval, response topic, correlation data
    /// and user properties. Empty for most; at most 65,535 bytes.
    pub properties: &'a [u8],
}
