//! A shared car: ignition on, a drive, ignition off; it obeys lock and unlock, mostly.

use std::time::Duration;

use serde_json::json;

use super::city::City;
use super::life::{Dice, Habits, Life, Sample, Saying, Verdict, known, round};
use super::motion::{Manner, Motion};
use super::street::{Streets, Walk};
use crate::fault::{self, Failure};
use crate::random::Key;

/// Distance between two crossings of larger roads, kilometers.
const BLOCK_KM: f64 = 0.6;
/// How much farther than bikes cars go.
const REACH: f64 = 2.4;
/// How a car moves.
static MANNER: Manner = Manner { gathers: 1.9, brakes: 2.6, corner: 7.0, lights: 0.16 };
/// Seconds of one moment.
const MOMENT_S: u64 = 5;
/// Seconds between two messages: with ignition on, and off.
const STATUS_S: (f64, f64) = (10.0, 60.0);
/// What a full battery holds, watt hours.
const CAPACITY_WH: f64 = 52_000.0;
/// What a charging point gives, watts.
const CHARGER_W: f64 = 11_000.0;
/// Nobody sets out with less, percent.
const RESERVE_PCT: f64 = 18.0;
/// A mean drive, seconds.
const DRIVE_S: f64 = 1300.0;
/// So many cars are driven at least: someone is looking.
const DRIVING_LEAST: f64 = 0.35;
/// Within so many seconds those set out who drive when the present begins.
const BEGIN_S: f64 = 25.0;
/// How many lock and unlock commands fail.
const ACTUATOR_FAILURES: f64 = 0.03;
/// Longest time that is lived at once, seconds.
const LIVED_MAX_S: f64 = 120.0;

/// A car.
#[derive(Clone, Debug)]
pub(super) struct Car {
    dice: Dice,
    city: &'static City,
    habits: Habits,
    walk: Walk,
    motion: Motion,
    battery_wh: f64,
    odometer_km: f64,
    is_locked: bool,
    /// Whether the ignition is on.
    is_on: bool,
    is_charging: bool,
    /// Seconds until a drive begins, where that is certain.
    taken_in_s: Option<f64>,
    failing: Option<(f64, &'static Failure)>,
    broken: Option<&'static str>,
    status_in_s: f64,
    lived_to_ms: Option<i64>,
}

impl Car {
    /// A parked car of a city.
    pub(super) fn new(key: Key, city: &'static City, habits: Habits) -> Self {
        let mut dice = Dice::new(key.named("life"));
        let streets = Streets::new(city, BLOCK_KM, REACH * city.radius_km);
        let at = streets.any(&mut dice);
        Self {
            city,
            habits,
            walk: Walk::new(streets, at),
            motion: Motion::default(),
            battery_wh: CAPACITY_WH * dice.between(0.3, 1.0),
            odometer_km: dice.between(500.0, 140_000.0),
            is_locked: true,
            is_on: false,
            is_charging: dice.chance(0.3),
            taken_in_s: None,
            failing: None,
            broken: None,
            status_in_s: dice.between(0.0, STATUS_S.0),
            lived_to_ms: None,
            dice,
        }
    }

    /// Enters the present: as many are about to be taken as are driven at this hour.
    pub(super) fn begin(&mut self, now_ms: i64) {
        if self.dice.chance(self.driving_share(now_ms)) {
            self.taken_in_s = Some(self.dice.between(0.0, BEGIN_S));
        }
    }

    /// Cars are driven at the hours at which bikes are ridden.
    fn driving_share(&self, now_ms: i64) -> f64 {
        self.city.local(now_ms).riding_share().max(DRIVING_LEAST)
    }

    /// Goes on where the server saw it last.
    pub(super) fn resume(&mut self, state: &serde_json::Value) {
        if let (Some(lat), Some(lon)) = (known(state, "lat"), known(state, "lon")) {
            self.walk = self.walk.moved((lat, lon));
        }
        if let Some(battery_pct) = known(state, "battery_pct") {
            self.battery_wh = CAPACITY_WH * battery_pct / 100.0;
        }
        self.odometer_km = known(state, "odometer_km").unwrap_or(self.odometer_km);
    }

    fn battery_pct(&self) -> f64 {
        100.0 * self.battery_wh / CAPACITY_WH
    }

    /// Lives on for at most a second; says whether the ignition was turned.
    fn step(&mut self, now_ms: i64, seconds: f64) -> bool {
        if self.is_on {
            self.drive(seconds);
            if self.walk.ends() && self.walk.remaining_m() <= 0.0 {
                (self.is_on, self.is_locked) = (false, true);
                self.motion.rest();
                self.is_charging = self.battery_pct() < 45.0 || self.dice.chance(0.3);
                return true;
            }
            return false;
        }
        let watts = if self.is_charging { CHARGER_W * self.habits.tempo } else { -3.0 };
        self.battery_wh = (self.battery_wh + watts * seconds / 3600.0).clamp(0.0, CAPACITY_WH);
        self.is_charging = (self.is_charging && self.battery_wh < 0.9 * CAPACITY_WH)
            || self.battery_pct() <= RESERVE_PCT;
        let share = self.driving_share(now_ms);
        let taken = match &mut self.taken_in_s {
            Some(left) => {
                *left -= seconds;
                *left <= 0.0
            }
            None => {
                let hazard = share / (1.0 - share) / DRIVE_S * self.habits.tempo;
                self.dice.chance(hazard * seconds)
            }
        };
        if taken && self.battery_pct() > RESERVE_PCT {
            self.set_out();
        }
        self.is_on
    }

    fn set_out(&mut self) {
        let km = self.dice.between(3.0, 16.0);
        self.walk.set_out(km, &mut self.dice);
        (self.is_on, self.is_locked, self.is_charging) = (true, false, false);
        self.taken_in_s = None;
        self.failing = None;
        if self.dice.chance(self.habits.faults) {
            let after = self.dice.between(30.0, 0.6 * DRIVE_S);
            self.failing = fault::of_car(self.dice.share()).map(|failure| (after, failure));
        }
    }

    fn drive(&mut self, seconds: f64) {
        // Streets in the middle, arterial roads around it, and a motorway here and there.
        let outside = ((self.walk.off_middle_km() - 3.0) / 6.0).clamp(0.0, 1.0);
        let cruise = (42.0 + 48.0 * outside) / 3.6;
        let meters = self.motion.step(&mut self.walk, &mut self.dice, (&MANNER, cruise), seconds);
        self.odometer_km += meters / 1000.0;
        let (v, kg) = (self.motion.speed, 1750.0);
        let force = kg * 9.81 * (0.01 + self.walk.slope()) + 0.43 * v * v + kg * self.motion.gain;
        // What braking gives back is less than it took.
        let watts = if force > 0.0 { force * v / 0.88 } else { force * v * 0.55 } + 600.0;
        self.battery_wh = (self.battery_wh - watts * seconds / 3600.0).clamp(0.0, CAPACITY_WH);
    }

    fn status(&self, time_ms: i64) -> Sample {
        let (lat, lon) = self.walk.position();
        let fields = json!({
            "battery_pct": round(self.battery_pct(), 1),
            "odometer_km": round(self.odometer_km, 3),
            "lat": round(lat, 6),
            "lon": round(lon, 6),
            "speed_kmh": round(self.motion.speed * 3.6, 2),
            "locked": self.is_locked,
            "firmware": "5.12.0",
            "ignition": self.is_on,
            "charging": self.is_charging,
        });
        Sample::new("status", time_ms, fields)
    }

    fn fail(&mut self, now_ms: i64, seconds: f64, says: &mut Vec<Saying>) {
        if let Some((after, failure)) = &mut self.failing {
            *after -= seconds;
            if *after <= 0.0 {
                says.push(Saying::Sample(Sample::new("fault", now_ms, failure.fields())));
                self.broken = Some(failure.component).filter(|_| failure.is_grave());
                self.failing = None;
            }
        }
        if let Some(component) = self.broken.take_if(|_| !self.is_on) {
            says.push(Saying::Swapped(component, now_ms));
        }
    }
}

impl Life for Car {
    fn moment(&self) -> Duration {
        Duration::from_secs(MOMENT_S)
    }

    fn live(&mut self, now_ms: i64, says: &mut Vec<Saying>) {
        let since_ms = self.lived_to_ms.map_or(1000, |before| now_ms - before);
        self.lived_to_ms = Some(now_ms);
        let mut left = (since_ms as f64 / 1000.0).clamp(0.0, LIVED_MAX_S);
        self.status_in_s -= left * self.habits.tempo;
        let was_on = self.is_on;
        while left > 0.0 {
            let seconds = left.min(1.0);
            left -= seconds;
            self.step(now_ms, seconds);
            self.fail(now_ms, seconds, says);
        }
        if was_on != self.is_on || self.status_in_s <= 0.0 {
            self.status_in_s = if self.is_on { STATUS_S.0 } else { STATUS_S.1 };
            says.push(Saying::Sample(self.status(now_ms)));
        }
    }

    fn execute(&mut self, name: &str) -> (Duration, Verdict) {
        // The modem wakes, the body control unit answers, an actuator turns.
        let seconds = 0.6 + 1.6 * self.dice.share() * self.dice.share();
        let time = Duration::from_secs_f64(seconds);
        match name {
            "lock" if self.is_on => (time, Verdict::Rejected("the ignition is on")),
            "lock" | "unlock" if self.dice.chance(ACTUATOR_FAILURES) => {
                (time, Verdict::Failed("the door actuator did not answer"))
            }
            "lock" | "unlock" => {
                self.is_locked = name == "lock";
                let delay = self.dice.between(20.0, 60.0);
                self.taken_in_s = Some(delay).filter(|_| !self.is_locked && !self.is_on);
                self.status_in_s = 0.0;
                (time, Verdict::Succeeded(json!({ "locked": self.is_locked })))
            }
            "flash" => (time, Verdict::Succeeded(json!({ "flashes": 3 }))),
            _ => (time, Verdict::Rejected("a car knows lock, unlock and flash")),
        }
    }
}

#[cfg(test)]
mod tests;
