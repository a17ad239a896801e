//! Clauses of MQTT 5.0 that no other file is about. Where 3.1.1 says the same, both are tried.

use rmqtt_codec::types::QoS;
use rmqtt_codec::v5::SubscriptionOptions;
use rmqtt_codec::{MqttPacket, v5};

use crate::client::{Client, connect_v5, message};
use crate::world::World;

const VERSIONS: [bool; 2] = [false, true];

/// The next packet as bytes: its first byte and its body.
async fn raw(client: &mut Client) -> (u8, Vec<u8>) {
    let head = client.receive_bytes(2).await;
    assert!(head[1] < 0x80, "a short packet");
    (head[0], client.receive_bytes(usize::from(head[1])).await)
}

#[tokio::test]
async fn mqtt_3_1_3_6_and_3_2_2_16_who_names_no_client_id_is_given_one_of_its_own() {
    let world = World::open_to_all().await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let mut client = Client::plain(&world, true).await;
        let welcome = client.connect_v5(connect_v5("")).await;
        ids.push(welcome.assigned_client_id.unwrap().to_string());
    }
    assert_ne!(ids[0], ids[1]);
    // 3.1.1 [MQTT-3.1.3-7]: not told, and let in.
    Client::connected(&world, "", false).await.ping().await;
}

#[tokio::test]
async fn mqtt_3_1_3_8_of_3_1_1_an_empty_client_id_needs_a_clean_session() {
    let world = World::open_to_all().await;
    let mut client = Client::plain(&world, false).await;
    client.send_bytes(b"\x10\x0c\0\x04MQTT\x04\0\0\x3c\0\0").await;
    assert_eq!(client.receive_all().await, [0x20, 2, 0, 2], "return code 2, and closed");
}

#[tokio::test]
async fn mqtt_3_2_2_1_to_6_a_refusal_has_no_session_and_ends_the_connection() {
    let world = World::new().await;
    for (is_v5, expected) in [(false, &[0x20, 2, 0, 5][..]), (true, &[0x20])] {
        let mut client = Client::plain(&world, is_v5).await;
        let connect: &[u8] = if is_v5 {
            b"\x10\x10\0\x04MQTT\x05\0\0\x3c\0\0\x03b-9"
        } else {
            b"\x10\x0f\0\x04MQTT\x04\0\0\x3c\0\x03b-9"
        };
        client.send_bytes(connect).await;
        let answer = client.receive_all().await;
        assert!(answer.starts_with(expected), "{answer:x?}");
        let flags = answer[if answer[1] < 0x80 { 2 } else { 3 }];
        assert_eq!(flags, 0, "no flag is set, no session present");
    }
}

#[tokio::test]
async fn mqtt_3_1_2_28_and_29_what_was_not_asked_for_is_not_said() {
    let world = World::new().await;
    world.add("b-1").await;
    for (wants, expected) in [(true, true), (false, false)] {
        let mut client = Client::plain(&world, true).await;
        let connect = v5::Connect { request_problem_info: wants, ..connect_v5("b-1") };
        let welcome = client.connect_v5(connect).await;
        assert!(welcome.response_info.is_none());
        client.publish("v1/d/b-2/t/ride", b"{}", 7).await;
        match client.receive().await {
            Some(MqttPacket::V5(v5::Packet::PublishAck(ack))) => {
                assert_eq!(u8::from(ack.reason_code), 0x87);
                assert_eq!(ack.reason_string.is_some(), expected);
            }
            other => panic!("no PUBACK but {other:?}"),
        }
    }
}

#[tokio::test]
async fn mqtt_3_3_1_3_the_duplicate_flag_of_a_publisher_is_its_own() {
    let world = World::open_to_all().await;
    for is_v5 in VERSIONS {
        let mut listener = Client::connected(&world, "listener", is_v5).await;
        assert_eq!(listener.subscribe(&["a"]).await, [1]);
        let mut speaker = Client::connected(&world, "speaker", true).await;
        let again = rmqtt_codec::types::Publish {
            dup: true,
            ..message("a", b"1", QoS::AtLeastOnce, false)
        };
        speaker.publish_whole(again).await;
        assert!(!listener.published().await.dup);
    }
}

#[tokio::test]
async fn mqtt_3_8_4_1_to_7_each_filter_has_its_code_in_order() {
    let world = World::new().await;
    world.add("b-1").await;
    for (is_v5, [invalid, denied]) in [(false, [0x80, 0x80]), (true, [0x8f, 0x87])] {
        let mut client = Client::connected(&world, "b-1", is_v5).await;
        let (body, packet_id) = (&mut vec![0x12, 0x34], [0x12, 0x34]);
        if is_v5 {
            body.push(0);
        }
        for filter in ["v1/d/b-1/c/#", "a/#/b", "v1/d/b-2/c/#", "v1/d/b-1/c/+/x"] {
            body.extend_from_slice(&u16::try_from(filter.len()).unwrap().to_be_bytes());
            body.extend_from_slice(filter.as_bytes());
            body.push(1);
        }
        let head = [0x82, u8::try_from(body.len()).unwrap()];
        client.send_bytes(&[&head[..], body].concat()).await;
        let (first, answer) = raw(&mut client).await;
        assert_eq!((first, &answer[..2]), (0x90, &packet_id[..]), "SUBACK of this packet");
        assert_eq!(answer[if is_v5 { 3 } else { 2 }..], [1, invalid, denied, 1]);
    }
}

#[tokio::test]
async fn mqtt_3_10_4_1_to_6_a_filter_goes_by_its_text_and_what_was_sent_is_completed() {
    for is_v5 in VERSIONS {
        let world = World::open_to_all().await;
        let mut client = Client::connected(&world, "app", is_v5).await;
        assert_eq!(client.subscribe(&["a/+", "a/b"]).await, [1, 1]);
        world.append("a/b", b"1", 1);
        let sent = client.published().await;
        // Not yet acknowledged; the filter `a/b` stays, whatever else matches the topic.
        let body: &[u8] = if is_v5 { b"\0\x05\0\0\x03a/+" } else { b"\0\x05\0\x03a/+" };
        let head = [0xa2, u8::try_from(body.len()).unwrap()];
        client.send_bytes(&[&head[..], body].concat()).await;
        let (first, answer) = raw(&mut client).await;
        let expected: &[u8] = if is_v5 { &[0, 5, 0, 0] } else { &[0, 5] };
        assert_eq!((first, &answer[..]), (0xb0, expected));
        client.acknowledge(sent.packet_id.unwrap().get(), v5::PublishAckReason::Success).await;
        world.append("a/c", b"2", 1);
        world.append("a/b", b"3", 1);
        assert_eq!(&client.published().await.payload[..], b"3");
    }
}

#[tokio::test]
async fn mqtt_3_12_4_1_a_ping_is_answered() {
    let world = World::open_to_all().await;
    for is_v5 in VERSIONS {
        let mut client = Client::connected(&world, "app", is_v5).await;
        client.send_bytes(&[0xc0, 0, 0xc0, 0]).await;
        assert_eq!(client.receive_bytes(4).await, [0xd0, 0, 0xd0, 0]);
    }
}

#[tokio::test]
async fn mqtt_3_14_4_2_nothing_is_taken_after_a_goodbye() {
    for is_v5 in VERSIONS {
        let world = World::open_to_all().await;
        let mut client = Client::connected(&world, "app", is_v5).await;
        let publish: &[u8] = if is_v5 { b"\x30\x05\0\x01a\0x" } else { b"\x30\x04\0\x01ax" };
        client.send_bytes(&[&[0xe0, 0], publish].concat()).await;
        assert!(client.receive_all().await.is_empty());
        assert_eq!(world.log_length(), 0);
    }
}

#[tokio::test]
async fn mqtt_3_3_4_3_to_5_a_message_names_the_subscriptions_that_it_came_by() {
    let world = World::open_to_all().await;
    let mut client = Client::connected(&world, "app", true).await;
    let options = SubscriptionOptions { qos: QoS::AtLeastOnce, ..SubscriptionOptions::default() };
    for (filter, id) in [("a/#", Some(7)), ("a/b", Some(268_435_455)), ("+/b", None), ("c", None)] {
        assert_eq!(client.subscribe_with(&[filter], options, id).await, [1]);
    }
    for (topic, expected) in [("a/b", vec![7, 268_435_455]), ("a/c", vec![7]), ("c", vec![])] {
        world.append(topic, b"", 0);
        let properties = client.published().await.properties.unwrap();
        let mut ids: Vec<u32> = properties.subscription_ids.iter().map(|id| id.get()).collect();
        ids.sort_unstable();
        assert_eq!(ids, expected, "{topic}");
    }
}

#[tokio::test]
async fn mqtt_4_6_0_5_and_6_messages_of_a_topic_come_in_their_order() {
    for is_v5 in VERSIONS {
        let world = World::open_to_all().await;
        let mut listener = Client::connected(&world, "listener", is_v5).await;
        assert_eq!(listener.subscribe(&["a"]).await, [1]);
        let mut speaker = Client::connected(&world, "speaker", false).await;
        for number in 1..=200_u16 {
            let packet_id = if number % 3 == 0 { 0 } else { number };
            speaker.publish("a", &number.to_be_bytes(), packet_id).await;
        }
        for number in 1..=200_u16 {
            let seen = listener.published().await;
            assert_eq!(&seen.payload[..], number.to_be_bytes());
            if let Some(packet_id) = seen.packet_id {
                listener.acknowledge(packet_id.get(), v5::PublishAckReason::Success).await;
            }
        }
    }
}

#[tokio::test]
async fn mqtt_4_7_3_4_topics_are_compared_byte_by_byte() {
    let world = World::open_to_all().await;
    let mut listener = Client::connected(&world, "listener", true).await;
    // The same letter in two forms of Unicode, in another case, and with a level more.
    assert_eq!(listener.subscribe(&["caf\u{e9}"]).await, [1]);
    for topic in ["cafe\u{301}", "Caf\u{e9}", "caf\u{e9}/", "/caf\u{e9}", "caf\u{e9}"] {
        world.append(topic, topic.as_bytes(), 0);
    }
    assert_eq!(&listener.published().await.payload[..], "caf\u{e9}".as_bytes());
    listener.ping().await;
}

#[tokio::test]
async fn mqtt_1_5_4_3_a_mark_of_byte_order_is_a_character_like_others() {
    let world = World::open_to_all().await;
    let mut listener = Client::connected(&world, "listener", true).await;
    assert_eq!(listener.subscribe(&["\u{feff}a"]).await, [1]);
    world.append("a", b"without", 0);
    world.append("\u{feff}a", b"with", 0);
    assert_eq!(&listener.published().await.payload[..], b"with");
}

/// A session that is kept.
fn kept(id: &str) -> v5::Connect {
    v5::Connect { clean_start: false, session_expiry_interval_secs: 3600, ..connect_v5(id) }
}

#[tokio::test]
async fn mqtt_4_4_0_2_and_4_8_2_6_what_a_client_refuses_is_sent_no_more_and_to_nobody_else() {
    let world = World::open_to_all().await;
    let mut other = Client::plain(&world, true).await;
    other.connect_v5(kept("other")).await;
    for filter in ["a", "$share/g/b"] {
        let mut client = Client::plain(&world, true).await;
        client.connect_v5(v5::Connect { clean_start: true, ..kept("app") }).await;
        assert_eq!(client.subscribe(&[filter]).await, [1]);
        let topic = filter.rsplit('/').next().unwrap();
        world.append(topic, b"unwelcome", 1);
        let packet_id = client.published().await.packet_id.unwrap().get();
        if filter.starts_with("$share") {
            assert_eq!(other.subscribe(&[filter]).await, [1]);
        }
        client.acknowledge(packet_id, v5::PublishAckReason::UnspecifiedError).await;
        client.ping().await;
        drop(client);
        world.queued(0).await;
        let mut client = Client::plain(&world, true).await;
        assert!(client.connect_v5(kept("app")).await.session_present);
        client.ping().await;
        other.ping().await;
    }
}

#[tokio::test]
async fn mqtt_4_3_3_7_expiry_does_not_undo_what_was_sent() {
    let world = World::open_to_all().await;
    let mut client = Client::plain(&world, true).await;
    client.connect_v5(kept("app")).await;
    let options = SubscriptionOptions { qos: QoS::ExactlyOnce, ..SubscriptionOptions::default() };
    assert_eq!(client.subscribe_with(&["a"], options, None).await, [2]);
    let properties = v5::PublishProperties {
        message_expiry_interval: std::num::NonZeroU32::new(10),
        ..v5::PublishProperties::default()
    };
    let publish = rmqtt_codec::types::Publish {
        properties: Some(properties),
        ..message("a", b"1", QoS::ExactlyOnce, false)
    };
    let mut speaker = Client::connected(&world, "speaker", true).await;
    speaker.publish_whole(publish.clone()).await;
    let first = client.published().await;
    drop(client);
    world.clock.advance(std::time::Duration::from_secs(20));
    // What comes meanwhile and expires is never sent.
    speaker.publish_whole(publish).await;
    world.queued(2).await;
    world.clock.advance(std::time::Duration::from_secs(20));
    let mut client = Client::plain(&world, true).await;
    assert!(client.connect_v5(kept("app")).await.session_present);
    let again = client.published().await;
    assert_eq!((again.packet_id, again.dup), (first.packet_id, true));
    client.ping().await;
}

#[tokio::test]
async fn mqtt_3_2_2_19_and_3_14_2_3_reasons_keep_to_the_size_that_the_client_takes() {
    let world = World::new().await;
    world.add("b-1").await;
    for (largest, is_told) in [(20_u32, false), (1000, true)] {
        let small = |id: &str| v5::Connect {
            max_packet_size: std::num::NonZeroU32::new(largest),
            ..connect_v5(id)
        };
        let mut stranger = Client::plain(&world, true).await;
        let refused = stranger.connect_v5(small("b-9")).await;
        assert_eq!(
            (u8::from(refused.reason_code), refused.reason_string.is_some()),
            (0x87, is_told)
        );
        let mut client = Client::plain(&world, true).await;
        client.connect_v5(small("b-1")).await;
        // CONNECT again.
        client.send_bytes(b"\x10\x10\0\x04MQTT\x05\x02\0\x3c\0\0\x03b-1").await;
        match client.receive().await {
            Some(MqttPacket::V5(v5::Packet::Disconnect(disconnect))) => {
                assert_eq!(disconnect.reason_string.is_some(), is_told);
            }
            other => panic!("no DISCONNECT but {other:?}"),
        }
    }
}

#[tokio::test]
async fn mqtt_3_1_2_24_an_answer_that_the_client_cannot_take_ends_the_connection() {
    let world = World::open_to_all().await;
    let taking = |largest| v5::Connect {
        max_packet_size: std::num::NonZeroU32::new(largest),
        ..connect_v5("app")
    };
    // CONNACK would have 16 bytes, and one that refuses 5.
    for (largest, told) in [(4, &b""[..]), (15, b"\x20\x03\0\x95\0")] {
        let mut client = Client::plain(&world, true).await;
        client.send_v5(taking(largest)).await;
        assert_eq!(client.receive_all().await, told);
    }
    let mut client = Client::plain(&world, true).await;
    assert_eq!(u8::from(client.connect_v5(taking(16)).await.reason_code), 0);
    let filters: Vec<String> = (0..12).map(|it| format!("a/{it}")).collect();
    let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
    assert_eq!(client.subscribe(&filters[..8]).await, [1; 8]);
    let options = SubscriptionOptions { qos: QoS::AtLeastOnce, ..SubscriptionOptions::default() };
    client.send_subscribe(&filters, options, None).await;
    match client.receive().await {
        Some(MqttPacket::V5(v5::Packet::Disconnect(disconnect))) => {
            assert_eq!(u8::from(disconnect.reason_code), 0x95);
        }
        other => panic!("no DISCONNECT but {other:?}"),
    }
}
