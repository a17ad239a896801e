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
    /// A sample of a JSON stream, with its time.
    Sample(&'static str, Value),
    /// Bytes for a stream whose default is not JSON.
    Bytes(&'static str, Vec<u8>),
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

    /// How long something of that length takes at this pace.
    pub(super) fn of(self, time: Duration) -> Duration {
        time.div_f64(self.0)
    }
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

    /// True with a probability.
    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.share() < probability
    }
}

/// A number rounded to decimal places: what a sensor sends.
pub(super) fn round(value: f64, places: i32) -> f64 {
    let scale = 10_f64.powi(places);
    (value * scale).round() / scale
}
