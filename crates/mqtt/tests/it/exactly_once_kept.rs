//! Publishes at QoS 2 in sessions that outlive their connection: stored once over reconnects and
//! crashes of the server [MQTT-4.3.3-10], [MQTT-4.4.0-1].

use std::time::Duration;

use axle_domain::{Offset, Source};
use rmqtt_codec::{MqttPacket, v3, v5};

use crate::client::{Client, connect_v5};
use crate::exactly_once::{ack, expect, publish};
use crate::world::World;

const VERSIONS: [bool; 2] = [false, true];

/// Connects with a session that is kept; says whether there was one already.
async fn keeping(world: &World, is_v5: bool) -> (Client, bool) {
    let mut client = Client::plain(world, is_v5).await;
    if is_v5 {
        let connect = v5::Connect {
            clean_start: false,
            session_expiry_interval_secs: 3600,
            ..connect_v5("app")
        };
        let is_present = client.connect_v5(connect).await.session_present;
        return (client, is_present);
    }
    let connect = v3::Connect {
        clean_session: false,
        keep_alive: 60,
        client_id: "app".into(),
        ..v3::Connect::default()
    };
    client.send_v3(v3::Packet::Connect(Box::new(connect))).await;
    match client.receive().await {
        Some(MqttPacket::V3(v3::Packet::ConnectAck(ack))) => (client, ack.session_present),
        other => panic!("no CONNACK but {other:?}"),
    }
}

async fn released(client: &mut Client, packet_id: u16) {
    client.send_bytes(&ack(0x62, packet_id)).await;
    expect(client, &ack(0x70, packet_id), "PUBCOMP").await;
}

#[tokio::test]
async fn mqtt_4_3_3_10_what_comes_again_after_a_reconnect_is_stored_once() {
    for is_v5 in VERSIONS {
        let world = World::open_to_all().await;
        world.log.hold();
        let (mut client, _) = keeping(&world, is_v5).await;
        client.send_bytes(&publish(is_v5, "a", 7, false)).await;
        client.ping().await;
        drop(client);
        let (mut client, is_present) = keeping(&world, is_v5).await;
        assert!(is_present);
        client.send_bytes(&publish(is_v5, "a", 7, true)).await;
        // Not acknowledged before the first is safe.
        client.ping().await;
        world.log.commit();
        expect(&mut client, &ack(0x50, 7), "PUBREC").await;
        released(&mut client, 7).await;
        client.send_bytes(&publish(is_v5, "a", 7, false)).await;
        world.log.commit();
        world.records_appended(2).await;
        world.log.commit();
        expect(&mut client, &ack(0x50, 7), "PUBREC of a new message").await;
        assert_eq!(world.log_length(), 2);
    }
}

#[tokio::test]
async fn mqtt_4_3_3_10_what_comes_again_after_a_crash_is_stored_once() {
    for is_v5 in VERSIONS {
        let world = World::open_to_all().await;
        let (mut client, _) = keeping(&world, is_v5).await;
        client.send_bytes(&publish(is_v5, "a", 7, false)).await;
        expect(&mut client, &ack(0x50, 7), "PUBREC").await;
        let world = world.crash().await;
        let (mut client, is_present) = keeping(&world, is_v5).await;
        assert!(is_present, "what CONNACK has said is stored");
        client.send_bytes(&publish(is_v5, "a", 7, true)).await;
        expect(&mut client, &ack(0x50, 7), "PUBREC again").await;
        // The second crash finds it too, whether or not the position went on.
        let world = world.crash().await;
        let (mut client, _) = keeping(&world, is_v5).await;
        client.send_bytes(&publish(is_v5, "a", 7, true)).await;
        expect(&mut client, &ack(0x50, 7), "PUBREC again").await;
        released(&mut client, 7).await;
        assert_eq!(world.log_length(), 1);
    }
}

#[tokio::test]
async fn mqtt_4_3_3_12_a_released_packet_id_is_free_after_a_crash_too() {
    for is_v5 in VERSIONS {
        let world = World::open_to_all().await;
        let (mut client, _) = keeping(&world, is_v5).await;
        client.send_bytes(&publish(is_v5, "a", 7, false)).await;
        expect(&mut client, &ack(0x50, 7), "PUBREC").await;
        released(&mut client, 7).await;
        let world = world.crash().await;
        let (mut client, _) = keeping(&world, is_v5).await;
        // A new message, whose first sending nobody has seen.
        client.send_bytes(&publish(is_v5, "a", 7, true)).await;
        expect(&mut client, &ack(0x50, 7), "PUBREC").await;
        assert_eq!(world.records(2).await.len(), 2);
    }
}

#[tokio::test]
async fn mqtt_4_4_0_1_a_release_that_comes_again_is_answered() {
    for is_v5 in VERSIONS {
        let world = World::open_to_all().await;
        let (mut client, _) = keeping(&world, is_v5).await;
        for id in [7, 8] {
            client.send_bytes(&publish(is_v5, "a", id, false)).await;
            expect(&mut client, &ack(0x50, id), "PUBREC").await;
        }
        let world = world.crash().await;
        let (mut client, _) = keeping(&world, is_v5).await;
        // Twice at once: one answer each connection, for one release.
        client.send_bytes(&[ack(0x62, 7), ack(0x62, 7)].concat()).await;
        expect(&mut client, &ack(0x70, 7), "PUBCOMP").await;
        client.ping().await;
        client.send_bytes(&ack(0x62, 8)).await;
        drop(client);
        let (mut client, _) = keeping(&world, is_v5).await;
        client.send_bytes(&ack(0x62, 8)).await;
        let answer = client.receive_bytes(2).await;
        let rest = client.receive_bytes(usize::from(answer[1])).await;
        assert_eq!((answer[0], &rest[..2]), (0x70, &[0, 8][..]), "known or not, it may go on");
        assert_eq!(world.log_length(), 2);
    }
}

#[tokio::test]
async fn publishes_that_were_not_released_are_stored_with_the_position() {
    let world = World::open_to_all().await;
    let (mut client, _) = keeping(&world, true).await;
    for id in [1, 2, 3] {
        client.send_bytes(&publish(true, "a", id, false)).await;
        expect(&mut client, &ack(0x50, id), "PUBREC").await;
    }
    released(&mut client, 2).await;
    let stored = world.stored_sessions().await;
    assert!(stored.through >= Offset(2));
    // Whatever the position says, a restart finds what is missing in the log.
    let world = world.restart().await;
    let stored = world.stored_sessions().await;
    let ids: Vec<u16> = stored.received.iter().map(|it| it.packet_id).collect();
    assert!(ids.iter().all(|id| [1, 3].contains(id)), "{ids:?}");
    let (mut client, _) = keeping(&world, true).await;
    for id in [1, 3] {
        client.send_bytes(&publish(true, "a", id, true)).await;
        expect(&mut client, &ack(0x50, id), "PUBREC").await;
        released(&mut client, id).await;
    }
    assert_eq!(world.log_length(), 3);
    assert!(world.stored_sessions().await.received.is_empty());
}

#[tokio::test]
async fn m18_a_packet_id_is_not_used_anew_before_its_pubcomp() {
    let world = World::open_to_all().await;
    let (mut client, _) = keeping(&world, true).await;
    client.send_bytes(&publish(true, "a", 7, false)).await;
    expect(&mut client, &ack(0x50, 7), "PUBREC").await;
    let both = [&ack(0x62, 7)[..], &publish(true, "a", 7, false)].concat();
    client.send_bytes(&both).await;
    let mut seen = Vec::new();
    for _ in 0..2 {
        let head = client.receive_bytes(2).await;
        let body = client.receive_bytes(usize::from(head[1])).await;
        seen.push((head[0], body.get(2).copied().unwrap_or(0)));
    }
    seen.sort_unstable();
    assert_eq!(seen, [(0x50, 0x91), (0x70, 0)], "PUBREC says that it is in use");
    let records = world.records(2).await;
    let published = records.iter().filter(|record| record.source == Source::Mqtt).count();
    assert_eq!(published, 1, "the other record counts the refusal");
}

#[tokio::test]
async fn mqtt_4_9_0_1_what_an_earlier_connection_sent_takes_no_room_of_the_window() {
    let world = World::open_to_all().await;
    let (mut client, _) = keeping(&world, true).await;
    let most = u16::try_from(axle_domain::limit::PENDING_PUBLISHES_MAX).unwrap();
    for id in 1..=most {
        client.send_bytes(&publish(true, "a", id, false)).await;
        expect(&mut client, &ack(0x50, id), "PUBREC").await;
    }
    drop(client);
    let (mut client, _) = keeping(&world, true).await;
    client.send_bytes(&publish(true, "a", most + 1, false)).await;
    expect(&mut client, &ack(0x50, most + 1), "PUBREC").await;
    client.ping().await;
}

#[tokio::test]
async fn a_clean_start_frees_all_packet_ids() {
    let world = World::open_to_all().await;
    let (mut client, _) = keeping(&world, true).await;
    client.send_bytes(&publish(true, "a", 7, false)).await;
    expect(&mut client, &ack(0x50, 7), "PUBREC").await;
    drop(client);
    let mut client = Client::connected(&world, "app", true).await;
    client.send_bytes(&publish(true, "a", 7, false)).await;
    expect(&mut client, &ack(0x50, 7), "PUBREC").await;
    assert_eq!(world.records(2).await.len(), 2);
    let world = world.crash().await;
    assert!(!keeping(&world, true).await.1, "what CONNACK has ended stays ended");
    world.clock.advance(Duration::from_secs(1));
}
