//! The phone of a bike's owner, which uploads what it has recorded in the past: gzip NDJSON, with
//! a token that may upload for this bike and nothing else.

use std::io::Write;
use std::time::Duration;

use axle_domain::{DeviceId, Error};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::Method;

use super::FleetStatus;
use super::bike::Bike;
use super::life::{Dice, Sample};
use super::past::History;
use super::post::clock_error_ms;
use super::resident::Surroundings;
use super::trickle::Trickle;
use crate::Doors;
use crate::api::{Answer, Api, Call};
use crate::clock::{now_ms, rfc3339};
use crate::ledger::upload_token;
use crate::random::Key;

/// Most samples of one ride, a second apart.
const RIDE_SAMPLES_MAX: usize = 3600;
/// Rides that are uploaded as soon as it is the phone's turn.
const RIDES_AT_ONCE: usize = 4;
/// Pause before each of the others.
const PAUSE: Duration = Duration::from_secs(300);
/// Pause after a failure, and the longest.
const RETRY_PAUSE: Duration = Duration::from_secs(5);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(60);
/// How often an upload is tried before the phone gives it up.
const ATTEMPTS: u32 = 20;

/// A phone.
pub(super) struct Phone {
    api: Api,
    device: DeviceId,
    key: Key,
    clock_ahead_ms: i64,
    around: Surroundings,
}

impl Phone {
    /// A phone with a fresh token; a share of all phones has a wrong clock.
    pub(super) async fn new(
        doors: &Doors,
        (device, key): (&DeviceId, Key),
        wrong_clock: f64,
        around: Surroundings,
    ) -> Result<Self, Error> {
        let token = upload_token(&Api::new(&doors.http, &doors.token), device).await?;
        let clock_ahead_ms = clock_error_ms(&mut Dice::new(key.named("phone")), wrong_clock);
        let api = Api::new(&doors.http, &token);
        Ok(Self { api, device: device.clone(), key, clock_ahead_ms, around })
    }

    /// Uploads the past: what the bike reported, then its rides, the latest first; the older ones
    /// one by one, so that there is always someone who comes home and has a ride to tell of.
    pub(super) async fn run(self, past: History, trickle: Trickle) {
        for (stream, samples) in [("status", past.status), ("fault", past.faults)] {
            if !samples.is_empty() && !self.send(stream, &samples, &trickle).await {
                return;
            }
        }
        for (number, (bike, from_ms)) in past.rides.into_iter().rev().enumerate() {
            if number >= RIDES_AT_ONCE {
                let pause = PAUSE.mul_f64(0.5 + self.key.share(number as u64));
                let pause = self.around.pace.of(pause);
                if tokio::time::timeout(pause, self.around.stop.cancelled()).await.is_ok() {
                    return;
                }
            }
            let ride = Bike::ride_again(*bike, from_ms, RIDE_SAMPLES_MAX);
            if !ride.is_empty() && !self.send("ride", &ride, &trickle).await {
                return;
            }
        }
    }

    /// Uploads samples of a stream, however often it takes; says whether life goes on.
    async fn send(&self, stream: &str, samples: &[Sample], trickle: &Trickle) -> bool {
        let stop = &self.around.stop;
        let Ok(body) = gzip(&self.lines(samples)) else { return true };
        let from_ms = samples.first().map_or(0, |sample| sample.time_ms);
        let mut path = format!("/api/v1/uploads?device={}&stream={stream}", self.device);
        if self.clock_ahead_ms != 0 {
            // The same for each attempt: with another one it would be another upload.
            path.push_str(&format!("&sent_at={}", rfc3339(now_ms() + self.clock_ahead_ms)));
        }
        let key = format!("{}-{stream}-{from_ms}", self.device);
        for _attempt in 0..ATTEMPTS {
            let answer = tokio::select! {
                () = stop.cancelled() => return false,
                answer = async {
                    trickle.turn().await;
                    self.upload(&path, &key, Bytes::from(body.clone())).await
                } => answer,
            };
            let pause = match answer {
                Ok(answer) if answer.is_success() => {
                    FleetStatus::count(&self.around.status.uploads);
                    return true;
                }
                Ok(answer) if !answer.is_temporary() => {
                    let refusal = answer.refusal();
                    tracing::warn!(device = %self.device, error = %refusal, "an upload was refused");
                    FleetStatus::count(&self.around.status.errors);
                    return true;
                }
                Ok(answer) => answer.retry_after_s.map_or(RETRY_PAUSE, Duration::from_secs),
                Err(_unreachable) => RETRY_PAUSE,
            };
            FleetStatus::count(&self.around.status.errors);
            let pause = pause.min(RETRY_PAUSE_MAX);
            if tokio::time::timeout(pause, stop.cancelled()).await.is_ok() {
                return false;
            }
        }
        true
    }

    async fn upload(&self, path: &str, key: &str, body: Bytes) -> Result<Answer, Error> {
        let call = Call {
            method: Method::POST,
            path,
            headers: &[("idempotency-key", key), ("content-encoding", "gzip")],
            content_type: "application/x-ndjson",
            body,
        };
        self.api.call(&call).await
    }

    fn lines(&self, samples: &[Sample]) -> Vec<u8> {
        let mut lines = Vec::with_capacity(samples.len() * 224);
        for sample in samples {
            lines.append(&mut sample.write(sample.time_ms + self.clock_ahead_ms));
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
