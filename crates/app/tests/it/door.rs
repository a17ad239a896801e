//! The law of the door over crashes: what was answered is counted, once.

use axle_app::{Content, Publisher, Rights};
use axle_domain::port::{Counters, EventLog};
use axle_domain::{Envelope, Turned};

use crate::world::{NOW, World, device};

fn publisher() -> Publisher {
    Publisher { device: device("b-1"), connected_at: NOW, rights: Rights::OwnTree }
}

fn content<'a>(topic: &'a str, payload: &'a [u8]) -> Content<'a> {
    Content { topic, content_type: "", payload, envelope: Envelope::default(), origin: "" }
}

/// Refuses as the gateway does; returns when the device would be told.
async fn refuse(world: &World) {
    let publisher = publisher();
    let refused = world.app.ingest.publish(&publisher, &content("v1/d/b-2/t/ride", b"{}"));
    assert_eq!(refused.unwrap_err().code, "topic.denied");
    let counted = world.app.ingest.count_rejected(1).unwrap();
    world.app.ingest.durable(counted).await.unwrap();
}

#[tokio::test]
async fn what_was_refused_and_answered_is_counted_over_every_crash() {
    let mut world = World::new().await;
    let mut expected = Counters::default();
    for round in 0..20 {
        world.publish("b-1", "v1/d/b-1/t/ride", r#"[{"lat":1},{"lat":100}]"#);
        expected.add(Counters { stored: 1, quarantined: 1, ..Counters::default() });
        for _ in 0..=round % 3 {
            refuse(&world).await;
            expected.rejected += 1;
        }
        world.app.ingest.settle(Turned { rejected: 0, shed: 2 }).await;
        expected.shed += 2;
        if round % 4 == 0 {
            world.settle().await;
        }
        // Between two messages, before or after the projection has looked.
        world = World::start(world.crash()).await;
    }
    world.settle().await;
    assert_eq!(world.app.counters().await.unwrap(), expected);
}

#[tokio::test]
async fn counts_that_the_log_cannot_take_wait_for_the_next_record() {
    let world = World::new().await;
    world.ground.log.hold();
    let big = vec![b' '; 1024 * 1024];
    let publisher = publisher();
    // Answers are taken to the end, when all else has given way.
    let answer = "v1/d/b-1/c/k1/r";
    while world.app.ingest.publish(&publisher, &content(answer, &big)).is_ok() {}
    while world.app.ingest.publish(&publisher, &content(answer, b"")).is_ok() {}
    assert_eq!(world.app.ingest.count_rejected(2), None, "the log is full");
    world.app.ingest.count_shed(3);
    world.ground.log.commit();
    assert!(world.app.ingest.count_rejected(1).is_some());
    world.ground.log.commit();
    let world = World::start(world.crash()).await;
    world.settle().await;
    let counters = world.app.counters().await.unwrap();
    assert_eq!((counters.rejected, counters.shed), (3, 3));
    assert_eq!(world.ground.log.bounds().durable.0, world.ground.log_len());
}

#[tokio::test]
async fn no_count_falls_while_it_is_on_its_way_into_the_state() {
    let world = World::new().await;
    world.stop_projecting();
    world.app.ingest.count_shed(3);
    assert_eq!(world.app.counters().await.unwrap().shed, 3, "they wait at the door");
    let record = world.app.ingest.count_rejected(1).unwrap();
    world.app.ingest.durable(record).await.unwrap();
    let counters = world.app.counters().await.unwrap();
    assert_eq!((counters.shed, counters.rejected), (3, 0), "they are in the log alone");
    let world = World::start(world.crash()).await;
    world.settle().await;
    let counters = world.app.counters().await.unwrap();
    assert_eq!((counters.shed, counters.rejected), (3, 1));
}
