//! Retention and registered consumers.

use std::time::Duration;

use axle_app::{Follower, HoldLimits, Portion, ReadFrom, Selection};
use axle_domain::port::EventLog;
use axle_domain::{ConsumerName, Offset};

use crate::world::World;

fn name(text: &str) -> ConsumerName {
    ConsumerName::parse(text).unwrap()
}

const NEVER: HoldLimits = HoldLimits { idle_max: Duration::MAX, bytes_max: u64::MAX };

async fn publish(world: &World, count: usize) {
    for _ in 0..count {
        world.publish("b-1", "v1/d/b-1/t/ride", r#"{"lat":1}"#);
    }
    world.settle().await;
}

fn first(world: &World) -> u64 {
    world.ground.log.bounds().first.0
}

#[tokio::test]
async fn retention_waits_for_the_slowest_consumer_over_restarts() {
    let world = World::new().await;
    let consumers = &world.app.consumers;
    consumers.create(name("slow"), ReadFrom::First).await.unwrap();
    consumers.create(name("fast"), ReadFrom::First).await.unwrap();
    publish(&world, 10).await;
    consumers.commit(&name("fast"), Offset(10)).await.unwrap();
    consumers.commit(&name("slow"), Offset(4)).await.unwrap();
    assert_eq!(first(&world), 4);
    assert_eq!(consumers.holder().follower, Follower::Consumer(name("slow")));
    let world = World::start(world.crash()).await;
    publish(&world, 5).await;
    assert_eq!(first(&world), 4, "a restart forgets no position");
    let consumers = &world.app.consumers;
    consumers.sweep(NEVER).await.unwrap();
    assert_eq!(first(&world), 4);
    consumers.delete(&name("slow")).await.unwrap();
    assert_eq!(first(&world), 10);
    consumers.delete(&name("fast")).await.unwrap();
    assert_eq!(first(&world), 15);
    assert_eq!(consumers.holder().follower, Follower::Projections);
}

#[tokio::test]
async fn what_waits_for_sessions_holds_the_log_as_a_consumer_does() {
    let world = World::new().await;
    let consumers = &world.app.consumers;
    consumers.put_sessions(Some(Offset(2)));
    consumers.create(name("slow"), ReadFrom::First).await.unwrap();
    publish(&world, 5).await;
    let sweep = HoldLimits { bytes_max: 0, ..NEVER };
    consumers.commit(&name("slow"), Offset(3)).await.unwrap();
    assert_eq!((first(&world), consumers.holder().follower), (2, Follower::Sessions));
    consumers.sweep(sweep).await.unwrap();
    assert_eq!(consumers.get(&name("slow")).await.unwrap().lost_at, None, "it is not in the way");
    consumers.put_sessions(Some(Offset(4)));
    assert_eq!(first(&world), 3);
    consumers.sweep(sweep).await.unwrap();
    assert_eq!(first(&world), 4);
    consumers.put_sessions(None);
    assert_eq!(first(&world), 5);
}

#[tokio::test]
async fn a_consumer_that_rests_too_long_is_lost_and_told_what_is_gone() {
    let world = World::new().await;
    let consumers = &world.app.consumers;
    consumers.create(name("slow"), ReadFrom::First).await.unwrap();
    publish(&world, 3).await;
    let limits = HoldLimits { idle_max: Duration::from_secs(60), ..NEVER };
    world.ground.clock.advance(Duration::from_secs(59));
    consumers.sweep(limits).await.unwrap();
    assert_eq!(first(&world), 0);
    world.ground.clock.advance(Duration::from_secs(2));
    consumers.sweep(limits).await.unwrap();
    assert_eq!(first(&world), 3);
    let lost = consumers.get(&name("slow")).await.unwrap();
    assert!(lost.lost_at.is_some() && lost.position == Offset(0));
    let portion = Portion { messages_max: 10, wait: Duration::ZERO };
    let gone = consumers.read(lost.position, &Selection::default(), portion).await.unwrap_err();
    assert_eq!((gone.code, gone.limit), ("log.position_gone", Some((3, 0))));
    let back = consumers.commit(&name("slow"), Offset(0)).await.unwrap_err();
    assert_eq!(back.code, "log.position_gone");
    assert!(consumers.get(&name("slow")).await.unwrap().lost_at.is_some(), "nothing changed");
    consumers.commit(&name("slow"), Offset(3)).await.unwrap();
    publish(&world, 2).await;
    assert_eq!(first(&world), 3, "it holds the log again");
}

#[tokio::test]
async fn a_consumer_that_is_not_behind_may_rest_for_ever() {
    let world = World::new().await;
    publish(&world, 3).await;
    world.app.consumers.create(name("calm"), ReadFrom::Next).await.unwrap();
    world.ground.clock.advance(Duration::from_secs(10_000));
    let limits = HoldLimits { idle_max: Duration::from_secs(1), bytes_max: 0 };
    world.app.consumers.sweep(limits).await.unwrap();
    assert_eq!(world.app.consumers.get(&name("calm")).await.unwrap().lost_at, None);
}

#[tokio::test]
async fn of_two_that_hold_too_much_the_one_furthest_behind_goes() {
    let world = World::new().await;
    let consumers = &world.app.consumers;
    consumers.create(name("a"), ReadFrom::First).await.unwrap();
    consumers.create(name("b"), ReadFrom::First).await.unwrap();
    publish(&world, 10).await;
    consumers.commit(&name("b"), Offset(9)).await.unwrap();
    let bytes = world.ground.log.bounds().bytes;
    consumers.sweep(HoldLimits { bytes_max: bytes / 2, ..NEVER }).await.unwrap();
    assert!(consumers.get(&name("a")).await.unwrap().lost_at.is_some());
    assert_eq!(consumers.get(&name("b")).await.unwrap().lost_at, None);
    assert_eq!(first(&world), 9);
}

#[tokio::test]
async fn a_moment_is_found_in_the_log() {
    let world = World::new().await;
    let consumers = &world.app.consumers;
    consumers.create(name("hold"), ReadFrom::First).await.unwrap();
    let mut moments = Vec::new();
    for _ in 0..9 {
        publish(&world, 2).await;
        moments.push(crate::world::NOW.after(Duration::from_secs(moments.len() as u64)));
        world.ground.clock.advance(Duration::from_secs(1));
    }
    for (index, moment) in moments.into_iter().enumerate() {
        let found = consumers.locate(ReadFrom::Time(moment)).await.unwrap();
        assert_eq!(found, Offset(2 * index as u64));
    }
}
