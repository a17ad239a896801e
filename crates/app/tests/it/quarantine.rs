//! Set aside, mended, replayed.

use axle_app::Mend;
use axle_domain::{QuarantineState, Timestamp};

use crate::world::{NOW, World};

const DAY: u64 = 24 * 3600;

#[tokio::test]
async fn a_mended_sample_is_replayed_once() {
    let world = World::new().await;
    world.publish("b-1", "v1/d/b-1/t/ride", r#"[{"speed_kmh":1},{"lat":100}]"#);
    world.settle().await;
    let item = world.app.quarantine.list(None, None, 10).await.unwrap().remove(0);
    assert_eq!(
        (item.code.as_str(), item.payload.as_slice()),
        ("field.range", &br#"{"lat":100}"#[..])
    );
    let again = world.app.quarantine.replay(item.id, Mend::default()).await.unwrap_err();
    assert_eq!(again.code, "quarantine.still_faulty");
    let mend = Mend { payload: Some(r#"{"lat":10}"#.to_owned()), sent_at: None };
    world.app.quarantine.replay(item.id, mend.clone()).await.unwrap();
    world.settle().await;
    assert_eq!(world.store.row_count(), 2);
    let item = world.app.quarantine.get(item.id).await.unwrap();
    assert_eq!(item.state, QuarantineState::Replayed);
    let error = world.app.quarantine.replay(item.id, mend).await.unwrap_err();
    assert_eq!(error.code, "quarantine.replayed");
}

#[tokio::test]
async fn a_wrong_clock_is_mended_by_saying_what_it_showed() {
    let world = World::new().await;
    // A phone whose clock is ten years ahead, and that did not say so.
    let ahead = NOW.micros() / 1000 + 3650 * 24 * 3600 * 1000;
    let payload = format!(r#"{{"time":{},"speed_kmh":1}}"#, ahead - 60_000);
    world.publish("b-1", "v1/d/b-1/t/ride", &payload);
    world.settle().await;
    let item = world.app.quarantine.list(None, None, 10).await.unwrap().remove(0);
    assert_eq!(item.code, "time.future");
    world.ground.clock.advance(std::time::Duration::from_secs(3 * DAY));
    let mend = Mend { payload: None, sent_at: Timestamp::from_millis(ahead) };
    world.app.quarantine.replay(item.id, mend).await.unwrap();
    world.settle().await;
    let batches = world.store.batches();
    let row = batches.last().unwrap();
    assert_eq!(row.time, [NOW.micros() - 60_000_000]);
    assert_eq!(row.received_at, [NOW.micros()], "the time of its first arrival stays");
}

#[tokio::test]
async fn what_was_in_the_future_can_be_replayed_when_it_is_past() {
    let world = World::new().await;
    let ahead = NOW.micros() / 1000 + 8 * 24 * 3600 * 1000;
    world.publish("b-1", "v1/d/b-1/t/ride", &format!(r#"{{"time":{ahead},"speed_kmh":1}}"#));
    world.settle().await;
    let item = world.app.quarantine.list(None, None, 10).await.unwrap().remove(0);
    assert!(world.app.quarantine.replay(item.id, Mend::default()).await.is_err());
    world.ground.clock.advance(std::time::Duration::from_secs(9 * DAY));
    world.app.quarantine.replay(item.id, Mend::default()).await.unwrap();
    world.settle().await;
    assert_eq!(world.store.row_count(), 1);
}
