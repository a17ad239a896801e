//! Comparing the state with a replay of the log.

use axle_domain::port::{Counters, Projected, ReportedState, UploadReceipt};
use axle_domain::{
    DeviceId, FieldKey, LatestValue, Offset, OwnedValue, QuarantineId, QuarantineItem,
    QuarantineState, Timestamp, UploadId,
};
use axle_state::StateAudit;
use axle_testkit::conformance::state::{at, device_id};

use crate::place::Folder;

fn latest(field: &str, seconds: i64, value: f64) -> LatestValue {
    LatestValue {
        device: device_id("b-1"),
        field: FieldKey(field.to_owned()),
        value: OwnedValue::Float(value),
        time: at(seconds),
        received_at: at(seconds),
    }
}

fn item(offset: u64, payload: &str) -> QuarantineItem {
    QuarantineItem {
        id: QuarantineId { offset: Offset(offset), index: 0 },
        device: "b-1".to_owned(),
        topic: "v1/d/b-1/t/ride".to_owned(),
        stream: "ride".to_owned(),
        content_type: String::new(),
        code: "time.past".to_owned(),
        detail: "before the year 2000".to_owned(),
        payload: payload.into(),
        received_at: at(1),
        sent_at: None,
        state: QuarantineState::Waiting,
    }
}

/// What two records mean: a row, and something to set aside.
fn projected() -> Projected {
    Projected {
        through: Offset(2),
        latest: vec![latest("ride.speed_kmh", 5, 1.0)],
        last_seen: vec![(device_id("b-1"), at(5))],
        quarantined: vec![item(1, "x")],
        receipts: vec![UploadReceipt {
            token: "t".to_owned(),
            key: "k".to_owned(),
            body_hash: "00".to_owned(),
            upload: UploadId::parse("u-1").unwrap(),
            answer: "{}".to_owned(),
            received_at: at(5),
        }],
        counted: Counters { stored: 1, quarantined: 1, rejected: 1, shed: 0 },
        ..Projected::default()
    }
}

type Gathered = (Vec<LatestValue>, Vec<(DeviceId, Timestamp)>);

/// What differs from a replay.
fn compare(folder: &Folder, replay: &Projected, first: u64, is_whole: bool) -> Vec<String> {
    let mut audit = StateAudit::open(&folder.path()).unwrap();
    assert_eq!(audit.position(), Offset(2));
    audit.take(replay, at(5)).unwrap();
    let gathered: Gathered = (replay.latest.clone(), replay.last_seen.clone());
    audit.finish(&gathered, Offset(first), is_whole).unwrap()
}

#[tokio::test]
async fn the_state_is_equal_to_the_replay_or_it_is_said_what_differs() {
    let folder = Folder::new();
    folder.state().commit(projected()).await.unwrap();
    assert_eq!(compare(&folder, &projected(), 0, true), [""; 0]);
    type Change = fn(&mut Projected);
    let changes: [(Change, &str); 8] = [
        (|it| it.latest[0].value = OwnedValue::Float(2.0), "latest `ride.speed_kmh`"),
        (|it| it.latest.push(latest("ride.lat", 5, 1.0)), "latest `ride.lat`"),
        (|it| it.latest.clear(), "the state has 1 latest values"),
        (|it| it.last_seen[0].1 = at(9), "`b-1` was last heard of"),
        (|it| it.quarantined[0].payload = b"y".to_vec(), "is not what the log says"),
        (|it| it.quarantined.clear(), "the state has 1 items set aside"),
        (|it| it.receipts[0].answer = "{1}".to_owned(), "receipt of upload u-1"),
        (|it| it.counted.stored = 2, "stored rows, a replay of the log 2"),
    ];
    for (change, expected) in changes {
        let mut replay = projected();
        change(&mut replay);
        let findings = compare(&folder, &replay, 0, true);
        assert!(findings.iter().any(|it| it.contains(expected)), "{expected}: {findings:?}");
    }
}

#[tokio::test]
async fn what_came_before_the_oldest_record_that_is_kept_may_be_newer_but_never_less() {
    let folder = Folder::new();
    let mut earlier = projected();
    earlier.latest = vec![latest("ride.speed_kmh", 9, 3.0), latest("ride.lat", 1, 1.0)];
    earlier.last_seen[0].1 = at(9);
    earlier.counted.stored = 7;
    folder.state().commit(earlier).await.unwrap();
    // The retained part alone: an older latest value, fewer rows.
    assert_eq!(compare(&folder, &projected(), 1, false), [""; 0]);
    assert!(!compare(&folder, &projected(), 0, true).is_empty());
    let mut newer = projected();
    newer.latest[0].time = at(10);
    assert_eq!(compare(&folder, &newer, 1, false).len(), 1, "the state is behind");
}
