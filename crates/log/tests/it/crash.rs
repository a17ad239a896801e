//! The power is cut before any operation: what was acknowledged is there, in order, as written.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axle_domain::Offset;
use axle_domain::port::EventLog;
use axle_log::EmbeddedLog;
use axle_testkit::model::log::OwnedMessage;

use crate::disk::PowerDisk;
use crate::{append_one_by_one, cold, read_around_damage};

const PAYLOAD: usize = 200;
const ROUNDS: u64 = 240;

/// Appends in bursts, and notes what was acknowledged.
async fn append_in_bursts(log: &EmbeddedLog, acknowledged: &AtomicU64) {
    let mut number = 0;
    for burst in 0..40_u64 {
        let mut last = Offset(0);
        for _ in 0..1 + burst % 11 {
            last = log.append(&OwnedMessage::numbered(number, PAYLOAD).borrow()).unwrap();
            number += 1;
        }
        log.durable(last).await.unwrap();
        acknowledged.store(number, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_whenever_the_power_is_cut() {
    let (mut torn, mut isolated, mut early) = (0, 0, 0);
    for seed in 1..=ROUNDS {
        println!("seed {seed}");
        let dir = tempfile::tempdir().unwrap();
        let acknowledged = Arc::new(AtomicU64::new(0));
        // The segments' size decides which operations there are; two rounds cut at each place.
        let settings = cold(if seed % 2 == 0 { 2000 } else { 100_000 });
        let disk = PowerDisk::cut_at(seed.div_ceil(2), seed, Arc::clone(&acknowledged));
        let (log, _recovery) =
            EmbeddedLog::open_on(Arc::new(disk.clone()), dir.path(), settings.clone()).unwrap();
        append_in_bursts(&log, &acknowledged).await;
        drop(log);
        let Some((left, promised)) = disk.left() else { continue };
        if promised == 0 {
            // Before the first acknowledgement the log itself may not be there yet.
            std::fs::remove_file(dir.path().join("lock")).unwrap();
            early += 1;
        }
        let (log, recovery) =
            EmbeddedLog::open_on(Arc::new(left.clone()), dir.path(), settings.clone()).unwrap();
        assert!(recovery.next >= Offset(promised), "{promised} promised, {recovery:?}");
        let seen = read_around_damage(&log, PAYLOAD).await;
        assert!(
            (0..promised).all(|number| seen.binary_search(&number).is_ok()),
            "{promised} promised, {seen:?} left, {recovery:?}"
        );
        torn += u64::from(recovery.torn_bytes > 0);
        isolated += recovery.damaged.len();
        let next = recovery.next.0;
        append_one_by_one(&log, next..next + 10, PAYLOAD).await;
        drop(log);
        let (log, again) = EmbeddedLog::open_on(Arc::new(left), dir.path(), settings).unwrap();
        assert_eq!((again.next, again.torn_bytes), (Offset(next + 10), 0));
        assert_eq!(read_around_damage(&log, PAYLOAD).await.len(), seen.len() + 10);
    }
    println!("{torn} torn, {isolated} isolated, {early} early in {ROUNDS} rounds");
    assert!(torn > 5 && isolated > 0, "the cuts hit commits under way");
}
