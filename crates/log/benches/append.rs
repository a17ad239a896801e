//! How many messages a second become durable, and how fast they are read again.
//!
//! `cargo bench -p axle-log`; with `-- append` only the first half.

#![allow(missing_docs, reason = "criterion's macros write the entry points")]
#![allow(clippy::unwrap_used, reason = "a bench panics where it fails")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axle_domain::Offset;
use axle_domain::port::EventLog;
use axle_log::{EmbeddedLog, LogSettings};
use axle_testkit::model::log::OwnedMessage;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tokio::runtime::Runtime;

const PAYLOAD_BYTES: usize = 470;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn open(dir: &Path, settings: LogSettings) -> Arc<EmbeddedLog> {
    Arc::new(EmbeddedLog::open(dir, settings).unwrap().0)
}

/// Each task appends `window` messages, waits for the last, and so on.
async fn append(log: &Arc<EmbeddedLog>, tasks: u64, window: u64, each: u64) {
    let mut running = tokio::task::JoinSet::new();
    for task in 0..tasks {
        let log = Arc::clone(log);
        running.spawn(async move {
            let message = OwnedMessage::numbered(task, PAYLOAD_BYTES);
            let mut left = each;
            while left > 0 {
                let mut last = Offset(0);
                for _ in 0..window.min(left) {
                    last = loop {
                        match log.append(&message.borrow()) {
                            Ok(offset) => break offset,
                            Err(error) => assert!(error.kind.is_retryable(), "{error}"),
                        }
                        log.room().await;
                    };
                }
                left -= window.min(left);
                log.durable(last).await.unwrap();
            }
        });
    }
    running.join_all().await;
}

fn appending(criterion: &mut Criterion) {
    let runtime = runtime();
    let mut group = criterion.benchmark_group("append");
    group.throughput(Throughput::Elements(1)).sample_size(10);
    group.measurement_time(Duration::from_secs(8));
    for (tasks, window) in [(1, 1), (100, 1), (500, 1), (2000, 1), (100, 50), (500, 20)] {
        for linger in [0, 1] {
            let linger = Duration::from_millis(linger);
            let name = format!("{tasks} x window {window}");
            group.bench_function(BenchmarkId::new(name, format!("linger {linger:?}")), |bench| {
                let dir = tempfile::tempdir().unwrap();
                let retention =
                    axle_log::Retention { bytes_max: 1 << 30, ..axle_log::Retention::default() };
                let settings = LogSettings { linger, retention, ..LogSettings::default() };
                let log = open(dir.path(), settings);
                bench.iter_custom(|count| {
                    let each = count.div_ceil(tasks);
                    let begin = Instant::now();
                    runtime.block_on(append(&log, tasks, window, each));
                    let done = begin.elapsed();
                    log.release(log.bounds().durable);
                    // Criterion thinks that `count` were done.
                    done.mul_f64(count as f64 / (each * tasks) as f64)
                });
            });
        }
    }
    group.finish();
}

async fn read(log: &EmbeddedLog, count: u64) -> u64 {
    let mut from = log.bounds().first;
    let mut done = 0;
    while done < count {
        let records = log.read(from, 1 << 20).await.unwrap();
        done += records.len() as u64;
        from = records.last().map_or(Offset(0), |last| last.offset.next());
        std::hint::black_box(records);
    }
    done
}

fn reading(criterion: &mut Criterion) {
    let runtime = runtime();
    let mut group = criterion.benchmark_group("read");
    group.throughput(Throughput::Elements(50_000)).sample_size(10);
    for (name, tail_bytes) in [("from memory", 64 << 20), ("from files", 0)] {
        let dir = tempfile::tempdir().unwrap();
        let log = open(dir.path(), LogSettings { tail_bytes, ..LogSettings::default() });
        runtime.block_on(append(&log, 1, 1000, 50_000));
        group.bench_function(name, |bench| {
            bench.iter(|| runtime.block_on(read(&log, 50_000)));
        });
    }
    group.finish();
}

/// From a log of one gibibyte to its next durable record.
fn opening(criterion: &mut Criterion) {
    let runtime = runtime();
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), LogSettings::default());
    let each = (1 << 30) / (PAYLOAD_BYTES as u64 + 70) / 100;
    runtime.block_on(append(&log, 100, 100, each));
    drop(log);
    let mut group = criterion.benchmark_group("open");
    group.sample_size(10);
    group.bench_function("1 GiB to the next durable record", |bench| {
        bench.iter(|| {
            let log = open(dir.path(), LogSettings::default());
            runtime.block_on(append(&log, 1, 1, 1));
        });
    });
    group.finish();
}

criterion_group!(benches, appending, reading, opening);
criterion_main!(benches);
