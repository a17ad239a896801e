//! What someone sees of the fleet: clusters and single vehicles of an area.

use axle_domain::port::Visibility;
use axle_domain::{Error, Timestamp, limit};

use super::FleetMap;
use super::area::Area;
use super::cluster::{Grid, Placed};
use super::place::{Place, Spot};
use super::roster::{CHUNK_DEVICES, Roster};
use crate::principal::Principal;

/// Chunks that are looked at before the projection may go on.
const CHUNKS_AT_ONCE: usize = 32;
/// From this zoom on, vehicles are shown one by one where they are few.
const SINGLES_ZOOM: u8 = 11;
/// Tenths of km/h from which a vehicle moves.
const MOVING_TENTHS: u16 = 10;
/// A speed that is older says nothing about now.
const MOVING_MICROS_MAX: i64 = 2 * 60 * 1_000_000;

/// Which vehicles to show.
#[derive(Clone, Debug, Default)]
pub struct MapFilter {
    /// Only of this kind.
    pub kind: Option<String>,
    /// Only those whose id has this part, in any case; empty for all.
    pub search: String,
}

/// A vehicle that stands for itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Vehicle {
    /// The device.
    pub device: String,
    /// What it is; empty if unknown.
    pub kind: String,
    /// Degrees.
    pub lat: f64,
    /// Degrees.
    pub lon: f64,
    /// When it was there.
    pub time: Timestamp,
    /// How fast it was there.
    pub speed_kmh: Option<f64>,
    /// Its last charge.
    pub battery_pct: Option<u8>,
    /// Degrees clockwise from north, of the way between its last two positions.
    pub heading_deg: Option<f64>,
    /// Whether it is connected.
    pub is_online: bool,
    /// Whether it drives: faster than 1 km/h within the last two minutes.
    pub is_moving: bool,
}

/// Vehicles that lie too close to be told apart.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    /// Degrees, of their middle.
    pub lat: f64,
    /// Degrees, of their middle.
    pub lon: f64,
    /// How many there are.
    pub count: u32,
    /// How many of them are connected.
    pub online: u32,
    /// How many of them drive.
    pub moving: u32,
    /// West, south, east, north of them all.
    pub bounds: [f64; 4],
}

/// What an area holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MapView {
    /// Vehicles one by one.
    pub vehicles: Vec<Vehicle>,
    /// The others, the largest clusters first.
    pub clusters: Vec<Cluster>,
    /// Vehicles in the area, of the filter.
    pub total: u64,
    /// How many of them are connected.
    pub online: u64,
    /// How many of them drive.
    pub moving: u64,
    /// Vehicles in the area by kind, whatever kind the filter wants.
    pub kinds: Vec<(String, u64)>,
    /// Whether the map has read everything since the server's start.
    pub is_complete: bool,
    /// The server's time of this view.
    pub now: Timestamp,
}

impl FleetMap {
    /// What a principal may see of an area. Takes milliseconds of a processor for large fleets:
    /// call it where that blocks nobody.
    ///
    /// # Errors
    /// `Denied` for tokens that may read nothing.
    pub fn view(
        &self,
        principal: &Principal,
        area: &Area,
        filter: &MapFilter,
    ) -> Result<MapView, Error> {
        let visibility = principal.require_reading()?;
        let now = self.clock.now();
        self.refresh_online(now);
        let search = filter.search.to_ascii_lowercase();
        let mut scan = Scan {
            area,
            kind: None,
            search: &search,
            moving_since: now.shifted(-MOVING_MICROS_MAX),
            grid: Grid::new(area),
            few: Vec::new(),
            total: 0,
            online: 0,
            moving: 0,
            kinds: [0; 256],
        };
        let kind = filter.kind.as_deref();
        match visibility {
            Visibility::All => self.scan_all(&mut scan, kind),
            Visibility::Devices(devices) => {
                let roster = self.read();
                scan.kind = kind.map(|kind| roster.find_kind(kind));
                let mut numbers: Vec<u32> =
                    devices.iter().filter_map(|device| roster.find(device.as_str())).collect();
                // A device may be named twice.
                numbers.sort_unstable();
                numbers.dedup();
                for number in numbers {
                    if let Some(place) = roster.place(number) {
                        scan.look(&roster, number, place, || roster.id(number));
                    }
                }
            }
        }
        let mut view = scan.finish(&self.read());
        (view.now, view.is_complete) = (now, self.is_filled());
        Ok(view)
    }

    fn scan_all(&self, scan: &mut Scan<'_>, kind: Option<&str>) {
        let mut from = 0;
        loop {
            let roster = self.read();
            scan.kind = kind.map(|kind| roster.find_kind(kind));
            let chunks = roster.chunks(from, CHUNKS_AT_ONCE);
            if chunks.is_empty() {
                return;
            }
            for (chunk_index, chunk) in (from..).zip(chunks) {
                for (index, place) in chunk.places.iter().enumerate() {
                    let number = u32::try_from(chunk_index * CHUNK_DEVICES + index);
                    scan.look(&roster, number.unwrap_or(u32::MAX), place, || chunk.id(index));
                }
            }
            from += CHUNKS_AT_ONCE;
        }
    }
}

struct Scan<'a> {
    area: &'a Area,
    /// The wanted kind; `Some(None)` for one that no device has.
    kind: Option<Option<u8>>,
    search: &'a str,
    moving_since: Timestamp,
    grid: Grid,
    /// The vehicles, as long as they are few.
    few: Vec<u32>,
    total: u64,
    online: u64,
    moving: u64,
    kinds: [u64; 256],
}

impl Scan<'_> {
    fn look<'r>(
        &mut self,
        roster: &Roster,
        number: u32,
        place: &Place,
        id: impl FnOnce() -> &'r str,
    ) {
        let Some(spot) = place.spot().filter(|spot| self.area.contains(*spot)) else { return };
        if !self.search.is_empty() && !contains(id(), self.search) {
            return;
        }
        if let Some(count) = self.kinds.get_mut(usize::from(place.kind)) {
            *count += 1;
        }
        if self.kind.is_some_and(|wanted| wanted != Some(place.kind)) {
            return;
        }
        let is_online = roster.is_online(number);
        let is_moving = place.was_moving(MOVING_TENTHS, self.moving_since);
        self.total += 1;
        self.online += u64::from(is_online);
        self.moving += u64::from(is_moving);
        if self.few.len() <= limit::MAP_SINGLES_MAX {
            self.few.push(number);
        }
        self.grid.add(number, spot, is_online, is_moving);
    }

    fn finish(self, roster: &Roster) -> MapView {
        let Self { total, online, moving, kinds, moving_since, .. } = self;
        let mut view = MapView { total, online, moving, ..MapView::default() };
        let counted = (0_u8..=255).zip(kinds).filter(|(_, count)| *count > 0);
        view.kinds = counted.map(|(kind, count)| (roster.kind(kind).to_owned(), count)).collect();
        view.kinds.sort_unstable();
        let single = |number| vehicle(roster, number, moving_since);
        if self.area.zoom >= SINGLES_ZOOM && self.few.len() <= limit::MAP_SINGLES_MAX {
            view.vehicles.extend(self.few.into_iter().filter_map(single));
        } else {
            for placed in self.grid.finish() {
                match placed.heap.count {
                    1 => view.vehicles.extend(single(placed.heap.member)),
                    _ => view.clusters.push(cluster(&placed)),
                }
            }
        }
        view.vehicles.sort_unstable_by(|a, b| a.device.cmp(&b.device));
        view
    }
}

/// Whether an id, which is ASCII, has a part that is in lower case.
fn contains(id: &str, part: &str) -> bool {
    id.as_bytes().windows(part.len()).any(|window| window.eq_ignore_ascii_case(part.as_bytes()))
}

fn vehicle(roster: &Roster, number: u32, moving_since: Timestamp) -> Option<Vehicle> {
    let place = roster.place(number)?;
    let (lat, lon) = degrees(place.spot()?);
    Some(Vehicle {
        device: roster.id(number).to_owned(),
        kind: roster.kind(place.kind).to_owned(),
        lat,
        lon,
        time: place.time(),
        speed_kmh: place.speed_kmh(),
        battery_pct: place.battery_pct(),
        heading_deg: place.heading_deg(),
        is_online: roster.is_online(number),
        is_moving: place.was_moving(MOVING_TENTHS, moving_since),
    })
}

fn cluster(placed: &Placed) -> Cluster {
    let (lat, lon) = degrees(placed.middle);
    let ((north, west), (south, east)) = (degrees(placed.north_west), degrees(placed.south_east));
    let heap = &placed.heap;
    Cluster {
        lat,
        lon,
        count: heap.count,
        online: heap.online,
        moving: heap.moving,
        bounds: [west, south, east, north],
    }
}

/// Degrees to the decimal that is worth sending: a tenth of a meter.
fn degrees(spot: Spot) -> (f64, f64) {
    let round = |degrees: f64| (degrees * 1e6).round() / 1e6;
    let (lat, lon) = spot.degrees();
    (round(lat), round(lon))
}
