//! What a device has to send: in order or not, once or twice, whole or torn, with a clock that is
//! right or wrong.

use std::collections::{BTreeMap, VecDeque};

use axle_domain::DeviceId;
use serde_json::json;

use super::life::{Dice, Sample};
use crate::Switches;
use crate::clock::{now_ms, rfc3339};
use crate::random::Key;

/// Samples and messages that are kept while there is no connection; the oldest go first.
const STORED_MAX: usize = 20_000;
/// Samples of one message.
const SAMPLES_MAX: usize = 100;
/// How wrong a wrong clock is, milliseconds: from a minute to three days, either way.
const CLOCK_WRONG_MS: (f64, f64) = (60_000.0, 3.0 * DAY_MS);
const DAY_MS: f64 = 86_400_000.0;

/// A message on its way.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    /// Where it goes.
    pub(super) topic: String,
    body: Body,
    /// The share of it that arrives, where not all does.
    torn: Option<f64>,
    /// Whether it is telemetry and counts as such.
    is_telemetry: bool,
}

#[derive(Clone, Debug)]
enum Body {
    /// As it is.
    Bytes(Vec<u8>),
    /// JSON samples, with times as the device's clock shows them.
    Samples(Vec<Vec<u8>>),
}

/// A device's outgoing mail.
#[derive(Debug)]
pub(super) struct Post {
    device: DeviceId,
    dice: Dice,
    switches: Switches,
    /// What the device's clock shows more than ours, milliseconds.
    clock_ahead_ms: i64,
    outbox: VecDeque<Letter>,
    /// One that lets the next one pass.
    held: Option<Letter>,
    /// Samples from the time without a connection, by stream.
    stored: BTreeMap<&'static str, VecDeque<Vec<u8>>>,
}

/// The error of a clock: 0, but for a share of all.
pub(super) fn clock_error_ms(dice: &mut Dice, share: f64) -> i64 {
    if !dice.chance(share) {
        return 0;
    }
    let (least, most) = CLOCK_WRONG_MS;
    // As many are wrong by minutes as by days.
    let error = least * (most / least).powf(dice.share());
    let sign = if dice.chance(0.5) { 1.0 } else { -1.0 };
    #[expect(clippy::cast_possible_truncation, reason = "three days fit")]
    let error = (sign * error) as i64;
    error
}

impl Post {
    /// Nothing to send yet.
    pub(super) fn new(device: DeviceId, key: Key, switches: Switches) -> Self {
        let mut dice = Dice::new(key.named("post"));
        let clock_ahead_ms = clock_error_ms(&mut dice, switches.wrong_clock);
        let (outbox, stored) = (VecDeque::new(), BTreeMap::new());
        Self { device, dice, switches, clock_ahead_ms, outbox, held: None, stored }
    }

    /// The next message to send.
    pub(super) fn next(&mut self) -> Option<Letter> {
        self.outbox.pop_front()
    }

    /// Puts one back that was not acknowledged; it goes first.
    pub(super) fn put_back(&mut self, letter: Letter) {
        self.outbox.push_front(letter);
    }

    /// Answers a command: before all telemetry, since someone is waiting.
    pub(super) fn answer(&mut self, topic: String, answer: &serde_json::Value) {
        let body = Body::Bytes(answer.to_string().into_bytes());
        self.outbox.push_front(Letter { topic, body, torn: None, is_telemetry: false });
    }

    /// Keeps a sample until there is a connection.
    pub(super) fn store(&mut self, sample: &Sample) {
        let bytes = sample.write(sample.time_ms + self.clock_ahead_ms);
        let stored = self.stored.entry(sample.stream).or_default();
        if stored.len() >= STORED_MAX {
            stored.pop_front();
        }
        stored.push_back(bytes);
    }

    /// Makes messages of what was kept.
    pub(super) fn forward(&mut self) {
        for (stream, mut stored) in std::mem::take(&mut self.stored) {
            while !stored.is_empty() {
                let count = stored.len().min(SAMPLES_MAX);
                let samples = stored.drain(..count).collect();
                self.send(stream, Body::Samples(samples));
            }
        }
    }

    /// Sends a sample, now and then one that tells of another day.
    pub(super) fn sample(&mut self, sample: &Sample) {
        let shift_ms = if sample.stream == "status" { self.other_day_ms() } else { 0 };
        let time_ms = sample.time_ms + self.clock_ahead_ms + shift_ms;
        let bytes = match shift_ms {
            0 => sample.write(time_ms),
            _ => {
                // Where it was that day, nobody knows.
                let battery = sample.fields.get("battery_pct").cloned();
                Sample::new("status", time_ms, json!({ "battery_pct": battery })).write(time_ms)
            }
        };
        self.send(sample.stream, Body::Samples(vec![bytes]));
    }

    fn other_day_ms(&mut self) -> i64 {
        let days = if self.dice.chance(self.switches.late) {
            -self.dice.between(1.5, 25.0)
        } else if self.dice.chance(self.switches.future) {
            // More than seven days ahead is beyond belief.
            if self.dice.chance(0.25) { 30.0 } else { self.dice.between(0.5, 6.0) }
        } else {
            return 0;
        };
        #[expect(clippy::cast_possible_truncation, reason = "a month fits")]
        let shift = (days * DAY_MS) as i64;
        shift
    }

    /// Sends bytes.
    pub(super) fn bytes(&mut self, stream: &'static str, bytes: Vec<u8>) {
        self.send(stream, Body::Bytes(bytes));
    }

    fn send(&mut self, stream: &'static str, body: Body) {
        let torn = self.dice.chance(self.switches.torn).then(|| self.dice.between(0.2, 0.95));
        let topic = format!("v1/d/{}/t/{stream}", self.device);
        let letter = Letter { topic, body, torn, is_telemetry: true };
        let waited = self.held.take();
        if waited.is_none() && self.dice.chance(self.switches.out_of_order) {
            self.held = Some(letter);
            return;
        }
        if self.dice.chance(self.switches.duplicates) {
            self.enqueue(letter.clone());
        }
        self.enqueue(letter);
        if let Some(waited) = waited {
            self.enqueue(waited);
        }
    }

    fn enqueue(&mut self, letter: Letter) {
        if self.outbox.len() >= STORED_MAX {
            self.outbox.pop_front();
        }
        self.outbox.push_back(letter);
    }

    /// The bytes of a message that is sent now. A device whose clock is wrong says what it shows,
    /// so that the server can correct the times.
    pub(super) fn payload(&self, letter: &Letter) -> Vec<u8> {
        let mut payload = match &letter.body {
            Body::Bytes(bytes) => bytes.clone(),
            Body::Samples(samples) if self.clock_ahead_ms == 0 => match samples.as_slice() {
                [sample] => sample.clone(),
                samples => array(samples),
            },
            Body::Samples(samples) => {
                let sent_at = rfc3339(now_ms() + self.clock_ahead_ms);
                let mut payload = format!("{{\"sent_at\":\"{sent_at}\",\"samples\":").into_bytes();
                payload.append(&mut array(samples));
                payload.push(b'}');
                payload
            }
        };
        if let Some(share) = letter.torn {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "`as` saturates, and a share of a length is one"
            )]
            let kept = (payload.len() as f64 * share) as usize;
            payload.truncate(kept.clamp(1, payload.len().saturating_sub(1).max(1)));
        }
        payload
    }
}

impl Letter {
    /// Whether it is telemetry.
    pub(super) fn is_telemetry(&self) -> bool {
        self.is_telemetry
    }
}

fn array(samples: &[Vec<u8>]) -> Vec<u8> {
    let mut array = vec![b'['];
    array.extend_from_slice(&samples.join(&b','));
    array.push(b']');
    array
}

#[cfg(test)]
mod tests;
