//! A household's meter: ten sockets, power twice a minute, a counter of each once a minute. That
//! makes 30 values a minute, as the containers of real ones have.
//!
//! The stream `energy` has one value column, so the name tells what a value is: `power` in watts,
//! `energy_wh` in watt hours since the counter began. Counters begin again after a power cut.

mod appliance;
mod container;

use std::time::Duration;

use super::city::City;
use super::life::{Dice, Life, Saying, Verdict, round};
use crate::random::Key;
use appliance::SOCKETS;

/// Milliseconds between two containers.
const ROUND_MS: i64 = 30_000;
/// Milliseconds between two containers of the past.
const PAST_ROUND_MS: i64 = 120_000;
/// Days of the past that a meter has kept.
const PAST_DAYS: i64 = 7;
/// Milliseconds of a day.
const DAY_MS: i64 = 24 * 3_600_000;
/// Milliseconds from one power cut to the next, on average.
const CUT_EVERY_MS: f64 = 5.0 * DAY_MS as f64;
/// What the counters of a household show.
type Counters = [f64; SOCKETS.len()];

/// A meter.
#[derive(Clone, Debug)]
pub(super) struct Meter {
    key: Key,
    city: &'static City,
    dice: Dice,
    counters: Counters,
    counted_to_ms: Option<i64>,
    rounds: u32,
}

impl Meter {
    /// The meter of a household, with counters at zero.
    pub(super) fn new(key: Key, city: &'static City) -> Self {
        let dice = Dice::new(key.named("life"));
        let counters = Counters::default();
        Self { key: key.named("home"), city, dice, counters, counted_to_ms: None, rounds: 0 }
    }

    /// Power at a socket, watts.
    fn watts(&self, socket: usize, time_ms: i64) -> f64 {
        appliance::watts(self.key, socket, time_ms, &self.city.local(time_ms))
    }

    /// Counts on to a time.
    fn count(&mut self, time_ms: i64) {
        let since_ms = self.counted_to_ms.map_or(0, |before| (time_ms - before).clamp(0, DAY_MS));
        self.counted_to_ms = Some(time_ms);
        if self.dice.chance(since_ms as f64 / CUT_EVERY_MS) {
            self.counters = Counters::default();
            return;
        }
        for socket in 0..SOCKETS.len() {
            let watts = self.watts(socket, time_ms);
            if let Some(counter) = self.counters.get_mut(socket) {
                *counter += watts * since_ms as f64 / 3_600_000.0;
            }
        }
    }

    /// The container of a moment.
    fn container(&self, time_ms: i64, with_counters: bool) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(1024);
        for (socket, name) in SOCKETS.iter().enumerate() {
            let watts = round(self.watts(socket, time_ms), 1);
            container::write(("power", name, watts), time_ms, &mut bytes);
        }
        for (name, counter) in SOCKETS.iter().zip(self.counters).filter(|_| with_counters) {
            container::write(("energy_wh", name, round(counter, 1)), time_ms, &mut bytes);
        }
        bytes
    }

    /// Lives the days before `now_ms`; the containers of the past can then be asked for.
    pub(super) fn live_past(&mut self, now_ms: i64) -> PastDays {
        let (begin, mut days) = (now_ms - PAST_DAYS * DAY_MS, Vec::new());
        let mut time_ms = begin;
        while time_ms < now_ms {
            if (time_ms - begin) % DAY_MS == 0 {
                days.push((self.clone(), time_ms));
            }
            self.count(time_ms);
            time_ms += PAST_ROUND_MS;
        }
        PastDays { days, until_ms: now_ms, today: None }
    }
}

/// The past of a meter: the latest day first, since that is what people look at.
#[derive(Debug)]
pub(super) struct PastDays {
    /// The meter at the beginning of each day, and when that was.
    days: Vec<(Meter, i64)>,
    until_ms: i64,
    /// The day that is being told: the meter, and from when to when.
    today: Option<(Meter, i64, i64)>,
}

impl Iterator for PastDays {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some((meter, time_ms, until_ms)) = &mut self.today
                && time_ms < until_ms
            {
                meter.count(*time_ms);
                let bytes = meter.container(*time_ms, *time_ms / PAST_ROUND_MS % 5 == 0);
                *time_ms += PAST_ROUND_MS;
                return Some(bytes);
            }
            let (meter, from_ms) = self.days.pop()?;
            self.today = Some((meter, from_ms, std::mem::replace(&mut self.until_ms, from_ms)));
        }
    }
}

impl Life for Meter {
    fn moment(&self) -> Duration {
        Duration::from_millis(ROUND_MS.unsigned_abs())
    }

    fn live(&mut self, now_ms: i64, says: &mut Vec<Saying>) {
        self.count(now_ms);
        let bytes = self.container(now_ms, self.rounds.is_multiple_of(2));
        self.rounds = self.rounds.wrapping_add(1);
        says.push(Saying::Bytes("energy", bytes));
    }

    fn execute(&mut self, _name: &str) -> (Duration, Verdict) {
        (Duration::ZERO, Verdict::Rejected("a meter takes no commands"))
    }
}

#[cfg(test)]
mod tests;
