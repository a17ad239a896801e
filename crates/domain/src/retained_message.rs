//! Messages that are kept for later subscribers of their topic, one a topic.

use bytes::Bytes;

use crate::{Offset, Timestamp};

/// The message that a topic's later subscribers get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetainedMessage {
    /// The topic name.
    pub topic: Box<str>,
    /// Where it stood in the log; that part of the log may be gone.
    pub offset: Offset,
    /// 0, 1 or 2.
    pub qos: u8,
    /// When the server had it.
    pub received_at: Timestamp,
    /// The client id of its publisher; empty if unknown.
    pub publisher: Box<str>,
    /// The media type; empty if none.
    pub content_type: Box<str>,
    /// See [`crate::Envelope::properties`].
    pub properties: Bytes,
    /// The message. An empty one takes away what was kept of the topic.
    pub payload: Bytes,
}
