//! Retained messages, by the clauses of MQTT 5.0; those of 3.1.1 say the same in other numbers.

use std::time::Duration;

use axle_app::NewApplication;
use axle_domain::{ApplicationKind, ApplicationName, Grants, TopicFilter};
use axle_mqtt::{PlainAccess, Settings};
use rmqtt_codec::types::{Publish, QoS};
use rmqtt_codec::v5::{PublishProperties, RetainHandling, SubscriptionOptions};
use rmqtt_codec::{MqttPacket, v5};

use crate::client::{Client, connect_v5, message};
use crate::world::World;

/// Publishes a message that is to be retained.
async fn retain(client: &mut Client, topic: &str, payload: &[u8]) {
    client.publish_whole(message(topic, payload, QoS::AtLeastOnce, true)).await;
}

fn handling(retain_handling: RetainHandling) -> SubscriptionOptions {
    SubscriptionOptions { qos: QoS::AtLeastOnce, retain_handling, ..SubscriptionOptions::default() }
}

/// Payload and retain flag of the next messages.
async fn next(client: &mut Client, count: usize) -> Vec<(Vec<u8>, bool)> {
    let mut seen = Vec::new();
    for _ in 0..count {
        let Publish { payload, retain, packet_id, .. } = client.published().await;
        if let Some(id) = packet_id {
            client.acknowledge(id.get(), v5::PublishAckReason::Success).await;
        }
        seen.push((payload.to_vec(), retain));
    }
    seen
}

/// What a new subscriber of a filter gets before anything that is published later.
async fn retained(world: &World, filter: &str) -> Vec<Vec<u8>> {
    let mut late = Client::connected(world, "late", true).await;
    assert_eq!(late.subscribe(&[filter, "end"]).await, [1, 1]);
    world.append("end", b"end", 0);
    let mut seen = Vec::new();
    loop {
        let (payload, is_retained) = next(&mut late, 1).await.remove(0);
        if payload == b"end" {
            return seen;
        }
        assert!(is_retained);
        seen.push(payload);
    }
}

#[tokio::test]
async fn mqtt_3_3_1_5_the_last_message_is_kept_for_later_subscribers() {
    for is_v5 in [false, true] {
        let world = World::open_to_all().await;
        let mut speaker = Client::connected(&world, "speaker", is_v5).await;
        for payload in [b"1", b"2"] {
            retain(&mut speaker, "a/b", payload).await;
        }
        speaker.publish("a/b", b"not to be kept", 7).await;
        assert_eq!(speaker.puback().await, (7, 0));
        let mut late = Client::connected(&world, "late", is_v5).await;
        assert_eq!(late.subscribe(&["a/+"]).await, [1]);
        assert_eq!(next(&mut late, 1).await, [(b"2".to_vec(), true)]);
        late.ping().await;
    }
}

#[tokio::test]
async fn mqtt_3_3_1_6_and_7_an_empty_message_clears_and_is_not_kept() {
    let world = World::open_to_all().await;
    let mut listener = Client::connected(&world, "listener", true).await;
    listener.subscribe(&["a"]).await;
    let mut speaker = Client::connected(&world, "speaker", true).await;
    retain(&mut speaker, "a", b"1").await;
    retain(&mut speaker, "a", b"").await;
    retain(&mut speaker, "b", b"").await;
    let seen = next(&mut listener, 2).await;
    assert_eq!(seen, [(b"1".to_vec(), false), (b"".to_vec(), false)], "it is a message too");
    assert_eq!(retained(&world, "#").await, [b""; 0]);
}

#[tokio::test]
async fn mqtt_3_3_1_8_and_12_the_flag_says_whether_a_message_was_kept() {
    let world = World::open_to_all().await;
    let mut listener = Client::connected(&world, "listener", true).await;
    let as_published =
        SubscriptionOptions { retain_as_published: true, ..handling(RetainHandling::AtSubscribe) };
    assert_eq!(listener.subscribe(&["plain"]).await, [1]);
    assert_eq!(listener.subscribe_with(&["same"], as_published, None).await, [1]);
    let mut speaker = Client::connected(&world, "speaker", true).await;
    for topic in ["plain", "same"] {
        retain(&mut speaker, topic, topic.as_bytes()).await;
        speaker.publish_whole(message(topic, b"x", QoS::AtLeastOnce, false)).await;
    }
    let x = || (b"x".to_vec(), false);
    let expected = [(b"plain".to_vec(), false), x(), (b"same".to_vec(), true), x()];
    assert_eq!(next(&mut listener, 4).await, expected);
    assert_eq!(retained(&world, "#").await, [&b"plain"[..], b"same"]);
}

#[tokio::test]
async fn mqtt_3_3_1_9_to_11_retain_handling_says_when_kept_messages_come() {
    let world = World::open_to_all().await;
    let mut speaker = Client::connected(&world, "speaker", true).await;
    retain(&mut speaker, "a", b"1").await;
    for (wish, expected) in [
        (RetainHandling::AtSubscribe, [true, true]),
        (RetainHandling::AtSubscribeNew, [true, false]),
        (RetainHandling::NoAtSubscribe, [false, false]),
    ] {
        let mut late = Client::connected(&world, "late", true).await;
        for expected in expected {
            assert_eq!(late.subscribe_with(&["a"], handling(wish), None).await, [1]);
            if expected {
                assert_eq!(next(&mut late, 1).await, [(b"1".to_vec(), true)]);
            }
            late.subscribe(&["end"]).await;
            world.append("end", b"", 0);
            assert_eq!(next(&mut late, 1).await, [(b"".to_vec(), false)], "{wish:?}");
        }
    }
}

#[tokio::test]
async fn mqtt_3_8_4_a_kept_message_comes_at_the_lower_qos_with_the_identifier() {
    let world = World::open_to_all().await;
    let mut speaker = Client::connected(&world, "speaker", true).await;
    for (topic, qos) in [("0", QoS::AtMostOnce), ("1", QoS::AtLeastOnce), ("2", QoS::ExactlyOnce)] {
        speaker.publish_whole(message(topic, b"x", qos, true)).await;
    }
    let mut late = Client::connected(&world, "late", true).await;
    late.subscribe_with(&["+"], handling(RetainHandling::AtSubscribe), Some(300)).await;
    for (topic, qos) in [("0", QoS::AtMostOnce), ("1", QoS::AtLeastOnce), ("2", QoS::AtLeastOnce)] {
        let seen = late.published().await;
        let ids: Vec<u32> =
            seen.properties.unwrap().subscription_ids.iter().map(|id| id.get()).collect();
        assert_eq!((&*seen.topic, seen.qos, ids), (topic, qos, vec![300]));
    }
}

#[tokio::test]
async fn mqtt_3_3_2_5_and_6_a_kept_message_ages_and_expires() {
    let world = World::open_to_all().await;
    let mut speaker = Client::connected(&world, "speaker", true).await;
    let properties = PublishProperties {
        message_expiry_interval: std::num::NonZeroU32::new(60),
        content_type: Some("text/plain".into()),
        user_properties: vec![("k".into(), "v".into())],
        ..PublishProperties::default()
    };
    let publish = message("a", b"1", QoS::AtLeastOnce, true);
    speaker.publish_whole(Publish { properties: Some(properties.clone()), ..publish }).await;
    world.clock.advance(Duration::from_secs(20));
    let mut late = Client::connected(&world, "late", true).await;
    late.subscribe(&["a"]).await;
    let left = std::num::NonZeroU32::new(40);
    let expected = PublishProperties { message_expiry_interval: left, ..properties };
    assert_eq!(late.published().await.properties.unwrap(), expected);
    world.clock.advance(Duration::from_secs(40));
    assert_eq!(retained(&world, "a").await, [b""; 0]);
}

#[tokio::test]
async fn mqtt_4_8_2_a_shared_subscription_gets_no_kept_messages() {
    let world = World::open_to_all().await;
    let mut speaker = Client::connected(&world, "speaker", true).await;
    retain(&mut speaker, "a", b"1").await;
    assert_eq!(retained(&world, "$share/g/a").await, [b""; 0]);
}

#[tokio::test]
async fn mqtt_4_7_2_1_nothing_is_kept_of_topics_with_a_dollar() {
    let world = World::open_to_all().await;
    let mut speaker = Client::connected(&world, "speaker", true).await;
    retain(&mut speaker, "$SYS/a", b"1").await;
    assert_eq!(retained(&world, "$SYS/#").await, [b""; 0]);
}

#[tokio::test]
async fn mqtt_3_8_3_3_no_local_holds_for_kept_messages_too() {
    let world = World::open_to_all().await;
    let mut tool = Client::connected(&world, "tool", true).await;
    retain(&mut tool, "a", b"mine").await;
    retain(&mut Client::connected(&world, "other", true).await, "b", b"theirs").await;
    let options = SubscriptionOptions { no_local: true, ..handling(RetainHandling::AtSubscribe) };
    tool.subscribe_with(&["#"], options, None).await;
    assert_eq!(next(&mut tool, 1).await, [(b"theirs".to_vec(), true)]);
    tool.ping().await;
}

#[tokio::test]
async fn what_was_acknowledged_is_kept_over_a_crash_and_what_was_cleared_is_not() {
    let world = World::open_to_all().await;
    let mut speaker = Client::connected(&world, "speaker", true).await;
    for topic in ["a", "b", "c"] {
        retain(&mut speaker, topic, topic.as_bytes()).await;
    }
    let world = world.crash().await;
    let mut speaker = Client::connected(&world, "speaker", true).await;
    retain(&mut speaker, "b", b"").await;
    retain(&mut speaker, "c", b"new").await;
    let world = world.crash().await;
    assert_eq!(retained(&world, "+").await, [&b"a"[..], b"new"]);
    // Also when the part of the log is gone that they came by.
    let world = world.restart().await;
    let world = world.restart().await;
    assert_eq!(world.stored_sessions().await.retained.len(), 2);
    assert_eq!(retained(&world, "+").await, [&b"a"[..], b"new"]);
}

#[tokio::test]
async fn what_is_not_durable_is_not_kept() {
    let world = World::open_to_all().await;
    world.log.hold();
    let mut speaker = Client::connected(&world, "speaker", true).await;
    speaker
        .send_v5(v5::Packet::Publish(Box::new(message("a", b"1", QoS::AtLeastOnce, true))))
        .await;
    speaker.ping().await;
    let mut late = Client::connected(&world, "late", true).await;
    late.subscribe(&["a"]).await;
    late.ping().await;
    world.log.commit();
    assert_eq!(next(&mut late, 1).await, [(b"1".to_vec(), false)], "it came after it subscribed");
    let world = world.crash().await;
    assert_eq!(retained(&world, "a").await, [b"1"]);
}

#[tokio::test]
async fn what_a_client_published_before_it_subscribed_comes_as_retained_or_not_at_all() {
    for is_v5 in [false, true] {
        let world = World::open_to_all().await;
        world.log.hold();
        let mut client = Client::connected(&world, "app", is_v5).await;
        client.publish("a/1", b"before", 0).await;
        client.publish_whole(message("a/2", b"kept", QoS::AtMostOnce, true)).await;
        assert_eq!(client.subscribe(&["a/#"]).await, [1]);
        client.publish("a/3", b"after", 0).await;
        client.ping().await;
        world.log.commit();
        let mut seen = Vec::new();
        for _ in 0..2 {
            let publish = client.published().await;
            seen.push((publish.payload.to_vec(), publish.retain));
        }
        seen.sort();
        assert_eq!(seen, [(b"after".to_vec(), false), (b"kept".to_vec(), true)]);
        client.ping().await;
    }
}

#[tokio::test]
async fn more_than_a_queue_takes_comes_all_the_same_and_in_order() {
    const COUNT: u16 = 3000;
    let world = World::open_to_all().await;
    let mut speaker = Client::connected(&world, "speaker", false).await;
    for number in 0..COUNT {
        let topic = format!("a/{number:05}");
        speaker.publish_whole(message(&topic, &number.to_be_bytes(), QoS::AtLeastOnce, true)).await;
    }
    let mut late = Client::connected(&world, "late", true).await;
    late.subscribe(&["a/#"]).await;
    for number in 0..COUNT {
        let seen = next(&mut late, 1).await;
        assert_eq!(seen, [(number.to_be_bytes().to_vec(), true)]);
    }
    late.ping().await;
}

#[tokio::test]
async fn a_session_that_outlives_its_connection_gets_each_kept_message_once() {
    const COUNT: u16 = 1500;
    let world = World::open_to_all().await;
    let mut speaker = Client::connected(&world, "speaker", false).await;
    for number in 0..COUNT {
        let topic = format!("a/{number:05}");
        speaker.publish_whole(message(&topic, &number.to_be_bytes(), QoS::AtLeastOnce, true)).await;
    }
    let keep = || v5::Connect {
        clean_start: false,
        session_expiry_interval_secs: 3600,
        ..connect_v5("keeper")
    };
    let mut keeper = Client::plain(&world, true).await;
    keeper.connect_v5(keep()).await;
    keeper.subscribe(&["a/#"]).await;
    let seen = next(&mut keeper, 100).await;
    assert_eq!(seen[99].0, 99_u16.to_be_bytes());
    // Not acknowledged, and more than the rest of the queue was given at once.
    drop(keeper);
    let world = world.crash().await;
    let mut keeper = Client::plain(&world, true).await;
    assert!(keeper.connect_v5(keep()).await.session_present);
    let mut expected = 100_u16;
    while expected < COUNT {
        let (payload, is_retained) = next(&mut keeper, 1).await.remove(0);
        let number = u16::from_be_bytes(payload.try_into().unwrap());
        // What was acknowledged just before the crash may come again (QoS 1).
        assert!(is_retained && number <= expected, "{number} comes before {expected}");
        expected = expected.max(number + 1);
    }
    keeper.ping().await;
}

#[tokio::test]
async fn one_more_than_the_most_is_refused_and_what_is_there_may_change() {
    let settings = Settings {
        plain_access: PlainAccess::All,
        retained_messages_max: 2,
        ..Settings::default()
    };
    let world = World::with(settings).await;
    let mut speaker = Client::connected(&world, "speaker", true).await;
    retain(&mut speaker, "a", b"1").await;
    retain(&mut speaker, "b", b"1").await;
    assert_eq!(retained(&world, "+").await.len(), 2);
    let one_more = || v5::Packet::Publish(Box::new(message("c", b"1", QoS::AtLeastOnce, true)));
    speaker.send_v5(one_more()).await;
    assert_eq!(speaker.puback().await, (1, 0x97));
    retain(&mut speaker, "a", b"2").await;
    retain(&mut speaker, "b", b"").await;
    assert_eq!(retained(&world, "+").await, [b"2"]);
    speaker.send_v5(one_more()).await;
    assert_eq!(speaker.puback().await, (1, 0));
    // 3.1.1 cannot be told: its message counts, and is not kept.
    let mut old = Client::connected(&world, "old", false).await;
    retain(&mut old, "d", b"1").await;
    assert_eq!(retained(&world, "+").await, [b"2", b"1"]);
    assert!(world.counted("axle_mqtt_dropped_messages_total", "retained_full") >= 1.0);
}

#[tokio::test]
async fn a_device_takes_no_more_room_than_its_own() {
    let world = World::new().await;
    world.add("b-1").await;
    world.add("b-2").await;
    let mut device = Client::connected(&world, "b-1", true).await;
    let most = axle_domain::limit::RETAINED_PER_DEVICE_MAX;
    for number in 0..most {
        retain(&mut device, &format!("v1/d/b-1/t/s{number}"), b"{}").await;
    }
    while world.stored_sessions().await.retained.len() < most {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let packet = message("v1/d/b-1/t/more", b"{}", QoS::AtLeastOnce, true);
    device.send_v5(v5::Packet::Publish(Box::new(packet))).await;
    assert_eq!(device.puback().await, (1, 0x97));
    let mut other = Client::connected(&world, "b-2", true).await;
    retain(&mut other, "v1/d/b-2/t/ride", b"{}").await;
}

#[tokio::test]
async fn kept_messages_reach_whom_they_are_granted_to() {
    let world = World::new().await;
    world.add("b-1").await;
    let mut device = Client::connected(&world, "b-1", true).await;
    retain(&mut device, "v1/d/b-1/t/status", b"{}").await;
    device.publish("v1/d/b-1/e/x", b"{}", 3).await;
    assert_eq!(device.puback().await, (3, 0));
    let filter = |text: &str| TopicFilter::parse(text).unwrap();
    let new = NewApplication {
        name: ApplicationName::parse("erp").unwrap(),
        kind: ApplicationKind::Backend,
        grants: Grants {
            publish: vec![filter("v1/d/+/t/#")],
            subscribe: vec![filter("v1/d/+/t/#")],
        },
        has_token: true,
    };
    let token = world.app.applications.create(new).await.unwrap().1.unwrap();
    let config = std::sync::Arc::new(world.bare_config());
    let mut erp = world.tls_client(&config, true).await.unwrap();
    let connect = v5::Connect { password: Some(token.into()), ..connect_v5("erp") };
    assert_eq!(u8::from(erp.connect_v5(connect).await.reason_code), 0);
    assert_eq!(erp.subscribe(&["#", "v1/d/b-1/e/#", "v1/d/+/t/#"]).await, [0x87, 0x87, 1]);
    assert_eq!(next(&mut erp, 1).await, [(b"{}".to_vec(), true)]);
    // Clearing takes the right to publish there.
    let clear = message("v1/d/b-1/t/status", b"", QoS::AtLeastOnce, true);
    erp.send_v5(v5::Packet::Publish(Box::new(clear))).await;
    let mut acknowledged = false;
    for _ in 0..2 {
        match erp.receive().await {
            Some(MqttPacket::V5(v5::Packet::PublishAck(ack))) => {
                acknowledged = u8::from(ack.reason_code) == 0;
            }
            Some(MqttPacket::V5(v5::Packet::Publish(publish))) => {
                assert!(publish.payload.is_empty());
            }
            other => panic!("neither PUBACK nor PUBLISH but {other:?}"),
        }
    }
    assert!(acknowledged);
    let mut foreign = Client::connected(&world, "b-1/x", true).await;
    let clear = message("v1/d/b-2/t/status", b"", QoS::AtLeastOnce, true);
    foreign.send_v5(v5::Packet::Publish(Box::new(clear))).await;
    assert_eq!(foreign.puback().await, (1, 0x87), "a device clears nothing of another");
}
