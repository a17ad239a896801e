//! Messages of programs, straight to the log.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axle_domain::port::{Clock, EventLog, ReportedState};
use axle_domain::{
    Access, Envelope, Error, Kind, Message, Offset, Source, Timestamp, Topic, limit,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::app::Ports;
use crate::principal::Principal;
use crate::project::Applied;

/// How long a keyed publish waits until the state knows all that came before.
const CATCH_UP_TIME_MAX: Duration = Duration::from_secs(10);

/// One message of a program.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// The topic, of any layout.
    pub topic: String,
    /// The device that it speaks for; empty for none.
    pub device: String,
    /// The media type; empty for none.
    pub content_type: String,
    /// The bytes.
    pub payload: Bytes,
}

/// What became of a publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Where each message is, in the order of the request.
    pub offsets: Vec<Offset>,
    /// Whether all of it had come before under the same key.
    pub is_repeated: bool,
}

/// How a keyed message is recognised when it comes again.
#[derive(Serialize, Deserialize)]
pub(crate) struct PublishOrigin {
    pub(crate) token: String,
    pub(crate) key: String,
    pub(crate) hash: String,
}

type Gate = Arc<tokio::sync::Mutex<()>>;

/// The way of programs into the log.
pub struct Publish {
    log: Arc<dyn EventLog>,
    reported: Arc<dyn ReportedState>,
    clock: Arc<dyn Clock>,
    applied: Applied,
    gates: Mutex<HashMap<String, Gate>>,
}

impl Publish {
    pub(crate) fn new(ports: &Ports, applied: Applied) -> Self {
        let Ports { log, reported, clock, .. } = ports.clone();
        Self { log, reported, clock, applied, gates: Mutex::default() }
    }

    /// Appends messages and answers once they are durable. With a key each message gets in once,
    /// however often the request comes and wherever it broke off; that is remembered as long as
    /// an upload is.
    ///
    /// # Errors
    /// `Denied` without the right; `Invalid` for a topic that is none; `TooLarge` over
    /// [`limit::PUBLISH_MESSAGES_MAX`] or a record's size; `Conflict` where a key comes with other
    /// messages; `Busy` and `Unavailable` where it cannot be made safe now.
    pub async fn publish(
        &self,
        principal: &Principal,
        messages: &[NewMessage],
        key: Option<&str>,
    ) -> Result<Published, Error> {
        principal.require(Access::PublishLog)?;
        check(messages)?;
        let Some(key) = key else {
            return self.append(messages, 0, |_index| Ok(String::new())).await;
        };
        let gate_key = format!("{}/{key}", principal.id());
        let gate = Arc::clone(self.gates().entry(gate_key).or_default());
        let result = {
            let _held = gate.lock().await;
            self.publish_once(&principal.id(), messages, key).await
        };
        drop(gate);
        self.gates().retain(|_, gate| Arc::strong_count(gate) > 1);
        result
    }

    /// While no other request has the same key.
    async fn publish_once(
        &self,
        token: &str,
        messages: &[NewMessage],
        key: &str,
    ) -> Result<Published, Error> {
        let before = self.log.bounds().durable;
        let caught_up = tokio::time::timeout(CATCH_UP_TIME_MAX, self.applied.wait_state(before));
        caught_up.await.map_err(|_elapsed| {
            Error::unavailable("publish.catching_up", "axle is catching up: try again")
                .with_retry_after(Duration::from_secs(2))
        })?;
        let hash = hash(messages);
        let mut offsets = Vec::new();
        // A crash leaves a beginning of the batch: what is there is not sent again.
        for index in 0..messages.len() {
            let Some(receipt) = self.reported.find_receipt(token, &receipt_key(key, index)).await?
            else {
                break;
            };
            if receipt.body_hash != hash {
                let message = "this Idempotency-Key came before with other messages: use a new key";
                return Err(Error::new(Kind::Conflict, "publish.idempotency_conflict", message));
            }
            offsets.push(Offset(receipt.answer.parse().unwrap_or_default()));
        }
        let known = offsets.len();
        let rest = messages.get(known..).unwrap_or_default();
        let appended = self
            .append(rest, known, |index| {
                let key = receipt_key(key, index);
                let origin = PublishOrigin { token: token.to_owned(), key, hash: hash.clone() };
                serde_json::to_string(&origin)
                    .map_err(|error| Error::internal("publish.origin", error.to_string()))
            })
            .await?;
        offsets.extend(appended.offsets);
        Ok(Published { offsets, is_repeated: rest.is_empty() })
    }

    async fn append(
        &self,
        messages: &[NewMessage],
        first: usize,
        origin: impl Fn(usize) -> Result<String, Error>,
    ) -> Result<Published, Error> {
        let now = self.clock.now();
        let mut offsets = Vec::with_capacity(messages.len());
        for (message, index) in messages.iter().zip(first..) {
            let origin = origin(index)?;
            offsets.push(self.append_one(message, &origin, now).await?);
        }
        if let Some(last) = offsets.last() {
            self.log.durable(*last).await?;
        }
        Ok(Published { offsets, is_repeated: false })
    }

    async fn append_one(
        &self,
        message: &NewMessage,
        origin: &str,
        now: Timestamp,
    ) -> Result<Offset, Error> {
        let message = Message {
            source: Source::Service,
            device: &message.device,
            topic: &message.topic,
            content_type: &message.content_type,
            payload: &message.payload,
            received_at: now,
            connected_at: now,
            sent_at: None,
            replayed_at: None,
            origin,
            // As durable for subscribers as it is for its publisher.
            envelope: Envelope { qos: 1, ..Envelope::default() },
        };
        loop {
            match self.log.append(&message) {
                // The beginning of the batch is in already: the rest waits for its turn.
                Err(error) if error.kind == Kind::Busy => self.log.room().await,
                outcome => return outcome,
            }
        }
    }

    fn gates(&self) -> std::sync::MutexGuard<'_, HashMap<String, Gate>> {
        self.gates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All of a request or nothing: what the log would refuse is refused before anything is in.
fn check(messages: &[NewMessage]) -> Result<(), Error> {
    let (count, most) = (messages.len(), limit::PUBLISH_MESSAGES_MAX);
    if count == 0 {
        return Err(Error::invalid("publish.empty", "there is no message to publish"));
    }
    if count > most {
        let text = format!("{count} messages at once, at most {most}: send them in parts");
        return Err(Error::new(Kind::TooLarge, "publish.too_many", text)
            .with_limit(most as u64, count as u64));
    }
    for (index, message) in messages.iter().enumerate() {
        let topic = &message.topic;
        let is_topic = (1..=limit::TOPIC_BYTES_MAX).contains(&topic.len())
            && topic.split('/').count() <= limit::TOPIC_LEVELS_MAX
            && !topic.contains(['+', '#', '\0']);
        if !is_topic {
            let text = format!(
                "message {index}: a topic has 1 to {} bytes, at most {} levels, and no wildcard",
                limit::TOPIC_BYTES_MAX,
                limit::TOPIC_LEVELS_MAX
            );
            return Err(Error::invalid("publish.topic_invalid", text));
        }
        let is_servers = topic.starts_with('$') || Topic::is_presence(topic);
        if is_servers || matches!(Topic::parse(topic), Ok(Topic::Command(..))) {
            let text = format!(
                "message {index}: topics that begin with `$` are the server's own, and a command \
                 has its own route, which knows what became of it"
            );
            return Err(Error::invalid("publish.topic_reserved", text));
        }
        if !message.device.is_empty() {
            axle_domain::DeviceId::parse(&message.device)?;
        }
        if message.content_type.len() > limit::TOPIC_BYTES_MAX {
            let text = format!("message {index}: its content type is too long");
            return Err(Error::invalid("publish.content_type_invalid", text));
        }
    }
    Ok(())
}

fn receipt_key(key: &str, index: usize) -> String {
    format!("publish:{key}#{index}")
}

fn hash(messages: &[NewMessage]) -> String {
    let mut hasher = Sha256::new();
    for message in messages {
        let texts = [&message.topic, &message.device, &message.content_type];
        let parts = texts.into_iter().map(|text| text.as_bytes()).chain([&*message.payload]);
        for part in parts {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
