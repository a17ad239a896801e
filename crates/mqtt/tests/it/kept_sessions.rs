//! Sessions that outlive their connection, and the server.

use std::time::Duration;

use axle_domain::port::EventLog;
use rmqtt_codec::types::QoS;
use rmqtt_codec::v5::SubscriptionOptions;
use rmqtt_codec::{MqttPacket, v3, v5};

use crate::client::{Client, connect_v5};
use crate::world::World;

/// Connects with a session that lasts an hour; says whether there was one already.
async fn keeping(world: &World, id: &str) -> (Client, bool) {
    let mut client = Client::plain(world, true).await;
    let connect =
        v5::Connect { clean_start: false, session_expiry_interval_secs: 3600, ..connect_v5(id) };
    let welcome = client.connect_v5(connect).await;
    assert_eq!(u8::from(welcome.reason_code), 0);
    (client, welcome.session_present)
}

async fn subscribe(client: &mut Client, filter: &str, qos: QoS) {
    let options = SubscriptionOptions { qos, ..SubscriptionOptions::default() };
    assert_eq!(client.subscribe_with(&[filter], options, None).await, [qos.value()]);
}

async fn goodbye(mut client: Client, bytes: &[u8]) {
    client.send_bytes(bytes).await;
    assert!(client.receive_all().await.is_empty());
}

/// The next publish: its payload, packet id, and whether it may have come before.
async fn next(client: &mut Client) -> (Vec<u8>, u16, bool) {
    let publish = client.published().await;
    (publish.payload.to_vec(), publish.packet_id.unwrap().get(), publish.dup)
}

/// The packet id of the next packet, which is PUBREL.
async fn released(client: &mut Client) -> u16 {
    match client.receive().await {
        Some(MqttPacket::V5(v5::Packet::PublishRelease(release))) => release.packet_id.get(),
        other => panic!("no PUBREL but {other:?}"),
    }
}

async fn acknowledge(client: &mut Client, first: u8, packet_id: u16) {
    let [high, low] = packet_id.to_be_bytes();
    client.send_bytes(&[first, 2, high, low]).await;
}

#[tokio::test]
async fn mqtt_3_2_2_3_a_session_is_present_after_a_restart_and_its_messages_too() {
    let world = World::open_to_all().await;
    let (mut client, is_present) = keeping(&world, "app").await;
    assert!(!is_present);
    subscribe(&mut client, "a/#", QoS::AtLeastOnce).await;
    goodbye(client, &[0xe0, 0]).await;
    world.append("a/1", b"1", 1);
    world.append("a/2", b"not at QoS 0", 0);
    world.append("b", b"not asked for", 1);
    world.append("a/3", b"2", 1);
    world.queued(2).await;
    let world = world.restart().await;
    world.append("a/4", b"3", 1);
    let (mut client, is_present) = keeping(&world, "app").await;
    assert!(is_present);
    for expected in [b"1", b"2", b"3"] {
        let (payload, packet_id, is_duplicate) = next(&mut client).await;
        assert_eq!((&payload[..], is_duplicate), (&expected[..], false));
        acknowledge(&mut client, 0x40, packet_id).await;
    }
    world.queued(0).await;
    client.ping().await;
}

#[tokio::test]
async fn mqtt_3_1_2_5_a_session_that_ends_with_its_connection_brings_what_waited_before() {
    let world = World::open_to_all().await;
    let (mut client, _) = keeping(&world, "app").await;
    subscribe(&mut client, "a/#", QoS::ExactlyOnce).await;
    goodbye(client, &[0xe0, 0]).await;
    world.append("a/1", b"1", 1);
    world.append("a/2", b"2", 1);
    world.queued(2).await;
    let mut client = Client::plain(&world, true).await;
    let connect = v5::Connect { clean_start: false, ..connect_v5("app") };
    assert!(client.connect_v5(connect.clone()).await.session_present);
    for expected in [b"1", b"2"] {
        let (payload, packet_id, is_duplicate) = next(&mut client).await;
        assert_eq!((&payload[..], is_duplicate), (&expected[..], false));
        acknowledge(&mut client, 0x40, packet_id).await;
    }
    world.append("a/3", b"3", 1);
    assert_eq!(next(&mut client).await.0, b"3");
    // [MQTT-4.1.0-2]: of the old expiry nothing is left, also where the server ends first.
    let world = world.crash().await;
    let mut client = Client::plain(&world, true).await;
    assert!(!client.connect_v5(connect).await.session_present);
}

#[tokio::test]
async fn mqtt_3_1_2_4_a_clean_start_forgets_the_session() {
    let world = World::open_to_all().await;
    let (mut client, _) = keeping(&world, "app").await;
    subscribe(&mut client, "a", QoS::AtLeastOnce).await;
    goodbye(client, &[0xe0, 0]).await;
    world.append("a", b"1", 1);
    world.queued(1).await;
    let mut client = Client::connected(&world, "app", true).await;
    world.queued(0).await;
    world.append("a", b"2", 1);
    client.ping().await;
    let (_, is_present) = keeping(&world, "app").await;
    assert!(!is_present);
}

#[tokio::test]
async fn mqtt_3_1_2_11_a_session_ends_with_its_expiry() {
    let world = World::open_to_all().await;
    let (mut client, _) = keeping(&world, "app").await;
    subscribe(&mut client, "a", QoS::AtLeastOnce).await;
    goodbye(client, &[0xe0, 0]).await;
    world.clock.advance(Duration::from_secs(3599));
    let (client, is_present) = keeping(&world, "app").await;
    assert!(is_present);
    goodbye(client, &[0xe0, 0]).await;
    world.clock.advance(Duration::from_secs(3601));
    let (client, is_present) = keeping(&world, "app").await;
    assert!(!is_present);
    // The expiry may change at the end: to nothing, here.
    goodbye(client, &[0xe0, 7, 0, 5, 0x11, 0, 0, 0, 0]).await;
    let (_, is_present) = keeping(&world, "app").await;
    assert!(!is_present);
}

#[tokio::test]
async fn mqtt_3_1_2_6_clean_session_0_keeps_a_session_in_3_1_1() {
    let world = World::open_to_all().await;
    let connect = || {
        v3::Packet::Connect(Box::new(v3::Connect {
            clean_session: false,
            keep_alive: 60,
            client_id: "old".into(),
            ..v3::Connect::default()
        }))
    };
    for expected in [false, true] {
        let mut client = Client::plain(&world, false).await;
        client.send_v3(connect()).await;
        match client.receive().await {
            Some(MqttPacket::V3(v3::Packet::ConnectAck(ack))) => {
                assert_eq!(ack.session_present, expected);
            }
            other => panic!("no CONNACK but {other:?}"),
        }
        if expected {
            assert_eq!(next(&mut client).await.0, b"1");
        } else {
            assert_eq!(client.subscribe(&["a"]).await, [1]);
            goodbye(client, &[0xe0, 0]).await;
            world.append("a", b"1", 1);
        }
    }
}

#[tokio::test]
async fn mqtt_4_4_0_1_what_was_not_acknowledged_comes_again_with_its_packet_id() {
    let world = World::open_to_all().await;
    let (mut client, _) = keeping(&world, "app").await;
    subscribe(&mut client, "a", QoS::ExactlyOnce).await;
    for (payload, qos) in [(b"1", 1), (b"2", 2), (b"3", 2), (b"4", 2)] {
        world.append("a", payload, qos);
    }
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(next(&mut client).await.1);
    }
    // The second is received, the third complete, the first and the fourth were never heard.
    for packet_id in [ids[1], ids[2]] {
        acknowledge(&mut client, 0x50, packet_id).await;
        assert_eq!(released(&mut client).await, packet_id);
    }
    acknowledge(&mut client, 0x70, ids[2]).await;
    world.queued(3).await;
    drop(client);
    let world = world.restart().await;
    let (mut client, is_present) = keeping(&world, "app").await;
    assert!(is_present);
    assert_eq!(next(&mut client).await, (b"1".to_vec(), ids[0], true));
    assert_eq!(released(&mut client).await, ids[1]);
    assert_eq!(next(&mut client).await, (b"4".to_vec(), ids[3], true));
    acknowledge(&mut client, 0x40, ids[0]).await;
    acknowledge(&mut client, 0x70, ids[1]).await;
    acknowledge(&mut client, 0x50, ids[3]).await;
    assert_eq!(released(&mut client).await, ids[3]);
    acknowledge(&mut client, 0x70, ids[3]).await;
    world.queued(0).await;
    client.ping().await;
}

#[tokio::test]
async fn the_log_keeps_what_waits_for_a_session() {
    let world = World::open_to_all().await;
    let (mut client, _) = keeping(&world, "app").await;
    subscribe(&mut client, "a", QoS::AtLeastOnce).await;
    goodbye(client, &[0xe0, 0]).await;
    world.append("x", b"", 0);
    world.append("a", b"1", 1);
    world.append("x", b"", 0);
    world.queued(1).await;
    let (_stop, stopped) = tokio::sync::watch::channel(false);
    let projector = world.app.projector.clone();
    let following = tokio::spawn(async move { projector.run(stopped).await });
    while world.app.positions().state.0 < 3 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(world.log.bounds().first.0 <= 1);
    let (mut client, _) = keeping(&world, "app").await;
    let (payload, packet_id, _) = next(&mut client).await;
    assert_eq!(payload, b"1");
    acknowledge(&mut client, 0x40, packet_id).await;
    world.queued(0).await;
    following.abort();
}

#[tokio::test]
async fn a_full_queue_loses_its_oldest_and_counts_them() {
    let world = World::open_to_all().await;
    let (mut client, _) = keeping(&world, "app").await;
    subscribe(&mut client, "a", QoS::AtLeastOnce).await;
    goodbye(client, &[0xe0, 0]).await;
    let most = axle_domain::limit::SESSION_QUEUE_ROWS_MAX;
    for number in 0..most + 5 {
        world.append("a", number.to_string().as_bytes(), 1);
    }
    let wait = async {
        while world.counted("axle_mqtt_dropped_messages_total", "queue_full") < 5.0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(8), wait).await.unwrap();
    world.queued(most).await;
    let (mut client, _) = keeping(&world, "app").await;
    assert_eq!(next(&mut client).await.0, b"5");
}

#[tokio::test]
async fn a_queue_longer_than_the_window_comes_in_order() {
    let world = World::open_to_all().await;
    let (mut client, _) = keeping(&world, "app").await;
    subscribe(&mut client, "a", QoS::AtLeastOnce).await;
    goodbye(client, &[0xe0, 0]).await;
    for number in 0..300_u32 {
        world.append("a", &number.to_be_bytes(), 1);
    }
    world.queued(300).await;
    let (mut client, _) = keeping(&world, "app").await;
    for number in 0..400_u32 {
        if number == 100 {
            for more in 300..400_u32 {
                world.append("a", &more.to_be_bytes(), 1);
            }
        }
        let (payload, packet_id, _) = next(&mut client).await;
        assert_eq!(payload, number.to_be_bytes());
        acknowledge(&mut client, 0x40, packet_id).await;
    }
    world.queued(0).await;
}

#[tokio::test]
async fn a_member_that_is_away_keeps_only_what_no_other_takes() {
    let world = World::open_to_all().await;
    let (mut away, _) = keeping(&world, "away").await;
    subscribe(&mut away, "$share/g/a", QoS::AtLeastOnce).await;
    goodbye(away, &[0xe0, 0]).await;
    world.append("a", b"1", 1);
    world.queued(1).await;
    let mut here = Client::connected(&world, "here", true).await;
    here.subscribe(&["$share/g/a"]).await;
    world.append("a", b"2", 1);
    world.append("a", b"3", 1);
    assert_eq!(&here.published().await.payload[..], b"2");
    assert_eq!(&here.published().await.payload[..], b"3");
    drop(here);
    // Nobody else is there: what was not acknowledged waits with the other.
    world.queued(3).await;
    let (mut away, _) = keeping(&world, "away").await;
    for expected in [b"1", b"2", b"3"] {
        assert_eq!(next(&mut away).await.0, expected);
    }
}

#[tokio::test]
async fn a_devices_subscriptions_are_kept_and_its_commands_never_wait_there() {
    let world = World::new().await;
    world.add("b-1").await;
    let (mut device, _) = keeping(&world, "b-1").await;
    assert_eq!(device.subscribe(&["v1/d/b-1/c/#"]).await, [1]);
    goodbye(device, &[0xe0, 0]).await;
    world.append("v1/d/b-1/c/k/unlock", b"{}", 1);
    let (mut device, is_present) = keeping(&world, "b-1").await;
    assert!(is_present);
    device.ping().await;
    let stored = world.stored_sessions().await.sessions;
    assert_eq!(stored.iter().map(|(_, queue)| queue.rows).sum::<u64>(), 0);
}

#[tokio::test]
async fn mqtt_3_8_3_3_no_local_holds_over_a_restart() {
    let world = World::open_to_all().await;
    let (mut client, _) = keeping(&world, "app").await;
    let options = SubscriptionOptions {
        qos: QoS::AtLeastOnce,
        no_local: true,
        ..SubscriptionOptions::default()
    };
    client.subscribe_with(&["a"], options, None).await;
    goodbye(client, &[0xe0, 0]).await;
    let world = world.restart().await;
    let (mut client, is_present) = keeping(&world, "app").await;
    assert!(is_present);
    client.publish("a", b"mine", 1).await;
    assert_eq!(client.puback().await, (1, 0));
    world.append("a", b"theirs", 1);
    assert_eq!(next(&mut client).await.0, b"theirs");
}

#[tokio::test]
async fn the_session_of_a_device_that_retires_ends_with_all_that_waits() {
    let world = World::new().await;
    let (b_1, _) = (world.add("b-1").await, world.add("b-2").await);
    for (id, filter) in
        [("b-1", "v1/d/b-1/c/#"), ("b-1/app", "v1/d/b-1/c/#"), ("b-2", "v1/d/b-2/c/#")]
    {
        let (mut device, _) = keeping(&world, id).await;
        assert_eq!(device.subscribe(&[filter]).await, [1]);
        goodbye(device, &[0xe0, 0]).await;
    }
    assert_eq!(world.stored_sessions().await.sessions.len(), 3);
    world.app.retire(&b_1).await.unwrap();
    let wait = async {
        while world.stored_sessions().await.sessions.len() > 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(8), wait).await.expect("they end with it");
    let left = world.stored_sessions().await.sessions;
    assert_eq!(left[0].0.client_id, "b-2");
    let (mut device, _) = keeping(&world, "b-2").await;
    device.ping().await;
}
