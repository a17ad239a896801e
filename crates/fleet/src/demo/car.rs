//! A car that drives between towns and obeys lock and unlock, mostly.

use std::time::Duration;

use serde_json::json;

use super::life::{Dice, Life, Saying, Verdict, round};
use crate::random::Key;

/// Where cars live.
const REGION: (f64, f64) = (48.137, 11.575);
/// Degrees from there beyond which they turn back.
const REGION_DEGREES: f64 = 0.6;
/// Seconds of one moment.
const MOMENT_S: f64 = 10.0;

/// A car.
pub(super) struct Car {
    dice: Dice,
    lat: f64,
    lon: f64,
    heading: f64,
    speed_kmh: f64,
    battery_pct: f64,
    odometer_km: f64,
    is_locked: bool,
    is_driving: bool,
    moments: u64,
}

impl Car {
    /// A car somewhere.
    pub(super) fn new(key: Key) -> Self {
        let mut dice = Dice::new(key.named("life"));
        let is_driving = dice.chance(0.5);
        Self {
            lat: REGION.0 + dice.between(-0.3, 0.3),
            lon: REGION.1 + dice.between(-0.4, 0.4),
            heading: dice.between(0.0, std::f64::consts::TAU),
            speed_kmh: 0.0,
            battery_pct: dice.between(20.0, 100.0),
            odometer_km: dice.between(500.0, 180_000.0),
            is_locked: !is_driving,
            is_driving,
            moments: 0,
            dice,
        }
    }

    fn drive(&mut self) {
        let wanted = self.dice.between(20.0, 135.0);
        self.speed_kmh += (wanted - self.speed_kmh) * 0.3;
        let (north, east) = (self.lat - REGION.0, self.lon - REGION.1);
        if north.hypot(east) > REGION_DEGREES {
            self.heading = (-east).atan2(-north);
        }
        self.heading += self.dice.between(-0.25, 0.25);
        let km = self.speed_kmh * MOMENT_S / 3600.0;
        self.lat += km * self.heading.cos() / 111.2;
        self.lon += km * self.heading.sin() / 74.2;
        self.odometer_km += km;
        self.battery_pct = (self.battery_pct - km * 0.25).max(0.0);
    }

    fn turn(&mut self) {
        if self.is_driving && (self.battery_pct < 12.0 || self.dice.chance(0.01)) {
            (self.is_driving, self.is_locked, self.speed_kmh) = (false, true, 0.0);
        } else if !self.is_driving {
            self.battery_pct = (self.battery_pct + 0.4).min(100.0);
            if self.battery_pct > 60.0 && self.dice.chance(0.02) {
                (self.is_driving, self.is_locked) = (true, false);
            }
        }
    }
}

impl Life for Car {
    fn moment(&self) -> Duration {
        Duration::from_secs(10)
    }

    fn live(&mut self, now_ms: i64, says: &mut Vec<Saying>) {
        self.turn();
        self.moments += 1;
        if self.is_driving {
            self.drive();
        } else if !self.moments.is_multiple_of(3) {
            return;
        }
        let status = json!({
            "time": now_ms,
            "battery_pct": round(self.battery_pct, 1),
            "odometer_km": round(self.odometer_km, 3),
            "lat": round(self.lat, 6),
            "lon": round(self.lon, 6),
            "speed_kmh": round(self.speed_kmh, 2),
            "locked": self.is_locked,
            "firmware": "5.12.0",
        });
        says.push(Saying::Sample("status", status));
    }

    fn execute(&mut self, name: &str) -> (Duration, Verdict) {
        let time = Duration::from_secs_f64(self.dice.between(0.5, 2.0));
        match name {
            "lock" if self.is_driving => (time, Verdict::Rejected("the car is moving")),
            "lock" | "unlock" if self.dice.chance(0.03) => {
                (time, Verdict::Failed("the door actuator did not answer"))
            }
            "lock" | "unlock" => {
                self.is_locked = name == "lock";
                (time, Verdict::Succeeded(json!({ "locked": self.is_locked })))
            }
            "flash" => (time, Verdict::Succeeded(json!({ "flashes": 3 }))),
            _ => (time, Verdict::Rejected("a car knows lock, unlock and flash")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn obeys_mostly_and_says_so() {
        let mut car = Car::new(Key::new(3));
        car.is_driving = false;
        let verdicts: Vec<Verdict> = (0..500).map(|_| car.execute("unlock").1).collect();
        let done = Verdict::Succeeded(json!({ "locked": false }));
        let succeeded = verdicts.iter().filter(|verdict| **verdict == done).count();
        assert!((450..500).contains(&succeeded), "{succeeded}");
        assert!(matches!(car.execute("fly").1, Verdict::Rejected(_)));
    }

    #[test]
    fn stays_in_its_region() {
        let mut car = Car::new(Key::new(4));
        let mut says = Vec::new();
        (0..20_000).for_each(|moment| car.live(moment * 10_000, &mut says));
        for saying in &says {
            let Saying::Sample("status", status) = saying else { panic!("{saying:?}") };
            assert!((status["lat"].as_f64().unwrap() - REGION.0).abs() < 1.0);
            assert!((0.0..=100.0).contains(&status["battery_pct"].as_f64().unwrap()));
        }
        assert!(says.len() > 5000);
    }
}
