//! What is left after failures: all that was answered, and nothing of what failed.

use std::sync::Arc;

use axle_domain::port::{DeviceFilter, DeviceRegistry, Projected, ReportedState, UploadReceipt};
use axle_domain::{Kind, LatestValue, Offset, OwnedValue, Timestamp, UploadId};
use axle_state::{SqliteState, verify};
use axle_testkit::conformance::state::{at, device, device_id};
use rusqlite::Connection;

use crate::place::Folder;

/// Makes the database itself refuse a value, as a broken disk or a bug would.
fn refuse_device(folder: &Folder, name: &str) {
    let trigger = format!(
        "CREATE TRIGGER refuse BEFORE INSERT ON device WHEN NEW.name = '{name}'
         BEGIN SELECT RAISE(ROLLBACK, 'refused'); END"
    );
    Connection::open(folder.path()).unwrap().execute_batch(&trigger).unwrap();
}

async fn device_count(state: &SqliteState) -> usize {
    let filter = DeviceFilter { limit: usize::MAX, ..DeviceFilter::default() };
    state.list_devices(filter).await.unwrap().len()
}

#[tokio::test]
async fn every_answered_change_of_a_crowd_is_there_after_reopening() {
    let folder = Folder::new();
    let state = Arc::new(folder.state());
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..2000 {
        let state = Arc::clone(&state);
        // Every id comes twice: one of the two must lose without harm to its neighbors.
        let device = device(&format!("b-{}", number / 2));
        tasks.spawn(async move { state.create_device(device).await.is_ok() });
    }
    let created = tasks.join_all().await.into_iter().filter(|is_created| *is_created).count();
    assert_eq!(created, 1000);
    drop(state);
    assert_eq!(device_count(&folder.state()).await, 1000);
    assert_eq!(verify(&folder.path()).unwrap().findings, [""; 0]);
}

#[tokio::test]
async fn a_lost_transaction_fails_all_its_changes_and_leaves_nothing() {
    let folder = Folder::new();
    let state = Arc::new(folder.state());
    refuse_device(&folder, "poison");
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..200 {
        let state = Arc::clone(&state);
        let mut device = device(&format!("b-{number}"));
        if number % 50 == 25 {
            device.name = "poison".to_owned();
        }
        tasks.spawn(async move { (device.id.clone(), state.create_device(device).await) });
    }
    for (id, outcome) in tasks.join_all().await {
        let is_there = state.find_device(&id).await.unwrap().is_some();
        match outcome {
            Ok(()) => assert!(is_there, "{id} was answered and is gone"),
            Err(error) => {
                assert_eq!((error.kind, error.code), (Kind::Unavailable, "state.unavailable"));
                assert!(!is_there, "{id} failed and is there");
            }
        }
    }
    state.create_device(device("after")).await.unwrap();
}

#[tokio::test]
async fn a_stretch_that_fails_in_the_middle_leaves_nothing() {
    let folder = Folder::new();
    let state = folder.state();
    let trigger = "CREATE TRIGGER refuse BEFORE INSERT ON receipt WHEN NEW.key = 'poison'
        BEGIN SELECT RAISE(FAIL, 'refused'); END";
    Connection::open(folder.path()).unwrap().execute_batch(trigger).unwrap();
    let stretch = |key: &str| Projected {
        through: Offset(5),
        latest: vec![LatestValue {
            device: device_id("b-1"),
            field: axle_domain::FieldKey("status.locked".to_owned()),
            value: OwnedValue::Bool(true),
            time: at(1),
            received_at: at(1),
        }],
        last_seen: vec![(device_id("b-1"), at(1))],
        receipts: vec![UploadReceipt {
            token: "t".to_owned(),
            key: key.to_owned(),
            body_hash: String::new(),
            upload: UploadId::parse("u").unwrap(),
            answer: "{}".to_owned(),
            received_at: at(1),
        }],
        ..Projected::default()
    };
    let error = state.commit(stretch("poison")).await.unwrap_err();
    assert!(error.chain().contains(": refused"), "{}", error.chain());
    assert_eq!(state.position().await.unwrap(), Offset(0));
    assert_eq!(state.latest(&device_id("b-1")).await.unwrap(), (vec![], None));
    // The numbers that the failed stretch gave must be forgotten with it.
    state.commit(stretch("good")).await.unwrap();
    assert_eq!(state.latest(&device_id("b-1")).await.unwrap().0.len(), 1);
    assert_eq!(verify(&folder.path()).unwrap().findings, [""; 0]);
}

#[tokio::test]
async fn a_change_whose_caller_has_gone_harms_nobody() {
    let folder = Folder::new();
    let state = folder.state();
    {
        let mut change = state.create_device(device("b-1"));
        let waker = std::task::Waker::noop();
        assert!(change.as_mut().poll(&mut std::task::Context::from_waker(waker)).is_pending());
    }
    state.create_device(device("b-2")).await.unwrap();
    drop(state);
    assert_eq!(device_count(&folder.state()).await, 2);
}

#[tokio::test]
async fn a_second_writer_is_refused_until_the_first_has_closed() {
    let folder = Folder::new();
    let state = folder.state();
    let error = SqliteState::open(&folder.path()).err().unwrap();
    assert_eq!((error.kind, error.code), (Kind::Conflict, "state.in_use"));
    state.create_device(device("b-1")).await.unwrap();
    drop(state);
    assert!(folder.state().find_device(&device_id("b-1")).await.unwrap().is_some());
}

#[tokio::test]
async fn a_read_only_state_reads_and_refuses_changes() {
    let folder = Folder::new();
    let missing = SqliteState::open_read_only(&folder.path()).err().unwrap();
    assert_eq!(missing.code, "state.unavailable");
    folder.state().create_device(device("b-1")).await.unwrap();
    let state = SqliteState::open_read_only(&folder.path()).unwrap();
    assert_eq!(device_count(&state).await, 1);
    let error = state.create_device(device("b-2")).await.unwrap_err();
    assert_eq!(error.code, "state.read_only");
}

#[tokio::test]
async fn old_receipts_make_room_for_new_ones() {
    let folder = Folder::new();
    let state = folder.state();
    let day = 24 * 3600;
    let receipts = |numbers: std::ops::Range<i64>, time: Timestamp| -> Vec<UploadReceipt> {
        let receipt = |number| UploadReceipt {
            token: "t".to_owned(),
            key: format!("k-{number}"),
            body_hash: String::new(),
            upload: UploadId::parse("u").unwrap(),
            answer: "{}".to_owned(),
            received_at: time,
        };
        numbers.map(receipt).collect()
    };
    let steps = [(0..8, 0), (8..9, 7 * day), (9..10, 7 * day + 1), (10..11, 7 * day + 2)];
    for ((numbers, seconds), offset) in steps.into_iter().zip(1..) {
        let receipts = receipts(numbers, at(seconds));
        let through = Offset(offset);
        state.commit(Projected { through, receipts, ..Projected::default() }).await.unwrap();
        let mut kept = 0;
        for number in 0..8 {
            let receipt = state.find_receipt("t", &format!("k-{number}")).await.unwrap();
            kept += usize::from(receipt.is_some());
        }
        assert_eq!(kept, [8, 8, 4, 0][usize::try_from(offset).unwrap() - 1]);
    }
    assert!(state.find_receipt("t", "k-8").await.unwrap().is_some());
}
