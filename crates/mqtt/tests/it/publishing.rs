//! Publishes: to the log, acknowledged in order and only when durable.

use std::time::Duration;

use axle_domain::limit;
use bytes::Bytes;
use rmqtt_codec::{MqttPacket, types::Publish, types::QoS, v5};

use crate::client::{Client, connect_v5, last_will};
use crate::world::World;

const RIDE: &str = "v1/d/b-1/t/ride";

#[tokio::test]
async fn a_publish_reaches_the_log_as_it_came() {
    let world = World::new().await;
    world.add("b-1").await;
    for (id, is_v5) in [("b-1", false), ("b-1/app", true)] {
        let mut client = Client::connected(&world, id, is_v5).await;
        client.publish(RIDE, br#"{"speed_kmh":21}"#, 7).await;
        assert_eq!(client.puback().await, (7, 0));
    }
    let records = world.records(2).await;
    for record in &records {
        let message = record.message();
        assert_eq!((message.device, message.topic), ("b-1", RIDE));
        assert_eq!(message.payload, br#"{"speed_kmh":21}"#);
    }
    assert_eq!(records.len(), 2);
}

#[tokio::test]
async fn nothing_is_acknowledged_before_it_is_durable() {
    for is_v5 in [false, true] {
        let world = World::new().await;
        world.add("b-1").await;
        world.log.hold();
        let mut client = Client::connected(&world, "b-1", is_v5).await;
        for packet_id in 1..=100 {
            client.publish(RIDE, b"{}", packet_id).await;
        }
        // The answer to the ping overtakes: all was read, nothing acknowledged.
        client.ping().await;
        world.log.commit();
        for packet_id in 1..=100 {
            assert_eq!(client.puback().await, (packet_id, 0));
        }
    }
}

#[tokio::test]
async fn acknowledgements_leave_in_order_also_those_that_refuse() {
    let world = World::new().await;
    world.add("b-1").await;
    let mut client = Client::connected(&world, "b-1", true).await;
    client.publish("v1/d/b-2/t/ride", b"{}", 1).await;
    assert_eq!(client.puback().await, (1, 0x87), "alone it need not wait");
    world.log.hold();
    client.publish(RIDE, b"{}", 2).await;
    client.publish("v1/d/b-2/t/ride", b"{}", 3).await;
    client.publish(RIDE, b"{}", 4).await;
    client.ping().await;
    world.log.commit();
    for expected in [(2, 0), (3, 0x87), (4, 0)] {
        assert_eq!(client.puback().await, expected);
    }
}

#[tokio::test]
async fn a_foreign_topic_closes_a_client_that_cannot_be_told() {
    let world = World::new().await;
    world.add("b-1").await;
    for (is_v5, packet_id, expected) in [(false, 1, None), (false, 0, None), (true, 0, Some(0x87))]
    {
        let mut client = Client::connected(&world, "b-1", is_v5).await;
        client.publish("v1/d/b-2/t/ride", b"{}", packet_id).await;
        assert_eq!(client.disconnected().await, expected);
    }
    assert_eq!(world.rejected().await, 3);
    assert_eq!(world.records(0).await.len(), 3, "the counts, and nothing else");
}

#[tokio::test]
async fn one_more_than_the_receive_maximum_is_refused() {
    let world = World::new().await;
    world.add("b-1").await;
    world.log.hold();
    let most = u16::try_from(limit::PENDING_PUBLISHES_MAX).unwrap();
    let mut client = Client::plain(&world, true).await;
    let welcome = client.connect_v5(connect_v5("b-1")).await;
    assert_eq!(welcome.receive_max.get(), most);
    for packet_id in 1..=most {
        client.publish(RIDE, b"{}", packet_id).await;
    }
    client.ping().await;
    client.publish(RIDE, b"{}", most + 1).await;
    assert_eq!(client.disconnected().await, Some(0x93));
}

#[tokio::test]
async fn a_client_that_knows_no_receive_maximum_waits_for_its_turn() {
    let world = World::new().await;
    world.add("b-1").await;
    world.log.hold();
    let most = u16::try_from(limit::PENDING_PUBLISHES_MAX).unwrap();
    let mut client = Client::connected(&world, "b-1", false).await;
    for packet_id in 1..=2 * most {
        client.publish(RIDE, b"{}", packet_id).await;
    }
    for turn in 0..2 {
        world.records_appended(u64::from((turn + 1) * most)).await;
        world.log.commit();
        for packet_id in 1..=most {
            assert_eq!(client.puback().await, (turn * most + packet_id, 0));
        }
    }
}

#[tokio::test]
async fn a_failed_log_ends_connections_and_acknowledges_nothing() {
    let world = World::new().await;
    world.add("b-1").await;
    world.log.hold();
    let mut client = Client::connected(&world, "b-1", true).await;
    client.publish(RIDE, b"{}", 1).await;
    client.ping().await;
    world.log.fail();
    assert_eq!(client.disconnected().await, Some(0x89));
    let mut client = Client::connected(&world, "b-1", true).await;
    client.publish(RIDE, b"{}", 1).await;
    assert_eq!(client.disconnected().await, Some(0x89));
}

#[tokio::test]
async fn a_full_log_stops_the_reading_and_loses_nothing() {
    let world = World::new().await;
    world.add("b-1").await;
    world.log.hold();
    let large = vec![b'x'; 100 * 1024];
    let count = u16::try_from(limit::COMMIT_BUFFER_BYTES_MAX / large.len() + 40).unwrap();
    let mut clients = Vec::new();
    for number in 0..4 {
        clients.push(Client::connected(&world, &format!("b-1/{number}"), false).await);
    }
    let each = count / 4;
    let writers = clients.into_iter().map(|mut client| {
        let large = large.clone();
        tokio::spawn(async move {
            for packet_id in 1..=each {
                client.publish(RIDE, &large, packet_id).await;
            }
            for packet_id in 1..=each {
                assert_eq!(client.puback().await, (packet_id, 0));
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    // Commits go on until everyone has everything.
    let committer = async {
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            world.log.commit();
        }
    };
    let all = futures_util::future::join_all(writers);
    tokio::select! {
        () = committer => {}
        done = all => done.into_iter().for_each(Result::unwrap),
    }
    assert_eq!(world.records(0).await.len(), usize::from(each) * 4);
}

#[tokio::test]
async fn a_topic_alias_stands_for_its_topic() {
    let world = World::new().await;
    world.add("b-1").await;
    let mut client = Client::plain(&world, true).await;
    let welcome = client.connect_v5(connect_v5("b-1")).await;
    assert_eq!(welcome.topic_alias_max, 16);
    let publish = |topic: &str, alias: u16, packet_id: u16| Publish {
        dup: false,
        retain: false,
        qos: QoS::AtLeastOnce,
        topic: topic.into(),
        packet_id: packet_id.try_into().ok(),
        payload: Bytes::from_static(b"{}"),
        properties: Some(v5::PublishProperties {
            topic_alias: alias.try_into().ok(),
            content_type: Some("application/json".into()),
            ..v5::PublishProperties::default()
        }),
    };
    for (topic, alias) in [(RIDE, 1), ("", 1), ("v1/d/b-1/t/status", 1), ("", 1), (RIDE, 16)] {
        client.send_v5(publish(topic, alias, 5)).await;
        assert_eq!(client.puback().await, (5, 0));
    }
    let topics: Vec<_> =
        world.records(5).await.iter().map(|r| r.message().topic.to_owned()).collect();
    assert_eq!(topics, [RIDE, RIDE, "v1/d/b-1/t/status", "v1/d/b-1/t/status", RIDE]);
    assert_eq!(world.records(5).await[0].message().content_type, "application/json");
    client.send_v5(publish("", 2, 6)).await;
    assert_eq!(client.disconnected().await, Some(0x94));
}

#[tokio::test]
async fn packets_are_the_same_however_they_are_cut() {
    let world = World::new().await;
    world.add("b-1").await;
    let mut whole = Vec::new();
    whole.extend_from_slice(b"\x10\x0f\x00\x04MQTT\x04\x02\x00\x3c\x00\x03b-1");
    whole.extend_from_slice(b"\x32\x15\x00\x0fv1/d/b-1/t/ride\x00\x01{}");
    whole.extend_from_slice(b"\x82\x11\x00\x02\x00\x0cv1/d/b-1/c/#\x01");
    whole.extend_from_slice(b"\x32\x15\x00\x0fv1/d/b-1/t/ride\x00\x03[]");
    // CONNACK first; a SUBACK need not wait for the commit that a PUBACK waits for.
    let expected: [&[u8]; 4] =
        [b"\x20\x02\x00\x00", b"\x40\x02\x00\x01", b"\x40\x02\x00\x03", b"\x90\x03\x00\x02\x01"];
    let length = expected.concat().len();
    for cut in 0..whole.len() {
        let mut client = Client::plain(&world, false).await;
        let (first, second) = whole.split_at(cut);
        client.send_bytes(first).await;
        tokio::task::yield_now().await;
        client.send_bytes(second).await;
        let seen = client.receive_bytes(length).await;
        assert!(expected.iter().all(|part| seen.windows(part.len()).any(|w| w == *part)), "{cut}");
    }
    let mut client = Client::plain(&world, false).await;
    for byte in &whole {
        client.send_bytes(std::slice::from_ref(byte)).await;
    }
    let seen = client.receive_bytes(length).await;
    assert!(expected.iter().all(|part| seen.windows(part.len()).any(|w| w == *part)), "{seen:x?}");
    let cuts = u64::try_from(whole.len()).unwrap() + 1;
    let payloads: Vec<_> =
        world.records(2 * cuts).await.iter().map(|r| r.message().payload.to_vec()).collect();
    assert_eq!(payloads.len(), usize::try_from(2 * cuts).unwrap());
    assert_eq!(payloads.iter().filter(|payload| *payload == b"{}").count() as u64, cuts);
}

#[tokio::test]
async fn a_will_is_published_when_the_socket_ends_without_a_goodbye() {
    let world = World::new().await;
    world.add("b-1").await;
    let connect = |topic: &str| v5::Connect {
        last_will: Some(last_will(topic, "gone")),
        ..connect_v5("b-1")
    };
    let mut client = Client::plain(&world, true).await;
    let refused = client.connect_v5(connect("v1/d/b-2/e/gone")).await;
    assert_eq!(u8::from(refused.reason_code), 0x87);
    assert!(client.receive().await.is_none());

    let mut polite = Client::plain(&world, true).await;
    polite.connect_v5(connect("v1/d/b-1/e/gone")).await;
    polite.send_bytes(&[0xe0, 0]).await;
    assert!(polite.receive().await.is_none());
    assert!(world.records(0).await.is_empty(), "a goodbye takes the will back");

    let mut client = Client::plain(&world, true).await;
    client.connect_v5(connect("v1/d/b-1/e/gone")).await;
    drop(client);
    let records = world.records(1).await;
    assert_eq!(records[0].message().topic, "v1/d/b-1/e/gone");
    assert_eq!(records[0].message().payload, b"gone");
}

#[tokio::test]
async fn text_that_is_none_is_never_accepted() {
    let world = World::new().await;
    world.add("b-1").await;
    let mut client = Client::connected(&world, "b-1", true).await;
    client
        .send_v5(Publish {
            dup: false,
            retain: false,
            qos: QoS::AtLeastOnce,
            topic: RIDE.into(),
            packet_id: 1.try_into().ok(),
            payload: Bytes::from_static(b"\xff"),
            properties: Some(v5::PublishProperties {
                is_utf8_payload: true,
                ..v5::PublishProperties::default()
            }),
        })
        .await;
    match client.receive().await {
        Some(MqttPacket::V5(v5::Packet::PublishAck(ack))) => {
            assert_eq!(u8::from(ack.reason_code), 0x99);
            assert!(ack.reason_string.is_some());
        }
        other => panic!("no PUBACK but {other:?}"),
    }
}

#[tokio::test]
async fn every_publish_that_is_refused_is_counted_once() {
    let world = World::new().await;
    world.add("b-1").await;
    let mut rejected = 0;
    for bytes in [
        &b"\x32\x08\x00\x03a/+\x00\x01\x00"[..],
        b"\x32\x06\x00\x01a\x00\x00\x00",
        b"\x30\xff\xff\xff\x7f",
        b"\x30\x04\x00\x01a\x00",
    ] {
        let mut client = Client::connected(&world, "b-1", true).await;
        client.send_bytes(bytes).await;
        assert!(client.disconnected().await.is_some());
        rejected += 1;
        let counted = world.rejected().await;
        assert_eq!(counted, rejected, "{bytes:x?}");
    }
}
