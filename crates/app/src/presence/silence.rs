//! Devices from which nothing came for longer than their kind allows.
//!
//! What was told already is known from what the state computed of it (`presence.silent_since`),
//! so that a start tells nothing twice that the log has.

use std::collections::HashMap;
use std::time::Duration;

use axle_domain::{DeviceId, Error, FieldKey, OwnedValue, Timestamp};
use serde_json::json;

use super::{Change, PAGE, Presence};
use crate::time_text::{format_time, parse_time};

/// Whoever fell silent longer ago than this beyond its time was told of, or is out of use.
const TOLD_WITHIN: Duration = Duration::from_secs(7 * 24 * 3600);
/// Longest pause between two looks.
const LOOK_INTERVAL_MAX: Duration = Duration::from_secs(60);

/// After which time without a message a device counts as silent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SilentAfter {
    /// The kind of device; `None` for every kind that has no entry of its own.
    pub kind: Option<String>,
    /// The time.
    pub time: Duration,
}

/// What is looked for, and what was told already.
pub(super) struct Silence {
    after: Vec<SilentAfter>,
    started_at: Timestamp,
    looked_at: Option<Timestamp>,
    /// The last message of those whose silence was told; `None` until it was asked for.
    told: Option<HashMap<DeviceId, Timestamp>>,
}

impl Silence {
    pub(super) fn new(after: &[SilentAfter], started_at: Timestamp) -> Self {
        Self { after: after.to_vec(), started_at, looked_at: None, told: None }
    }

    /// Whether it is time to look again.
    fn is_due(&self, now: Timestamp) -> bool {
        let Some(shortest) = self.after.iter().map(|it| it.time).min() else { return false };
        let pause = (shortest / 10).min(LOOK_INTERVAL_MAX);
        self.looked_at.is_none_or(|looked_at| now >= looked_at.after(pause) || now < looked_at)
    }

    /// The time of a kind.
    fn time_of(&self, kind: &str) -> Option<Duration> {
        let of = |kind: Option<&str>| self.after.iter().find(|it| it.kind.as_deref() == kind);
        of(Some(kind)).or_else(|| of(None)).map(|it| it.time)
    }

    /// The times that there are, each once.
    fn times(&self) -> Vec<Duration> {
        let mut times: Vec<Duration> = self.after.iter().map(|it| it.time).collect();
        times.sort_unstable();
        times.dedup();
        times
    }
}

impl Presence {
    /// Tells of devices that have fallen silent. While the server was down nobody could be heard,
    /// so after a start everybody has their time anew.
    pub(super) async fn look_for_silence(&self, silence: &mut Silence) -> Result<(), Error> {
        let now = self.clock.now();
        if !silence.is_due(now) {
            return Ok(());
        }
        // What lies in the log already was heard.
        self.catch_up().await;
        let mut told = match silence.told.take() {
            Some(told) => told,
            None => self.silence_told().await?,
        };
        let mut result = Ok(());
        for time in silence.times() {
            if now >= silence.started_at.after(time) && result.is_ok() {
                result = self.look_for(silence, time, now, &mut told).await;
            }
        }
        let oldest =
            now.shifted(-micros(TOLD_WITHIN + LOOK_INTERVAL_MAX) - micros(silence.longest()));
        told.retain(|_, last_seen| *last_seen >= oldest);
        (silence.told, silence.looked_at) = (Some(told), Some(now));
        result
    }

    async fn look_for(
        &self,
        silence: &Silence,
        time: Duration,
        now: Timestamp,
        told: &mut HashMap<DeviceId, Timestamp>,
    ) -> Result<(), Error> {
        let oldest = now.shifted(-micros(time) - micros(TOLD_WITHIN));
        let mut since = now.shifted(-micros(time));
        loop {
            let (page, _) = self.reported.list_silent(since, PAGE).await?;
            let is_last = page.len() < PAGE;
            let mut next = None;
            for silent in page {
                let Some(last_seen) = silent.last_seen.filter(|it| *it >= oldest) else {
                    return Ok(());
                };
                next = Some(last_seen);
                if told.get(&silent.device) == Some(&last_seen) {
                    continue;
                }
                let device = self.devices.find_device(&silent.device).await?;
                if device.and_then(|device| silence.time_of(&device.kind)) == Some(time) {
                    self.tell(fell_silent(&silent.device, last_seen, time, now));
                    told.insert(silent.device, last_seen);
                }
            }
            // Those of the same microsecond come again, and are told already.
            let next = next.map(|next| next.shifted(1)).filter(|next| *next < since);
            match next {
                Some(next) if !is_last => since = next,
                _ => return Ok(()),
            }
        }
    }

    /// Of whom it was told that it fell silent, and when its last message had come.
    async fn silence_told(&self) -> Result<HashMap<DeviceId, Timestamp>, Error> {
        let field = [FieldKey("presence.silent_since".to_owned())];
        let (mut told, mut after) = (HashMap::new(), None);
        loop {
            let (latest, last) = self.reported.latest_of(&field, after.as_ref(), PAGE).await?;
            told.extend(latest.into_iter().filter_map(|value| match value.value {
                OwnedValue::Text(time) => Some((value.device, parse_time(&time)?)),
                OwnedValue::Float(_) | OwnedValue::Bool(_) => None,
            }));
            match last {
                Some(last) => after = Some(last),
                None => return Ok(told),
            }
        }
    }
}

impl Silence {
    fn longest(&self) -> Duration {
        self.after.iter().map(|it| it.time).max().unwrap_or_default()
    }
}

fn fell_silent(device: &DeviceId, last_seen: Timestamp, time: Duration, now: Timestamp) -> Change {
    let seconds = time.as_secs();
    let payload = json!({
        "time": format_time(now), "event": "silent", "code": "presence.silent",
        "reason": format!("nothing came for more than {seconds} s"),
        "silent_since": format_time(last_seen),
    });
    Change { device: device.clone(), payload: payload.to_string(), at: now }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX / 4)
}
