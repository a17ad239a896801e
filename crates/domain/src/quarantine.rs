//! What could not be understood or cannot be true, set aside with its reason.

use std::fmt;

use crate::{DeviceId, Offset, StreamName, Timestamp};

/// The place of a quarantined item: its message's offset in the log and its index within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QuarantineId {
    /// The message.
    pub offset: Offset,
    /// The sample within the message; 0 where the whole message is set aside.
    pub index: u32,
}

impl QuarantineId {
    /// Reads the form that [`fmt::Display`] writes: `q-{offset}-{index}`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (offset, index) = text.strip_prefix("q-")?.split_once('-')?;
        Some(Self { offset: Offset(offset.parse().ok()?), index: index.parse().ok()? })
    }
}

impl fmt::Display for QuarantineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "q-{}-{}", self.offset, self.index)
    }
}

/// Whether an item still waits for a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuarantineState {
    /// Nobody has replayed it.
    Waiting,
    /// It was sent in again and understood.
    Replayed,
}

/// One sample, or a whole message, that was set aside.
#[derive(Clone, Debug, PartialEq)]
pub struct QuarantineItem {
    /// Where it came from.
    pub id: QuarantineId,
    /// The device that sent it; empty where none was known.
    pub device: String,
    /// The topic it came on.
    pub topic: String,
    /// The stream; empty where none was known.
    pub stream: String,
    /// The media type that was declared.
    pub content_type: String,
    /// Why, as a stable code such as `time.future`.
    pub code: String,
    /// Why, in words.
    pub detail: String,
    /// The sample (JSON) or message as it came, at most
    /// [`crate::limit::QUARANTINE_PAYLOAD_BYTES_MAX`] bytes of it.
    pub payload: Vec<u8>,
    /// When it came.
    pub received_at: Timestamp,
    /// The sender's clock when it sent, if it said so.
    pub sent_at: Option<Timestamp>,
    /// Whether it still waits.
    pub state: QuarantineState,
}

/// Which quarantined items to list; all that are given must fit.
#[derive(Clone, Debug, Default)]
pub struct QuarantineFilter {
    /// Only of this device.
    pub device: Option<DeviceId>,
    /// Only with this code.
    pub code: Option<String>,
    /// Only of this stream.
    pub stream: Option<StreamName>,
    /// Only in this state.
    pub state: Option<QuarantineState>,
    /// Only older ones, for the next page.
    pub before: Option<QuarantineId>,
    /// At most this many.
    pub limit: usize,
}

/// How many items there are of one code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuarantineCount {
    /// The code.
    pub code: String,
    /// Items that nobody has replayed.
    pub waiting: u64,
    /// Items that were replayed.
    pub replayed: u64,
}
