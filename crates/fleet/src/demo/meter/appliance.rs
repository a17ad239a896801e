//! What is plugged in, and what it takes at any time: computed from household and time, so that a
//! week of the past costs no memory.

use super::super::city::Local;
use crate::random::Key;

/// The sockets of a household.
pub(in super::super) const SOCKETS: [&str; 10] = [
    "fridge",
    "freezer",
    "kettle",
    "washing-machine",
    "dishwasher",
    "oven",
    "television",
    "router",
    "desk",
    "lights",
];

/// Hours of a cycle of a compressor, and the share of it that it runs.
const FRIDGE: (f64, f64) = (0.75, 0.36);
const FREEZER: (f64, f64) = (1.1, 0.42);

/// Power at a socket, watts; never below 0.
pub(super) fn watts(key: Key, socket: usize, time_ms: i64, local: &Local) -> f64 {
    let home = Home { key: key.child(socket as u64), time_ms, local: *local };
    let watts = match socket {
        0 => home.compressor(FRIDGE, 85.0),
        1 => home.compressor(FREEZER, 110.0),
        2 => home.kettle(),
        3 => home.washing_machine(),
        4 => home.dishwasher(),
        5 => home.oven(),
        6 => home.evening(112.0, 0.8, (19.2, 22.9)),
        7 => 9.2 + 2.0 * home.noise(20_000, 3),
        8 => home.desk(),
        _ => home.lights(),
    };
    watts.max(0.0)
}

/// A socket of a household at a time.
struct Home {
    key: Key,
    time_ms: i64,
    local: Local,
}

/// A use of an appliance: hours since it began, of how many.
struct Use {
    since_h: f64,
    length_h: f64,
}

impl Home {
    /// From 0 to 1, another number every so many milliseconds.
    fn noise(&self, every_ms: i64, column: u64) -> f64 {
        self.key.child(column).share(self.time_ms.div_euclid(every_ms).cast_unsigned())
    }

    /// Of a habit of the household, from `low` to `high`.
    fn habit(&self, column: u64, low: f64, high: f64) -> f64 {
        low + (high - low) * self.key.child(900).share(column)
    }

    /// From `low` to `high`, another number each day.
    fn of_day(&self, day: i64, column: u64, (low, high): (f64, f64)) -> f64 {
        low + (high - low) * self.key.child(500 + column).share(day.cast_unsigned())
    }

    /// The use that goes on now, of those that begin about an hour of the day on some days; one
    /// of yesterday may reach into today.
    fn using(&self, column: u64, chance: f64, about_h: f64, length_h: f64) -> Option<Use> {
        [self.local.day, self.local.day - 1].into_iter().find_map(|day| {
            if self.of_day(day, column, (0.0, 1.0)) >= chance {
                return None;
            }
            let begin = about_h + self.of_day(day, column + 1, (-0.9, 0.9));
            let length_h = length_h * self.of_day(day, column + 2, (0.85, 1.2));
            let since_h = self.local.hour + 24.0 * (self.local.day - day) as f64 - begin;
            (0.0..length_h).contains(&since_h).then_some(Use { since_h, length_h })
        })
    }

    fn compressor(&self, (cycle_h, runs): (f64, f64), watts: f64) -> f64 {
        let cycle_h = cycle_h * self.habit(1, 0.85, 1.2);
        let hours = self.time_ms as f64 / 3_600_000.0 + 24.0 * self.habit(2, 0.0, 1.0);
        let since_h = hours.rem_euclid(cycle_h);
        // Warm kitchens make it run longer.
        let runs = runs * (1.0 + 0.18 * self.local.summer());
        match since_h {
            s if s >= cycle_h * runs => 1.2 + 0.4 * self.noise(30_000, 4),
            s if s < 0.012 => 3.2 * watts,
            _ => watts * self.habit(3, 0.85, 1.2) + 6.0 * self.noise(30_000, 4),
        }
    }

    fn kettle(&self) -> f64 {
        let watts = self.habit(1, 1800.0, 2200.0);
        let times = [(6.9, 0.9), (9.8, 0.4), (13.2, 0.35), (16.1, 0.6), (20.4, 0.5)];
        let boils = times.into_iter().zip((0_u64..).step_by(10));
        let mut uses =
            boils.filter_map(|((about, chance), column)| self.using(column, chance, about, 0.062));
        uses.next().map_or(0.0, |_boils| watts + 15.0 * self.noise(10_000, 5))
    }

    fn washing_machine(&self) -> f64 {
        let chance = if self.local.is_weekend() { 0.65 } else { 0.3 };
        let Some(Use { since_h, length_h }) = self.using(10, chance, 10.5, 1.7) else {
            return 0.6;
        };
        match since_h / length_h {
            part if part < 0.22 => 1950.0 + 40.0 * self.noise(30_000, 6),
            part if part > 0.86 => 420.0 + 160.0 * self.noise(30_000, 6),
            // The drum turns one way, rests, turns the other way.
            _ => {
                if self.noise(30_000, 7) < 0.7 {
                    130.0 + 90.0 * self.noise(30_000, 6)
                } else {
                    12.0
                }
            }
        }
    }

    fn dishwasher(&self) -> f64 {
        let Some(Use { since_h, length_h }) = self.using(20, 0.55, 20.6, 2.1) else {
            return 0.4;
        };
        match since_h / length_h {
            part if (0.08..0.24).contains(&part) || (0.62..0.76).contains(&part) => {
                1880.0 + 30.0 * self.noise(30_000, 6)
            }
            part if part < 0.85 => 55.0 + 25.0 * self.noise(30_000, 6),
            _ => 4.0,
        }
    }

    fn oven(&self) -> f64 {
        let chance = if self.local.is_weekend() { 0.55 } else { 0.3 };
        let Some(Use { since_h, .. }) = self.using(30, chance, 18.4, 0.8) else { return 0.9 };
        // Heats up, then the thermostat switches on and off.
        let is_heating = since_h < 0.16 || (since_h * 60.0).rem_euclid(4.0) < 1.5;
        if is_heating { 2150.0 + 60.0 * self.noise(20_000, 6) } else { 28.0 }
    }

    fn evening(&self, watts: f64, chance: f64, (from, to): (f64, f64)) -> f64 {
        let standby = 0.7;
        let length = to - from;
        match self.using(40, chance, from, length) {
            Some(_) => watts * self.habit(1, 0.7, 1.4) + 14.0 * self.noise(30_000, 6),
            None => standby,
        }
    }

    fn desk(&self) -> f64 {
        let works_at_home = self.habit(1, 0.0, 1.0) < 0.6 && !self.local.is_weekend();
        let chance = if works_at_home { 0.8 } else { 0.12 };
        let Some(Use { since_h, length_h }) = self.using(50, chance, 9.0, 8.2) else { return 2.1 };
        let is_lunch = (0.45..0.55).contains(&(since_h / length_h));
        if is_lunch { 24.0 } else { 62.0 + 75.0 * self.noise(60_000, 6) }
    }

    fn lights(&self) -> f64 {
        // Dusk and dawn, by season.
        let (dawn, dusk) = (7.0 - 1.6 * self.local.summer(), 18.6 + 2.6 * self.local.summer());
        let hour = self.local.hour;
        let is_up = (6.3..8.4).contains(&hour) || (16.0..23.4).contains(&hour);
        let is_dark = hour < dawn || hour > dusk;
        if !(is_up && is_dark) {
            return 0.0;
        }
        // A lamp more, a lamp less, every quarter of an hour.
        18.0 + 95.0 * self.habit(1, 0.5, 1.3) * self.noise(900_000, 6)
    }
}
