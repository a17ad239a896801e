//! Subscriptions and the way down, by the clauses of the standard.

use axle_app::{NewMessage, Principal};
use axle_domain::{Scope, Timestamp, Token, TokenHash, Turned};
use rmqtt_codec::types::{Publish, QoS};
use rmqtt_codec::v5::{PublishProperties, SubscriptionOptions};
use rmqtt_codec::{MqttPacket, v3, v5};

use crate::client::{Client, connect_v5};
use crate::world::World;

fn options(qos: QoS) -> SubscriptionOptions {
    SubscriptionOptions { qos, ..SubscriptionOptions::default() }
}

/// Publishes at any QoS and completes it.
async fn publish(client: &mut Client, topic: &str, payload: &[u8], properties: PublishProperties) {
    client
        .send_v5(Publish {
            dup: false,
            retain: false,
            qos: QoS::AtLeastOnce,
            topic: topic.into(),
            packet_id: 1.try_into().ok(),
            payload: payload.to_vec().into(),
            properties: Some(properties),
        })
        .await;
    assert_eq!(client.puback().await, (1, 0));
}

/// The first byte and packet id of the next packet, which is one of four bytes.
async fn short(client: &mut Client) -> (u8, u16) {
    let bytes = client.receive_bytes(4).await;
    assert_eq!(bytes[1], 2, "{bytes:?}");
    (bytes[0], u16::from_be_bytes([bytes[2], bytes[3]]))
}

async fn send_short(client: &mut Client, first: u8, packet_id: u16) {
    let [high, low] = packet_id.to_be_bytes();
    client.send_bytes(&[first, 2, high, low]).await;
}

#[tokio::test]
async fn mqtt_3_8_4_8_the_lower_of_both_qos_is_sent() {
    let world = World::open_to_all().await;
    let mut listener = Client::connected(&world, "listener", true).await;
    for (filter, qos) in [("0", 0), ("1", 1), ("2", 2)] {
        let wanted = QoS::try_from(qos).unwrap();
        assert_eq!(listener.subscribe_with(&[filter], options(wanted), None).await, [qos]);
    }
    let mut speaker = Client::connected(&world, "speaker", true).await;
    for (topic, qos) in [("0", QoS::AtMostOnce), ("1", QoS::AtLeastOnce), ("2", QoS::AtLeastOnce)] {
        publish(&mut speaker, topic, b"x", PublishProperties::default()).await;
        assert_eq!(listener.published().await.qos, qos, "{topic}");
    }
}

#[tokio::test]
async fn what_a_program_publishes_to_the_log_reaches_subscribers_and_refusals_do_not() {
    let world = World::open_to_all().await;
    let mut listener = Client::connected(&world, "listener", true).await;
    let wanted = options(QoS::AtLeastOnce);
    assert_eq!(listener.subscribe_with(&["#"], wanted, None).await, [1]);
    world.app.ingest.settle(Turned { rejected: 1, shed: 0 }).await;
    let program = Principal::Token(Token {
        id: "t-1".to_owned(),
        hash: TokenHash([1; 32]),
        scopes: vec![Scope::LogWrite],
        created_at: Timestamp(0),
    });
    let message = NewMessage {
        topic: "plant/7".to_owned(),
        device: String::new(),
        content_type: "text/plain".to_owned(),
        payload: "hot".into(),
    };
    world.app.publish.publish(&program, &[message], None).await.unwrap();
    let message = listener.published().await;
    assert_eq!((&*message.topic, &*message.payload), ("plant/7", &b"hot"[..]));
    assert_eq!(message.qos, QoS::AtLeastOnce);
    let content_type = message.properties.unwrap().content_type;
    assert_eq!(content_type.as_deref(), Some("text/plain"));
}

#[tokio::test]
async fn mqtt_3_3_4_2_overlapping_subscriptions_bring_one_copy_with_all_identifiers() {
    let world = World::open_to_all().await;
    let mut listener = Client::connected(&world, "listener", true).await;
    listener.subscribe_with(&["a/#"], options(QoS::AtMostOnce), Some(7)).await;
    listener.subscribe_with(&["a/+"], options(QoS::AtLeastOnce), Some(300)).await;
    listener.subscribe_with(&["+/b"], options(QoS::AtMostOnce), None).await;
    let mut speaker = Client::connected(&world, "speaker", true).await;
    publish(&mut speaker, "a/b", b"x", PublishProperties::default()).await;
    let seen = listener.published().await;
    assert_eq!(seen.qos, QoS::AtLeastOnce, "the highest that was granted");
    let mut identifiers: Vec<u32> =
        seen.properties.unwrap().subscription_ids.iter().map(|id| id.get()).collect();
    identifiers.sort_unstable();
    assert_eq!(identifiers, [7, 300]);
    listener.ping().await;
}

#[tokio::test]
async fn mqtt_3_8_4_3_a_filter_again_takes_the_place_of_the_one_before() {
    let world = World::open_to_all().await;
    let mut listener = Client::connected(&world, "listener", true).await;
    listener.subscribe_with(&["a"], options(QoS::AtLeastOnce), Some(7)).await;
    listener.subscribe_with(&["a"], options(QoS::AtMostOnce), Some(8)).await;
    let mut speaker = Client::connected(&world, "speaker", true).await;
    publish(&mut speaker, "a", b"x", PublishProperties::default()).await;
    let seen = listener.published().await;
    assert_eq!(seen.qos, QoS::AtMostOnce);
    assert_eq!(seen.properties.unwrap().subscription_ids, [8.try_into().unwrap()]);
    listener.ping().await;
}

#[tokio::test]
async fn mqtt_3_8_3_4_no_local_with_a_shared_subscription_is_a_protocol_error() {
    let world = World::open_to_all().await;
    let mut client = Client::connected(&world, "listener", true).await;
    // Packet id 1, no properties, one filter with QoS 1 and No Local.
    let filter = b"$share/g/a";
    let mut bytes = vec![0x82, 6 + 10, 0, 1, 0, 0, 10];
    bytes.extend_from_slice(filter);
    bytes.push(0x05);
    client.send_bytes(&bytes).await;
    assert_eq!(client.disconnected().await, Some(0x82));
}

#[tokio::test]
async fn mqtt_4_3_3_a_message_at_qos_2_is_released_after_it_was_received() {
    let world = World::open_to_all().await;
    for is_v5 in [true, false] {
        let mut listener = Client::connected(&world, "listener", is_v5).await;
        listener.subscribe_with(&["a"], options(QoS::ExactlyOnce), None).await;
        world.append("a", b"x", 2);
        let seen = listener.published().await;
        assert_eq!((seen.qos, seen.dup), (QoS::ExactlyOnce, false));
        let packet_id = seen.packet_id.unwrap().get();
        for _ in 0..2 {
            // PUBREC again has PUBREL again [MQTT-4.3.3-4].
            send_short(&mut listener, 0x50, packet_id).await;
            assert_eq!(short(&mut listener).await, (0x62, packet_id));
        }
        send_short(&mut listener, 0x70, packet_id).await;
        listener.ping().await;
    }
}

#[tokio::test]
async fn mqtt_3_3_4_9_no_more_is_in_flight_than_the_receive_maximum() {
    let world = World::open_to_all().await;
    let mut listener = Client::plain(&world, true).await;
    listener
        .connect_v5(v5::Connect { receive_max: 2.try_into().ok(), ..connect_v5("listener") })
        .await;
    listener.subscribe_with(&["a"], options(QoS::ExactlyOnce), None).await;
    for number in 1..=4_u8 {
        world.append("a", &[number], 2);
    }
    let first = listener.published().await.packet_id.unwrap().get();
    let second = listener.published().await.packet_id.unwrap().get();
    assert_ne!(first, second);
    listener.ping().await;
    send_short(&mut listener, 0x50, first).await;
    assert_eq!(short(&mut listener).await, (0x62, first));
    listener.ping().await;
    send_short(&mut listener, 0x70, first).await;
    assert_eq!(listener.published().await.payload[..], [3]);
    listener.ping().await;
}

#[tokio::test]
async fn mqtt_3_3_2_5_what_has_expired_is_not_sent_and_the_rest_counts_down() {
    let world = World::open_to_all().await;
    let mut listener = Client::plain(&world, true).await;
    listener
        .connect_v5(v5::Connect { receive_max: 1.try_into().ok(), ..connect_v5("listener") })
        .await;
    listener.subscribe(&["a"]).await;
    let mut speaker = Client::connected(&world, "speaker", true).await;
    let lasting = |seconds: u32| PublishProperties {
        message_expiry_interval: seconds.try_into().ok(),
        ..PublishProperties::default()
    };
    publish(&mut speaker, "a", b"1", lasting(60)).await;
    let first = listener.published().await;
    assert_eq!(first.properties.unwrap().message_expiry_interval, 60.try_into().ok());
    publish(&mut speaker, "a", b"2", lasting(5)).await;
    publish(&mut speaker, "a", b"3", lasting(30)).await;
    listener.ping().await;
    world.clock.advance(std::time::Duration::from_secs(10));
    send_short(&mut listener, 0x40, first.packet_id.unwrap().get()).await;
    let third = listener.published().await;
    assert_eq!(&third.payload[..], b"3");
    assert_eq!(third.properties.unwrap().message_expiry_interval, 20.try_into().ok());
    assert_eq!(world.counted("axle_mqtt_dropped_messages_total", "expired"), 1.0);
}

#[tokio::test]
async fn mqtt_3_1_2_24_what_is_larger_than_the_client_takes_is_dropped_and_counted() {
    let world = World::open_to_all().await;
    let mut listener = Client::plain(&world, true).await;
    listener
        .connect_v5(v5::Connect { max_packet_size: 100.try_into().ok(), ..connect_v5("l") })
        .await;
    listener.subscribe(&["a"]).await;
    let mut speaker = Client::connected(&world, "speaker", true).await;
    publish(&mut speaker, "a", &[0; 100], PublishProperties::default()).await;
    publish(&mut speaker, "a", &[0; 50], PublishProperties::default()).await;
    assert_eq!(listener.published().await.payload.len(), 50);
    assert_eq!(world.counted("axle_mqtt_dropped_messages_total", "too_large"), 1.0);
}

#[tokio::test]
async fn mqtt_3_3_2_a_topic_comes_once_and_its_alias_after_that() {
    let world = World::open_to_all().await;
    let mut listener = Client::plain(&world, true).await;
    listener.connect_v5(v5::Connect { topic_alias_max: 1, ..connect_v5("listener") }).await;
    listener.subscribe(&["#"]).await;
    let mut speaker = Client::connected(&world, "speaker", true).await;
    for (topic, shown, alias) in [("a", "a", Some(1)), ("b", "b", None), ("a", "", Some(1))] {
        publish(&mut speaker, topic, b"x", PublishProperties::default()).await;
        let seen = listener.published().await;
        assert_eq!(&*seen.topic, shown);
        let expected = alias.and_then(|alias: u16| alias.try_into().ok());
        assert_eq!(seen.properties.unwrap().topic_alias, expected);
    }
}

#[tokio::test]
async fn mqtt_4_8_2_members_of_a_group_share_and_others_take_over() {
    let world = World::open_to_all().await;
    let mut one = Client::connected(&world, "one", true).await;
    let mut two = Client::connected(&world, "two", true).await;
    for member in [&mut one, &mut two] {
        assert_eq!(member.subscribe(&["$share/g/a/#"]).await, [1]);
    }
    let mut all = Client::connected(&world, "all", true).await;
    all.subscribe(&["$share/other/a/#"]).await;
    let mut speaker = Client::connected(&world, "speaker", true).await;
    for number in 1..=4_u8 {
        publish(&mut speaker, "a/b", &[number], PublishProperties::default()).await;
    }
    let mut seen = Vec::new();
    for member in [&mut one, &mut two] {
        for _ in 0..2 {
            seen.push(member.published().await.payload[0]);
        }
        member.ping().await;
    }
    let (of_one, of_two) = seen.split_at(2);
    assert!(of_one.iter().all(|number| !of_two.contains(number)), "{seen:?}");
    for number in 1..=4 {
        assert_eq!(all.published().await.payload[..], [number], "each group has its copy");
    }
    // What one did not acknowledge goes to two.
    drop(one);
    let mut again: Vec<u8> =
        vec![two.published().await.payload[0], two.published().await.payload[0]];
    again.sort_unstable();
    let mut expected = of_one.to_vec();
    expected.sort_unstable();
    assert_eq!(again, expected);
    two.ping().await;
}

#[tokio::test]
async fn a_subscriber_that_does_not_read_slows_nobody() {
    let world = World::open_to_all().await;
    let mut deaf = Client::connected(&world, "deaf", true).await;
    deaf.subscribe_with(&["flood"], options(QoS::AtMostOnce), None).await;
    let mut good = Client::connected(&world, "good", true).await;
    good.subscribe(&["flood"]).await;
    let mut speaker = Client::connected(&world, "speaker", true).await;
    for _ in 0..3000 {
        publish(&mut speaker, "flood", &[0; 4000], PublishProperties::default()).await;
        let seen = good.published().await;
        good.acknowledge(seen.packet_id.unwrap().get(), v5::PublishAckReason::Success).await;
    }
    assert!(world.counted("axle_mqtt_dropped_messages_total", "queue_full") > 0.0);
    match deaf.receive().await {
        Some(MqttPacket::V5(v5::Packet::Publish(_)) | MqttPacket::V3(v3::Packet::Publish(_))) => {}
        other => panic!("no PUBLISH but {other:?}"),
    }
}
