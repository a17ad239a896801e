//! What a resident of the demonstration is asked.

use std::time::Duration;

use serde_json::Value;

use crate::random::Key;

/// A device's life, one moment after the other.
pub(super) trait Life: Send {
    /// How long a moment is.
    fn moment(&self) -> Duration;

    /// Lives one moment and appends what there is to say.
    fn live(&mut self, now_ms: i64, says: &mut Vec<Saying>);

    /// Whether there is no network here.
    fn is_blind(&self) -> bool {
        false
    }

    /// Executes a command: how long it takes, and what came of it.
    fn execute(&mut self, name: &str) -> (Duration, Verdict);
}

/// What a device says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Saying {
    /// A sample of a JSON stream.
    Sample(Sample),
    /// Bytes for a stream whose default is not JSON.
    Bytes(&'static str, Vec<u8>),
    /// A workshop put another component of this kind in, at a time in milliseconds.
    Swapped(&'static str, i64),
}

/// What a device measured.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample {
    /// The stream that it belongs to.
    pub(super) stream: &'static str,
    /// When, in milliseconds since the epoch.
    pub(super) time_ms: i64,
    /// The fields, an object.
    pub(super) fields: Value,
}

impl Sample {
    /// A sample.
    pub(super) fn new(stream: &'static str, time_ms: i64, fields: Value) -> Self {
        Self { stream, time_ms, fields }
    }

    /// The sample as JSON, with a time as the device's clock shows it.
    pub(super) fn write(&self, time_ms: i64) -> Vec<u8> {
        let mut text = format!("{{\"time\":{time_ms}");
        for (name, value) in self.fields.as_object().into_iter().flatten() {
            text.push_str(&format!(",\"{name}\":{value}"));
        }
        text.push('}');
        text.into_bytes()
    }
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Verdict {
    /// Done, with a result.
    Succeeded(Value),
    /// Tried in vain, and why.
    Failed(&'static str),
    /// Not for this device.
    Rejected(&'static str),
}

/// How fast life goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace(f64);

impl Pace {
    /// So much faster than life, within 0.1 to 100.
    pub(super) fn new(speed: f64) -> Self {
        Self(if speed.is_finite() { speed.clamp(0.1, 100.0) } else { 1.0 })
    }

    /// So much faster than life.
    pub(super) fn factor(self) -> f64 {
        self.0
    }

    /// How long something of that length takes at this pace.
    pub(super) fn of(self, time: Duration) -> Duration {
        time.div_f64(self.0)
    }
}

/// What a person chose for all lives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Habits {
    /// How many rides and drives a component fails on, from 0 to 1.
    pub(super) faults: f64,
    /// How much sooner than in life something happens to whoever waits, and batteries are full.
    pub(super) tempo: f64,
}

/// Random numbers, one after the other.
#[derive(Clone, Debug)]
pub(super) struct Dice {
    key: Key,
    place: u64,
}

impl Dice {
    /// Dice of a device.
    pub(super) fn new(key: Key) -> Self {
        Self { key, place: 0 }
    }

    /// From 0 to 1.
    pub(super) fn share(&mut self) -> f64 {
        self.place += 1;
        self.key.share(self.place)
    }

    /// From `low` to `high`.
    pub(super) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.share()
    }

    /// From `-reach` to `reach`.
    pub(super) fn within(&mut self, reach: i16) -> i16 {
        self.place += 1;
        let span = 2 * u64::from(reach.unsigned_abs()) + 1;
        let drawn = i16::try_from(self.key.below(self.place, span)).unwrap_or(0);
        drawn.saturating_sub(reach.saturating_abs())
    }

    /// One of several.
    pub(super) fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        self.place += 1;
        let drawn = self.key.below(self.place, of.len() as u64);
        usize::try_from(drawn).ok().and_then(|drawn| of.get(drawn))
    }

    /// True with a probability.
    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.share() < probability
    }
}

/// The value of a field of `status` in a device's state, as the server has it.
pub(super) fn known(state: &Value, field: &str) -> Option<f64> {
    state.get("fields")?.get(format!("status.{field}"))?.get("value")?.as_f64()
}

/// A number rounded to decimal places: what a sensor sends.
pub(super) fn round(value: f64, places: i32) -> f64 {
    let scale = 10_f64.powi(places);
    (value * scale).round() / scale
}
