//! The contract of [`EventLog`], clause by clause. Every function wants an empty log.

use std::time::Duration;

use axle_domain::port::{EventLog, Record};
use axle_domain::{Kind, Message, Offset, limit};

use crate::model::log::OwnedMessage;

/// Longer than any of these waits takes; only a broken log ever waits so long.
const PATIENCE: Duration = Duration::from_secs(30);

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("the log answers in time")
}

/// Appends numbered messages and waits until they are durable.
async fn fill(log: &dyn EventLog, numbers: std::ops::Range<u64>) -> Vec<OwnedMessage> {
    let messages: Vec<OwnedMessage> =
        numbers.map(|number| OwnedMessage::numbered(number, 100)).collect();
    let mut last = None;
    for message in &messages {
        last = Some(log.append(&message.borrow()).unwrap());
    }
    if let Some(last) = last {
        soon(log.durable(last)).await.unwrap();
    }
    messages
}

/// Everything from an offset on, read in steps of about `bytes_max`.
///
/// # Panics
/// When a read fails.
pub async fn read_all(log: &dyn EventLog, mut from: Offset, bytes_max: usize) -> Vec<Record> {
    let mut all = Vec::new();
    loop {
        let records = soon(log.read(from, bytes_max)).await.unwrap();
        let Some(last) = records.last() else { return all };
        from = last.offset.next();
        all.extend(records);
    }
}

/// Clause 1.
pub async fn offsets_are_dense_and_in_order(log: &dyn EventLog) {
    assert_eq!(log.bounds().appended, Offset(0));
    for number in 0..1000 {
        let message = OwnedMessage::numbered(number, 50);
        assert_eq!(log.append(&message.borrow()).unwrap(), Offset(number));
    }
    assert_eq!(log.bounds().appended, Offset(1000));
    soon(log.durable(Offset(999))).await.unwrap();
    assert_eq!(log.bounds().durable, Offset(1000));
}

/// Clause 2: after `durable`, a log that was opened anew holds the record and all before it.
pub async fn durable_records_survive<L: EventLog>(log: L, reopen: impl FnOnce(L) -> L) {
    let messages = fill(&log, 0..500).await;
    let log = reopen(log);
    let records = read_all(&log, Offset(0), 10_000).await;
    assert!(records.len() >= messages.len());
    for (message, record) in messages.iter().zip(&records) {
        assert_eq!(&OwnedMessage::of(record), message);
    }
    let next = log.append(&OwnedMessage::numbered(500, 9).borrow()).unwrap();
    assert_eq!(next, Offset(500), "offsets go on without a gap");
}

/// Clause 3.
pub async fn reads_in_order_byte_for_byte_as_appended(log: &dyn EventLog) {
    let mut messages = fill(log, 0..300).await;
    let special = OwnedMessage {
        content_type: "application/json; charset=\"ü\"".to_owned(),
        origin: "upload 7".to_owned(),
        sent_at: Some(axle_domain::Timestamp(i64::MIN)),
        replayed_at: Some(axle_domain::Timestamp(i64::MAX)),
        source: axle_domain::Source::Replay,
        payload: (0..=255).collect::<Vec<u8>>().into(),
        qos: 2,
        is_retained: true,
        properties: b"\x02\0\0\0\x3c".to_vec().into(),
        ..OwnedMessage::numbered(300, 0)
    };
    let offset = log.append(&special.borrow()).unwrap();
    soon(log.durable(offset)).await.unwrap();
    messages.push(special);
    for bytes_max in [0, 1, 1000, 1_000_000] {
        let records = read_all(log, Offset(0), bytes_max).await;
        let offsets: Vec<u64> = records.iter().map(|record| record.offset.0).collect();
        assert_eq!(offsets, (0..=300).collect::<Vec<u64>>(), "in steps of {bytes_max}");
        assert_eq!(records.iter().map(OwnedMessage::of).collect::<Vec<_>>(), messages);
    }
    assert_eq!(soon(log.read(Offset(7), 1)).await.unwrap().len(), 1, "the bound holds");
}

/// Clause 3: an empty answer where there is nothing yet.
pub async fn reading_past_the_end_is_empty(log: &dyn EventLog) {
    assert!(soon(log.read(Offset(0), 1000)).await.unwrap().is_empty());
    fill(log, 0..3).await;
    assert!(soon(log.read(Offset(3), 1000)).await.unwrap().is_empty());
    assert!(soon(log.read(Offset(u64::MAX), 1000)).await.unwrap().is_empty());
}

/// Clause 3: `log` commits nothing until `commit` is called.
pub async fn reads_durable_records_alone(log: &dyn EventLog, commit: impl FnOnce()) {
    let offset = log.append(&OwnedMessage::numbered(0, 9).borrow()).unwrap();
    assert!(soon(log.read(offset, 1000)).await.unwrap().is_empty());
    assert_eq!((log.bounds().durable, log.bounds().appended), (Offset(0), Offset(1)));
    commit();
    soon(log.durable(offset)).await.unwrap();
    assert_eq!(soon(log.read(offset, 1000)).await.unwrap().len(), 1);
    assert_eq!(log.bounds().durable, Offset(1));
}

/// Clause 4: `log` commits nothing until `commit` is called.
pub async fn beyond_the_bound_append_is_busy_until_there_is_room(
    log: &dyn EventLog,
    commit: impl FnOnce(),
) {
    let message = OwnedMessage::numbered(0, 1_000_000);
    let mut taken = 0;
    let error = loop {
        match log.append(&message.borrow()) {
            Ok(offset) => assert_eq!(offset, Offset(taken)),
            Err(error) => break error,
        }
        taken += 1;
        assert!(taken < 1000, "the bound is never reached");
    };
    assert_eq!(error.kind, Kind::Busy);
    assert!(taken * 1_000_000 <= limit::COMMIT_BUFFER_BYTES_MAX as u64);
    assert_eq!(log.bounds().appended, Offset(taken), "a refused append changes nothing");
    assert!(log.waiting_bytes() as u64 >= taken * 1_000_000, "all of it waits for the sync");
    let mut room = log.room();
    let is_ready = futures_ready(&mut room).await;
    assert!(!is_ready, "there is no room yet");
    commit();
    soon(room).await;
    assert!(log.waiting_bytes() <= limit::COMMIT_BUFFER_BYTES_MAX / 2, "less waits again");
    if log.waiting_bytes() == 0 {
        assert_eq!(log.waiting_age(), Duration::ZERO, "nothing waits");
    }
    assert_eq!(log.append(&message.borrow()).unwrap(), Offset(taken));
}

/// Clause 5.
pub async fn a_record_over_the_limit_is_too_large(log: &dyn EventLog) {
    let message = OwnedMessage::numbered(0, limit::RECORD_BYTES_MAX);
    assert_eq!(log.append(&message.borrow()).unwrap_err().kind, Kind::TooLarge);
    assert_eq!(log.bounds().appended, Offset(0));
    let largest = OwnedMessage::numbered(0, limit::UPLOAD_DECODED_BYTES_MAX);
    let offset = log.append(&largest.borrow()).unwrap();
    soon(log.durable(offset)).await.unwrap();
    let records = soon(log.read(offset, 1)).await.unwrap();
    assert_eq!(OwnedMessage::of(&records[0]), largest);
}

/// Clause 6: `fail` lets the next sync, or the one under way, fail.
pub async fn after_doubt_nothing_more_is_durable(log: &dyn EventLog, fail: impl FnOnce()) {
    fill(log, 0..5).await;
    let message = OwnedMessage::numbered(5, 9);
    let mut follower = log.durable(Offset(100));
    assert!(!futures_ready(&mut follower).await);
    fail();
    // The failure may show at once or with the next commit.
    if let Ok(offset) = log.append(&message.borrow()) {
        let error = soon(log.durable(offset)).await.unwrap_err();
        assert_eq!(error.kind, Kind::Unavailable);
    }
    assert_eq!(soon(follower).await.unwrap_err().kind, Kind::Unavailable);
    assert_eq!(log.append(&message.borrow()).unwrap_err().kind, Kind::Unavailable);
    assert_eq!(log.bounds().durable, Offset(5));
    soon(log.durable(Offset(4))).await.unwrap();
    assert_eq!(read_all(log, Offset(0), 1000).await.len(), 5, "what was durable stays readable");
    soon(log.room()).await;
    soon(log.close()).await;
    assert_eq!(log.bounds().durable, Offset(5), "closing does not sync again");
}

/// Clause 7.
pub async fn dropping_a_future_changes_nothing(log: &dyn EventLog) {
    for _ in 0..100 {
        let mut wait = log.durable(Offset(10));
        assert!(!futures_ready(&mut wait).await);
        drop(log.read(Offset(0), 1000));
        drop(log.room());
    }
    let kept = log.durable(Offset(10));
    let (kept, _messages) = tokio::join!(soon(kept), fill(log, 0..11));
    kept.unwrap();
    assert_eq!(read_all(log, Offset(0), 1000).await.len(), 11);
}

/// A follower waits for a record that nobody has appended yet.
pub async fn durable_waits_for_a_record_to_come(log: &dyn EventLog) {
    let mut wait = log.durable(Offset(2));
    assert!(!futures_ready(&mut wait).await);
    fill(log, 0..2).await;
    assert!(!futures_ready(&mut wait).await, "only the two before it are there");
    fill(log, 2..3).await;
    soon(wait).await.unwrap();
    assert_eq!(log.bounds().durable, Offset(3));
}

/// Clause 8.
pub async fn nothing_from_the_released_offset_on_is_deleted(log: &dyn EventLog) {
    let messages = fill(log, 0..400).await;
    log.release(Offset(200));
    fill(log, 400..500).await;
    let first = log.bounds().first;
    assert!(first <= Offset(200), "{first} was not released");
    let records = read_all(log, Offset(200), 10_000).await;
    let kept: Vec<OwnedMessage> = records.iter().take(200).map(OwnedMessage::of).collect();
    assert_eq!(kept, messages[200..]);
    assert_eq!(records.len(), 300);
    if first > Offset(0) {
        assert_eq!(soon(log.read(Offset(0), 1000)).await.unwrap_err().kind, Kind::NotFound);
    }
}

/// `close` syncs what was appended; what comes later is refused.
pub async fn closing_syncs_and_refuses(log: &dyn EventLog) {
    let message = OwnedMessage::numbered(0, 9);
    let offset = log.append(&message.borrow()).unwrap();
    let mut follower = log.durable(Offset(1));
    assert!(!futures_ready(&mut follower).await);
    soon(log.close()).await;
    soon(log.durable(offset)).await.unwrap();
    assert_eq!(soon(follower).await.unwrap_err().kind, Kind::Unavailable);
    let refused = log.append(&Message { payload: b"late", ..message.borrow() });
    assert_eq!(refused.unwrap_err().kind, Kind::Unavailable);
    assert_eq!(log.bounds().appended, Offset(1));
    soon(log.room()).await;
    soon(log.close()).await;
}

/// Polls a future once; says whether it was ready.
async fn futures_ready<T>(future: &mut (impl Future<Output = T> + Unpin)) -> bool {
    std::future::poll_fn(|context| {
        let poll = std::pin::Pin::new(&mut *future).poll(context);
        std::task::Poll::Ready(poll.is_ready())
    })
    .await
}
