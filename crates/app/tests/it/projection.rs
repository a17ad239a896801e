//! From the log to store and state.

use axle_domain::OwnedValue;
use axle_domain::port::Counters;

use crate::world::{World, content, device};

async fn latest(world: &World, id: &str) -> Vec<String> {
    let principal = world.principal(&["admin"]).await;
    let state = world.app.queries.state(&principal, &device(id)).await.unwrap();
    let text = |value: OwnedValue| match value {
        OwnedValue::Float(number) => number.to_string(),
        OwnedValue::Bool(truth) => truth.to_string(),
        OwnedValue::Text(text) => text,
    };
    state
        .fields
        .into_iter()
        .map(|field| format!("{}={}", field.field.0, text(field.value)))
        .collect()
}

#[tokio::test]
async fn rows_reach_the_store_and_latest_values_the_state() {
    let world = World::new().await;
    world.publish(
        "b-1",
        "v1/d/b-1/t/status",
        r#"{"time":1790000000000,"battery_pct":81,"locked":true}"#,
    );
    world.publish(
        "b-1",
        "v1/d/b-1/t/energy",
        r#"{"time":1790000000000,"socket":"s-1","name":"power","watts":5}"#,
    );
    world.settle().await;
    assert_eq!(world.store.row_count(), 2);
    assert_eq!(
        latest(&world, "b-1").await,
        ["energy.watts[s-1]=5", "status.battery_pct=81", "status.locked=true"]
    );
}

#[tokio::test]
async fn latest_moves_only_forward_and_never_on_a_future_row() {
    let world = World::new().await;
    let publish = |seconds: i64, battery: u32| {
        let time = 1_790_000_000_000 + seconds * 1000;
        let payload = format!(r#"{{"time":{time},"battery_pct":{battery}}}"#);
        world.publish("b-1", "v1/d/b-1/t/status", &payload);
    };
    publish(-10, 50);
    world.settle().await;
    publish(-20, 60);
    publish(600, 70);
    world.settle().await;
    assert_eq!(latest(&world, "b-1").await, ["status.battery_pct=50"]);
    publish(-5, 40);
    world.settle().await;
    assert_eq!(latest(&world, "b-1").await, ["status.battery_pct=40"]);
}

#[tokio::test]
async fn the_law_of_the_door_holds() {
    let world = World::new().await;
    world.publish("b-1", "v1/d/b-1/t/ride", r#"[{"speed_kmh":1},{"lat":100},{"speed_kmh":2}]"#);
    world.publish("b-1", "v1/d/b-1/t/ride", "nonsense");
    let foreign = axle_app::Publisher {
        device: device("b-1"),
        connected_at: crate::world::NOW,
        rights: axle_app::Rights::OwnTree,
    };
    let error = world.app.ingest.publish(&foreign, &content("v1/d/b-2/t/ride", b"{}")).unwrap_err();
    assert_eq!(error.code, "topic.denied");
    world.app.ingest.count_rejected(1);
    world.settle().await;
    let counters = world.app.counters().await.unwrap();
    assert_eq!(counters, Counters { stored: 2, quarantined: 2, rejected: 1, shed: 0 });
    assert_eq!(counters.received(), 5);
}

#[tokio::test]
async fn a_restart_neither_loses_nor_repeats() {
    let world = World::new().await;
    for index in 0..50 {
        let payload =
            format!(r#"[{{"time":179000000{index:04},"speed_kmh":{index}}},{{"lat":100}}]"#);
        world.publish("b-1", "v1/d/b-1/t/ride", &payload);
        if index == 25 {
            world.settle().await;
        }
    }
    let ground = world.crash();
    let world = World::start(ground).await;
    world.settle().await;
    assert_eq!(world.store.row_count(), 50, "written once");
    let counters = world.app.counters().await.unwrap();
    assert_eq!((counters.stored, counters.quarantined), (50, 50), "counted once");
    let items = world.app.quarantine.list(None, None, 1000).await.unwrap();
    assert_eq!(items.len(), 50);
}

#[tokio::test]
async fn a_clean_stop_commits_what_was_gathered() {
    let world = World::new().await;
    world.publish("b-1", "v1/d/b-1/t/status", r#"{"time":1790000000000,"battery_pct":81}"#);
    while world.app.positions().store < world.app.ports.log.bounds().appended {
        tokio::task::yield_now().await;
    }
    let ground = world.stop().await;
    let world = World::start(ground).await;
    assert_eq!(latest(&world, "b-1").await, ["status.battery_pct=81"]);
}
