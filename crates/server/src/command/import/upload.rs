//! The upload door from the outside: once, however often it is tried.

use std::time::Duration;

use axle_domain::{DeviceId, Timestamp};
use hyper::header::RETRY_AFTER;
use hyper::{Method, Response, StatusCode};
use serde_json::Value;

use super::batch::Batch;
use crate::client::{Call, Client, read};
use crate::failure::{Exit, Failure};

/// How often a door that is busy is tried.
const TRIES_MAX: u32 = 30;
/// Longest wait between two tries.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// The door, for one device.
pub(super) struct Door {
    pub(super) client: Client,
    pub(super) device: DeviceId,
}

/// What became of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Receipt {
    pub(super) stored: u64,
    pub(super) duplicate: u64,
    pub(super) quarantined: u64,
    /// Whether it had come before, so that nothing changed.
    pub(super) is_repeated: bool,
    /// Why records were set aside: each code once.
    pub(super) codes: Vec<String>,
}

impl Door {
    /// Sends a batch, waiting while the door is busy.
    pub(super) async fn send(
        &self,
        batch: &Batch,
        sent_at: Option<Timestamp>,
        offset: i64,
    ) -> Result<Receipt, Failure> {
        let key = batch.key(&self.device, offset);
        let body = batch.body(&self.device, sent_at);
        let mut tries = 1;
        loop {
            let call = Call {
                method: Method::POST,
                path: "/api/v1/uploads",
                body: Some(&body),
                idempotency_key: Some(&key),
                ..Call::default()
            };
            let response = self.client.exchange(call).await?;
            let status = response.status();
            let is_busy =
                matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
            let wait = wait_of(&response);
            let is_repeated = response.headers().contains_key("idempotent-replayed");
            let answer = read(response).await?;
            if status.is_success() {
                let answer = serde_json::from_slice(&answer).unwrap_or_default();
                return Ok(Receipt { is_repeated, ..receipt(&answer) });
            }
            if is_busy && tries < TRIES_MAX {
                tries += 1;
                tokio::time::sleep(wait).await;
                continue;
            }
            if code(&answer) == "upload.idempotency_conflict" {
                // The key is made of all that the body says but the moment of sending: the same
                // samples came before, sent at another moment.
                return Ok(Receipt { is_repeated: true, ..Receipt::default() });
            }
            let failure = self.client.problem(status, &answer);
            if failure.exit != Exit::NotFound {
                return Err(failure);
            }
            return Err(
                failure.with_hint(format!("`axle device add {}` registers it", self.device))
            );
        }
    }
}

fn wait_of<B>(response: &Response<B>) -> Duration {
    let seconds = response.headers().get(RETRY_AFTER).and_then(|it| it.to_str().ok()?.parse().ok());
    Duration::from_secs(seconds.unwrap_or(1)).clamp(Duration::from_millis(100), WAIT_MAX)
}

fn code(problem: &[u8]) -> String {
    let problem: Value = serde_json::from_slice(problem).unwrap_or_default();
    problem.get("code").and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn receipt(answer: &Value) -> Receipt {
    let count = |name: &str| answer.get(name).and_then(Value::as_u64).unwrap_or(0);
    let records = answer.get("records").and_then(Value::as_array);
    let mut codes: Vec<String> = records
        .into_iter()
        .flatten()
        .filter(|record| record.get("verdict").and_then(Value::as_str) == Some("quarantined"))
        .filter_map(|record| record.get("code").and_then(Value::as_str).map(str::to_owned))
        .collect();
    codes.sort_unstable();
    codes.dedup();
    Receipt {
        stored: count("stored"),
        duplicate: count("duplicate"),
        quarantined: count("quarantined"),
        is_repeated: false,
        codes,
    }
}
