//! Integration tests of the log: its contract, what it survives, its format.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test panics where it fails"
)]

mod conformance;
mod crash;
mod disk;
mod faults;
mod format;
mod model;
mod outside;
mod recovery;
mod retention;

use std::path::Path;
use std::time::Duration;

use axle_domain::Offset;
use axle_domain::port::EventLog;
use axle_log::{EmbeddedLog, LogSettings, Recovery, Retention};
use axle_testkit::model::log::OwnedMessage;

/// Small segments, so that a few records fill several.
fn settings(segment_bytes: u64) -> LogSettings {
    LogSettings { segment_bytes, ..LogSettings::default() }
}

/// Small segments, no memory of the newest commits: every read goes to the disk.
fn cold(segment_bytes: u64) -> LogSettings {
    LogSettings { tail_bytes: 0, ..settings(segment_bytes) }
}

/// Deletes everything that it may.
fn greedy(segment_bytes: u64) -> LogSettings {
    let retention = Retention { age_max: Duration::MAX, bytes_max: 0 };
    LogSettings { retention, ..settings(segment_bytes) }
}

fn open(dir: &Path, settings: LogSettings) -> (EmbeddedLog, Recovery) {
    EmbeddedLog::open(dir, settings).unwrap()
}

/// Appends numbered messages, each in a commit of its own.
async fn append_one_by_one(log: &dyn EventLog, numbers: std::ops::Range<u64>, bytes: usize) {
    for number in numbers {
        let offset = log.append(&OwnedMessage::numbered(number, bytes).borrow()).unwrap();
        assert_eq!(offset, Offset(number));
        log.durable(offset).await.unwrap();
    }
}

/// The segment files of a folder, oldest first.
fn segments(dir: &Path) -> Vec<std::path::PathBuf> {
    let paths = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|end| end == "axlelog")).collect();
    paths.sort();
    paths
}

/// A copy of a log's folder, as a crash of the process at this moment would leave it.
fn copy(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    copy
}

/// Reads everything, stepping over damage; gives the numbers that were read and checks each.
async fn read_around_damage(log: &dyn EventLog, bytes: usize) -> Vec<u64> {
    let mut from = log.bounds().first;
    let mut numbers = Vec::new();
    while from < log.bounds().durable {
        match log.read(from, 100_000).await {
            Ok(records) => {
                for record in records {
                    assert_eq!(record.offset, from);
                    let message = OwnedMessage::of(&record);
                    assert_eq!(message, OwnedMessage::numbered(from.0, bytes), "served as written");
                    numbers.push(from.0);
                    from = from.next();
                }
            }
            Err(error) => {
                assert_eq!((error.kind, error.code), (axle_domain::Kind::Corrupt, "log.damaged"));
                let (next_good, asked) = error.limit.unwrap();
                assert!(error.message.contains(&next_good.to_string()), "{error}");
                assert_eq!(asked, from.0);
                assert!(next_good > from.0);
                from = Offset(next_good);
            }
        }
    }
    numbers
}
