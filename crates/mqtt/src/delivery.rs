//! A message on its way out.

use std::sync::Arc;

use axle_domain::port::{Acknowledgement, Record};
use axle_domain::{Offset, Subscription, Timestamp};
use bytes::Bytes;
use tokio::sync::oneshot;

use crate::packet::forward;

/// What a message in a queue costs beside its own bytes.
pub(crate) const ITEM_BYTES: usize = 128;

/// A published message as all its deliveries share it.
pub(crate) struct Content {
    pub(crate) offset: Offset,
    pub(crate) topic: Arc<str>,
    pub(crate) payload: Bytes,
    /// MQTT 5 properties as they stood on the wire; the expiry is of the moment that it came.
    pub(crate) properties: Bytes,
    pub(crate) received_at: Timestamp,
    pub(crate) qos: u8,
    pub(crate) is_retained: bool,
}

impl Content {
    /// What the log has of a message.
    pub(crate) fn of(record: &Record) -> Arc<Self> {
        let message = record.message();
        let properties = forward::restored(message.content_type, message.envelope.properties);
        Arc::new(Self {
            offset: record.offset,
            topic: Arc::from(message.topic),
            payload: record.payload.clone(),
            properties: Bytes::from(properties),
            received_at: record.received_at,
            qos: message.envelope.qos,
            is_retained: message.envelope.is_retained,
        })
    }

    /// The same, in memory of its own: the record shares its bytes with what was read beside it.
    pub(crate) fn of_retained(record: &Record) -> Self {
        let message = record.message();
        let properties = forward::restored(message.content_type, message.envelope.properties);
        Self {
            offset: record.offset,
            topic: Arc::from(message.topic),
            payload: Bytes::copy_from_slice(&record.payload),
            properties: Bytes::from(properties),
            received_at: record.received_at,
            qos: message.envelope.qos,
            is_retained: true,
        }
    }

    /// A message of the server itself, which stands in no log.
    pub(crate) fn of_server(topic: &str, payload: Bytes) -> Arc<Self> {
        Arc::new(Self {
            offset: Offset(u64::MAX),
            topic: Arc::from(topic),
            payload,
            properties: Bytes::new(),
            received_at: Timestamp::default(),
            qos: 1,
            is_retained: false,
        })
    }

    pub(crate) fn cost(&self) -> usize {
        self.topic.len() + self.payload.len() + self.properties.len() + ITEM_BYTES
    }
}

/// One client's copy of a message.
pub(crate) struct Delivery {
    pub(crate) content: Arc<Content>,
    pub(crate) qos: u8,
    pub(crate) identifiers: Vec<u32>,
    pub(crate) is_retained: bool,
    /// Its place in the queue at rest, if it stands there.
    pub(crate) sequence: Option<u64>,
    /// Whether the client has it and is only to hear that it may forget the packet id.
    pub(crate) is_released: bool,
    /// The shared subscription that it came by.
    pub(crate) share: Option<Arc<Subscription>>,
    /// Told the evidence of the acknowledgement; dropped when there will be none.
    pub(crate) receipt: Option<oneshot::Sender<Acknowledgement>>,
}

impl Delivery {
    /// A copy that stands in no queue at rest.
    pub(crate) fn new(content: &Arc<Content>, qos: u8, identifiers: Vec<u32>) -> Self {
        Self {
            content: Arc::clone(content),
            qos,
            identifiers,
            is_retained: false,
            sequence: None,
            is_released: false,
            share: None,
            receipt: None,
        }
    }
}

/// What a message counts for in a queue at rest.
pub(crate) fn bytes_at_rest(content: &Content) -> u32 {
    u32::try_from(content.cost()).unwrap_or(u32::MAX)
}
