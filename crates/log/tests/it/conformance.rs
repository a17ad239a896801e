//! Both logs keep the contract, clause by clause.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axle_log::{EmbeddedLog, MemoryLog};
use axle_testkit::conformance::event_log as suite;

use crate::disk::FaultyDisk;
use crate::{cold, greedy, open, settings};

macro_rules! both {
    ($($clause:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test]
            async fn $clause() {
                super::suite::$clause(&super::MemoryLog::new()).await;
            })*
        }
        mod embedded {
            $(#[tokio::test]
            async fn $clause() {
                let dir = tempfile::tempdir().unwrap();
                let (log, _recovery) = super::open(dir.path(), super::settings(10_000));
                super::suite::$clause(&log).await;
            })*
        }
        mod embedded_reading_from_disk {
            $(#[tokio::test]
            async fn $clause() {
                let dir = tempfile::tempdir().unwrap();
                let (log, _recovery) = super::open(dir.path(), super::cold(10_000));
                super::suite::$clause(&log).await;
            })*
        }
        mod embedded_deleting_all_it_may {
            $(#[tokio::test]
            async fn $clause() {
                let dir = tempfile::tempdir().unwrap();
                let (log, _recovery) = super::open(dir.path(), super::greedy(10_000));
                super::suite::$clause(&log).await;
            })*
        }
    };
}

both!(
    offsets_are_dense_and_in_order,
    reads_in_order_byte_for_byte_as_appended,
    reading_past_the_end_is_empty,
    a_record_over_the_limit_is_too_large,
    dropping_a_future_changes_nothing,
    durable_waits_for_a_record_to_come,
    nothing_from_the_released_offset_on_is_deleted,
    closing_syncs_and_refuses,
);

fn held(dir: &std::path::Path) -> (EmbeddedLog, FaultyDisk) {
    let disk = FaultyDisk::default();
    let (log, _recovery) =
        EmbeddedLog::open_on(Arc::new(disk.clone()), dir, settings(200_000_000)).unwrap();
    disk.0.hold();
    (log, disk)
}

#[tokio::test]
async fn memory_reads_durable_records_alone() {
    let log = MemoryLog::new();
    log.hold();
    suite::reads_durable_records_alone(&log, || log.commit()).await;
}

#[tokio::test]
async fn embedded_reads_durable_records_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (log, disk) = held(dir.path());
    suite::reads_durable_records_alone(&log, || disk.0.release()).await;
}

#[tokio::test]
async fn memory_is_busy_beyond_the_bound_until_there_is_room() {
    let log = MemoryLog::new();
    log.hold();
    suite::beyond_the_bound_append_is_busy_until_there_is_room(&log, || log.commit()).await;
}

#[tokio::test]
async fn embedded_is_busy_beyond_the_bound_until_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let (log, disk) = held(dir.path());
    let release = || disk.0.release();
    suite::beyond_the_bound_append_is_busy_until_there_is_room(&log, release).await;
}

#[tokio::test]
async fn memory_after_doubt_nothing_more_is_durable() {
    let log = MemoryLog::new();
    suite::after_doubt_nothing_more_is_durable(&log, || log.fail()).await;
}

#[tokio::test]
async fn embedded_after_doubt_nothing_more_is_durable() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::default();
    let (log, _recovery) =
        EmbeddedLog::open_on(Arc::new(disk.clone()), dir.path(), settings(10_000)).unwrap();
    let fail = || {
        let next = disk.0.syncs.load(Ordering::SeqCst) + 1;
        disk.0.sync_fails_at.store(next, Ordering::SeqCst);
    };
    suite::after_doubt_nothing_more_is_durable(&log, fail).await;
}

#[tokio::test]
async fn durable_records_survive_a_restart() {
    for settings in [settings(10_000), cold(10_000), settings(1 << 20), settings(1)] {
        let dir = tempfile::tempdir().unwrap();
        let (log, _recovery) = open(dir.path(), settings.clone());
        let reopen = |log: EmbeddedLog| {
            drop(log);
            open(dir.path(), settings.clone()).0
        };
        suite::durable_records_survive(log, reopen).await;
    }
}

#[tokio::test]
async fn durable_records_survive_the_death_of_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _recovery) = open(dir.path(), settings(10_000));
    let mut copied = None;
    suite::durable_records_survive(log, |log| {
        let copy = copied.insert(crate::copy(dir.path()));
        drop(log);
        open(copy.path(), settings(10_000)).0
    })
    .await;
}

#[tokio::test]
async fn a_deleting_log_really_deletes() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _recovery) = open(dir.path(), greedy(1000));
    suite::nothing_from_the_released_offset_on_is_deleted(&log).await;
    drop(log);
    assert!(crate::segments(dir.path()).len() < 65, "about 60 hold what was not released");
}
