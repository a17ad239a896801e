//! The last ride of a device.

use axle_domain::Kind;

use crate::world::{NOW, World, device};

/// Rows of a ride, so many minutes before now, one a minute.
fn ride(world: &World, id: &str, minutes_ago: std::ops::Range<i64>) {
    for minute in minutes_ago.rev() {
        let time = NOW.0 / 1000 - minute * 60_000;
        let lat = 48.0 + 0.001 * minute as f64;
        let payload = format!(r#"{{"time":{time},"lat":{lat:.6},"lon":11.5,"speed_kmh":20}}"#);
        world.publish(id, &format!("v1/d/{id}/t/ride"), &payload);
    }
}

#[tokio::test]
async fn the_last_ride_is_the_newest_stretch_without_a_long_silence() {
    let world = World::new().await;
    let principal = world.principal(&["read:b-1"]).await;
    let id = device("b-1");
    assert_eq!(world.app.rides.find_last(&principal, &id).await.unwrap(), None);
    ride(&world, "b-1", 200..230);
    ride(&world, "b-1", 90..100);
    ride(&world, "b-2", 0..5);
    world.settle().await;
    let last = world.app.rides.find_last(&principal, &id).await.unwrap().unwrap();
    assert_eq!(last.points.len(), 10);
    assert_eq!(last.points[0].time, NOW.shifted(-99 * 60_000_000));
    assert_eq!(last.points[9].speed_kmh, Some(20.0));
    assert_eq!(last.points[9].altitude_m, None);
}

#[tokio::test]
async fn a_ride_that_is_longer_than_the_first_look_is_found_whole() {
    let world = World::new().await;
    let principal = world.principal(&["admin"]).await;
    ride(&world, "b-1", 0..500);
    world.settle().await;
    let last = world.app.rides.find_last(&principal, &device("b-1")).await.unwrap().unwrap();
    assert_eq!(last.points.len(), 500);
}

#[tokio::test]
async fn what_was_reported_without_a_place_is_no_part_of_a_ride() {
    let world = World::new().await;
    let principal = world.principal(&["admin"]).await;
    ride(&world, "b-1", 60..70);
    world.publish("b-1", "v1/d/b-1/t/ride", r#"{"battery_pct":50}"#);
    world.settle().await;
    let last = world.app.rides.find_last(&principal, &device("b-1")).await.unwrap().unwrap();
    assert_eq!(last.points.len(), 10);
}

#[tokio::test]
async fn the_ride_of_another_looks_like_a_device_that_is_not_there() {
    let world = World::new().await;
    let principal = world.principal(&["read:b-2"]).await;
    let error = world.app.rides.find_last(&principal, &device("b-1")).await.unwrap_err();
    assert_eq!((error.kind, error.code), (Kind::NotFound, "device.not_found"));
}
