//! Connections among each other: take-over, limits, keep alive, the end of the server.

use std::time::Duration;

use axle_domain::port::DeviceLink;
use axle_mqtt::Settings;
use rmqtt_codec::v5;

use crate::client::{Client, connect_v5};
use crate::world::World;

const RIDE: &str = "v1/d/b-1/t/ride";

#[tokio::test]
async fn a_client_that_comes_back_takes_over_at_once() {
    let world = World::new().await;
    world.add("b-1").await;
    for (is_v5, expected) in [(true, Some(0x8e)), (false, None)] {
        world.log.hold();
        let mut old = Client::connected(&world, "b-1", is_v5).await;
        old.publish(RIDE, b"{}", 1).await;
        old.ping().await;
        let mut new = Client::connected(&world, "b-1", is_v5).await;
        assert_eq!(old.disconnected().await, expected);
        new.publish(RIDE, b"{}", 1).await;
        new.ping().await;
        world.log.commit();
        assert_eq!(new.puback().await, (1, 0));
        let mut beside = Client::connected(&world, "b-1/beside", is_v5).await;
        beside.ping().await;
        new.ping().await;
    }
}

#[tokio::test]
async fn every_take_over_leaves_one_connection() {
    let settings = Settings { takeovers_per_minute_max: 50, ..Settings::default() };
    let world = World::with(settings).await;
    world.add("b-1").await;
    let mut clients = Vec::new();
    for _ in 0..50 {
        clients.push(Client::connected(&world, "b-1", true).await);
    }
    clients.pop().unwrap().ping().await;
    for client in &mut clients {
        assert_eq!(client.disconnected().await, Some(0x8e));
    }
    assert!(world.sessions.connection_count() <= 1);
}

#[tokio::test]
async fn one_more_than_the_most_is_refused_with_a_reason() {
    let world = World::with(Settings { connections_max: 2, ..Settings::default() }).await;
    world.add("b-1").await;
    let mut first = Client::connected(&world, "b-1/1", true).await;
    let _second = Client::connected(&world, "b-1/2", true).await;
    let mut third = Client::plain(&world, true).await;
    assert_eq!(third.connect("b-1/3").await, 0x97);
    let mut third = Client::plain(&world, false).await;
    assert_eq!(third.connect("b-1/3").await, 3);
    // Who is known already may come back.
    let mut again = Client::connected(&world, "b-1/1", true).await;
    assert_eq!(first.disconnected().await, Some(0x8e));
    again.ping().await;
}

#[tokio::test]
async fn those_who_say_nothing_take_no_place_from_those_who_do() {
    let world = World::with(Settings { unauthenticated_max: 3, ..Settings::default() }).await;
    world.add("b-1").await;
    let mut known = Client::connected(&world, "b-1", true).await;
    let silent = [world.plain_socket().await, world.plain_socket().await];
    let mut third = Client::plain(&world, true).await;
    assert_eq!(third.connect("b-1/3").await, 0);
    let _silent_too = world.plain_socket().await;
    let mut fourth = Client::plain(&world, true).await;
    assert_eq!(fourth.receive().await.map(|_| ()), None, "turned away");
    known.ping().await;
    drop(silent);
}

#[tokio::test]
async fn keep_alive_is_granted_told_and_enforced() {
    let world = World::new().await;
    world.add("b-1").await;
    for (asked, told) in [(60, None), (1200, None), (0, Some(1200)), (65535, Some(1200))] {
        let mut client = Client::plain(&world, true).await;
        let connect = v5::Connect { keep_alive: asked, ..connect_v5("b-1") };
        assert_eq!(client.connect_v5(connect).await.server_keepalive_sec, told, "{asked}");
    }
    let mut client = Client::plain(&world, true).await;
    client.connect_v5(v5::Connect { keep_alive: 1, ..connect_v5("b-1") }).await;
    let began = tokio::time::Instant::now();
    tokio::time::sleep(Duration::from_millis(1000)).await;
    client.ping().await;
    assert_eq!(client.disconnected().await, Some(0x8d));
    let silence = began.elapsed().as_millis();
    assert!((2400..4000).contains(&silence), "{silence} ms, a second of which was heard");
}

#[tokio::test]
async fn what_is_promised_is_what_there_is() {
    let world = World::new().await;
    world.add("b-1").await;
    let mut client = Client::plain(&world, true).await;
    let connect = v5::Connect { session_expiry_interval_secs: 3600, ..connect_v5("b-1") };
    let welcome = client.connect_v5(connect).await;
    assert!(!welcome.session_present && welcome.retain_available);
    assert!(welcome.shared_subscription_available && welcome.wildcard_subscription_available);
    assert_eq!(welcome.max_qos.value(), 2);
    assert_eq!(welcome.session_expiry_interval_secs, None, "what it asked for");
    assert_eq!(welcome.max_packet_size, Some(128 * 1024));
}

#[tokio::test]
async fn an_end_of_the_server_is_announced_after_the_last_acknowledgement() {
    let mut world = World::new().await;
    world.add("b-1").await;
    world.log.hold();
    let mut idle = Client::connected(&world, "b-1/idle", true).await;
    let mut old = Client::connected(&world, "b-1/old", false).await;
    let mut client = Client::connected(&world, "b-1", true).await;
    client.publish(RIDE, b"{}", 1).await;
    client.ping().await;
    world.stop.cancel();
    assert_eq!(idle.disconnected().await, Some(0x8b));
    assert_eq!(old.disconnected().await, None);
    world.log.commit();
    assert_eq!(client.puback().await, (1, 0));
    assert_eq!(client.disconnected().await, Some(0x8b));
    drop((idle, old, client));
    world.end().await;
    assert_eq!(world.sessions.connection_count(), 0);
}
