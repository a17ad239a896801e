//! What is deleted and what is not.

use std::time::Duration;

use axle_domain::port::EventLog;
use axle_domain::{Kind, Offset};
use axle_log::{EmbeddedLog, LogSettings, Retention};

use crate::{append_one_by_one, cold, greedy, open, read_around_damage, segments, settings};

const PAYLOAD: usize = 40;

#[tokio::test]
async fn nothing_is_deleted_that_was_not_released() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _recovery) = open(dir.path(), greedy(1000));
    append_one_by_one(&log, 0..100, PAYLOAD).await;
    assert_eq!(log.bounds().first, Offset(0));
    assert_eq!(read_around_damage(&log, PAYLOAD).await.len(), 100);
}

/// Waits until the writer has looked: it deletes before it makes the next record durable.
async fn settle(log: &EmbeddedLog) {
    let next = log.bounds().appended.0;
    append_one_by_one(log, next..next + 2, PAYLOAD).await;
}

#[tokio::test]
async fn whole_segments_go_when_they_are_released_and_over_the_bound() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _recovery) = open(dir.path(), greedy(1000));
    append_one_by_one(&log, 0..100, PAYLOAD).await;
    let before = (segments(dir.path()).len(), log.bounds().bytes);
    log.release(Offset(50));
    settle(&log).await;
    let first = log.bounds().first;
    assert!(first > Offset(30) && first <= Offset(50), "{first}");
    let after = (segments(dir.path()).len(), log.bounds().bytes);
    assert!(after.0 < before.0 && after.1 < before.1, "{before:?} {after:?}");
    let error = log.read(Offset(0), 1000).await.unwrap_err();
    assert_eq!((error.kind, error.code), (Kind::NotFound, "log.offset_expired"));
    assert!(error.message.contains(&first.to_string()), "{error}");
    let left = read_around_damage(&log, PAYLOAD).await;
    assert_eq!(left, (first.0..102).collect::<Vec<u64>>());
    drop(log);
    let (log, recovery) = open(dir.path(), cold(1000));
    assert_eq!((recovery.first, recovery.next), (first, Offset(102)));
    assert_eq!(read_around_damage(&log, PAYLOAD).await, left);
}

#[tokio::test]
async fn released_segments_stay_while_they_are_young_and_few() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _recovery) = open(dir.path(), settings(1000));
    append_one_by_one(&log, 0..100, PAYLOAD).await;
    log.release(Offset(100));
    settle(&log).await;
    assert_eq!(log.bounds().first, Offset(0));
}

#[tokio::test]
async fn released_segments_go_when_they_are_old() {
    let dir = tempfile::tempdir().unwrap();
    // A numbered message is a microsecond younger than the one before.
    let retention = Retention { age_max: Duration::from_micros(50), bytes_max: u64::MAX };
    let aging = LogSettings { retention, ..settings(1000) };
    let (log, _recovery) = open(dir.path(), aging.clone());
    append_one_by_one(&log, 0..100, PAYLOAD).await;
    log.release(Offset(100));
    settle(&log).await;
    let first = log.bounds().first;
    assert!(first > Offset(35) && first <= Offset(51), "{first}");
    drop(log);
    // What the age is measured by is found again after a restart.
    let (log, _recovery) = open(dir.path(), aging);
    append_one_by_one(&log, 102..130, PAYLOAD).await;
    log.release(Offset(120));
    append_one_by_one(&log, 130..132, PAYLOAD).await;
    assert!(log.bounds().first > Offset(70), "{}", log.bounds().first);
}

#[tokio::test]
async fn the_last_segment_always_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _recovery) = open(dir.path(), greedy(100));
    append_one_by_one(&log, 0..10, PAYLOAD).await;
    log.release(Offset(u64::MAX));
    settle(&log).await;
    settle(&log).await;
    assert!(!segments(dir.path()).is_empty());
    drop(log);
    assert_eq!(open(dir.path(), greedy(100)).1.next, Offset(14));
}
