//! Cities of Europe: where they are, how hilly, how warm, and what their clocks show.

use crate::clock::{civil, days_of};

/// A city.
#[derive(Debug, PartialEq)]
pub(super) struct City {
    /// Its name.
    pub(super) name: &'static str,
    /// Latitude of its middle, degrees.
    pub(super) lat: f64,
    /// Longitude of its middle, degrees.
    pub(super) lon: f64,
    /// How far its streets reach, kilometers.
    pub(super) radius_km: f64,
    /// How its grid is turned against north, radians.
    pub(super) turn: f64,
    /// Height of its middle above the sea, meters.
    pub(super) altitude_m: f64,
    /// Height of its hills, meters.
    pub(super) hill_m: f64,
    /// Mean temperature over the year, degrees Celsius.
    pub(super) mean_c: f64,
    /// Hours ahead of UTC in winter.
    pub(super) winter_offset_h: i64,
}

/// Where bikes, cars and households are.
pub(super) static CITIES: [City; 7] = [
    city("Berlin", (52.5163, 13.3889), (5.5, 0.12), (36.0, 9.0), (9.9, 1)),
    city("Paris", (48.8606, 2.3376), (4.2, -0.42), (42.0, 26.0), (12.2, 1)),
    city("Vienna", (48.2082, 16.3600), (3.8, 0.55), (182.0, 22.0), (11.1, 1)),
    city("London", (51.5190, -0.1230), (4.0, 0.20), (25.0, 14.0), (11.6, 0)),
    city("Milan", (45.4660, 9.1880), (4.0, -0.25), (122.0, 6.0), (13.6, 1)),
    city("Utrecht", (52.0890, 5.1150), (2.8, 0.35), (5.0, 2.0), (10.4, 1)),
    city("Athens", (37.9870, 23.7330), (3.2, 0.30), (98.0, 38.0), (18.6, 2)),
];

const fn city(
    name: &'static str,
    (lat, lon): (f64, f64),
    (radius_km, turn): (f64, f64),
    (altitude_m, hill_m): (f64, f64),
    (mean_c, winter_offset_h): (f64, i64),
) -> City {
    City { name, lat, lon, radius_km, turn, altitude_m, hill_m, mean_c, winter_offset_h }
}

impl City {
    /// The city of a device with a number: each has about as many.
    pub(super) fn of(number: usize) -> &'static Self {
        static FIRST: &City = &CITIES[0];
        CITIES.get(number % CITIES.len()).unwrap_or(FIRST)
    }

    /// What a clock in the city shows.
    pub(super) fn local(&self, now_ms: i64) -> Local {
        let summer_ms = if is_summer_time(now_ms) { HOUR_MS } else { 0 };
        let local_ms = now_ms + self.winter_offset_h * HOUR_MS + summer_ms;
        let day = local_ms.div_euclid(DAY_MS);
        let (year, _, _) = civil(day);
        Local {
            day,
            // The first day of 1970 was a Thursday.
            weekday: (day + 3).rem_euclid(7),
            day_of_year: day - days_of(year, 1, 1),
            hour: local_ms.rem_euclid(DAY_MS) as f64 / HOUR_MS as f64,
        }
    }

    /// The temperature outside, degrees Celsius.
    pub(super) fn temperature_c(&self, local: &Local) -> f64 {
        let daily = ((local.hour - 15.0) / 24.0 * std::f64::consts::TAU).cos() * 4.0;
        self.mean_c + 9.0 * local.summer() + daily
    }
}

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// What a clock and a calendar on the wall show.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Local {
    /// Days since 1970-01-01.
    pub(super) day: i64,
    /// 0 for Monday to 6 for Sunday.
    pub(super) weekday: i64,
    /// 0 for January 1.
    pub(super) day_of_year: i64,
    /// 0 to 24.
    pub(super) hour: f64,
}

impl Local {
    /// Whether it is Saturday or Sunday.
    pub(super) fn is_weekend(&self) -> bool {
        self.weekday >= 5
    }

    /// From -1 in the middle of January to 1 in the middle of July.
    pub(super) fn summer(&self) -> f64 {
        ((self.day_of_year as f64 - 197.0) / 365.0 * std::f64::consts::TAU).cos()
    }

    /// The share of all bikes that are ridden now: commuters in the morning and late in the
    /// afternoon, excursions on a weekend's afternoon, twice as many in summer as in winter.
    pub(super) fn riding_share(&self) -> f64 {
        let peak = |at: f64, width: f64| (-((self.hour - at) / width).powi(2)).exp();
        let by_hour = if self.is_weekend() {
            0.03 + 0.42 * peak(14.5, 3.6) + 0.14 * peak(20.5, 2.0) + 0.08 * peak(1.0, 1.5)
        } else {
            0.02 + 0.46 * peak(8.2, 1.1)
                + 0.52 * peak(17.6, 1.7)
                + 0.20 * peak(12.8, 2.4)
                + 0.12 * peak(21.0, 1.8)
        };
        by_hour * (0.72 + 0.28 * self.summer())
    }
}

/// The European Union's rule: from the last Sunday of March, 1:00 UTC, to that of October.
fn is_summer_time(now_ms: i64) -> bool {
    let (year, _, _) = civil(now_ms.div_euclid(DAY_MS));
    let change = |month| {
        let last = days_of(year, month, 31);
        let sunday = last - (last + 4).rem_euclid(7);
        sunday * DAY_MS + HOUR_MS
    };
    (change(3)..change(10)).contains(&now_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::parse_rfc3339_micros;

    fn at(text: &str) -> i64 {
        parse_rfc3339_micros(text).unwrap() / 1000
    }

    #[test]
    fn clocks_follow_time_zone_and_summer_time() {
        let hour = |city: usize, text: &str| City::of(city).local(at(text)).hour;
        assert_eq!(hour(0, "2026-01-15T12:00:00Z"), 13.0);
        assert_eq!(hour(0, "2026-07-15T12:00:00Z"), 14.0);
        assert_eq!(hour(3, "2026-07-15T12:00:00Z"), 13.0);
        assert_eq!(hour(6, "2026-01-15T12:00:00Z"), 14.0);
        // 2026-03-29 and 2026-10-25 are the Sundays.
        assert_eq!(hour(0, "2026-03-29T00:59:59Z").floor(), 1.0);
        assert_eq!(hour(0, "2026-03-29T01:00:00Z"), 3.0);
        assert_eq!(hour(0, "2026-10-25T00:59:59Z").floor(), 2.0);
        assert_eq!(hour(0, "2026-10-25T01:00:00Z"), 2.0);
    }

    #[test]
    fn weeks_and_years_are_those_of_the_calendar() {
        let local = City::of(0).local(at("2026-11-21T12:00:00Z"));
        assert_eq!((local.weekday, local.is_weekend(), local.day_of_year), (5, true, 324));
        let monday = City::of(0).local(at("2026-11-23T12:00:00Z"));
        assert_eq!((monday.weekday, monday.is_weekend()), (0, false));
    }

    #[test]
    fn more_people_ride_to_work_than_at_night_and_in_summer_than_in_winter() {
        let share = |text: &str| City::of(0).local(at(text)).riding_share();
        let (morning, night) = (share("2026-06-10T06:10:00Z"), share("2026-06-10T01:00:00Z"));
        assert!(morning > 5.0 * night, "{morning} {night}");
        assert!(morning > 1.5 * share("2026-01-14T07:10:00Z"));
        assert!(share("2026-06-13T12:30:00Z") > 2.0 * share("2026-06-13T06:10:00Z"));
        for hour in 0..24 * 7 {
            let share = City::of(0).local(at("2026-07-06T00:00:00Z") + hour * HOUR_MS);
            assert!((0.0..0.9).contains(&share.riding_share()));
        }
    }
}
