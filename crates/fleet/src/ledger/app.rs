//! An app that uploads batches and repeats each until it has a definite answer.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use axle_domain::{DeviceId, Error};
use bytes::Bytes;
use hyper::Method;
use serde_json::Value;

use super::LedgerPlan;
use super::desk::Desk;
use crate::api::{Answer, Api, Call};
use crate::clock::rfc3339;
use crate::content::Source;
use crate::load::sent::{Bits, Sent};

/// Pause before an upload is repeated.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// Longest wait that a `Retry-After` may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(5);
/// Receipts that are asked for again when everything is at rest.
const RECEIPTS_REPEATED: usize = 3;

/// An app of the ledger, with a device of its own.
pub(super) struct App {
    /// The device that it uploads for.
    pub(super) name: DeviceId,
    /// Uploads that the server refused for good.
    pub(super) refused: Vec<String>,
    /// Receipts that are not as they must be.
    pub(super) wrong_receipts: Vec<String>,
    source: Source,
    token: String,
    samples: u64,
    pause: Duration,
    begun: u64,
    answered: u64,
    open: Option<u64>,
    acked: Bits,
    /// A hash of each upload's receipt.
    receipts: BTreeMap<u64, u64>,
}

impl App {
    /// An app that has uploaded nothing.
    pub(super) fn new(name: DeviceId, token: String, source: Source, plan: &LedgerPlan) -> Self {
        Self {
            name,
            refused: vec![],
            wrong_receipts: vec![],
            source,
            token,
            samples: plan.upload_samples.clamp(1, 1000) as u64,
            pause: plan.upload_pause,
            begun: 0,
            answered: 0,
            open: None,
            acked: Bits::default(),
            receipts: BTreeMap::new(),
        }
    }

    /// Uploads begun.
    pub(super) fn begun(&self) -> u64 {
        self.begun
    }

    /// Uploads with a definite answer.
    pub(super) fn answered(&self) -> u64 {
        self.answered
    }

    /// What it has sent.
    pub(super) fn sent(&self) -> Sent {
        Sent::alone(self.source, self.begun * self.samples, self.acked.clone())
    }

    /// Uploads until the end of the drive.
    pub(super) async fn run(&mut self, desk: &Desk) {
        let mut badge = desk.badge();
        let api = Api::new(&desk.doors.http, &self.token);
        while !desk.stop.is_cancelled() {
            let upload = match self.open {
                Some(upload) => upload,
                None if desk.is_settling => {
                    self.repeat_receipts(&api, desk).await;
                    badge.set(false);
                    return;
                }
                None => {
                    self.begun += 1;
                    *self.open.insert(self.begun - 1)
                }
            };
            let answer = tokio::select! {
                () = desk.stop.cancelled() => return,
                answer = self.upload(&api, upload) => answer,
            };
            match answer {
                Ok(answer) if !answer.is_temporary() => {
                    self.open = None;
                    self.take(upload, &answer);
                    desk.pause(if desk.is_settling { Duration::ZERO } else { self.pause }).await;
                }
                Ok(answer) => {
                    let asked = Duration::from_secs(answer.retry_after_s.unwrap_or(0));
                    desk.pause(asked.clamp(RETRY_PAUSE, RETRY_AFTER_MAX)).await;
                }
                Err(_unreachable) => desk.pause(RETRY_PAUSE).await,
            }
        }
    }

    async fn upload(&self, api: &Api, upload: u64) -> Result<Answer, Error> {
        let mut body = Vec::with_capacity(8192);
        for seq in upload * self.samples..(upload + 1) * self.samples {
            self.source.write_payload(seq, &mut body);
            body.push(b'\n');
        }
        let stream = self.source.profile().stream();
        let path = format!("/api/v1/uploads?device={}&stream={stream}", self.name);
        let key = format!("{}-{upload}", self.name);
        let call = Call {
            method: Method::POST,
            path: &path,
            headers: &[("idempotency-key", &key)],
            content_type: "application/x-ndjson",
            body: Bytes::from(body),
        };
        api.call(&call).await
    }

    fn take(&mut self, upload: u64, answer: &Answer) {
        self.answered += 1;
        if !answer.is_success() {
            let refusal = answer.refusal().message;
            self.refused.push(format!("refused: upload {upload} of {}: {refusal}", self.name));
            return;
        }
        for seq in upload * self.samples..(upload + 1) * self.samples {
            self.acked.insert(seq);
        }
        let receipt: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let stored = receipt.get("stored").and_then(Value::as_u64);
        let known = *self.receipts.entry(upload).or_insert_with(|| hash(&answer.body));
        if stored != Some(self.samples) || known != hash(&answer.body) {
            self.wrong_receipts.push(format!(
                "receipt: upload {upload} of {}, {} samples: {receipt}",
                self.name, self.samples
            ));
        }
    }

    /// Asks for the latest receipts again: they must not have changed.
    async fn repeat_receipts(&mut self, api: &Api, desk: &Desk) {
        let latest: Vec<u64> =
            self.receipts.keys().rev().take(RECEIPTS_REPEATED).copied().collect();
        for upload in latest {
            for _attempt in 0..10 {
                match self.upload(api, upload).await {
                    Ok(answer) if !answer.is_temporary() => {
                        self.answered -= 1;
                        self.take(upload, &answer);
                        break;
                    }
                    Ok(answer) => {
                        let asked = Duration::from_secs(answer.retry_after_s.unwrap_or(0));
                        desk.pause(asked.clamp(RETRY_PAUSE, RETRY_AFTER_MAX)).await;
                    }
                    Err(_unreachable) => desk.pause(RETRY_PAUSE).await,
                }
            }
        }
    }

    /// Whether the upload that was cut off is there in part. Asked before it is repeated.
    pub(super) async fn partial(&self, api: &Api) -> Result<Option<String>, Error> {
        let Some(upload) = self.open else { return Ok(None) };
        let (from, to) = (upload * self.samples, (upload + 1) * self.samples);
        let sql = format!(
            "SELECT count(*) FROM {} WHERE device = '{}' AND time >= '{}' AND time < '{}'",
            self.source.profile().stream(),
            self.name,
            rfc3339(self.source.time_ms(from)),
            rfc3339(self.source.time_ms(to))
        );
        let rows = api.query_patiently(&sql).await?;
        let seen = rows.first().and_then(|row| row.get(0)?.as_u64()).unwrap_or(0);
        let is_partial = seen != 0 && seen != self.samples;
        Ok(is_partial.then(|| {
            format!("partial: upload {upload} of {}: {seen} of {} rows", self.name, self.samples)
        }))
    }
}

fn hash(body: &[u8]) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    body.hash(&mut hasher);
    hasher.finish()
}
