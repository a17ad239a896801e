//! An e-bike that is ridden through its city, parked, charged, and repaired.

mod past;
mod rider;

use std::time::Duration;

use serde_json::json;

use super::city::City;
use super::life::{Dice, Habits, Life, Sample, Saying, Verdict, known, round};
use super::motion::{Manner, Motion};
use super::street::{Streets, Walk};
use crate::fault::{self, Failure};
use crate::random::Key;
pub(super) use past::Past;
use rider::Rider;

/// Distance between two crossings, kilometers.
const BLOCK_KM: f64 = 0.13;
/// How a bike moves.
static MANNER: Manner = Manner { gathers: 0.9, brakes: 1.8, corner: 3.6, lights: 0.13 };
/// What a full battery holds, watt hours.
const CAPACITY_WH: f64 = 500.0;
/// What a charger gives, watts.
const CHARGER_W: f64 = 170.0;
/// What the electronics take, riding and parked, watts.
const ELECTRONICS_W: (f64, f64) = (4.0, 0.35);
/// Nobody sets out on a bike with less, percent.
const RESERVE_PCT: f64 = 15.0;
/// Seconds between two status messages.
const STATUS_S: f64 = 30.0;
/// A mean ride, seconds.
const RIDE_S: f64 = 700.0;
/// So many bikes ride at least, however late it is: someone is looking.
const RIDING_LEAST: f64 = 0.3;
/// Within so many seconds those set out who ride when the present begins.
const BEGIN_S: f64 = 25.0;
/// Seconds of riding from one tunnel to the next.
const TUNNEL_EVERY_S: f64 = 900.0;
/// How many parking places have no network.
const BASEMENTS: f64 = 0.08;
/// Longest time that is lived at once, seconds: a computer that slept does not ride.
const LIVED_MAX_S: f64 = 60.0;

/// A bike. Everything that happens to it derives from its key and from the times it is told.
#[derive(Clone, Debug)]
pub(super) struct Bike {
    dice: Dice,
    city: &'static City,
    habits: Habits,
    walk: Walk,
    motion: Motion,
    rider: Rider,
    battery_wh: f64,
    odometer_km: f64,
    is_riding: bool,
    is_locked: bool,
    is_charging: bool,
    /// Seconds until someone takes the bike, where that is certain.
    taken_in_s: Option<f64>,
    /// Seconds without network.
    blind_s: f64,
    /// What fails on this ride, after how many seconds.
    failing: Option<(f64, &'static Failure)>,
    /// What a workshop has to put in when the ride is over.
    broken: Option<&'static str>,
    status_in_s: f64,
    lived_to_ms: Option<i64>,
    firmware: &'static str,
}

impl Bike {
    /// A bike of a city that nobody has ridden for a while.
    pub(super) fn new(key: Key, city: &'static City, habits: Habits) -> Self {
        let mut dice = Dice::new(key.named("life"));
        let streets = Streets::new(city, BLOCK_KM, city.radius_km);
        let at = streets.any(&mut dice);
        let firmwares = ["2.7.1", "2.7.1", "2.7.1", "2.8.0", "2.6.4"];
        Self {
            city,
            habits,
            walk: Walk::new(streets, at),
            motion: Motion::default(),
            rider: Rider::new(&mut dice),
            battery_wh: CAPACITY_WH * dice.between(0.35, 1.0),
            odometer_km: dice.between(150.0, 9000.0),
            is_riding: false,
            is_locked: true,
            is_charging: false,
            taken_in_s: None,
            blind_s: 0.0,
            failing: None,
            broken: None,
            status_in_s: dice.between(0.0, STATUS_S),
            lived_to_ms: None,
            firmware: dice.pick(&firmwares).copied().unwrap_or("2.7.1"),
            dice,
        }
    }

    /// Enters the present: as many are about to be taken as are ridden at this hour.
    pub(super) fn begin(&mut self, now_ms: i64) {
        if self.dice.chance(self.riding_share(now_ms)) {
            self.taken_in_s = Some(self.dice.between(0.0, BEGIN_S));
        }
    }

    fn riding_share(&self, now_ms: i64) -> f64 {
        self.city.local(now_ms).riding_share().max(RIDING_LEAST)
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

    /// Charge, percent.
    fn battery_pct(&self) -> f64 {
        100.0 * self.battery_wh / CAPACITY_WH
    }

    /// Lives on for at most a second; says whether something changed that is worth a message.
    fn step(&mut self, now_ms: i64, seconds: f64) -> bool {
        self.blind_s = (self.blind_s - seconds).max(0.0);
        if self.is_riding {
            self.ride(seconds);
            if self.walk.ends() && self.walk.remaining_m() <= 0.0 {
                self.park();
                return true;
            }
            if self.dice.chance(seconds / TUNNEL_EVERY_S) {
                self.blind_s = self.blind_s.max(self.dice.between(15.0, 75.0));
            }
            return false;
        }
        self.wait(seconds);
        let share = self.riding_share(now_ms);
        let taken = match &mut self.taken_in_s {
            Some(left) => {
                *left -= seconds;
                *left <= 0.0
            }
            None => {
                let hazard = share / (1.0 - share) / RIDE_S * self.habits.tempo;
                self.dice.chance(hazard * seconds)
            }
        };
        if taken && self.battery_pct() > RESERVE_PCT {
            self.set_out();
            return true;
        }
        false
    }

    /// Someone takes the bike.
    fn set_out(&mut self) {
        let km = self.dice.between(0.8, 4.6);
        self.walk.set_out(km, &mut self.dice);
        (self.is_riding, self.is_locked, self.is_charging) = (true, false, false);
        (self.taken_in_s, self.blind_s) = (None, 0.0);
        self.rider = Rider::new(&mut self.dice);
        self.failing = None;
        if self.dice.chance(self.habits.faults) {
            let after = self.dice.between(20.0, 0.6 * RIDE_S);
            self.failing = fault::of_bike(self.dice.share()).map(|failure| (after, failure));
        }
    }

    /// The rider leaves it.
    fn park(&mut self) {
        (self.is_riding, self.is_locked) = (false, true);
        self.motion.rest();
        self.is_charging = self.battery_pct() < 30.0 || self.dice.chance(0.25);
        if self.dice.chance(BASEMENTS) {
            self.blind_s = self.dice.between(60.0, 300.0);
        }
    }

    /// Rides on for at most a second.
    fn ride(&mut self, seconds: f64) {
        let cruise = self.rider.cruise(self.walk.slope(), self.battery_wh > 0.0);
        let meters = self.motion.step(&mut self.walk, &mut self.dice, (&MANNER, cruise), seconds);
        self.odometer_km += meters / 1000.0;
        let temperature_c = self.dice.between(-0.15, 0.15);
        self.rider.pedal(&self.motion, self.walk.slope(), seconds, temperature_c);
        let watts = self.rider.motor_w() / 0.8 + ELECTRONICS_W.0;
        self.battery_wh = (self.battery_wh - watts * seconds / 3600.0).max(0.0);
    }

    /// Stands for a while.
    fn wait(&mut self, seconds: f64) {
        let watts = if self.is_charging { CHARGER_W * self.habits.tempo } else { -ELECTRONICS_W.1 };
        self.battery_wh = (self.battery_wh + watts * seconds / 3600.0).clamp(0.0, CAPACITY_WH);
        // Whoever runs the fleet sees to the empty ones.
        self.is_charging = (self.is_charging && self.battery_wh < CAPACITY_WH)
            || self.battery_pct() <= RESERVE_PCT;
    }

    /// What a phone or the bike itself records of a ride.
    fn record(&self, time_ms: i64) -> Sample {
        let (lat, lon) = self.walk.position();
        let local = self.city.local(time_ms);
        let fields = json!({
            "lat": round(lat, 6),
            "lon": round(lon, 6),
            "speed_kmh": round(self.motion.speed * 3.6, 2),
            "altitude_m": round(self.walk.altitude_m(), 1),
            "battery_pct": round(self.battery_pct(), 1),
            "power_w": round(self.rider.power_w(), 1),
            "cadence_rpm": self.rider.cadence_rpm().round(),
            "heart_rate_bpm": self.rider.heart_bpm().round(),
            "odometer_km": round(self.odometer_km, 3),
            "temperature_c": round(self.city.temperature_c(&local) + self.rider.warmth_c(), 2),
        });
        Sample::new("ride", time_ms, fields)
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
            "firmware": self.firmware,
        });
        Sample::new("status", time_ms, fields)
    }

    /// What is due to fail; a grave failure ends the ride soon.
    fn fail(&mut self, now_ms: i64, seconds: f64, says: &mut Vec<Saying>) {
        let Some((after, failure)) = &mut self.failing else { return };
        *after -= seconds;
        if *after <= 0.0 {
            says.push(Saying::Sample(Sample::new("fault", now_ms, failure.fields())));
            if failure.is_grave() {
                self.broken = Some(failure.component);
            }
            self.failing = None;
        }
    }

    /// A workshop puts in what the parked bike needs.
    fn repair(&mut self, now_ms: i64, says: &mut Vec<Saying>) {
        if let Some(component) = self.broken.take_if(|_| !self.is_riding) {
            says.push(Saying::Swapped(component, now_ms));
            match component {
                // The odometer is in there: the new one has counted nothing yet.
                "controller" => self.odometer_km = 0.0,
                "battery" => self.battery_wh = 0.97 * CAPACITY_WH,
                _ => {}
            }
        }
    }
}

impl Life for Bike {
    fn moment(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn live(&mut self, now_ms: i64, says: &mut Vec<Saying>) {
        let since_ms = self.lived_to_ms.map_or(1000, |before| now_ms - before);
        self.lived_to_ms = Some(now_ms);
        let mut left = (since_ms as f64 / 1000.0).clamp(0.0, LIVED_MAX_S);
        self.status_in_s -= left * self.habits.tempo;
        let mut is_news = false;
        while left > 0.0 {
            let seconds = left.min(1.0);
            left -= seconds;
            is_news |= self.step(now_ms, seconds);
            self.fail(now_ms, seconds, says);
        }
        if self.is_riding {
            says.push(Saying::Sample(self.record(now_ms)));
        }
        self.repair(now_ms, says);
        if is_news || self.status_in_s <= 0.0 {
            self.status_in_s = STATUS_S;
            says.push(Saying::Sample(self.status(now_ms)));
        }
    }

    fn is_blind(&self) -> bool {
        self.blind_s > 0.0
    }

    fn execute(&mut self, name: &str) -> (Duration, Verdict) {
        let time = Duration::from_millis(300);
        match name {
            "lock" if self.is_riding => (time, Verdict::Rejected("someone is riding")),
            "unlock" if self.battery_pct() <= RESERVE_PCT => {
                (time, Verdict::Rejected("the battery is almost empty"))
            }
            "lock" | "unlock" => {
                self.is_locked = name == "lock";
                // Who unlocks a bike rides it.
                let delay = self.dice.between(5.0, 20.0);
                self.taken_in_s = Some(delay).filter(|_| !self.is_locked && !self.is_riding);
                self.status_in_s = 0.0;
                (time, Verdict::Succeeded(json!({ "locked": self.is_locked })))
            }
            "ring" => (time, Verdict::Succeeded(json!({ "rung": true }))),
            _ => (time, Verdict::Rejected("a bike knows lock, unlock and ring")),
        }
    }
}

#[cfg(test)]
mod tests;
