//! The app of a bike's owner, which uploads rides of the past: gzip NDJSON, with a token that may
//! upload for this bike and nothing else.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use axle_domain::{DeviceId, Error};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::Method;
use tokio_util::sync::CancellationToken;

use super::FleetStatus;
use super::bike::Bike;
use super::life::Pace;
use crate::Doors;
use crate::api::{Answer, Api, Call};
use crate::clock::now_ms;
use crate::ledger::upload_token;
use crate::random::Key;

/// Samples of one ride, a second apart.
const RIDE_SAMPLES: i64 = 600;
/// Pause between two rides.
const PAUSE: Duration = Duration::from_secs(300);
/// Pause after a failure.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// The app.
pub(super) struct Uploader {
    api: Api,
    device: DeviceId,
    key: Key,
}

impl Uploader {
    /// An app with a fresh token.
    pub(super) async fn new(doors: &Doors, device: &DeviceId, key: Key) -> Result<Self, Error> {
        let token = upload_token(&Api::new(&doors.http, &doors.token), device).await?;
        Ok(Self { api: Api::new(&doors.http, &token), device: device.clone(), key })
    }

    /// Uploads a ride now and then, and repeats what was not answered.
    pub(super) async fn run(self, status: Arc<FleetStatus>, stop: CancellationToken, pace: Pace) {
        let start_ms = now_ms();
        let mut pause = pace.of(PAUSE.mul_f64(self.key.share(77) * 0.1));
        let mut ride = 0;
        loop {
            if tokio::time::timeout(pause, stop.cancelled()).await.is_ok() {
                return;
            }
            // Each ride an hour before the one of the last time.
            let from_ms = start_ms - (ride + 1) * 3_600_000 - RIDE_SAMPLES * 1000;
            let answer = tokio::select! {
                () = stop.cancelled() => return,
                answer = self.upload(ride, from_ms) => answer,
            };
            match answer {
                Ok(answer) if answer.is_success() => {
                    FleetStatus::count(&status.uploads);
                    ride += 1;
                    pause = pace.of(PAUSE);
                }
                Ok(answer) if answer.is_temporary() => {
                    pause = Duration::from_secs(answer.retry_after_s.unwrap_or(5).clamp(1, 60));
                }
                Ok(answer) => {
                    let refusal = answer.refusal();
                    tracing::warn!(device = %self.device, error = %refusal, "an upload was refused");
                    FleetStatus::count(&status.errors);
                    ride += 1;
                    pause = PAUSE;
                }
                Err(_unreachable) => {
                    FleetStatus::count(&status.errors);
                    pause = RETRY_PAUSE;
                }
            }
        }
    }

    async fn upload(&self, ride: i64, from_ms: i64) -> Result<Answer, Error> {
        let body = gzip(&self.ride(ride, from_ms)).map_err(|error| {
            Error::internal("demo.gzip", format!("the ride could not be packed: {error}"))
        })?;
        let path = format!("/api/v1/uploads?device={}&stream=ride", self.device);
        let key = format!("{}-{from_ms}", self.device);
        let call = Call {
            method: Method::POST,
            path: &path,
            headers: &[("idempotency-key", &key), ("content-encoding", "gzip")],
            content_type: "application/x-ndjson",
            body: Bytes::from(body),
        };
        self.api.call(&call).await
    }

    fn ride(&self, ride: i64, from_ms: i64) -> Vec<u8> {
        let mut bike = Bike::earlier(self.key, ride.cast_unsigned() + 1);
        let mut lines = Vec::with_capacity(128 * 1024);
        for second in 0..RIDE_SAMPLES {
            bike.ride();
            let sample = bike.sample(from_ms + second * 1000);
            lines.extend_from_slice(sample.to_string().as_bytes());
            lines.push(b'\n');
        }
        lines
    }
}

fn gzip(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::fast());
    encoder.write_all(bytes)?;
    encoder.finish()
}
