//! Wills, by the clauses of MQTT 5.0; those of 3.1.1 say the same of what it knows.

use std::time::Duration;

use axle_app::NewApplication;
use axle_domain::{ApplicationKind, ApplicationName, ClientSession, Grants, TopicFilter};
use bytes::Bytes;
use rmqtt_codec::types::QoS;
use rmqtt_codec::{v3, v5};

use crate::client::{Client, connect_v5, last_will};
use crate::world::World;

fn will(topic: &str, delay_seconds: u32) -> v5::LastWill {
    v5::LastWill { will_delay_interval_sec: Some(delay_seconds), ..last_will(topic, "gone") }
}

/// Connects with a will; the session lasts so many seconds.
async fn with_will(world: &World, id: &str, expiry: u32, will: v5::LastWill) -> Client {
    let mut client = Client::plain(world, true).await;
    let connect = v5::Connect {
        clean_start: false,
        session_expiry_interval_secs: expiry,
        last_will: Some(will),
        ..connect_v5(id)
    };
    assert_eq!(u8::from(client.connect_v5(connect).await.reason_code), 0);
    client
}

/// A client that comes back without a will.
async fn back(world: &World, id: &str, is_clean: bool) -> Client {
    let mut client = Client::plain(world, true).await;
    let connect =
        v5::Connect { clean_start: is_clean, session_expiry_interval_secs: 3600, ..connect_v5(id) };
    client.connect_v5(connect).await;
    client
}

/// Waits until the gateway has seen that a client is gone.
async fn gone(world: &World, client: Client) {
    drop(client);
    let wait = async {
        while world.sessions_left().await > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), wait).await.unwrap();
}

/// Makes the router look at the clock: a message goes through it.
async fn turn(world: &World, count: u64) {
    let mut listener = Client::connected(world, "listener", true).await;
    assert_eq!(listener.subscribe(&["turn"]).await, [1]);
    for _ in 0..count {
        world.append("turn", b"", 0);
        assert_eq!(&*listener.published().await.topic, "turn");
    }
}

/// The wills in the log.
async fn wills(world: &World) -> Vec<String> {
    turn(world, 2).await;
    let records = world.records(world.log_length()).await;
    let records = records.iter().map(|record| record.message().topic.to_owned());
    records.filter(|topic| topic != "turn").collect()
}

#[tokio::test]
async fn mqtt_3_1_3_2_a_will_comes_with_all_its_properties() {
    let world = World::open_to_all().await;
    let mut listener = Client::connected(&world, "listener", true).await;
    listener.subscribe(&["w"]).await;
    let properties = v5::LastWill {
        retain: true,
        correlation_data: Some(Bytes::from_static(&[1, 2])),
        message_expiry_interval: std::num::NonZeroU32::new(60),
        content_type: Some("text/plain".into()),
        user_properties: vec![("k".into(), "v".into())],
        is_utf8_payload: Some(true),
        response_topic: Some("r".into()),
        ..will("w", 0)
    };
    drop(with_will(&world, "app", 0, properties).await);
    let seen = listener.published().await;
    assert_eq!((&seen.payload[..], seen.qos, seen.retain), (&b"gone"[..], QoS::AtLeastOnce, false));
    let expected = v5::PublishProperties {
        correlation_data: Some(Bytes::from_static(&[1, 2])),
        message_expiry_interval: std::num::NonZeroU32::new(60),
        content_type: Some("text/plain".into()),
        user_properties: vec![("k".into(), "v".into())],
        is_utf8_payload: true,
        response_topic: Some("r".into()),
        ..v5::PublishProperties::default()
    };
    assert_eq!(seen.properties.unwrap(), expected);
    // [MQTT-3.1.2-15]
    let mut late = Client::connected(&world, "late", true).await;
    late.subscribe(&["w"]).await;
    assert!(late.published().await.retain);
}

#[tokio::test]
async fn mqtt_3_1_2_12_a_will_comes_at_its_qos_and_3_1_1_has_retained_ones_too() {
    let world = World::open_to_all().await;
    for (qos, is_retained) in
        [(QoS::AtMostOnce, false), (QoS::AtLeastOnce, true), (QoS::ExactlyOnce, true)]
    {
        let mut client = Client::plain(&world, false).await;
        let connect = v3::Connect {
            clean_session: true,
            keep_alive: 60,
            client_id: "old".into(),
            last_will: Some(v3::LastWill {
                qos,
                retain: is_retained,
                topic: "w".into(),
                message: Bytes::from_static(b"gone"),
            }),
            ..v3::Connect::default()
        };
        client.send_v3(v3::Packet::Connect(Box::new(connect))).await;
        assert!(client.receive().await.is_some());
        let before = world.log_length();
        drop(client);
        let records = world.records(before + 1).await;
        let last = records.last().unwrap();
        assert_eq!((last.qos, last.is_retained), (qos.value(), is_retained));
    }
}

#[tokio::test]
async fn mqtt_3_1_2_8_a_will_waits_for_its_delay() {
    let world = World::open_to_all().await;
    let client = with_will(&world, "app", 3600, will("w", 60)).await;
    gone(&world, client).await;
    world.clock.advance(Duration::from_secs(59));
    assert!(wills(&world).await.is_empty());
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(wills(&world).await, ["w"]);
    world.clock.advance(Duration::from_secs(3600));
    assert_eq!(wills(&world).await, ["w"], "once");
}

#[tokio::test]
async fn mqtt_3_1_3_9_who_comes_back_in_time_is_not_said_to_be_gone() {
    let world = World::open_to_all().await;
    let client = with_will(&world, "app", 3600, will("w", 60)).await;
    gone(&world, client).await;
    world.clock.advance(Duration::from_secs(59));
    let client = back(&world, "app", false).await;
    world.clock.advance(Duration::from_secs(3600));
    assert!(wills(&world).await.is_empty());
    drop(client);
    // A take-over is a way to come back too.
    let old = with_will(&world, "app", 3600, will("w", 60)).await;
    let _new = back(&world, "app", false).await;
    drop(old);
    world.clock.advance(Duration::from_secs(3600));
    assert!(wills(&world).await.is_empty());
}

#[tokio::test]
async fn mqtt_3_1_2_8_a_will_is_sent_when_its_session_ends_before_the_delay() {
    let world = World::open_to_all().await;
    // It lasts no longer than its connection.
    drop(with_will(&world, "short", 0, will("short", 60)).await);
    world.records(1).await;
    // Its time is over.
    let client = with_will(&world, "brief", 10, will("brief", 60)).await;
    gone(&world, client).await;
    world.clock.advance(Duration::from_secs(10));
    assert_eq!(wills(&world).await, ["short", "brief"]);
    // A clean start ends it.
    let client = with_will(&world, "clean", 3600, will("clean", 60)).await;
    gone(&world, client).await;
    let _new = back(&world, "clean", true).await;
    assert_eq!(wills(&world).await, ["short", "brief", "clean"]);
    // Also when it takes over.
    let mut old = with_will(&world, "taken", 3600, will("taken", 60)).await;
    let _new = back(&world, "taken", true).await;
    assert_eq!(old.disconnected().await, Some(0x8e));
    let wait = async { while wills(&world).await.len() < 4 {} };
    tokio::time::timeout(Duration::from_secs(5), wait).await.unwrap();
    assert_eq!(wills(&world).await, ["short", "brief", "clean", "taken"]);
}

#[tokio::test]
async fn mqtt_3_14_4_3_a_goodbye_takes_the_will_back_and_one_with_will_does_not() {
    let world = World::open_to_all().await;
    let mut client = with_will(&world, "app", 3600, will("w", 0)).await;
    client.send_bytes(&[0xe0, 0]).await;
    assert!(client.receive().await.is_none());
    assert!(wills(&world).await.is_empty());
    let mut client = with_will(&world, "app", 3600, will("w", 0)).await;
    client.send_bytes(&[0xe0, 1, 4]).await;
    assert!(client.receive().await.is_none());
    let wait = async { while wills(&world).await.is_empty() {} };
    tokio::time::timeout(Duration::from_secs(5), wait).await.unwrap();
    assert_eq!(wills(&world).await, ["w"]);
    // [MQTT-3.1.2-10]: nothing is left of it in the session.
    let world = world.crash().await;
    world.clock.advance(Duration::from_secs(3600));
    assert_eq!(wills(&world).await, ["w"]);
}

#[tokio::test]
async fn a_will_that_waits_survives_a_crash_and_is_sent_once() {
    let world = World::open_to_all().await;
    let client = with_will(&world, "app", 3600, will("w", 60)).await;
    gone(&world, client).await;
    let _connected = with_will(&world, "there", 3600, will("there", 0)).await;
    let world = world.crash().await;
    // Whose connection the crash has ended is gone at once, the other after its delay.
    let wait = async { while wills(&world).await.is_empty() {} };
    tokio::time::timeout(Duration::from_secs(5), wait).await.unwrap();
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(wills(&world).await, ["there", "w"]);
    let world = world.crash().await;
    world.clock.advance(Duration::from_secs(600));
    assert_eq!(wills(&world).await, ["there", "w"]);
}

#[tokio::test]
async fn who_comes_back_after_a_crash_takes_the_will_away() {
    let world = World::open_to_all().await;
    let client = with_will(&world, "app", 3600, will("w", 60)).await;
    gone(&world, client).await;
    let world = world.crash().await;
    let _client = back(&world, "app", false).await;
    world.clock.advance(Duration::from_secs(600));
    assert!(wills(&world).await.is_empty());
}

#[tokio::test]
async fn a_will_that_waits_is_not_sent_for_who_may_not_publish_any_more() {
    let world = World::new().await;
    let filter = |text: &str| TopicFilter::parse(text).unwrap();
    let name = ApplicationName::parse("erp").unwrap();
    let new = NewApplication {
        name: name.clone(),
        kind: ApplicationKind::Backend,
        grants: Grants { publish: vec![filter("plant/#")], subscribe: vec![] },
        has_token: true,
    };
    let token = world.app.applications.create(new).await.unwrap().1.unwrap();
    let config = std::sync::Arc::new(world.bare_config());
    let mut erp = world.tls_client(&config, true).await.unwrap();
    let connect = v5::Connect {
        password: Some(token.into()),
        session_expiry_interval_secs: 3600,
        last_will: Some(will("plant/7", 60)),
        ..connect_v5("erp")
    };
    assert_eq!(u8::from(erp.connect_v5(connect).await.reason_code), 0);
    gone(&world, erp).await;
    assert_eq!(world.stored_sessions().await.sessions.len(), 1);
    world.app.applications.revoke(&name).await.unwrap();
    let wait = async {
        while !world.stored_sessions().await.sessions.is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), wait).await.expect("its session ends with it");
    assert_eq!(world.log_length(), 0);
}

/// Waits until of the only session that is stored this holds.
async fn stored(world: &World, holds: impl Fn(&ClientSession) -> bool) {
    let wait = async {
        while !world.stored_sessions().await.sessions.iter().any(|(session, _)| holds(session)) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(8), wait).await.expect("stored in time");
}

#[tokio::test]
async fn the_state_keeps_a_will_until_the_log_has_it() {
    let world = World::open_to_all().await;
    let client = with_will(&world, "app", 3600, will("w", 0)).await;
    world.log.hold();
    gone(&world, client).await;
    world.records_appended(1).await;
    stored(&world, |session| session.left_at.is_some()).await;
    stored(&world, |session| session.will.is_some()).await;
    world.log.commit();
    stored(&world, |session| session.will.is_none()).await;
    assert_eq!(world.log_length(), 1, "once");
}

#[tokio::test]
async fn what_connack_has_promised_of_a_will_a_crash_does_not_change() {
    let world = World::open_to_all().await;
    drop(back(&world, "app", false).await);
    let _client = with_will(&world, "app", 3600, will("w", 60)).await;
    let world = world.crash().await;
    stored(&world, |session| session.will.is_some()).await;
    let _client = back(&world, "app", false).await;
    let world = world.crash().await;
    stored(&world, |session| session.will.is_none()).await;
}
