//! Takes an app's batch to safety, once, and answers with a verdict for each record.

#[cfg(test)]
mod mutation;
mod verdict;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axle_domain::port::{Clock, EventLog, ReportedState, UploadReceipt};
use axle_domain::{
    Access, DeviceId, Envelope, Error, Kind, Message, Offset, Schemas, Source, StreamName,
    Timestamp, Topic, TrafficClass, Turned, UploadId, limit,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub(crate) use verdict::Verdicts;

use crate::app::Ports;
use crate::decode::decode;
use crate::metrics::DoorMetrics;
use crate::principal::{Principal, device_not_found};
use crate::project::Applied;
use crate::random::random_text;
use crate::registry::Registry;

/// A batch as the HTTP door gives it.
#[derive(Clone, Debug)]
pub struct UploadRequest {
    /// From the query string; NDJSON and bare arrays have no other place for it.
    pub device: Option<DeviceId>,
    /// From the query string.
    pub stream: Option<StreamName>,
    /// From the query string.
    pub sent_at: Option<Timestamp>,
    /// The `Idempotency-Key` header.
    pub idempotency_key: Option<String>,
    /// `application/json` or `application/x-ndjson`.
    pub content_type: String,
    /// The body after content decoding.
    pub body: Bytes,
}

/// The answer to an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadAnswer {
    /// JSON: `{"upload","stored","duplicate","quarantined","records"}`.
    pub body: String,
    /// Whether this is the stored answer to an upload that came before.
    pub is_repeated: bool,
}

/// How an upload's message says whose it is; stands in [`Message::origin`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct UploadOrigin {
    pub(crate) upload: String,
    pub(crate) token: String,
    pub(crate) key: String,
    pub(crate) body_hash: String,
}

/// The members of a JSON body that say what it is about.
#[derive(Default, Deserialize)]
struct Head {
    device: Option<String>,
    stream: Option<String>,
}

/// What an upload is about, after checks of form and right.
struct Subject {
    device: DeviceId,
    stream: StreamName,
    origin: UploadOrigin,
}

/// A receipt that the state may not have yet.
#[derive(Clone)]
struct Recent {
    body_hash: String,
    answer: String,
    offset: Offset,
}

type Key = (String, String);
type Gate = Arc<tokio::sync::Mutex<()>>;

/// Most receipts that wait in memory for the projection.
const RECENT_MAX: usize = 10_000;
/// How long an upload waits for the projection to catch up after a restart.
const CATCH_UP_TIME_MAX: Duration = Duration::from_secs(10);

/// The upload desk.
pub struct Uploads {
    log: Arc<dyn EventLog>,
    reported: Arc<dyn ReportedState>,
    clock: Arc<dyn Clock>,
    schemas: Arc<Schemas>,
    registry: Arc<Registry>,
    door: Arc<DoorMetrics>,
    applied: Applied,
    /// What the log held at start: receipts of before are in the state once it is applied.
    known_from: Offset,
    recent: Mutex<HashMap<Key, Recent>>,
    gates: Mutex<HashMap<Key, Gate>>,
}

/// Two to five seconds, so that not all come again at once.
fn retry_after(now: Timestamp) -> Duration {
    Duration::from_secs(2 + now.micros().unsigned_abs() % 4)
}

impl Uploads {
    pub(crate) fn new(
        ports: &Ports,
        schemas: Arc<Schemas>,
        registry: Arc<Registry>,
        door: Arc<DoorMetrics>,
        applied: Applied,
    ) -> Self {
        Self {
            log: Arc::clone(&ports.log),
            reported: Arc::clone(&ports.reported),
            clock: Arc::clone(&ports.clock),
            known_from: ports.log.bounds().appended,
            schemas,
            registry,
            door,
            applied,
            recent: Mutex::default(),
            gates: Mutex::default(),
        }
    }

    /// Stores a batch and answers once it is durable. The same batch again (same idempotency
    /// key, else same body) gets the same answer and is not stored again.
    ///
    /// # Errors
    /// `NotFound` for a device that the principal may not upload for; `Invalid` when the body as
    /// a whole cannot be understood (nothing is stored then); `TooLarge` over
    /// [`limit::UPLOAD_RECORDS_MAX`]; `Conflict` when a key comes with another body; `Busy` and
    /// `Unavailable` when it cannot be made safe now (the app keeps its copy).
    pub async fn accept(
        &self,
        principal: &Principal,
        request: UploadRequest,
    ) -> Result<UploadAnswer, Error> {
        let result = self.accept_once(principal, request).await;
        match &result {
            Ok(_) => {}
            Err(error) => {
                let is_shed = u64::from(error.kind.is_retryable());
                self.settle(Turned { rejected: 1 - is_shed, shed: is_shed }).await;
            }
        }
        result
    }

    /// Returns when a refusal is counted as safely as the log can now.
    async fn settle(&self, turned: Turned) {
        if let Some(offset) = self.door.note(&*self.log, self.clock.now(), turned) {
            // A log that has failed counts nothing more, and says so itself.
            let _failed = self.log.durable(offset).await.is_err();
        }
    }

    async fn accept_once(
        &self,
        principal: &Principal,
        request: UploadRequest,
    ) -> Result<UploadAnswer, Error> {
        let subject = self.subject(principal, &request)?;
        let key = (subject.origin.token.clone(), subject.origin.key.clone());
        let gate = Arc::clone(lock(&self.gates).entry(key.clone()).or_default());
        let result = {
            let _held = gate.lock().await;
            self.accept_alone(&key, subject, request).await
        };
        drop(gate);
        lock(&self.gates).retain(|_, gate| Arc::strong_count(gate) > 1);
        result
    }

    /// Stores a batch while no other upload has the same key.
    async fn accept_alone(
        &self,
        key: &Key,
        subject: Subject,
        request: UploadRequest,
    ) -> Result<UploadAnswer, Error> {
        if let Some(receipt) = self.find_receipt(key).await? {
            if receipt.body_hash != subject.origin.body_hash {
                return Err(Error::new(
                    Kind::Conflict,
                    "upload.idempotency_conflict",
                    "this Idempotency-Key came before with another body: use a new key",
                ));
            }
            return Ok(UploadAnswer { body: receipt.answer, is_repeated: true });
        }
        // The app keeps its copy, so it gives way before devices do.
        let admitted = self.log.admit(TrafficClass::Upload);
        admitted.map_err(|error| error.with_retry_after(retry_after(self.clock.now())))?;
        let received_at = self.clock.now();
        let upload = Upload { subject, request, received_at };
        let schemas = Arc::clone(&self.schemas);
        // Decoding ten thousand samples takes milliseconds: off the threads that serve sockets.
        let (upload, verdicts) = tokio::task::spawn_blocking(move || {
            let verdicts = upload.judge(&schemas);
            (upload, verdicts)
        })
        .await
        .map_err(|error| Error::internal("upload.panic", "decoding failed").with_source(error))?;
        let verdicts = verdicts?;
        let is_empty = verdicts.len() == 0;
        let answer = verdicts.answer(&upload.subject.origin.upload);
        if is_empty {
            return Ok(UploadAnswer { body: answer, is_repeated: false });
        }
        let offset = upload.append(&*self.log)?;
        self.log.durable(offset).await?;
        let body_hash = upload.subject.origin.body_hash;
        self.remember(key, Recent { body_hash, answer: answer.clone(), offset });
        Ok(UploadAnswer { body: answer, is_repeated: false })
    }

    fn subject(&self, principal: &Principal, request: &UploadRequest) -> Result<Subject, Error> {
        if request.body.is_empty() {
            return Err(Error::invalid("upload.empty", "the body is empty"));
        }
        let head = read_head(request)?;
        let device = pick("device", head.device, request.device.as_ref(), DeviceId::parse)?;
        principal.require(Access::Upload(&device))?;
        self.registry.check(&device).map_err(|_error| device_not_found(&device))?;
        let stream = pick("stream", head.stream, request.stream.as_ref(), StreamName::parse)?;
        if self.schemas.find(stream.as_str()).is_none() {
            let known: Vec<_> = self.schemas.iter().map(|schema| schema.name.as_str()).collect();
            let message = format!("stream `{stream}` is not known: there are {}", known.join(", "));
            return Err(Error::invalid("stream.unknown", message));
        }
        let body_hash = body_hash(&device, &stream, request);
        let key = match &request.idempotency_key {
            Some(key) => format!("key:{key}"),
            None => format!("body:{body_hash}"),
        };
        let upload = UploadId::parse(&random_text("u", 20)?)?.to_string();
        let token = principal.id();
        Ok(Subject { device, stream, origin: UploadOrigin { upload, token, key, body_hash } })
    }

    async fn find_receipt(&self, key: &Key) -> Result<Option<Recent>, Error> {
        if let Some(recent) = lock(&self.recent).get(key) {
            return Ok(Some(recent.clone()));
        }
        // Uploads that were acknowledged before a crash have their receipts in the log.
        let caught_up = self.applied.wait_state(self.known_from);
        tokio::time::timeout(CATCH_UP_TIME_MAX, caught_up).await.map_err(|_elapsed| {
            Error::unavailable("upload.catching_up", "axle is catching up after a restart")
                .with_retry_after(Duration::from_secs(5))
        })?;
        let stored = self.reported.find_receipt(&key.0, &key.1).await?;
        Ok(stored.map(|UploadReceipt { body_hash, answer, .. }| Recent {
            body_hash,
            answer,
            offset: Offset(0),
        }))
    }

    /// Keeps a receipt until the state has it.
    fn remember(&self, key: &Key, recent: Recent) {
        let (_, state) = self.applied.get();
        let mut receipts = lock(&self.recent);
        if receipts.len() >= RECENT_MAX / 2 {
            receipts.retain(|_, recent| recent.offset >= state);
        }
        receipts.insert(key.clone(), recent);
    }
}

/// An upload on its way into the log.
struct Upload {
    subject: Subject,
    request: UploadRequest,
    received_at: Timestamp,
}

impl Upload {
    fn with_message<T>(&self, take: impl FnOnce(&Message<'_>) -> T) -> T {
        let Subject { device, stream, origin } = &self.subject;
        let topic = Topic::telemetry(device, stream);
        let origin = serde_json::to_string(origin).unwrap_or_default();
        take(&Message {
            source: Source::Upload,
            device: device.as_str(),
            topic: &topic,
            content_type: &self.request.content_type,
            payload: &self.request.body,
            received_at: self.received_at,
            connected_at: self.received_at,
            sent_at: self.request.sent_at,
            replayed_at: None,
            origin: &origin,
            envelope: Envelope::default(),
        })
    }

    fn judge(&self, schemas: &Schemas) -> Result<Verdicts, Error> {
        let mut verdicts = Verdicts::default();
        self.with_message(|message| {
            decode(schemas, Offset(0), message, &mut |decoded| verdicts.take(&decoded));
        });
        if let Some((code, detail)) = verdicts.whole.take() {
            return Err(Error::invalid(code, detail));
        }
        let actual = verdicts.len();
        if actual > limit::UPLOAD_RECORDS_MAX {
            let most = limit::UPLOAD_RECORDS_MAX;
            let message = format!("an upload holds at most {most} samples: split it");
            return Err(Error::new(Kind::TooLarge, "upload.too_many_records", message)
                .with_limit(most as u64, actual as u64));
        }
        Ok(verdicts)
    }

    fn append(&self, log: &dyn EventLog) -> Result<Offset, Error> {
        self.with_message(|message| log.append(message))
            .map_err(|error| error.with_retry_after(Duration::from_secs(2)))
    }
}

fn read_head(request: &UploadRequest) -> Result<Head, Error> {
    let is_object = request.body.trim_ascii_start().first() == Some(&b'{');
    if !is_object || request.content_type.starts_with("application/x-ndjson") {
        return Ok(Head::default());
    }
    serde_json::from_slice(&request.body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let message = format!("the body is no valid batch: see line {line}, column {column}");
        Error::invalid("payload.invalid", message)
    })
}

/// The device or stream of an upload: from the body, else from the query string; not two.
fn pick<T: Clone + PartialEq + std::fmt::Display>(
    name: &str,
    in_body: Option<String>,
    in_query: Option<&T>,
    parse: impl Fn(&str) -> Result<T, Error>,
) -> Result<T, Error> {
    match (in_body, in_query) {
        (Some(body), query) => {
            let body = parse(&body)?;
            if query.is_some_and(|query| *query != body) {
                let message = format!("`{name}` in the body and in the query string differ");
                return Err(Error::invalid("upload.mismatch", message));
            }
            Ok(body)
        }
        (None, Some(query)) => Ok(query.clone()),
        (None, None) => {
            let message = format!("`{name}` is missing: put it into the body or the query string");
            Err(Error::invalid("upload.subject_missing", message))
        }
    }
}

fn body_hash(device: &DeviceId, stream: &StreamName, request: &UploadRequest) -> String {
    let mut hash = Sha256::new();
    for part in [device.as_str(), stream.as_str(), &request.content_type] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hash.update(request.sent_at.map_or(i64::MIN, Timestamp::micros).to_le_bytes());
    hash.update(&request.body);
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
