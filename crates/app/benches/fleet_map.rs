//! What the live map costs: memory, a commit of moved vehicles, and views from afar and near, for
//! fleets of 100,000 and 2,000,000. Run with `cargo bench -p axle-app --bench fleet_map`.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench prints, and stops if it fails"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use axle_app::{Area, FleetMap, MapFilter, Principal};
use axle_domain::port::{DeviceLink, Receipt, SendError};
use axle_domain::{
    ApplicationName, Device, DeviceId, DeviceStatus, FieldKey, Fingerprint, LatestValue,
    OwnedValue, Scope, Timestamp, Token, TokenHash,
};
use axle_testkit::clock::ManualClock;

const NOW: Timestamp = Timestamp(1_790_000_000_000_000);

/// Every tenth device is there.
struct SomeLink(Vec<DeviceId>);

#[async_trait]
impl DeviceLink for SomeLink {
    async fn send(&self, _: &DeviceId, _: String, _: Vec<u8>) -> Result<Receipt, SendError> {
        Err(SendError::Away)
    }

    fn online_since(&self, _device: &DeviceId) -> Option<Timestamp> {
        None
    }

    fn online(&self) -> Vec<DeviceId> {
        self.0.clone()
    }

    async fn disconnect(&self, _device: &DeviceId) {}

    fn disconnect_certificate(&self, _fingerprint: &Fingerprint) {}

    fn disconnect_application(&self, _name: &ApplicationName) {}

    fn connection_count(&self) -> usize {
        self.0.len()
    }
}

fn id(number: usize) -> DeviceId {
    DeviceId::parse(&format!("bike-{number:07}")).unwrap()
}

/// Around thirty cities, closer to their middles.
fn spot(number: usize) -> (f64, f64) {
    let part = |salt: usize| {
        // The mixing steps of SplitMix64.
        let mixed = (number * 8 + salt + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed >> 40) as f64 / (1_u64 << 24) as f64
    };
    let city = (number % 30) as f64;
    let (lat, lon) = (38.0 + (city * 7.3) % 20.0, -5.0 + (city * 11.7) % 30.0);
    (lat + (part(1) - 0.5) * part(2) * 0.6, lon + (part(3) - 0.5) * part(4) * 0.9)
}

fn values(numbers: std::ops::Range<usize>, seconds: i64) -> Vec<LatestValue> {
    let time = NOW.shifted((seconds - 60) * 1_000_000);
    let mut values = Vec::with_capacity(numbers.len() * 4);
    for number in numbers {
        let (lat, lon) = spot(number);
        let moved = lat + 0.0001 * seconds as f64;
        let fields = [("lat", moved), ("lon", lon), ("speed_kmh", 18.0), ("battery_pct", 80.0)];
        let device = id(number);
        values.extend(fields.map(|(field, value)| LatestValue {
            device: device.clone(),
            field: FieldKey(format!("ride.{field}")),
            value: OwnedValue::Float(value),
            time,
            received_at: time,
        }));
    }
    values
}

fn administrator() -> Principal {
    let scopes = vec![Scope::Admin];
    let (id, hash) = ("t-1".to_owned(), TokenHash([0; 32]));
    Principal::Token(Token { id, hash, scopes, created_at: NOW })
}

/// The best and the middle of some runs.
fn measure(what: &str, mut run: impl FnMut()) {
    let mut times: Vec<Duration> = (0..21)
        .map(|_| {
            let started = Instant::now();
            run();
            started.elapsed()
        })
        .collect();
    times.sort_unstable();
    println!("  {what}: best {:?}, middle {:?}", times.first().unwrap(), times.get(10).unwrap());
}

fn fleet(count: usize) {
    let clock = Arc::new(ManualClock::new(NOW));
    let link = SomeLink((0..count).step_by(10).map(id).collect());
    let map = FleetMap::new(Arc::new(link), clock.clone());
    for number in 0..count {
        map.put_device(&Device {
            id: id(number),
            status: DeviceStatus::Active,
            name: String::new(),
            model: String::new(),
            kind: if number % 4 == 0 { "car" } else { "bike" }.to_owned(),
            created_at: NOW,
            updated_at: NOW,
            version: 1,
        });
    }
    let started = Instant::now();
    for first in (0..count).step_by(10_000) {
        map.take(&values(first..(first + 10_000).min(count), 0));
    }
    let (devices, bytes) = map.size();
    println!("{devices} devices: {} bytes each, {} MB", bytes / devices, bytes / 1_000_000);
    println!("  filled in {:?}, with making the values", started.elapsed());
    let mut seconds = 0;
    measure("a commit of 10,000 moved vehicles, with making the values", || {
        seconds += 1;
        map.take(&values(0..10_000, seconds));
    });
    let principal = administrator();
    for (what, bbox, zoom) in [
        ("the world", "-180,-85,180,85", 1.3),
        ("Europe", "-12,35,32,62", 4.6),
        ("a country", "4,46,14,55", 6.0),
        ("a city", "5.5,44.5,7.5,46.5", 10.0),
        ("a street", "6.5,45.2,6.52,45.21", 15.0),
    ] {
        let area = Area::parse(bbox, zoom).unwrap();
        let view = map.view(&principal, &area, &MapFilter::default()).unwrap();
        let points = (view.clusters.len(), view.vehicles.len());
        measure(&format!("{what}, {} as {points:?}", view.total), || {
            map.view(&principal, &area, &MapFilter::default()).unwrap();
        });
    }
    let area = Area::world();
    measure("the world, with asking who is connected", || {
        clock.advance(Duration::from_secs(2));
        map.view(&principal, &area, &MapFilter::default()).unwrap();
    });
    let filter = MapFilter { search: "0099".to_owned(), ..MapFilter::default() };
    measure("the world, those with `0099` in the id", || {
        map.view(&principal, &area, &filter).unwrap();
    });
}

fn main() {
    fleet(100_000);
    fleet(2_000_000);
}
