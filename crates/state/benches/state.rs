//! What the state costs: a commit of 22,000 latest values, and commands that come in a crowd.
//! Run with `cargo bench -p axle-state`.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench prints, and stops if it fails"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axle_domain::port::{CommandStore, DeviceRegistry, Projected, ReportedState};
use axle_domain::{
    FieldKey, LatestValue, Offset, OwnedValue, QuarantineId, QuarantineItem, QuarantineState,
};
use axle_state::SqliteState;
use axle_testkit::conformance::state::{at, command, device, device_id};

const FIELDS: [&str; 10] = [
    "ride.lat",
    "ride.lon",
    "ride.speed_kmh",
    "ride.altitude_m",
    "ride.battery_pct",
    "ride.power_w",
    "ride.cadence_rpm",
    "ride.odometer_km",
    "status.locked",
    "status.firmware",
];

/// CPU time of the threads that this process has now: one that ends takes its time with it.
fn cpu() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let nanos = tasks.filter_map(|task| {
        let text = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

fn stretch(offset: u64, devices: impl Iterator<Item = u64>) -> Projected {
    let seconds = i64::try_from(offset).unwrap();
    let mut projected = Projected { through: Offset(offset), ..Projected::default() };
    for number in devices {
        let device = device_id(&format!("bike-{number:06}"));
        projected.last_seen.push((device.clone(), at(seconds)));
        for field in FIELDS {
            let value = match field {
                "status.locked" => OwnedValue::Bool(true),
                "status.firmware" => OwnedValue::Text("1.4.2".to_owned()),
                _ => OwnedValue::Float(seconds as f64 / 7.0),
            };
            projected.latest.push(LatestValue {
                device: device.clone(),
                field: FieldKey(field.to_owned()),
                value,
                time: at(seconds),
                received_at: at(seconds),
            });
        }
    }
    projected
}

/// Stretches that touch 2,200 devices of a fleet, scattered over all of it.
async fn latest(folder: &Path, fleet: u64) {
    let path = folder.join(format!("latest-{fleet}.db"));
    let state = SqliteState::open(&path).unwrap();
    let mut offset = 0;
    for first in (0..fleet).step_by(10_000) {
        offset += 1;
        state.commit(stretch(offset, first..(first + 10_000).min(fleet))).await.unwrap();
    }
    let (mut walls, mut cpus) = (Vec::new(), Vec::new());
    for _ in 0..40 {
        offset += 1;
        let devices = (0..2200).map(|index: u64| {
            let mixed = (index + offset * 2200).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            mixed.rotate_left(29).wrapping_mul(0xbf58_476d_1ce4_e5b9) % fleet
        });
        let projected = stretch(offset, devices);
        let (wall, used) = (Instant::now(), cpu());
        state.commit(projected).await.unwrap();
        walls.push(wall.elapsed());
        cpus.push(cpu().saturating_sub(used));
    }
    let total: Duration = cpus.iter().sum();
    walls.sort();
    println!(
        "latest, fleet of {fleet}: commit of 22,000 values wall p50 {:?} max {:?}, CPU mean {:?}; {} MB",
        walls.get(20).unwrap(),
        walls.last().unwrap(),
        total / 40,
        std::fs::metadata(&path).unwrap().len() / 1_000_000,
    );
    drop(state);
    let wall = Instant::now();
    let state = SqliteState::open(&path).unwrap();
    println!("  open, with every page checked: {:?}", wall.elapsed());
    let (wall, used) = (Instant::now(), cpu());
    for number in 0..2000 {
        state.latest(&device_id(&format!("bike-{:06}", number % fleet))).await.unwrap();
    }
    println!(
        "  latest() of one device: wall {:?}, CPU {:?}",
        wall.elapsed() / 2000,
        cpu().saturating_sub(used) / 2000
    );
}

/// Commands for many devices at one time.
async fn commands(folder: &Path, crowd: usize) {
    let count: usize = if crowd == 1 { 300 } else { 20_000 };
    let state = Arc::new(SqliteState::open(&folder.join(format!("commands-{crowd}.db"))).unwrap());
    let (wall, used) = (Instant::now(), cpu());
    let mut tasks = tokio::task::JoinSet::new();
    for worker in 0..crowd {
        let state = Arc::clone(&state);
        tasks.spawn(async move {
            let mut walls = Vec::new();
            for number in 0..count / crowd {
                let id = format!("k-{worker}-{number}");
                let device = format!("bike-{worker}-{}", number / 50);
                let wall = Instant::now();
                state.create_command(command(&id, &device)).await.unwrap();
                walls.push(wall.elapsed());
            }
            walls
        });
    }
    let mut walls: Vec<Duration> = tasks.join_all().await.into_iter().flatten().collect();
    walls.sort();
    let seconds = wall.elapsed().as_secs_f64();
    let done = count / crowd * crowd;
    println!(
        "commands, {crowd} callers at once: {:.0}/s, CPU {:?} each, p99 {:?} max {:?}",
        done as f64 / seconds,
        cpu().saturating_sub(used) / u32::try_from(done).unwrap(),
        walls.get(done * 99 / 100).unwrap(),
        walls.last().unwrap(),
    );
}

async fn registry(folder: &Path) {
    let state = Arc::new(SqliteState::open(&folder.join("registry.db")).unwrap());
    let mut tasks = tokio::task::JoinSet::new();
    for worker in 0..500 {
        let state = Arc::clone(&state);
        tasks.spawn(async move {
            for number in 0..200 {
                let id = format!("bike-{:06}", worker * 200 + number);
                state.create_device(device(&id)).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    for search in ["", "BIKE-000777", "no such thing"] {
        let filter =
            axle_domain::port::DeviceFilter { search: search.to_owned(), after: None, limit: 100 };
        let wall = Instant::now();
        let found = state.list_devices(filter).await.unwrap().len();
        println!("list_devices among 100,000, search {search:?}: {found} in {:?}", wall.elapsed());
    }
}

/// A state of half a GiB: what a change waits for while SQLite's log is folded into the file, and
/// how long a start takes that compares every page with its checksum.
async fn large(folder: &Path) {
    let path = folder.join("large.db");
    let state = SqliteState::open(&path).unwrap();
    let mut walls = Vec::new();
    for number in 0..4096 {
        let item = QuarantineItem {
            id: QuarantineId { offset: Offset(number), index: 0 },
            device: String::new(),
            topic: String::new(),
            stream: String::new(),
            content_type: String::new(),
            code: String::new(),
            detail: String::new(),
            payload: vec![7; 128 << 10],
            received_at: at(1),
            sent_at: None,
            state: QuarantineState::Waiting,
        };
        let through = Offset(number + 1);
        let stretch = Projected { through, quarantined: vec![item], ..Projected::default() };
        let wall = Instant::now();
        state.commit(stretch).await.unwrap();
        walls.push(wall.elapsed());
    }
    walls.sort();
    let (p50, p99) = (walls.get(2048).unwrap(), walls.get(4055).unwrap());
    let max = walls.last().unwrap();
    println!("large: commits of 128 KiB wall p50 {p50:?} p99 {p99:?} max {max:?}");
    drop(state);
    let (wall, used) = (Instant::now(), cpu());
    drop(SqliteState::open(&path).unwrap());
    let megabytes = std::fs::metadata(&path).unwrap().len() / 1_000_000;
    println!(
        "  open of {megabytes} MB: {:?}, CPU {:?}",
        wall.elapsed(),
        cpu().saturating_sub(used)
    );
    std::fs::remove_file(&path).unwrap();
}

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().unwrap();
    large(folder.path()).await;
    for fleet in [10_000, 100_000] {
        latest(folder.path(), fleet).await;
    }
    for crowd in [1, 50, 500] {
        commands(folder.path(), crowd).await;
    }
    registry(folder.path()).await;
}
