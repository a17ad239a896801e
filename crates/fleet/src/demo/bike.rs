//! An e-bike that rides through a city, parks, rides again, has faults and blind spots.

use std::time::Duration;

use serde_json::{Value, json};

use super::life::{Dice, Life, Saying, Verdict, round};
use crate::random::Key;

/// The middle of the city.
const CITY: (f64, f64) = (52.52, 13.405);
/// Kilometers per degree of latitude, and of longitude at that latitude.
const KM_PER_DEGREE: (f64, f64) = (111.2, 67.7);
/// Beyond this distance from the middle routes bend back, in kilometers.
const CITY_KM: f64 = 7.0;
/// Moments between two status messages.
const STATUS_EVERY: u64 = 30;

/// Known faults: code, severity, component, message.
const FAULTS: [(&str, &str, &str, &str); 4] = [
    ("E-0112", "warning", "motor", "motor temperature high"),
    ("E-0207", "error", "battery", "cell imbalance above limit"),
    ("E-0301", "warning", "brake", "brake pads worn"),
    ("E-0415", "info", "display", "ambient light sensor not plausible"),
];

/// A bike.
pub(super) struct Bike {
    dice: Dice,
    lat: f64,
    lon: f64,
    /// Radians from north.
    heading: f64,
    speed_kmh: f64,
    wanted_kmh: f64,
    battery_pct: f64,
    odometer_km: f64,
    temperature_c: f64,
    heart_rate: f64,
    is_riding: bool,
    is_locked: bool,
    /// Moments until riding or parking ends.
    left: u64,
    /// Moments without network.
    blind: u64,
    moments: u64,
}

impl Bike {
    /// A bike somewhere in the city, in the middle of its day.
    pub(super) fn new(key: Key) -> Self {
        let mut dice = Dice::new(key.named("life"));
        let is_riding = dice.chance(0.8);
        Self {
            lat: CITY.0 + dice.between(-0.035, 0.035),
            lon: CITY.1 + dice.between(-0.06, 0.06),
            heading: dice.between(0.0, std::f64::consts::TAU),
            speed_kmh: 0.0,
            wanted_kmh: 18.0,
            battery_pct: dice.between(25.0, 100.0),
            odometer_km: dice.between(20.0, 9000.0),
            temperature_c: dice.between(8.0, 22.0),
            heart_rate: 90.0,
            is_riding,
            is_locked: !is_riding,
            left: moments(&mut dice, 30.0, 1200.0),
            blind: 0,
            moments: moments(&mut dice, 0.0, 30.0),
            dice,
        }
    }

    /// The same bike on a ride of the past: `rides` before today, with fewer kilometers.
    pub(super) fn earlier(key: Key, rides: u64) -> Self {
        let mut bike = Self::new(key);
        bike.odometer_km = (bike.odometer_km - 6.0 * rides as f64).max(0.0);
        bike.dice = Dice::new(key.named("past").child(rides));
        bike.battery_pct = bike.dice.between(40.0, 100.0);
        bike
    }

    /// A sample of the ride at this moment.
    pub(super) fn sample(&self, now_ms: i64) -> Value {
        let effort = (self.speed_kmh / 25.0).clamp(0.0, 1.4);
        json!({
            "time": now_ms,
            "lat": round(self.lat, 6),
            "lon": round(self.lon, 6),
            "speed_kmh": round(self.speed_kmh, 2),
            "altitude_m": round(38.0 + 12.0 * (self.lat * 180.0).sin() + 8.0 * (self.lon * 140.0).cos(), 1),
            "battery_pct": round(self.battery_pct, 1),
            "power_w": round(230.0 * effort * effort, 1),
            "cadence_rpm": if self.speed_kmh > 2.0 { (55.0 + 25.0 * effort).round() } else { 0.0 },
            "heart_rate_bpm": self.heart_rate.round(),
            "odometer_km": round(self.odometer_km, 3),
            "temperature_c": round(self.temperature_c, 2),
        })
    }

    /// Rides on for a second.
    pub(super) fn ride(&mut self) {
        if self.dice.chance(0.02) {
            // Lights, hills, wind.
            let stops = self.dice.chance(0.25);
            self.wanted_kmh = if stops { 0.0 } else { self.dice.between(12.0, 27.0) };
        }
        if self.wanted_kmh < 1.0 && self.dice.chance(0.06) {
            self.wanted_kmh = self.dice.between(14.0, 24.0);
        }
        let change = (self.wanted_kmh - self.speed_kmh).clamp(-5.5, 2.8);
        self.speed_kmh = (self.speed_kmh + change * 0.6 + self.dice.between(-0.4, 0.4)).max(0.0);
        let (north, east) =
            ((self.lat - CITY.0) * KM_PER_DEGREE.0, (self.lon - CITY.1) * KM_PER_DEGREE.1);
        if north.hypot(east) > CITY_KM {
            self.heading = (-east).atan2(-north);
        } else if self.dice.chance(0.03) {
            let quarter = std::f64::consts::FRAC_PI_2;
            self.heading += if self.dice.chance(0.5) { quarter } else { -quarter };
        }
        self.heading += self.dice.between(-0.05, 0.05);
        let km = self.speed_kmh / 3600.0;
        self.lat += km * self.heading.cos() / KM_PER_DEGREE.0;
        self.lon += km * self.heading.sin() / KM_PER_DEGREE.1;
        self.odometer_km += km;
        self.battery_pct = (self.battery_pct - km * 1.1).max(0.0);
        self.heart_rate += (80.0 + 2.6 * self.speed_kmh - self.heart_rate) * 0.03;
        self.temperature_c =
            (self.temperature_c + self.dice.between(-0.02, 0.02)).clamp(-5.0, 38.0);
    }

    fn status(&self, now_ms: i64) -> Value {
        json!({
            "time": now_ms,
            "battery_pct": round(self.battery_pct, 1),
            "odometer_km": round(self.odometer_km, 3),
            "lat": round(self.lat, 6),
            "lon": round(self.lon, 6),
            "speed_kmh": round(self.speed_kmh, 2),
            "locked": self.is_locked,
            "firmware": "2.7.1",
        })
    }

    fn turn(&mut self) {
        self.left = self.left.saturating_sub(1);
        if self.battery_pct < 8.0 {
            // Someone swaps the battery.
            (self.battery_pct, self.left) = (100.0, 0);
        }
        if self.left == 0 {
            self.is_riding = !self.is_riding;
            self.is_locked = !self.is_riding;
            self.speed_kmh = 0.0;
            let (low, high) = if self.is_riding { (300.0, 1800.0) } else { (60.0, 400.0) };
            self.left = moments(&mut self.dice, low, high);
        }
        self.blind = self.blind.saturating_sub(1);
        if self.blind == 0 && self.is_riding && self.dice.chance(0.0015) {
            self.blind = moments(&mut self.dice, 20.0, 90.0);
        }
    }

    fn fault(&mut self, now_ms: i64) -> Option<Value> {
        if !self.dice.chance(0.0008) {
            return None;
        }
        let place = self.dice.between(0.0, 3.999);
        let fault = FAULTS.iter().zip(0_i32..).find(|(_, index)| f64::from(index + 1) > place);
        let ((code, severity, component, message), _) = fault?;
        Some(json!({
            "time": now_ms, "code": code, "severity": severity,
            "component": component, "message": message,
        }))
    }
}

impl Life for Bike {
    fn moment(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn live(&mut self, now_ms: i64, says: &mut Vec<Saying>) {
        self.turn();
        self.moments += 1;
        if self.is_riding {
            self.ride();
            says.push(Saying::Sample("ride", self.sample(now_ms)));
            if let Some(fault) = self.fault(now_ms) {
                says.push(Saying::Sample("fault", fault));
            }
        }
        if self.moments.is_multiple_of(STATUS_EVERY) {
            says.push(Saying::Sample("status", self.status(now_ms)));
        }
    }

    fn is_blind(&self) -> bool {
        self.blind > 0
    }

    fn execute(&mut self, name: &str) -> (Duration, Verdict) {
        let time = Duration::from_millis(300);
        match name {
            "lock" if self.is_riding => (time, Verdict::Rejected("someone is riding")),
            "lock" | "unlock" => {
                self.is_locked = name == "lock";
                (time, Verdict::Succeeded(json!({ "locked": self.is_locked })))
            }
            "ring" => (time, Verdict::Succeeded(json!({ "rung": true }))),
            _ => (time, Verdict::Rejected("a bike knows lock, unlock and ring")),
        }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
fn moments(dice: &mut Dice, low: f64, high: f64) -> u64 {
    dice.between(low, high) as u64 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(seed: u64) -> Vec<Saying> {
        let mut bike = Bike::new(Key::new(seed));
        let mut says = Vec::new();
        (0..20_000).for_each(|moment| bike.live(moment * 1000, &mut says));
        says
    }

    #[test]
    fn a_day_is_the_same_for_the_same_seed() {
        assert_eq!(day(5), day(5));
        assert_ne!(day(5), day(6));
    }

    #[test]
    fn a_ride_stays_in_the_city_and_within_the_schema() {
        let schemas = axle_domain::Schemas::builtin();
        let ride = schemas.find("ride").unwrap();
        let mut rides = 0;
        for saying in day(7) {
            let Saying::Sample("ride", sample) = saying else { continue };
            rides += 1;
            for (name, value) in sample.as_object().unwrap() {
                let Some(field) = ride.field(name) else { continue };
                let axle_domain::FieldKind::Float { min, max, .. } = ride.fields[field].kind else {
                    continue;
                };
                assert!((min..=max).contains(&value.as_f64().unwrap()), "{name} {value}");
            }
            let (lat, lon) = (sample["lat"].as_f64().unwrap(), sample["lon"].as_f64().unwrap());
            assert!((lat - CITY.0).abs() < 0.1 && (lon - CITY.1).abs() < 0.15, "{lat} {lon}");
        }
        assert!(rides > 5000, "{rides}");
    }

    #[test]
    fn a_day_has_faults_and_statuses() {
        let says: Vec<Saying> = (0..5).flat_map(day).collect();
        let count = |wanted: &str| {
            says.iter()
                .filter(|saying| matches!(saying, Saying::Sample(s, _) if *s == wanted))
                .count()
        };
        assert!(count("fault") > 10 && count("status") > 3000);
    }
}
