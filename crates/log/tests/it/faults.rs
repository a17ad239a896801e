//! Failing writes and syncs, full disks: what was acknowledged stays, nothing else is.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axle_domain::port::EventLog;
use axle_domain::{Error, Kind, Offset};
use axle_log::EmbeddedLog;
use axle_testkit::model::log::OwnedMessage;

use crate::disk::FaultyDisk;
use crate::{append_one_by_one, cold, open, read_around_damage, settings};

const PAYLOAD: usize = 40;

/// Appends one by one until something fails; gives what was acknowledged and the error.
async fn append_until_failure(log: &EmbeddedLog, count: u64) -> (u64, Option<Error>) {
    for number in 0..count {
        let appended = log.append(&OwnedMessage::numbered(number, PAYLOAD).borrow());
        let outcome = match appended {
            Ok(offset) => log.durable(offset).await,
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            return (number, Some(error));
        }
    }
    (count, None)
}

/// Lets one operation fail and checks that nothing after it counts and nothing before it is lost.
async fn survives(arm: impl Fn(&FaultyDisk)) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::default();
    arm(&disk);
    let log = match EmbeddedLog::open_on(Arc::new(disk.clone()), dir.path(), settings(700)) {
        Ok((log, _recovery)) => log,
        Err(error) => {
            assert_eq!(error.kind, Kind::Unavailable);
            drop(open(dir.path(), settings(700)));
            return true;
        }
    };
    let (acknowledged, error) = append_until_failure(&log, 40).await;
    if let Some(error) = &error {
        assert_eq!((error.kind, error.code), (Kind::Unavailable, "log.failed"), "{error}");
        assert!(error.message.contains("injected"), "it says why: {error}");
        assert!(error.message.contains(".axlelog"), "it says where: {error}");
        let syncs = disk.0.syncs.load(Ordering::SeqCst);
        let again = log.append(&OwnedMessage::numbered(0, 1).borrow()).unwrap_err();
        assert_eq!(again.code, "log.failed");
        assert_eq!(log.bounds().durable, Offset(acknowledged));
        assert_eq!(read_around_damage(&log, PAYLOAD).await.len() as u64, acknowledged);
        log.close().await;
        assert_eq!(disk.0.syncs.load(Ordering::SeqCst), syncs, "no sync after a failed one");
    }
    drop(log);
    let (log, recovery) = open(dir.path(), cold(700));
    assert!(recovery.next >= Offset(acknowledged), "{recovery:?}");
    assert_eq!(recovery.was_in_doubt, error.is_some());
    let next = recovery.next.0;
    append_one_by_one(&log, next..next + 3, PAYLOAD).await;
    assert_eq!(read_around_damage(&log, PAYLOAD).await, (0..next + 3).collect::<Vec<u64>>());
    drop(log);
    assert!(!open(dir.path(), cold(700)).1.was_in_doubt, "the doubt is settled");
    error.is_some()
}

#[tokio::test]
async fn a_failed_sync_at_any_place_costs_nothing_that_was_acknowledged() {
    let mut failures = 0;
    for k in 1..=60 {
        failures +=
            u32::from(survives(|disk| disk.0.sync_fails_at.store(k, Ordering::SeqCst)).await);
    }
    assert!(failures >= 40, "{failures} of the armed faults hit");
}

#[tokio::test]
async fn a_failed_write_at_any_place_costs_nothing_that_was_acknowledged() {
    let mut failures = 0;
    for k in 1..=60 {
        failures +=
            u32::from(survives(|disk| disk.0.write_fails_at.store(k, Ordering::SeqCst)).await);
    }
    assert!(failures >= 40, "{failures} of the armed faults hit");
}

#[tokio::test]
async fn short_and_interrupted_writes_are_continued() {
    let is_failure = survives(|disk| disk.0.is_short.store(true, Ordering::SeqCst)).await;
    assert!(!is_failure);
}

/// A disk that is full for a while stops the log and loses nothing.
async fn waits_while_full(fills_when_writing: bool) {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::default();
    disk.0.fills_when_writing.store(fills_when_writing, Ordering::SeqCst);
    let (log, _recovery) =
        EmbeddedLog::open_on(Arc::new(disk.clone()), dir.path(), settings(700)).unwrap();
    append_one_by_one(&log, 0..3, PAYLOAD).await;
    disk.0.is_full.store(true, Ordering::SeqCst);
    let mut taken = 3;
    let error = loop {
        match log.append(&OwnedMessage::numbered(taken, PAYLOAD).borrow()) {
            Ok(offset) => assert_eq!(offset, Offset(taken)),
            Err(error) => break error,
        }
        taken += 1;
        tokio::task::yield_now().await;
        std::thread::yield_now();
    };
    assert_eq!((error.kind, error.code), (Kind::Unavailable, "log.disk_full"));
    assert!(error.retry_after.is_some());
    assert!(log.figures().is_full);
    disk.0.is_full.store(false, Ordering::SeqCst);
    log.room().await;
    log.durable(Offset(taken - 1)).await.unwrap();
    assert!(!log.figures().is_full);
    append_one_by_one(&log, taken..taken + 5, PAYLOAD).await;
    drop(log);
    let (log, _recovery) = open(dir.path(), cold(700));
    assert_eq!(read_around_damage(&log, PAYLOAD).await, (0..taken + 5).collect::<Vec<u64>>());
}

#[tokio::test]
async fn a_full_disk_stops_the_log_until_there_is_room() {
    waits_while_full(false).await;
}

#[tokio::test]
async fn a_disk_that_fills_while_writing_stops_the_log_until_there_is_room() {
    waits_while_full(true).await;
}

#[tokio::test]
async fn closing_on_a_full_disk_ends_and_says_what_is_not_durable() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::default();
    let (log, _recovery) =
        EmbeddedLog::open_on(Arc::new(disk.clone()), dir.path(), settings(700)).unwrap();
    append_one_by_one(&log, 0..3, PAYLOAD).await;
    disk.0.is_full.store(true, Ordering::SeqCst);
    let message = OwnedMessage::numbered(3, 5000);
    let offset = log.append(&message.borrow()).unwrap();
    log.close().await;
    assert_eq!(log.durable(offset).await.unwrap_err().kind, Kind::Unavailable);
    assert_eq!(log.bounds().durable, Offset(3));
}

#[tokio::test]
async fn one_sync_makes_everything_durable_that_arrived_during_the_one_before() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::default();
    let (log, _recovery) =
        EmbeddedLog::open_on(Arc::new(disk.clone()), dir.path(), settings(1 << 20)).unwrap();
    disk.0.hold();
    for number in 0..1000 {
        log.append(&OwnedMessage::numbered(number, PAYLOAD).borrow()).unwrap();
    }
    let before = disk.0.syncs.load(Ordering::SeqCst);
    disk.0.release();
    log.durable(Offset(999)).await.unwrap();
    assert!(disk.0.syncs.load(Ordering::SeqCst) - before <= 2);
}
