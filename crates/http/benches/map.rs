//! The map of 100,000 vehicles as a browser gets it, over the use cases in one process: prints how
//! long a view takes through the door. With `AXLE_MAP_HOLD=seconds` vehicles drive on so long, to
//! look at the page: the link into the console is printed.
//! Run with `cargo bench -p axle-http --bench map`.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::print_stdout,
    reason = "a bench prints, and stops if it fails; it needs a part of the tests' world"
)]

#[path = "../tests/it/client.rs"]
mod client;
#[path = "../tests/it/world.rs"]
mod world;

use std::time::{Duration, Instant};

use axle_app::NewDevice;

use world::{NOW, World, device};

const VEHICLES: usize = 100_000;
/// Cities with how many of a hundred vehicles they have.
const CITIES: [(f64, f64, usize); 10] = [
    (48.137, 11.575, 25),
    (52.52, 13.405, 18),
    (48.857, 2.352, 14),
    (51.507, -0.128, 12),
    (52.37, 4.895, 9),
    (41.387, 2.17, 7),
    (45.464, 9.19, 6),
    (40.713, -74.006, 4),
    (35.68, 139.76, 3),
    (-33.87, 151.21, 2),
];

/// A number from 0 to 1 that is always the same.
fn part(number: usize, salt: usize) -> f64 {
    // The mixing steps of SplitMix64.
    let mixed = (number * 8 + salt + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (mixed >> 40) as f64 / (1_u64 << 24) as f64
}

/// Where a vehicle is after so many seconds: it circles around its home.
fn at(number: usize, seconds: f64) -> (f64, f64) {
    let mut share = number % 100;
    let city = CITIES.iter().find(|(_, _, vehicles)| {
        let is_here = share < *vehicles;
        share = share.saturating_sub(*vehicles);
        is_here
    });
    let (lat, lon, _) = city.copied().unwrap_or(CITIES[0]);
    let spread = |salt| (part(number, salt) - 0.5) * part(number, salt + 1) * 0.5;
    let turn = seconds / 40.0 + part(number, 5) * std::f64::consts::TAU;
    let (north, east) = (turn.sin() * 0.002, turn.cos() * 0.003);
    (lat + spread(1) + north, lon + spread(3) * 1.5 + east)
}

fn put(world: &World, number: usize, moment: i64, seconds: f64) {
    let (lat, lon) = at(number, seconds);
    let speed = if number.is_multiple_of(3) { 0.0 } else { 18.5 };
    let battery = number % 100;
    let payload = format!(
        r#"{{"time":{moment},"lat":{lat:.6},"lon":{lon:.6},"speed_kmh":{speed},"battery_pct":{battery}}}"#
    );
    world.publish(&name(number), "ride", &payload);
}

fn name(number: usize) -> String {
    let kind = if number.is_multiple_of(5) { "car" } else { "bike" };
    format!("{kind}-{number:06}")
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let world = World::new().await;
    for number in 0..VEHICLES {
        let kind = if number.is_multiple_of(5) { "car" } else { "bike" }.to_owned();
        let new = NewDevice { id: device(&name(number)), name: String::new(), kind };
        world.app.devices.register(new).await.unwrap();
        if number.is_multiple_of(2) {
            world.link.0.lock().unwrap().insert(device(&name(number)), ());
        }
        put(&world, number, NOW.0 / 1000 - 5000, 0.0);
    }
    world.settle().await;
    println!("{VEHICLES} vehicles");
    for (what, query) in [
        ("the world", "bbox=-180,-85,180,85&zoom=1.3"),
        ("Europe", "bbox=-12,35,32,62&zoom=4.6"),
        ("a city", "bbox=11.2,47.9,11.9,48.4&zoom=10"),
        ("a quarter", "bbox=11.57,48.13,11.59,48.14&zoom=15"),
    ] {
        let mut times = Vec::new();
        for _ in 0..15 {
            let started = Instant::now();
            let reply = world.get(&format!("/api/v1/map?{query}")).send().await;
            times.push((started.elapsed(), reply.body.len()));
        }
        times.sort_unstable();
        println!("  {what}: {:?}, {} bytes", times[7].0, times[7].1);
    }
    let hold = std::env::var("AXLE_MAP_HOLD").ok().and_then(|seconds| seconds.parse().ok());
    if let Some(seconds) = hold {
        drive(&world, Duration::from_secs(seconds)).await;
    }
    world.stop().await;
}

async fn drive(world: &World, lasts: Duration) {
    println!("http://{}{} or the cookie {}", world.http, world.login, world.session().await);
    let started = Instant::now();
    let mut round = 0_i64;
    while started.elapsed() < lasts {
        tokio::time::sleep(Duration::from_secs(1)).await;
        round += 1;
        // A part of the fleet reports each second.
        let reporting = (0..VEHICLES).filter(|number| (*number as i64 + round) % 5 == 0);
        for number in reporting.filter(|number| number % 3 != 0) {
            put(world, number, NOW.0 / 1000 - 5000 + round, round as f64);
        }
    }
}
