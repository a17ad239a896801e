//! The last ride of a device: where it was, and how it went.

use std::sync::Arc;
use std::time::Duration;

use axle_domain::port::{Cell, History, Reduce, ReportedState, Table, TelemetryStore};
use axle_domain::{Access, DeviceId, Error, StreamName, Timestamp};

use crate::principal::Principal;

/// A longer silence ends a ride.
pub(crate) const GAP_MAX: Duration = Duration::from_secs(15 * 60);
/// How far back a ride is looked for at first; most are shorter.
const WINDOW: Duration = Duration::from_secs(3 * 3600);
/// How far back at most: what never ends is shown by its last days.
const WINDOW_MAX: Duration = Duration::from_secs(48 * 3600);
/// About so many rows are drawn.
const ROWS_MAX: usize = 1500;
/// The stream and what is read of it; latitude and longitude are first.
const STREAM: &str = "ride";
const FIELDS: [&str; 6] =
    ["lat", "lon", "speed_kmh", "altitude_m", "battery_pct", "heart_rate_bpm"];

/// A place on a ride. What a row does not say is `None`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RidePoint {
    /// When.
    pub time: Timestamp,
    /// Latitude, degrees.
    pub lat: f64,
    /// Longitude, degrees.
    pub lon: f64,
    /// Speed, km/h.
    pub speed_kmh: Option<f64>,
    /// Height above the sea, meters.
    pub altitude_m: Option<f64>,
    /// Charge, percent.
    pub battery_pct: Option<f64>,
    /// Heart rate, beats per minute.
    pub heart_rate_bpm: Option<f64>,
}

/// A ride: places in the order of time, without a silence of more than 15 minutes.
#[derive(Clone, Debug, PartialEq)]
pub struct Ride {
    /// The places; one at least.
    pub points: Vec<RidePoint>,
    /// Whether places were left out for drawing.
    pub is_reduced: bool,
}

impl Ride {
    /// How long it took.
    #[must_use]
    pub fn duration(&self) -> Duration {
        let (Some(first), Some(last)) = (self.points.first(), self.points.last()) else {
            return Duration::ZERO;
        };
        let micros = last.time.micros_since(first.time);
        Duration::from_micros(u64::try_from(micros).unwrap_or_default())
    }

    /// The way from place to place, kilometers.
    #[must_use]
    pub fn distance_km(&self) -> f64 {
        let legs = self.points.iter().zip(self.points.iter().skip(1));
        // Not `sum`: that of no leg at all would be -0.0.
        legs.fold(0.0, |sum, (from, to)| sum + distance_km(*from, *to))
    }
}

/// Great-circle distance (haversine) on a ball of 6371 km.
fn distance_km(from: RidePoint, to: RidePoint) -> f64 {
    let (from_lat, to_lat) = (from.lat.to_radians(), to.lat.to_radians());
    let half_lat = ((to_lat - from_lat) / 2.0).sin();
    let half_lon = ((to.lon - from.lon).to_radians() / 2.0).sin();
    let chord = half_lat * half_lat + from_lat.cos() * to_lat.cos() * half_lon * half_lon;
    2.0 * 6371.0 * chord.sqrt().min(1.0).asin()
}

/// Finds rides.
pub struct Rides {
    store: Arc<dyn TelemetryStore>,
    reported: Arc<dyn ReportedState>,
}

impl Rides {
    pub(crate) fn new(store: Arc<dyn TelemetryStore>, reported: Arc<dyn ReportedState>) -> Self {
        Self { store, reported }
    }

    /// The newest stretch of `ride` rows with a place, reduced for drawing; `None` where there is
    /// no such row.
    ///
    /// # Errors
    /// `NotFound` for a device that the principal may not read; as state and store.
    pub async fn find_last(
        &self,
        principal: &Principal,
        device: &DeviceId,
    ) -> Result<Option<Ride>, Error> {
        principal.require(Access::Read(device))?;
        let (latest, _) = self.reported.latest(device).await?;
        // The newest place, not the newest row: a bike in a cellar reports on without one.
        let newest = latest.iter().filter(|it| it.field.0 == "ride.lat").map(|it| it.time).max();
        let Some(newest) = newest else { return Ok(None) };
        let mut window = WINDOW;
        loop {
            let from = newest.shifted(-micros(window));
            let (table, _) = self.read(device, from, newest).await?;
            let stretch = newest_stretch(points(&table));
            let Some(first) = stretch.first() else { return Ok(None) };
            // The window may have cut the ride off, unless a silence stands before its start.
            let is_cut = first.time.micros_since(from) <= micros(GAP_MAX);
            if is_cut && window < WINDOW_MAX {
                window = WINDOW_MAX.min(window * 4);
                continue;
            }
            // Read again with nothing but the ride in the range: more of its places stay.
            let (table, is_reduced) = self.read(device, first.time, newest).await?;
            return Ok(Some(Ride { points: points(&table), is_reduced }));
        }
    }

    async fn read(
        &self,
        device: &DeviceId,
        from: Timestamp,
        through: Timestamp,
    ) -> Result<(Table, bool), Error> {
        let history = History {
            device: device.clone(),
            stream: StreamName::parse(STREAM)?,
            from,
            to: through.shifted(1),
            fields: FIELDS.map(str::to_owned).to_vec(),
            reduce: Reduce::Points(ROWS_MAX),
        };
        self.store.history(history).await
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// The rows that have a place.
fn points(table: &Table) -> Vec<RidePoint> {
    let column = |name: &str| table.columns.iter().position(|column| column.name == name);
    let columns = FIELDS.map(column);
    let point = |row: &Vec<Cell>| {
        let [lat, lon, speed_kmh, altitude_m, battery_pct, heart_rate_bpm] =
            columns.map(|column| number(row.get(column?)));
        let Some(Cell::Time(time)) = row.first() else { return None };
        Some(RidePoint {
            time: *time,
            lat: lat?,
            lon: lon?,
            speed_kmh,
            altitude_m,
            battery_pct,
            heart_rate_bpm,
        })
    };
    table.rows.iter().filter_map(point).collect()
}

fn number(cell: Option<&Cell>) -> Option<f64> {
    match cell {
        Some(Cell::Float(number)) => Some(*number),
        Some(Cell::Null | Cell::Bool(_) | Cell::Int(_) | Cell::Time(_) | Cell::Text(_)) | None => {
            None
        }
    }
}

/// The last points up to the first silence, seen from the end.
fn newest_stretch(points: Vec<RidePoint>) -> Vec<RidePoint> {
    let start = points
        .iter()
        .zip(points.iter().skip(1))
        .rposition(|(before, after)| after.time.micros_since(before.time) > micros(GAP_MAX));
    points.into_iter().skip(start.map_or(0, |index| index + 1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64, lat: f64, lon: f64) -> RidePoint {
        RidePoint {
            time: Timestamp(minute * 60_000_000),
            lat,
            lon,
            speed_kmh: None,
            altitude_m: None,
            battery_pct: None,
            heart_rate_bpm: None,
        }
    }

    #[test]
    fn a_silence_of_more_than_15_minutes_parts_rides() {
        for (minutes, expected) in [
            (&[][..], &[][..]),
            (&[5], &[5]),
            (&[0, 15, 30], &[0, 15, 30]),
            (&[0, 16, 30], &[16, 30]),
            (&[0, 16, 30, 50], &[50]),
        ] {
            let points = minutes.iter().map(|minute| at(*minute, 0.0, 0.0)).collect();
            let found: Vec<_> =
                newest_stretch(points).iter().map(|it| it.time.0 / 60_000_000).collect();
            assert_eq!(found, expected, "{minutes:?}");
        }
    }

    #[test]
    fn distance_and_duration_go_from_point_to_point() {
        let ride = Ride {
            points: vec![at(0, 48.0, 11.0), at(10, 48.1, 11.0), at(20, 48.0, 11.0)],
            is_reduced: false,
        };
        assert!((ride.distance_km() - 22.24).abs() < 0.01, "{}", ride.distance_km());
        assert_eq!(ride.duration(), Duration::from_secs(1200));
        let standing = Ride { points: vec![at(0, 48.0, 11.0)], is_reduced: false };
        assert_eq!(format!("{:.1}", standing.distance_km()), "0.0");
    }
}
