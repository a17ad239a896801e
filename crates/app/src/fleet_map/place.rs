//! Where one device is, in 48 bytes: two positions and what was reported beside the newer one.

use std::f64::consts::{FRAC_PI_4, PI};

use axle_domain::{LatestValue, Timestamp};

/// Northernmost and southernmost latitude of the map's projection. What lies beyond is shown at
/// its edge.
const LAT_MAX: f64 = 85.051_128_779_806_6;
/// One turn around the world, in the units of [`Spot`].
const WORLD: f64 = 4_294_967_296.0;
const EARTH_RADIUS_M: f64 = 6_371_008.8;
/// Below this distance two positions differ by what a receiver errs.
const HEADING_METERS_MIN: f64 = 4.0;
/// Two positions further apart in time say nothing about where a vehicle turns.
const HEADING_MICROS_MAX: i64 = 5 * 60 * 1_000_000;
/// No speed, no battery.
const NO_SPEED: u16 = u16::MAX;
const NO_BATTERY: u8 = u8::MAX;
/// No time at all.
const NEVER: i64 = i64::MIN;

/// A point of the web mercator projection: the world is `2^32` wide and high, from the
/// antimeridian eastward and from the north southward. A unit is a centimeter at the equator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Spot {
    pub(super) x: u32,
    pub(super) y: u32,
}

impl Spot {
    /// Of degrees; longitudes beyond the antimeridian go on around the world.
    pub(super) fn of(lat: f64, lon: f64) -> Self {
        let lat = lat.clamp(-LAT_MAX, LAT_MAX).to_radians();
        let y = (1.0 - (FRAC_PI_4 + lat / 2.0).tan().ln() / PI) / 2.0;
        Self { x: unit((lon + 180.0).rem_euclid(360.0) / 360.0), y: unit(y) }
    }

    /// Degrees: latitude and longitude.
    pub(super) fn degrees(self) -> (f64, f64) {
        let north = PI * (1.0 - 2.0 * f64::from(self.y) / WORLD);
        (north.sinh().atan().to_degrees(), f64::from(self.x) / WORLD * 360.0 - 180.0)
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped before")]
fn unit(fraction: f64) -> u32 {
    (fraction * WORLD).clamp(0.0, WORLD - 1.0) as u32
}

/// A position as it was reported.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Fix {
    pub(super) time: Timestamp,
    pub(super) received_at: Timestamp,
    pub(super) spot: Spot,
    pub(super) speed_kmh: Option<f64>,
}

/// What the map knows of one device.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    time: i64,
    received_at: i64,
    battery_time: i64,
    before: Spot,
    spot: Spot,
    /// Milliseconds from the position before to this one.
    before_ms: u32,
    /// Tenths of km/h.
    speed: u16,
    /// Percent.
    battery: u8,
    /// An index into the kinds of the roster.
    pub(super) kind: u8,
}

impl Place {
    /// A device that has not been heard of.
    pub(super) fn unknown(kind: u8) -> Self {
        Self {
            time: NEVER,
            received_at: NEVER,
            battery_time: NEVER,
            before: Spot::default(),
            spot: Spot::default(),
            before_ms: u32::MAX,
            speed: NO_SPEED,
            battery: NO_BATTERY,
            kind,
        }
    }

    /// Where the device is; `None` before its first position.
    pub(super) fn spot(&self) -> Option<Spot> {
        (self.time != NEVER).then_some(self.spot)
    }

    /// When it was there.
    pub(super) fn time(&self) -> Timestamp {
        Timestamp(self.time)
    }

    /// How fast it was there.
    pub(super) fn speed_kmh(&self) -> Option<f64> {
        (self.speed != NO_SPEED).then(|| f64::from(self.speed) / 10.0)
    }

    /// Its last charge.
    pub(super) fn battery_pct(&self) -> Option<u8> {
        (self.battery != NO_BATTERY).then_some(self.battery)
    }

    /// Whether it was faster than `tenths` of km/h, not before a moment.
    pub(super) fn was_moving(&self, tenths: u16, since: Timestamp) -> bool {
        self.speed >= tenths && self.speed != NO_SPEED && self.time >= since.0
    }

    /// Takes a position over: forward in time alone, by the rule of [`LatestValue`]. The one
    /// before is kept to tell the heading, so that the order in which positions come does not
    /// matter. Returns whether anything changed.
    pub(super) fn move_to(&mut self, fix: &Fix) -> bool {
        let Fix { time, received_at, spot, .. } = *fix;
        let current = (self.time, self.received_at);
        if (time.0, received_at.0) < current {
            let is_between =
                time.0 < self.time && self.time.saturating_sub(time.0) < self.before_micros();
            if is_between {
                (self.before, self.before_ms) = (spot, millis(self.time.saturating_sub(time.0)));
            }
            return is_between;
        }
        if self.time != NEVER {
            let passed = time.0.saturating_sub(self.time);
            if passed > 0 {
                (self.before, self.before_ms) = (self.spot, millis(passed));
            }
        }
        (self.time, self.received_at, self.spot) = (time.0, received_at.0, spot);
        self.speed = fix.speed_kmh.map_or(NO_SPEED, tenths);
        true
    }

    fn before_micros(&self) -> i64 {
        if self.before_ms == u32::MAX { i64::MAX } else { i64::from(self.before_ms) * 1000 }
    }

    /// Takes a charge over, forward in time alone.
    pub(super) fn charge(&mut self, time: Timestamp, percent: f64) -> bool {
        if time.0 < self.battery_time || !(0.0..=100.0).contains(&percent) {
            return false;
        }
        self.battery_time = time.0;
        self.battery = whole_percent(percent);
        true
    }

    /// Degrees clockwise from north, from the position before to this one.
    pub(super) fn heading_deg(&self) -> Option<f64> {
        if self.before_micros() > HEADING_MICROS_MAX {
            return None;
        }
        let (from, to) = (self.before.degrees(), self.spot.degrees());
        let turn = (to.1 - from.1 + 540.0).rem_euclid(360.0) - 180.0;
        let (lat_from, lat_to, turn) = (from.0.to_radians(), to.0.to_radians(), turn.to_radians());
        let (north, east) = (lat_to - lat_from, turn * lat_to.cos());
        if north.hypot(east) * EARTH_RADIUS_M < HEADING_METERS_MIN {
            return None;
        }
        let y = turn.sin() * lat_to.cos();
        let x = lat_from.cos() * lat_to.sin() - lat_from.sin() * lat_to.cos() * turn.cos();
        Some(y.atan2(x).to_degrees().rem_euclid(360.0).round())
    }
}

fn millis(micros: i64) -> u32 {
    u32::try_from(micros / 1000).unwrap_or(u32::MAX)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped before")]
fn tenths(speed_kmh: f64) -> u16 {
    (speed_kmh.abs() * 10.0).round().clamp(0.0, f64::from(NO_SPEED - 1)) as u16
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked before")]
fn whole_percent(percent: f64) -> u8 {
    percent.round() as u8
}

/// A number that was reported, with its times.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Reported(Option<(f64, Timestamp, Timestamp)>);

/// The latest values of one stream of one device, of which a position may be made.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reading {
    lat: Reported,
    lon: Reported,
    speed: Reported,
    battery: Reported,
}

/// The fields of a stream that the map looks at.
pub(super) const FIELDS: [&str; 4] = ["lat", "lon", "speed_kmh", "battery_pct"];

impl Reading {
    /// Takes a value of one of [`FIELDS`].
    pub(super) fn take(&mut self, field: &str, number: f64, value: &LatestValue) {
        let slot = match field {
            "lat" => &mut self.lat,
            "lon" => &mut self.lon,
            "speed_kmh" => &mut self.speed,
            _ => &mut self.battery,
        };
        *slot = Reported(Some((number, value.time, value.received_at)));
    }

    /// The position, if latitude and longitude are of one row; the speed, if it is of that row.
    pub(super) fn fix(&self) -> Option<Fix> {
        let ((lat, time, received_at), lon) = (self.lat.0?, self.lon.0?);
        let is_of_row =
            |other: (f64, Timestamp, Timestamp)| (other.1, other.2) == (time, received_at);
        let is_on_earth = lat.abs() <= 90.0 && lon.0.abs() <= 180.0;
        let speed = self.speed.0.filter(|speed| is_of_row(*speed)).map(|speed| speed.0);
        (is_of_row(lon) && is_on_earth).then(|| {
            let spot = Spot::of(lat, lon.0);
            Fix { time, received_at, spot, speed_kmh: speed }
        })
    }

    /// The charge.
    pub(super) fn battery(&self) -> Option<(Timestamp, f64)> {
        self.battery.0.map(|(percent, time, _)| (time, percent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fix(seconds: i64, lat: f64, lon: f64) -> Fix {
        let time = Timestamp(seconds * 1_000_000);
        Fix { time, received_at: time, spot: Spot::of(lat, lon), speed_kmh: Some(12.34) }
    }

    #[test]
    fn a_place_takes_forty_eight_bytes() {
        assert_eq!(size_of::<Place>(), 48);
    }

    #[test]
    fn degrees_come_back_within_a_centimeter() {
        for (lat, lon) in [(0.0, 0.0), (48.137, 11.575), (-33.9, 151.2), (85.0, -179.999_99)] {
            let (lat_back, lon_back) = Spot::of(lat, lon).degrees();
            assert!((lat - lat_back).abs() < 1e-7 && (lon - lon_back).abs() < 1e-7, "{lat} {lon}");
        }
        assert_eq!(Spot::of(0.0, 180.0).x, 0, "the antimeridian is one line");
        assert_eq!(Spot::of(90.0, 0.0), Spot::of(86.0, 0.0), "a pole is at the map's edge");
    }

    #[test]
    fn heading_needs_a_way_and_is_of_the_last_two_positions_whatever_their_order() {
        let (first, second, third) =
            (fix(0, 48.0, 11.0), fix(10, 48.001, 11.0), fix(20, 48.001, 11.01));
        for order in [[first, second, third], [third, second, first], [second, third, first]] {
            let mut place = Place::unknown(0);
            assert_eq!(place.heading_deg(), None);
            for fix in &order {
                place.move_to(fix);
            }
            assert_eq!((place.heading_deg(), place.speed_kmh()), (Some(90.0), Some(12.3)));
        }
        let mut place = Place::unknown(0);
        place.move_to(&first);
        place.move_to(&fix(10, 48.000_001, 11.0));
        assert_eq!(place.heading_deg(), None, "stands still");
        place.move_to(&fix(10_000, 48.1, 11.0));
        assert_eq!(place.heading_deg(), None, "too long ago");
    }

    #[test]
    fn a_position_is_of_one_row() {
        use axle_domain::{DeviceId, FieldKey, OwnedValue};
        let value = |seconds: i64| LatestValue {
            device: DeviceId::parse("b-1").unwrap(),
            field: FieldKey("ride.lat".to_owned()),
            value: OwnedValue::Float(0.0),
            time: Timestamp(seconds),
            received_at: Timestamp(seconds),
        };
        let mut reading = Reading::default();
        reading.take("lat", 48.0, &value(1));
        reading.take("lon", 11.0, &value(2));
        reading.take("battery_pct", 50.4, &value(3));
        assert_eq!(reading.fix(), None);
        assert_eq!(reading.battery(), Some((Timestamp(3), 50.4)));
        reading.take("lat", 48.0, &value(2));
        reading.take("speed_kmh", 9.0, &value(1));
        let fix = reading.fix().unwrap();
        assert_eq!((fix.time, fix.speed_kmh), (Timestamp(2), None));
    }
}
