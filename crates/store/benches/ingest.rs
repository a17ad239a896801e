//! Rows per second through `write` and `flush`, bytes per value on disk, and how long questions
//! take. `cargo bench -p axle-store --bench ingest`; figures go to stdout. `AXLE_BENCH_ROWS` says how
//! many rows (12 million), `AXLE_BENCH_ONLY=size` leaves out the questions and the merges.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a measurement, not a product"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use axle_domain::port::{AnswerFormat, Query, QueryLimits, TelemetryStore, Visibility};
use axle_domain::{Offset, Row, RowBatch, Schemas, StreamSchema, TimeQuality, Timestamp, Value};
use axle_store::{ColumnarStore, StoreSettings};

const START: i64 = 1_795_176_000_000_000;
const DEVICES: u64 = 2000;
const SOCKETS: u64 = 11;

/// Numbers that look like chance and are the same every time.
struct Chance(u64);

impl Chance {
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

fn cpu() -> Duration {
    // Ticks of 10 ms, user and system, of all threads.
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

/// One message per device and second: eleven sockets, watts that wander.
fn energy(schema: &Arc<StreamSchema>, messages: u64) -> Vec<RowBatch> {
    let mut chance = Chance(42);
    let mut watts: Vec<i64> = (0..DEVICES * SOCKETS).map(|_| chance.next(20_000) as i64).collect();
    let names: Vec<String> = (0..SOCKETS).map(|n| format!("appliance {n}")).collect();
    let mut batches = Vec::new();
    let mut batch = RowBatch::new(Arc::clone(schema));
    for message in 0..messages {
        let device = message % DEVICES;
        let name = format!("household-{device:05}");
        let second = (message / DEVICES) as i64;
        let time = START + second * 1_000_000 + (device % 1000) as i64 * 1000;
        let received = time + 20_000 + chance.next(50_000) as i64;
        for socket in 0..SOCKETS {
            let index = (device * SOCKETS + socket) as usize;
            watts[index] = (watts[index] + chance.next(21) as i64 - 10).max(0);
            let socket_name = format!("s-{device:05}-{socket:02}");
            batch.push(&Row {
                schema,
                device: &name,
                time: Timestamp(time),
                time_claimed: Timestamp(time),
                received_at: Timestamp(received),
                quality: TimeQuality::Trusted,
                keys: &[&socket_name, &names[socket as usize]],
                values: &[Some(Value::Float(watts[index] as f64 / 10.0))],
                extra: None,
            });
        }
        // What a projection hands over at a time.
        if batch.len() >= 8000 {
            batches.push(std::mem::replace(&mut batch, RowBatch::new(Arc::clone(schema))));
        }
    }
    batches.push(batch);
    batches
}

/// Bikes that ride: ten fields that wander.
fn ride(schema: &Arc<StreamSchema>, rows: u64) -> Vec<RowBatch> {
    let mut chance = Chance(7);
    let scales = [6, 6, 2, 1, 1, 1, 1, 0, 3, 2];
    let steps = [40, 60, 80, 4, 2, 200, 20, 3, 7, 3];
    let mut state: Vec<[i64; 10]> =
        vec![[52_520_008, 13_404_954, 2000, 340, 900, 1200, 700, 120, 12_345_678, 2100]; 2000];
    let mut batches = Vec::new();
    let mut batch = RowBatch::new(Arc::clone(schema));
    for row in 0..rows {
        let device = (row % DEVICES) as usize;
        let time = START + (row / DEVICES) as i64 * 1_000_000;
        let values: Vec<Option<Value<'_>>> = (0..10)
            .map(|field| {
                let step = chance.next(2 * steps[field] + 1) as i64 - steps[field] as i64;
                let value = &mut state[device][field];
                *value += if field == 8 { step.abs() } else { step };
                Some(Value::Float(*value as f64 / 10_f64.powi(scales[field])))
            })
            .collect();
        let name = format!("bike-{device:05}");
        batch.push(&Row {
            schema,
            device: &name,
            time: Timestamp(time),
            time_claimed: Timestamp(time),
            received_at: Timestamp(time + 20_000 + chance.next(50_000) as i64),
            quality: TimeQuality::Trusted,
            keys: &[],
            values: &values,
            extra: None,
        });
        if batch.len() >= 8000 {
            batches.push(std::mem::replace(&mut batch, RowBatch::new(Arc::clone(schema))));
        }
    }
    batches.push(batch);
    batches
}

fn open(folder: &std::path::Path, settings: StoreSettings) -> Arc<ColumnarStore> {
    ColumnarStore::open(folder, Schemas::builtin(), settings).unwrap()
}

async fn ingest(name: &str, fields: u64, batches: Vec<RowBatch>, merge_files: usize) {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), StoreSettings { merge_files, ..StoreSettings::default() });
    let rows: u64 = batches.iter().map(|batch| batch.len() as u64).sum();
    let (start, busy) = (Instant::now(), cpu());
    let mut written = Duration::ZERO;
    for (record, batch) in (1_u64..).zip(batches) {
        let before = Instant::now();
        store.write(vec![batch], Offset(record)).await.unwrap();
        written += before.elapsed();
    }
    store.flush().await.unwrap();
    let (elapsed, busy) = (start.elapsed(), cpu().checked_sub(busy).unwrap());
    let figures = store.figures();
    let per_second = |time: Duration| rows as f64 / time.as_secs_f64() / 1e6;
    println!(
        "{name}: {rows} rows, {:.2} M rows/s by the clock, {:.2} M rows per CPU-second, in write {written:?}, \
         {} files, {:.2} bytes/row, {:.2} bytes/value",
        per_second(elapsed),
        per_second(busy),
        figures.files,
        figures.file_bytes as f64 / rows as f64,
        figures.file_bytes as f64 / (rows * fields) as f64,
    );
    store.close().await.unwrap();
}

async fn time_of(store: &ColumnarStore, what: &str, sql: &str) {
    let mut times: Vec<Duration> = Vec::new();
    for _ in 0..15 {
        let query = Query {
            sql: sql.to_owned(),
            visibility: Visibility::All,
            limits: QueryLimits { time: Duration::from_secs(60), ..QueryLimits::default() },
            format: AnswerFormat::Table,
        };
        let start = Instant::now();
        store.query(query).await.unwrap();
        times.push(start.elapsed());
    }
    times.sort();
    println!("  {what}: median {:?}, worst {:?}", times[times.len() / 2], times[times.len() - 1]);
}

async fn questions() {
    let schema = Arc::clone(Schemas::builtin().find("energy").unwrap());
    let batches = energy(&schema, 2_000_000 / SOCKETS);
    let folder = tempfile::tempdir().unwrap();
    let settings = StoreSettings {
        flush_rows: 10_000_000,
        memory_rows_max: 20_000_000,
        memory_bytes: 4 << 30,
        ..StoreSettings::default()
    };
    let store = open(folder.path(), settings);
    for batch in batches.clone() {
        store.write(vec![batch], Offset(1)).await.unwrap();
    }
    for place in ["memory", "one file", "one file and as much memory again"] {
        println!("2 million rows in {place}");
        let one = "SELECT * FROM energy WHERE device = 'household-00777'";
        time_of(&store, "one device", one).await;
        let hour = "SELECT time, watts FROM energy WHERE device = 'household-00777' AND time >= '2026-11-20T12:00:30Z'";
        time_of(&store, "one device, part of the time", hour).await;
        let all = "SELECT count(*), avg(watts) FROM energy";
        time_of(&store, "all rows", all).await;
        store.flush().await.unwrap();
        if place == "one file" {
            for batch in batches.clone() {
                store.write(vec![batch], Offset(1)).await.unwrap();
            }
        }
    }
    store.close().await.unwrap();
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let schema = |name: &str| Arc::clone(Schemas::builtin().find(name).unwrap());
    let rows: u64 =
        std::env::var("AXLE_BENCH_ROWS").map_or(12_000_000, |rows| rows.parse().unwrap());
    let is_size_alone = std::env::var("AXLE_BENCH_ONLY").is_ok_and(|only| only == "size");
    runtime.block_on(async {
        let batches = energy(&schema("energy"), rows / SOCKETS);
        ingest("energy, no merges", 1, batches.clone(), usize::MAX).await;
        ingest("ride, no merges", 10, ride(&schema("ride"), rows / 3), usize::MAX).await;
        if !is_size_alone {
            ingest("energy, merges of 4", 1, batches, 4).await;
            questions().await;
        }
    });
}
