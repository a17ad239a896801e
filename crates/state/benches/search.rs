//! What a search costs among 200,000 devices and as many components, or as many as the first
//! argument says. Run with `cargo bench -p axle-state --bench search`.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a bench prints, and stops if it fails"
)]

use std::time::{Duration, Instant};

use axle_domain::port::{
    BatchRecord, ComponentRegistry, DeviceFilter, DeviceRegistry, FeedBatch, SearchIndex,
};
use axle_domain::{
    BatchId, ComponentFacts, DeviceFacts, DeviceId, FeedRecord, Installation, KindName, PlantName,
    SearchQuery, Serial, Timestamp,
};
use axle_state::SqliteState;

const NOW: Timestamp = Timestamp(1_790_000_000_000_000);
const BATCH: u64 = 1_500;
const NAMES: [&str; 8] =
    ["Paula", "Karl-Heinz", "Rotes Rad", "Mühle", "Nordwind", "Lotte", "Alter Schwede", ""];

/// A number that looks like none before it.
fn scattered(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 24
}

fn bike(number: u64) -> String {
    format!("BK-{:010}", scattered(number) % 10_000_000_000)
}

fn battery(number: u64) -> String {
    format!("BAT-{:010X}", scattered(number + 7_000_000_000))
}

fn records(number: u64) -> [FeedRecord; 3] {
    let device = DeviceId::parse(&bike(number)).unwrap();
    let serial = Serial::parse(&battery(number)).unwrap();
    let name = NAMES[usize::try_from(number % 8).unwrap()];
    [
        FeedRecord::Device(DeviceFacts {
            id: device.clone(),
            kind: KindName::parse("bike").unwrap(),
            name: Some(name.to_owned()),
            model: Some(format!("Cargo {}", number % 5)),
        }),
        FeedRecord::Component(ComponentFacts {
            serial: serial.clone(),
            kind: KindName::parse("battery").unwrap(),
            model: Some("PowerPack 500".to_owned()),
            produced_at: None,
            status: None,
        }),
        FeedRecord::Installation(Installation { serial, device, from: NOW, to: None }),
    ]
}

async fn fill(state: &SqliteState, count: u64) -> Duration {
    let mut slowest = Duration::ZERO;
    for from in (0..count).step_by(usize::try_from(BATCH / 3).unwrap()) {
        let numbers = from..(from + BATCH / 3).min(count);
        let records = numbers
            .flat_map(records)
            .map(|record| BatchRecord { original: String::new(), record: Ok(record) });
        let batch = FeedBatch {
            id: BatchId::parse(&format!("b-{from}")).unwrap(),
            plant: PlantName::parse("graz").unwrap(),
            key: from.to_string(),
            body_hash: String::new(),
            by: "bench".to_owned(),
            received_at: NOW,
            records: records.collect(),
            is_dry_run: false,
        };
        let started = Instant::now();
        state.accept_batch(batch).await.unwrap();
        slowest = slowest.max(started.elapsed());
    }
    slowest
}

fn quantiles(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |share: usize| times[(times.len() - 1) * share / 100].as_micros();
    format!("median {:>6} us   p99 {:>6} us   max {:>6} us", at(50), at(99), at(100))
}

/// Text to look for, made of a number, and what it stands for.
type Case = (&'static str, fn(u64) -> String);

fn swapped(text: &str) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    let middle = chars.len() / 2;
    chars.swap(middle, middle + 1);
    chars.into_iter().collect()
}

const CASES: [Case; 10] = [
    ("a whole id", bike),
    ("a serial without dashes, lower case", |n| battery(n).replace('-', "").to_lowercase()),
    ("a beginning", |n| bike(n).chars().take(9).collect()),
    ("six characters inside", |n| battery(n).chars().skip(6).take(6).collect()),
    ("two neighbors swapped", |n| swapped(&bike(n))),
    ("a wrong character inside a part", |n| {
        let mut part: String = battery(n).chars().skip(5).take(8).collect();
        part.replace_range(2..3, "Z");
        part
    }),
    ("a common beginning", |_| "BK-".to_owned()),
    ("a kind and a name", |n| format!("bike {}", NAMES[usize::try_from(n % 7).unwrap()])),
    ("a misspelt name", |_| "nordwnid".to_owned()),
    ("nothing of ours", |n| format!("qx{n}wv")),
];

async fn measure(state: &SqliteState, count: u64) {
    for (what, text) in CASES {
        let mut times = Vec::new();
        let mut hits = 0;
        for number in (0..count).step_by(usize::try_from(count / 200).unwrap().max(1)) {
            let query = SearchQuery::parse(&text(number)).unwrap();
            let started = Instant::now();
            hits += state.search(query, 20).await.unwrap().len();
            times.push(started.elapsed());
        }
        println!("{what:<38} {}   {} hits", quantiles(times), hits);
    }
    let mut times = Vec::new();
    for number in (0..count).step_by(usize::try_from(count / 200).unwrap().max(1)) {
        let search = bike(number).chars().skip(4).take(7).collect();
        let filter = DeviceFilter { search, after: None, limit: 100 };
        let started = Instant::now();
        assert!(!state.list_devices(filter).await.unwrap().is_empty());
        times.push(started.elapsed());
    }
    println!("{:<38} {}", "the list of devices, seven characters", quantiles(times));
}

fn main() {
    // `cargo bench` says `--bench`; `cargo test` builds this and runs it not at all.
    let count = std::env::args().skip(1).find_map(|argument| argument.parse().ok());
    let count: u64 = count.unwrap_or(200_000);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        let state = SqliteState::open(&path).unwrap();
        let started = Instant::now();
        let slowest = fill(&state, count).await;
        let seconds = started.elapsed().as_secs_f64();
        drop(state);
        let bytes = std::fs::metadata(&path).unwrap().len();
        println!(
            "{count} bikes with a battery each: {:.0} records/s, slowest batch of {BATCH}: {:.0} ms, \
             {} bytes a bike",
            count as f64 * 3.0 / seconds,
            slowest.as_secs_f64() * 1000.0,
            bytes / count
        );
        measure(&SqliteState::open(&path).unwrap(), count).await;
    });
}
