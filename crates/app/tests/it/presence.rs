//! Who came, went, or fell silent: told once the log has it, and told again where that is in doubt.

use std::sync::Arc;
use std::time::Duration;

use axle_app::{Departure, SilentAfter};
use axle_domain::Column;
use tokio::task::JoinHandle;

use crate::world::{NOW, World, device};

const HUNG_UP: Departure<'_> =
    Departure { code: "mqtt.hung_up", reason: "the client hung up", client_id: "b-1" };

fn run(world: &World, silent_after: &[SilentAfter]) -> JoinHandle<()> {
    let (app, silent_after) = (Arc::clone(&world.app), silent_after.to_vec());
    app.presence.begin();
    tokio::spawn(async move { app.presence.run(&silent_after).await })
}

fn arrive(world: &World, id: &str, seconds: i64) {
    let at = NOW.shifted(seconds * 1_000_000);
    world.app.presence.arrive(&device(id), (id, "MQTT 5.0"), at);
}

/// Device, event and code of every row of presence.
fn told(world: &World) -> Vec<(String, String, String)> {
    let mut told = Vec::new();
    for batch in world.store.batches() {
        if batch.schema.name.as_str() != "presence" {
            continue;
        }
        let text = |field: &str, row: usize| {
            let column = &batch.values[batch.schema.field(field).unwrap()];
            let Column::Text(column) = column else { unreachable!("{field} is no text") };
            column.texts.get(row).unwrap_or("").to_owned()
        };
        told.extend((0..batch.len()).map(|row| {
            let device = batch.device.get(row).unwrap().to_owned();
            (device, text("event", row), text("code", row))
        }));
    }
    told
}

/// Waits until so many records of presence are there.
async fn told_so_many(world: &World, count: usize) -> Vec<(String, String, String)> {
    let wait = async {
        loop {
            let told = told(world);
            if told.len() >= count {
                return told;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait).await.expect("told in time")
}

fn is(told: &(String, String, String), device: &str, event: &str, code: &str) -> bool {
    (told.0.as_str(), told.1.as_str(), told.2.as_str()) == (device, event, code)
}

#[tokio::test]
async fn what_is_told_can_be_queried_and_is_no_sign_of_life() {
    let world = World::new().await;
    arrive(&world, "b-2", 0);
    assert!(told(&world).is_empty(), "nothing is told before the server says so");
    let running = run(&world, &[]);
    arrive(&world, "b-1", 0);
    world.app.presence.depart(&device("b-1"), &HUNG_UP, NOW.shifted(5));
    let told = told_so_many(&world, 2).await;
    assert!(
        is(&told[0], "b-1", "connected", "") && is(&told[1], "b-1", "disconnected", HUNG_UP.code)
    );
    world.settle().await;
    let principal = world.principal(&["admin"]).await;
    let state = world.app.queries.state(&principal, &device("b-1")).await.unwrap();
    assert_eq!(state.last_seen, None);
    let field = |name: &str| {
        let field = state.fields.iter().find(|it| it.field.0 == format!("presence.{name}"));
        field.map(|it| it.value.clone())
    };
    let text = |text: &str| Some(axle_domain::OwnedValue::Text(text.to_owned()));
    assert_eq!(field("event"), text("disconnected"));
    assert_eq!(field("reason"), text(HUNG_UP.reason));
    assert_eq!(world.store.row_count(), 2, "rows of the stream `presence`");
    assert_eq!(world.app.counters().await.unwrap().received(), 0, "nothing came to the door");
    running.abort();
}

#[tokio::test]
async fn a_device_cannot_say_that_it_is_there() {
    let world = World::new().await;
    let payload = r#"{"event":"connected"}"#;
    world.publish("b-1", "v1/d/b-1/t/presence", payload);
    world.settle().await;
    let items = world.app.quarantine.list(None, None, 10).await.unwrap();
    assert_eq!(items.len(), 1);
    assert_eq!(items[0].code, "stream.reserved");
    assert_eq!(world.store.row_count(), 0);
}

#[tokio::test]
async fn after_a_crash_those_who_did_not_come_back_are_told_to_have_gone() {
    let world = World::new().await;
    let running = run(&world, &[]);
    arrive(&world, "b-1", 0);
    arrive(&world, "b-2", 0);
    told_so_many(&world, 2).await;
    world.settle().await;
    running.abort();
    world.ground.clock.set(NOW.shifted(60_000_000));
    let world = World::start(world.crash()).await;
    world.app.presence.begin();
    arrive(&world, "b-2", 60);
    let running = run_on(&world);
    let told = told_so_many(&world, 4).await;
    assert!(is(&told[2], "b-2", "connected", ""));
    assert!(is(&told[3], "b-1", "disconnected", "server.ended"), "{told:?}");
    // The next start has nothing to add.
    world.settle().await;
    running.abort();
    let world = World::start(world.crash()).await;
    world.app.presence.begin();
    arrive(&world, "b-2", 61);
    let running = run_on(&world);
    arrive(&world, "b-1", 62);
    world.settle().await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let told = told_so_many(&world, 6).await;
    assert!(told.iter().skip(4).all(|it| it.1 == "connected"), "{told:?}");
    running.abort();
}

/// Goes on where `begin` was called already.
fn run_on(world: &World) -> JoinHandle<()> {
    let app = Arc::clone(&world.app);
    tokio::spawn(async move { app.presence.run(&[]).await })
}

#[tokio::test]
async fn silence_is_told_once_and_again_when_the_device_has_spoken_in_between() {
    let after = [
        SilentAfter { kind: Some("bike".to_owned()), time: Duration::from_secs(60) },
        SilentAfter { kind: None, time: Duration::from_secs(3600) },
    ];
    let world = World::new().await;
    let running = run(&world, &after);
    world.publish("b-1", "v1/d/b-1/t/status", r#"{"battery_pct":50}"#);
    world.settle().await;
    world.ground.clock.advance(Duration::from_secs(61));
    let told = told_so_many(&world, 1).await;
    assert!(is(&told[0], "b-1", "silent", "presence.silent"), "{told:?}");
    // A start tells it no second time, and gives everybody their time anew.
    world.settle().await;
    running.abort();
    let world = World::start(world.crash()).await;
    let running = run(&world, &after);
    world.publish("b-2", "v1/d/b-2/t/status", r#"{"battery_pct":50}"#);
    world.settle().await;
    world.ground.clock.advance(Duration::from_secs(61));
    let told = told_so_many(&world, 2).await;
    assert!(is(&told[1], "b-2", "silent", "presence.silent"), "{told:?}");
    world.publish("b-1", "v1/d/b-1/t/status", r#"{"battery_pct":49}"#);
    world.settle().await;
    world.ground.clock.advance(Duration::from_secs(61));
    let told = told_so_many(&world, 3).await;
    assert!(is(&told[2], "b-1", "silent", "presence.silent"), "{told:?}");
    running.abort();
}
