//! The log: every message, in one order, for as long as it is kept.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Envelope, Error, LatencyCounts, Message, Offset, Source, Timestamp, TrafficClass};

/// What the log holds.
///
/// ```text
///   first          durable           appended
///     |  readable     |  being synced    |
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogBounds {
    /// The oldest record that is kept.
    pub first: Offset,
    /// One past the newest record that is on disk.
    pub durable: Offset,
    /// One past the newest record that was appended.
    pub appended: Offset,
    /// Bytes on disk.
    pub bytes: u64,
}

/// Figures of the log for operators.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogFigures {
    /// Files that records are kept in.
    pub segments: u64,
    /// When the oldest record came.
    pub first_at: Option<Timestamp>,
    /// How long commits took, from the write to the end of the sync, since the log was opened.
    pub commits: LatencyCounts,
    /// Whether the disk has no room: nothing is accepted until it has.
    pub is_full: bool,
}

/// A record as it was read: its offset and its message.
///
/// The variable fields share one buffer, so that reading copies nothing.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its place.
    pub offset: Offset,
    /// The door.
    pub source: Source,
    /// See [`Message::received_at`].
    pub received_at: Timestamp,
    /// See [`Message::connected_at`].
    pub connected_at: Timestamp,
    /// See [`Message::sent_at`].
    pub sent_at: Option<Timestamp>,
    /// See [`Message::replayed_at`].
    pub replayed_at: Option<Timestamp>,
    /// UTF-8, see [`Message::device`].
    pub device: Bytes,
    /// UTF-8, see [`Message::topic`].
    pub topic: Bytes,
    /// UTF-8, see [`Message::content_type`].
    pub content_type: Bytes,
    /// UTF-8, see [`Message::origin`].
    pub origin: Bytes,
    /// See [`Envelope::qos`].
    pub qos: u8,
    /// See [`Envelope::is_retained`].
    pub is_retained: bool,
    /// See [`Envelope::properties`].
    pub properties: Bytes,
    /// See [`Message::payload`].
    pub payload: Bytes,
}

impl Record {
    /// The message. Text that is not UTF-8 reads as empty; an appender only has `&str` to give.
    #[must_use]
    pub fn message(&self) -> Message<'_> {
        let text = |bytes| std::str::from_utf8(bytes).unwrap_or("");
        Message {
            source: self.source,
            device: text(&self.device),
            topic: text(&self.topic),
            content_type: text(&self.content_type),
            payload: &self.payload,
            received_at: self.received_at,
            connected_at: self.connected_at,
            sent_at: self.sent_at,
            replayed_at: self.replayed_at,
            origin: text(&self.origin),
            envelope: Envelope {
                qos: self.qos,
                is_retained: self.is_retained,
                properties: &self.properties,
            },
        }
    }
}

/// The durable, replayable log of messages.
///
/// 1. *Order.* Offsets are given in the order of `append`, from 0, without gaps.
/// 2. *Durability.* When `durable(offset)` returns `Ok`, the record and all before it survive a
///    crash of the process and of the machine.
/// 3. *Reading.* `read` returns durable records alone, in order, byte for byte as appended; an
///    empty answer means that there are none from there on yet.
/// 4. *Bound.* At most [`crate::limit::COMMIT_BUFFER_BYTES_MAX`] wait for a sync; beyond, `append`
///    is `Busy` and changes nothing, and `room` returns once it is worth trying again.
/// 5. *Size.* A record over [`crate::limit::RECORD_BYTES_MAX`] is `TooLarge` and changes nothing.
/// 6. *Doubt.* After a failed write or sync nothing is durable any more: every later `append` and
///    every `durable` beyond the last good sync is `Unavailable` until the log is opened anew. No
///    sync is tried twice.
/// 7. *Cancellation.* Dropping a future of `durable`, `room` or `read` changes nothing.
/// 8. *Retention.* `release` names the oldest offset that some consumer still needs; nothing from
///    there on is deleted once it has returned. It may name an older one than before.
#[async_trait]
pub trait EventLog: Send + Sync {
    /// Takes a message into the next commit. It is not durable yet. Never blocks on the disk.
    ///
    /// # Errors
    /// `TooLarge`, `Busy`, `Unavailable`: see clauses 4 to 6.
    fn append(&self, message: &Message<'_>) -> Result<Offset, Error>;

    /// Waits until the record of that offset is durable. The offset may not exist yet: a follower
    /// waits so for the next record.
    ///
    /// # Errors
    /// `Unavailable` after a failed write or sync, or when the log is closed.
    async fn durable(&self, offset: Offset) -> Result<(), Error>;

    /// Bytes that wait for a sync now: 0 when everything is durable. Cheap.
    fn waiting_bytes(&self) -> usize;

    /// How long the oldest record has waited that is not durable, to within a commit; zero where
    /// none waits. Cheap.
    fn waiting_age(&self) -> Duration;

    /// Lets a class of traffic pass, or says that it has to give way to what waits.
    ///
    /// # Errors
    /// `Busy`, as [`TrafficClass::admit`].
    fn admit(&self, class: TrafficClass) -> Result<(), Error> {
        class.admit(self.waiting_bytes(), || self.waiting_age())
    }

    /// Waits until an append has a chance again.
    async fn room(&self);

    /// Reads durable records from an offset on: at least one if there is one, and no more after
    /// `bytes_max` bytes are reached.
    ///
    /// # Errors
    /// `NotFound` where the offset is older than the oldest record that is kept, `Corrupt` where
    /// the records are damaged; the message names the next good offset.
    async fn read(&self, from: Offset, bytes_max: usize) -> Result<Vec<Record>, Error>;

    /// What the log holds now.
    fn bounds(&self) -> LogBounds;

    /// Figures.
    fn figures(&self) -> LogFigures;

    /// Says that nobody needs records before this offset any more.
    fn release(&self, before: Offset);

    /// Syncs what was appended and stops. Later appends are `Unavailable`.
    async fn close(&self);
}
