//! The power is cut at any moment: what was acknowledged is there, in order, as written.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use axle_domain::Offset;
use axle_domain::port::EventLog;
use axle_log::EmbeddedLog;
use axle_testkit::model::log::OwnedMessage;

use crate::disk::PowerDisk;
use crate::{append_one_by_one, cold, read_around_damage};

const PAYLOAD: usize = 200;
const ROUNDS: u64 = 60;

fn chances(seed: u64) -> impl FnMut() -> bool {
    let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random & 1024 == 0
    }
}

/// Appends in bursts until told to stop; notes what was acknowledged.
async fn append_in_bursts(log: &EmbeddedLog, acknowledged: &AtomicU64, is_over: &AtomicBool) {
    let mut number = log.bounds().appended.0;
    while !is_over.load(Ordering::SeqCst) {
        let mut last = Offset(0);
        for _ in 0..1 + number % 7 {
            last = log.append(&OwnedMessage::numbered(number, PAYLOAD).borrow()).unwrap();
            number += 1;
        }
        log.durable(last).await.unwrap();
        acknowledged.store(number, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_whenever_the_power_is_cut() {
    let mut torn = 0;
    let mut isolated = 0;
    for seed in 0..ROUNDS {
        println!("seed {seed}");
        let dir = tempfile::tempdir().unwrap();
        let disk = PowerDisk::default();
        let settings = cold(if seed % 3 == 0 { 2000 } else { 100_000 });
        let (log, _recovery) =
            EmbeddedLog::open_on(Arc::new(disk.clone()), dir.path(), settings.clone()).unwrap();
        let log = Arc::new(log);
        let acknowledged = Arc::new(AtomicU64::new(0));
        let is_over = Arc::new(AtomicBool::new(false));
        let appender = tokio::spawn({
            let (log, acknowledged, is_over) =
                (Arc::clone(&log), Arc::clone(&acknowledged), Arc::clone(&is_over));
            async move { append_in_bursts(&log, &acknowledged, &is_over).await }
        });
        log.durable(Offset(30 + seed)).await.unwrap();
        // First what was promised, then what is left: the promise must hold at any later moment.
        let promised = acknowledged.load(Ordering::SeqCst);
        let left = disk.cut(chances(seed));
        is_over.store(true, Ordering::SeqCst);
        appender.await.unwrap();
        drop(log);

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
    println!("{torn} torn, {isolated} isolated in {ROUNDS} rounds");
}
