//! MQTT sessions that outlive their connection: what a client has subscribed to, and what waits
//! for it.

use crate::{Offset, Timestamp};

/// What a client has published in advance for the end of its connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will {
    /// When the connection was opened that it is about; no two of one session are alike in it.
    pub connected_at: Timestamp,
    /// Seconds that it waits after the end of the connection, in case the client comes back.
    pub delay_seconds: u32,
    /// Where to.
    pub topic: Box<str>,
    /// The media type; empty if none.
    pub content_type: Box<str>,
    /// See [`crate::Envelope::properties`].
    pub properties: Box<[u8]>,
    /// The message.
    pub payload: Box<[u8]>,
    /// 0, 1 or 2.
    pub qos: u8,
    /// Whether it is kept for later subscribers of its topic.
    pub is_retained: bool,
}

/// A publish at QoS 2 that the client has not released yet: sent again it is the same message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReceivedPublish {
    /// The session.
    pub session: u64,
    /// The packet id.
    pub packet_id: u16,
    /// The message.
    pub offset: Offset,
}

/// One subscription of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// The filter as the client wrote it, `$share/{name}/` included.
    pub filter: Box<str>,
    /// The highest QoS that messages come at: 0, 1 or 2.
    pub qos: u8,
    /// The subscription identifier; 0 if none.
    pub identifier: u32,
    /// Whether the client's own messages stay away.
    pub is_no_local: bool,
    /// Whether messages keep the retain flag that they were published with.
    pub is_retain_as_published: bool,
    /// Messages before this offset were published before the subscription.
    pub since: Offset,
    /// Where retained messages are still owed: the topic that the last one was of, or empty text
    /// before the first. `None` once all were given, and where none were asked for.
    pub retained_after: Option<Box<str>>,
}

impl Subscription {
    /// The name that members share a subscription under, if they do.
    #[must_use]
    pub fn share(&self) -> Option<&str> {
        Some(self.filter.strip_prefix("$share/")?.split_once('/')?.0)
    }

    /// What topic names are compared with.
    #[must_use]
    pub fn topic_filter(&self) -> &str {
        let shared = self.filter.strip_prefix("$share/").and_then(|rest| rest.split_once('/'));
        shared.map_or(&self.filter, |(_, filter)| filter)
    }
}

/// A session at rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSession {
    /// Its number; none is given twice.
    pub number: u64,
    /// The client id.
    pub client_id: String,
    /// Whose it is: `device:{id}`, `application:{name}`, or empty for a local tool.
    pub owner: String,
    /// Seconds that it lasts after its connection has ended.
    pub expiry_seconds: u32,
    /// When its connection ended; `None` while it lasts.
    pub left_at: Option<Timestamp>,
    /// The last sequence that may have been sent to the client already.
    pub sent_through: u64,
    /// What it has subscribed to.
    pub subscriptions: Vec<Subscription>,
    /// Its will, until that is sent or withdrawn.
    pub will: Option<Will>,
}

/// A message that waits for a session; the message itself stands in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedMessage {
    /// The session.
    pub session: u64,
    /// Its place among the messages of the session, from 1.
    pub sequence: u64,
    /// The message.
    pub offset: Offset,
    /// The QoS that it is sent at: 1 or 2.
    pub qos: u8,
    /// Whether the retain flag is sent with it.
    pub is_retained: bool,
    /// Whether the client has the message and is only to hear that it may forget its packet id
    /// (QoS 2).
    pub is_released: bool,
    /// Bytes that it counts for.
    pub bytes: u32,
    /// Identifiers of the subscriptions that it came by.
    pub identifiers: Vec<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_filter_has_a_name_and_a_filter() {
        for (filter, share, topic_filter) in [
            ("a/b", None, "a/b"),
            ("$share/g/a/#", Some("g"), "a/#"),
            ("$share/g//a", Some("g"), "/a"),
            ("$SYS/#", None, "$SYS/#"),
        ] {
            let subscription = Subscription {
                filter: filter.into(),
                qos: 1,
                identifier: 0,
                is_no_local: false,
                is_retain_as_published: false,
                since: Offset(0),
                retained_after: None,
            };
            assert_eq!(subscription.share(), share);
            assert_eq!(subscription.topic_filter(), topic_filter);
        }
    }
}
