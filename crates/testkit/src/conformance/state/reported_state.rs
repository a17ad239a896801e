//! The contract of [`axle_domain::port::ReportedState`], clause by clause.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a suite panics where the contract is broken"
)]

use axle_domain::port::{Counters, Projected, SilentDevice, UploadReceipt};
use axle_domain::{
    CommandStatus, DeviceId, Error, FieldKey, LatestValue, Offset, OwnedValue, QuarantineFilter,
    QuarantineId, QuarantineItem, QuarantineState, Reply, StreamName, UploadId,
};

use super::{Place, State, at, command, device, device_id};

fn value(device: &str, field: &str, value: OwnedValue, time: i64, received_at: i64) -> LatestValue {
    LatestValue {
        device: device_id(device),
        field: FieldKey(field.to_owned()),
        value,
        time: at(time),
        received_at: at(received_at),
    }
}

fn number(number: f64, time: i64, received_at: i64) -> LatestValue {
    value("b-1", "ride.speed_kmh", OwnedValue::Float(number), time, received_at)
}

fn item(offset: u64, index: u32, device: &str) -> QuarantineItem {
    QuarantineItem {
        id: QuarantineId { offset: Offset(offset), index },
        device: device.to_owned(),
        topic: "v1/d/b-1/t/ride".to_owned(),
        stream: "ride".to_owned(),
        content_type: "application/json".to_owned(),
        code: "time.future".to_owned(),
        detail: "a year ahead".to_owned(),
        payload: vec![0, 255, b'{'],
        received_at: at(1),
        sent_at: Some(at(0)),
        state: QuarantineState::Waiting,
    }
}

fn receipt(key: &str, upload: &str) -> UploadReceipt {
    UploadReceipt {
        token: "t-1".to_owned(),
        key: key.to_owned(),
        body_hash: "00ff".to_owned(),
        upload: UploadId::parse(upload).unwrap(),
        answer: r#"{"stored":1}"#.to_owned(),
        received_at: at(1),
    }
}

fn reply(id: &str, status: CommandStatus) -> Reply {
    Reply {
        command: command(id, "b-1").id,
        device: device_id("b-1"),
        status,
        reason: None,
        result: Some("{\"ok\":true}".to_owned()),
        received_at: at(5),
        offset: Offset(7),
    }
}

fn through(offset: u64) -> Projected {
    Projected { through: Offset(offset), ..Projected::default() }
}

/// A stretch that touches everything.
fn everything(offset: u64) -> Projected {
    Projected {
        through: Offset(offset),
        latest: vec![number(7.5, 1, 2)],
        last_seen: vec![(device_id("b-1"), at(2))],
        quarantined: vec![item(3, 0, "b-1"), item(3, 1, "b-1")],
        replayed: vec![QuarantineId { offset: Offset(3), index: 1 }],
        receipts: vec![receipt("k", "u-1")],
        replies: vec![reply("k-1", CommandStatus::Succeeded)],
        counted: Counters { stored: 4, quarantined: 3, rejected: 2, shed: 1 },
    }
}

/// Clause 1: everything of a stretch and its position are there after opening anew.
pub async fn a_stretch_and_its_position_are_durable_together(place: &dyn Place) {
    let state = place.open().await;
    assert_eq!(state.position().await.unwrap(), Offset(0));
    assert_eq!(state.counters().await.unwrap(), Counters::default());
    state.create_command(command("k-1", "b-1")).await.unwrap();
    state.commit(everything(9)).await.unwrap();
    drop(state);

    let state = place.open().await;
    assert_eq!(state.position().await.unwrap(), Offset(9));
    assert_eq!(state.counters().await.unwrap(), everything(9).counted);
    let seen = state.latest(&device_id("b-1")).await.unwrap();
    assert_eq!(seen, (vec![number(7.5, 1, 2)], Some(at(2))));
    let mut replayed = item(3, 1, "b-1");
    replayed.state = QuarantineState::Replayed;
    let seen = quarantined(&*state, None, None, 10).await.unwrap();
    assert_eq!(seen, [replayed, item(3, 0, "b-1")]);
    let seen = state.find_receipt("t-1", "k").await.unwrap();
    assert_eq!(seen, Some(receipt("k", "u-1")));
    let seen = state.find_command(&command("k-1", "b-1").id).await.unwrap().unwrap();
    let result = seen.result.as_deref();
    assert_eq!((seen.status(), result), (CommandStatus::Succeeded, Some("{\"ok\":true}")));
}

/// Clause 2.
pub async fn a_stretch_that_is_not_beyond_the_position_changes_nothing(state: &dyn State) {
    state.create_command(command("k-1", "b-1")).await.unwrap();
    state.commit(through(9)).await.unwrap();
    for offset in [0, 8, 9] {
        state.commit(everything(offset)).await.unwrap();
        assert_eq!(state.position().await.unwrap(), Offset(9));
        assert_eq!(state.counters().await.unwrap(), Counters::default());
        assert_eq!(state.latest(&device_id("b-1")).await.unwrap(), (vec![], None));
        assert_eq!(quarantined(state, None, None, 10).await.unwrap(), []);
        assert_eq!(state.find_receipt("t-1", "k").await.unwrap(), None);
        let seen = state.find_command(&command("k-1", "b-1").id).await.unwrap();
        assert_eq!(seen, Some(command("k-1", "b-1")));
    }
    state.commit(everything(10)).await.unwrap();
    state.commit(everything(11)).await.unwrap();
    assert_eq!(state.counters().await.unwrap().stored, 8, "counts add up");
}

/// Clause 3.
pub async fn a_latest_value_moves_only_forward(state: &dyn State) {
    let steps = [
        (number(1.0, 10, 10), 1.0),
        (number(2.0, 9, 99), 1.0),
        (number(3.0, 10, 9), 1.0),
        (number(4.0, 10, 10), 4.0),
        (number(5.0, 10, 11), 5.0),
        (number(6.0, 11, 5), 6.0),
    ];
    for ((latest, expected), offset) in steps.into_iter().zip(1..) {
        let last_seen = vec![(latest.device.clone(), latest.received_at)];
        state
            .commit(Projected { latest: vec![latest], last_seen, ..through(offset) })
            .await
            .unwrap();
        let (seen, last_seen) = state.latest(&device_id("b-1")).await.unwrap();
        let seen: Vec<_> = seen.into_iter().map(|latest| latest.value).collect();
        assert_eq!(seen, [OwnedValue::Float(expected)], "step {offset}");
        assert!(last_seen >= Some(at(10)), "last seen moves only forward");
    }
    assert_eq!(state.latest(&device_id("b-1")).await.unwrap().1, Some(at(99)));
}

/// `latest`: every kind of value as it was, by field, of one device alone.
pub async fn latest_values_keep_their_kind(state: &dyn State) {
    let expected = vec![
        value("b-1", "energy.watts[s-1]", OwnedValue::Float(-0.0), 1, 1),
        value("b-1", "status.battery_pct", OwnedValue::Float(81.0), 1, 1),
        value("b-1", "status.firmware", OwnedValue::Text("1.0\0'ü".to_owned()), 1, 1),
        value("b-1", "status.locked", OwnedValue::Bool(true), 1, 1),
        value("b-1", "status.odometer_km", OwnedValue::Float(1e308), 1, 1),
        value("b-1", "status.text", OwnedValue::Text("1".to_owned()), 1, 1),
        value("b-1", "status.unlocked", OwnedValue::Bool(false), 1, 1),
    ];
    let mut latest = expected.clone();
    latest.reverse();
    latest.push(value("b-2", "status.locked", OwnedValue::Bool(false), 1, 1));
    state.commit(Projected { latest, ..through(1) }).await.unwrap();
    assert_eq!(state.latest(&device_id("b-1")).await.unwrap(), (expected, None));
    let (kind, last_seen) = (OwnedValue::Text("on".to_owned()), None);
    let changed = value("b-2", "status.locked", kind, 2, 2);
    state.commit(Projected { latest: vec![changed.clone()], ..through(2) }).await.unwrap();
    assert_eq!(state.latest(&device_id("b-2")).await.unwrap(), (vec![changed], last_seen));
}

/// Clause 6.
pub async fn pages_of_latest_values_bring_each_device_once_and_whole(state: &dyn State) {
    let mut latest = Vec::new();
    for device in ["b-3", "b-1", "b-2", "b-4"] {
        for field in ["ride.lat", "ride.lon", "status.locked"] {
            latest.push(value(device, field, OwnedValue::Float(1.0), 1, 1));
        }
    }
    // This one has nothing that is asked for.
    latest.retain(|value| value.device != device_id("b-2") || value.field.0 == "status.locked");
    state.commit(Projected { latest, ..through(1) }).await.unwrap();
    let fields = ["ride.lon", "ride.lat", "ride.never"].map(|name| FieldKey(name.to_owned()));
    for devices_max in [1, 2, 3, 100] {
        let (mut seen, mut after, mut pages) = (Vec::new(), None, 0);
        loop {
            let page = state.latest_of(&fields, after.as_ref(), devices_max).await.unwrap();
            let names = page.0.iter().map(|it| format!("{} {}", it.device, it.field.0));
            seen.extend(names);
            after = page.1;
            pages += 1;
            if after.is_none() {
                break;
            }
            assert!(pages < 10, "pages come to an end");
        }
        let devices: Vec<_> = seen.chunks(2).map(|pair| pair[0][..3].to_owned()).collect();
        assert!(seen.chunks(2).all(|pair| pair[0][..3] == pair[1][..3]), "{seen:?}");
        let mut sorted = devices;
        sorted.sort();
        assert_eq!(sorted, ["b-1", "b-3", "b-4"], "{devices_max} at a time: {seen:?}");
    }
    assert_eq!(state.latest_of(&[], None, 10).await.unwrap().0, []);
}

/// Clause 4.
pub async fn an_answer_goes_through_the_law_of_the_command(state: &dyn State) {
    let mut expected = command("k-1", "b-1");
    state.create_command(expected.clone()).await.unwrap();
    let mut foreign = reply("k-1", CommandStatus::Failed);
    foreign.device = device_id("b-2");
    let mut late = reply("k-1", CommandStatus::Failed);
    late.received_at = at(61);
    let replies = vec![
        foreign,
        late,
        reply("unknown", CommandStatus::Succeeded),
        reply("k-1", CommandStatus::Running),
        reply("k-1", CommandStatus::Rejected),
        reply("k-1", CommandStatus::Succeeded),
    ];
    assert!(expected.answer(&replies[3]) && expected.answer(&replies[4]));
    assert!(!expected.clone().answer(&replies[5]), "after the end");
    state.commit(Projected { replies, ..through(1) }).await.unwrap();
    assert_eq!(expected.status(), CommandStatus::Rejected);
    assert_eq!(state.find_command(&expected.id).await.unwrap(), Some(expected));
    assert_eq!(state.open_commands(&device_id("b-1")).await.unwrap(), []);
    assert_eq!(state.overdue(at(100), 10).await.unwrap(), []);
}

async fn quarantined(
    state: &dyn State,
    device: Option<&DeviceId>,
    before: Option<QuarantineId>,
    limit: usize,
) -> Result<Vec<QuarantineItem>, Error> {
    let device = device.cloned();
    let filter = QuarantineFilter { device, before, limit, ..QuarantineFilter::default() };
    state.list_quarantined(filter).await
}

/// `list_quarantined` by what is asked, and `count_quarantined`.
pub async fn quarantine_is_found_and_counted_by_code(state: &dyn State) {
    let coded = |offset, code: &str, stream: &str| {
        let mut item = item(offset, 0, "b-1");
        (item.code, item.stream) = (code.to_owned(), stream.to_owned());
        item
    };
    let items =
        vec![coded(1, "time.past", "ride"), coded(2, "a", "ride"), coded(3, "time.past", "status")];
    let replayed = vec![QuarantineId { offset: Offset(3), index: 0 }];
    state.commit(Projected { quarantined: items, ..through(4) }).await.unwrap();
    state.commit(Projected { replayed, ..through(5) }).await.unwrap();
    let all = QuarantineFilter { limit: 9, ..QuarantineFilter::default() };
    let (code, stream) = (Some("time.past".to_owned()), StreamName::parse("ride").ok());
    let waiting = Some(QuarantineState::Waiting);
    for (filter, ids) in [
        (QuarantineFilter { code: code.clone(), ..all.clone() }, vec!["q-3-0", "q-1-0"]),
        (QuarantineFilter { stream, ..all.clone() }, vec!["q-2-0", "q-1-0"]),
        (QuarantineFilter { state: waiting, ..all.clone() }, vec!["q-2-0", "q-1-0"]),
        (QuarantineFilter { code, state: waiting, ..all }, vec!["q-1-0"]),
    ] {
        let seen = state.list_quarantined(filter).await.unwrap();
        let seen: Vec<_> = seen.iter().map(|item| item.id.to_string()).collect();
        assert_eq!(seen, ids);
    }
    let counts = state.count_quarantined().await.unwrap();
    let counts: Vec<_> =
        counts.iter().map(|it| (it.code.as_str(), it.waiting, it.replayed)).collect();
    assert_eq!(counts, [("a", 1, 0), ("time.past", 1, 1)]);
}

/// `list_silent`.
pub async fn active_devices_that_were_not_heard_of_are_listed(state: &dyn State) {
    for id in ["never", "long-ago", "longer-ago", "just-now", "gone"] {
        state.create_device(device(id)).await.unwrap();
    }
    let status = axle_domain::DeviceStatus::Revoked;
    state
        .update_device(axle_domain::Device { status, version: 2, ..device("gone") })
        .await
        .unwrap();
    let seen = |id, seconds| (device_id(id), at(seconds));
    let last_seen = vec![seen("long-ago", 5), seen("longer-ago", 1), seen("just-now", 60)];
    state.commit(Projected { last_seen, ..through(1) }).await.unwrap();
    let (silent, count) = state.list_silent(at(60), 2).await.unwrap();
    let silent_since = |id, last_seen| SilentDevice { device: device_id(id), last_seen };
    let expected = [silent_since("long-ago", Some(at(5))), silent_since("longer-ago", Some(at(1)))];
    assert_eq!((silent.as_slice(), count), (&expected[..], 3));
    let (silent, _) = state.list_silent(at(0), 9).await.unwrap();
    assert_eq!(silent, [silent_since("never", None)]);
}

/// Clause 5, and the order and the pages of `list_quarantined`.
pub async fn quarantine_lists_newest_first_and_keeps_what_it_knows(state: &dyn State) {
    let items = vec![item(3, 1, "b-1"), item(10, 0, "b-2"), item(3, 0, "b-1"), item(9, 2, "")];
    state.commit(Projected { quarantined: items, ..through(11) }).await.unwrap();
    let mut again = item(3, 0, "b-2");
    again.detail = "other".to_owned();
    let known = QuarantineId { offset: Offset(10), index: 0 };
    let unknown = QuarantineId { offset: Offset(4), index: 0 };
    let replayed = vec![known, unknown];
    state.commit(Projected { quarantined: vec![again], replayed, ..through(12) }).await.unwrap();

    let all = quarantined(state, None, None, 10).await.unwrap();
    let ids: Vec<_> = all.iter().map(|item| item.id.to_string()).collect();
    assert_eq!(ids, ["q-10-0", "q-9-2", "q-3-1", "q-3-0"]);
    assert_eq!(all[0].state, QuarantineState::Replayed);
    assert_eq!(all[1..], [item(9, 2, ""), item(3, 1, "b-1"), item(3, 0, "b-1")]);
    assert_eq!(quarantined(state, None, None, 2).await.unwrap(), all[..2]);
    assert_eq!(quarantined(state, None, Some(all[1].id), 10).await.unwrap(), all[2..]);
    let device = device_id("b-1");
    assert_eq!(quarantined(state, Some(&device), None, 10).await.unwrap(), all[2..]);
    assert_eq!(quarantined(state, Some(&device), Some(all[2].id), 9).await.unwrap(), all[3..]);
    assert_eq!(state.find_quarantined(known).await.unwrap().as_ref(), all.first());
    assert_eq!(state.find_quarantined(unknown).await.unwrap(), None);
}

/// `find_receipt`: by token and key; the first in the log stays.
pub async fn the_first_receipt_of_a_key_stays(state: &dyn State) {
    let mut other = receipt("k", "u-2");
    other.token = "t-2".to_owned();
    let receipts = vec![receipt("k", "u-1"), other.clone(), receipt("k2", "u-3")];
    state.commit(Projected { receipts, ..through(1) }).await.unwrap();
    let receipts = vec![receipt("k", "u-4")];
    state.commit(Projected { receipts, ..through(2) }).await.unwrap();
    let find = |token, key| async move { state.find_receipt(token, key).await.unwrap() };
    assert_eq!(find("t-1", "k").await, Some(receipt("k", "u-1")));
    assert_eq!(find("t-2", "k").await, Some(other));
    assert_eq!(find("t-1", "k2").await, Some(receipt("k2", "u-3")));
    assert_eq!(find("t-2", "k2").await, None);
}
