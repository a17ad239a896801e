//! Takes one device message to safety. The caller acknowledges once it is durable.

use std::sync::Arc;

use axle_domain::port::{Clock, EventLog};
use axle_domain::{
    Envelope, Error, Kind, Message, Offset, Schemas, Source, Topic, TrafficClass, Turned,
};

use crate::answer::Answers;
use crate::app::Ports;
use crate::metrics::DoorMetrics;
use crate::publisher::Publisher;

/// What is published.
#[derive(Clone, Copy, Debug)]
pub struct Content<'a> {
    /// The topic name.
    pub topic: &'a str,
    /// The media type; empty if none.
    pub content_type: &'a str,
    /// The message.
    pub payload: &'a [u8],
    /// What was said about its delivery.
    pub envelope: Envelope<'a>,
    /// See [`Message::origin`]: the client id where the client does not want to hear itself, else
    /// empty.
    pub origin: &'a str,
}

/// The way from the door to the log.
pub struct Ingest {
    log: Arc<dyn EventLog>,
    clock: Arc<dyn Clock>,
    metrics: Arc<DoorMetrics>,
    answers: Arc<Answers>,
}

impl Ingest {
    pub(crate) fn new(ports: &Ports, metrics: Arc<DoorMetrics>, schemas: Arc<Schemas>) -> Self {
        let answers = Answers::new(ports, schemas);
        Self { log: Arc::clone(&ports.log), clock: Arc::clone(&ports.clock), metrics, answers }
    }

    /// What takes answers to commands ahead of all else in the log.
    #[must_use]
    pub fn answers(&self) -> Arc<Answers> {
        Arc::clone(&self.answers)
    }

    /// Appends a device's publish to the log. It is not safe yet: acknowledge after
    /// [`Ingest::durable`]. What cannot be understood is appended all the same; the projection
    /// sets it aside with its reason.
    ///
    /// # Errors
    /// `Denied` outside what the publisher may publish to (never retried: acknowledge with a
    /// reason code or close), `TooLarge`, `Busy` (stop reading, wait for [`Ingest::room`], try again),
    /// `Unavailable` (the log has failed: acknowledge nothing, close).
    pub fn publish(&self, publisher: &Publisher, content: &Content<'_>) -> Result<Offset, Error> {
        if !publisher.may_publish(content.topic) {
            return Err(Error::new(Kind::Denied, "topic.denied", publisher.denial()));
        }
        let topic = publisher.own_topic(content.topic);
        let is_reply = Topic::is_reply(&topic);
        let class = match content.envelope.qos {
            _ if is_reply => TrafficClass::Control,
            0 => TrafficClass::BestEffort,
            _ => TrafficClass::Acknowledged,
        };
        self.log.admit(class)?;
        let offset = self.log.append(&Message {
            source: Source::Mqtt,
            device: publisher.speaks_for(&topic),
            topic: &topic,
            content_type: content.content_type,
            payload: content.payload,
            received_at: self.clock.now(),
            connected_at: publisher.connected_at,
            sent_at: None,
            replayed_at: None,
            origin: content.origin,
            envelope: content.envelope,
        })?;
        if is_reply {
            self.answers.note(offset);
        }
        Ok(offset)
    }

    /// Counts publishes that were refused: by [`Ingest::publish`] as `Denied`, or by the gateway
    /// itself (size, malformed topic, quota). Says which record has the count: acknowledge the
    /// refusal once that is durable, at once where the log takes none now.
    pub fn count_rejected(&self, messages: u64) -> Option<Offset> {
        self.turn(Turned { rejected: messages, shed: 0 })
    }

    /// Counts requests that were refused or turned away; returns when the count is as safe as the
    /// log can make it now.
    pub async fn settle(&self, turned: Turned) {
        if let Some(offset) = self.turn(turned) {
            // A log that has failed counts nothing more, and says so itself.
            let _failed = self.log.durable(offset).await.is_err();
        }
    }

    fn turn(&self, turned: Turned) -> Option<Offset> {
        self.metrics.note(&*self.log, self.clock.now(), turned)
    }

    /// Counts QoS 0 publishes that were dropped for lack of room.
    pub fn count_shed(&self, messages: u64) {
        self.metrics.shed(messages);
    }

    /// Waits until a record is safe.
    ///
    /// # Errors
    /// `Unavailable`: the log has failed and the record must not be acknowledged.
    pub async fn durable(&self, offset: Offset) -> Result<(), Error> {
        self.log.durable(offset).await
    }

    /// Whether a record is safe already.
    #[must_use]
    pub fn is_durable(&self, offset: Offset) -> bool {
        offset < self.log.bounds().durable
    }

    /// Waits until the log takes messages again after `Busy`.
    pub async fn room(&self) {
        self.log.room().await;
    }
}
