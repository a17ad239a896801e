//! Storms and strangers: crowds that do not say who they are, slow and silent ones, floods, and
//! two that fight for one client id. Who is connected notices nothing of them.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axle_domain::port::ConnectionFilter;
use axle_domain::{ConnectionEvent, limit};
use axle_mqtt::Settings;
use futures_util::future::join_all;
use rmqtt_codec::types::QoS;
use rmqtt_codec::v5::SubscriptionOptions;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::client::{Client, connect_v5};
use crate::world::World;

const RIDE: &str = "v1/d/b-1/t/ride";

/// A connection from an address of the loopback.
async fn socket_from(last: u8, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, last], 0))).unwrap();
    socket.connect(to).await.unwrap()
}

/// One that has said the beginning of a CONNECT.
async fn stranger_from(last: u8, world: &World) -> TcpStream {
    let mut socket = socket_from(last, world.plain).await;
    socket.write_all(b"\x10\x0f").await.unwrap();
    socket
}

/// Waits until so many strangers have a place.
async fn strangers(world: &World, count: i64) {
    let wait = async {
        while gauge(world, "axle_mqtt_unauthenticated_connections") != count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(8), wait).await.expect("strangers in time");
}

fn gauge(world: &World, name: &str) -> i64 {
    let families = world.metrics.gather();
    let family = families.iter().find(|family| family.name() == name).expect("a gauge");
    #[expect(clippy::cast_possible_truncation, reason = "a small whole number")]
    let value = family.get_metric()[0].get_gauge().get_value() as i64;
    value
}

async fn is_closed(socket: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    let read = socket.read_to_end(&mut rest);
    tokio::time::timeout(Duration::from_secs(8), read).await.is_ok()
}

/// The newest event of a code.
async fn event(world: &World, code: &str) -> ConnectionEvent {
    let wait = async {
        loop {
            let filter = ConnectionFilter { limit: 1000, ..ConnectionFilter::default() };
            let events = world.app.ports.connections.list_connections(filter).await.unwrap();
            if let Some(event) = events.into_iter().find(|event| event.code == code) {
                return event;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let event = tokio::time::timeout(Duration::from_secs(8), wait).await.expect("an event in time");
    assert!(!event.reason.is_empty() && !event.next_step.is_empty(), "{event:?}");
    event
}

#[tokio::test]
async fn an_address_has_its_share_of_those_who_have_not_said_who_they_are() {
    let settings = Settings { unauthenticated_per_address_max: 2, ..Settings::default() };
    let world = World::with(settings).await;
    world.add("b-1").await;
    let mut known = Client::connected(&world, "b-1", true).await;
    let _crowd = [stranger_from(2, &world).await, stranger_from(2, &world).await];
    strangers(&world, 2).await;
    let mut third = socket_from(2, world.plain).await;
    assert!(is_closed(&mut third).await);
    let event = event(&world, "mqtt.address_crowded").await;
    assert_eq!(event.address, IpAddr::from([127, 0, 0, 2]));
    assert_eq!(world.counted("axle_mqtt_refused_connects_total", "address_crowded"), 1.0);
    known.ping().await;
    Client::connected(&world, "b-1/other", true).await.ping().await;
}

#[tokio::test]
async fn a_crowd_of_one_address_gives_way_to_others() {
    let world = World::with(Settings { unauthenticated_max: 3, ..Settings::default() }).await;
    world.add("b-1").await;
    let mut crowd = Vec::new();
    for count in 1..=3 {
        crowd.push(stranger_from(2, &world).await);
        strangers(&world, count).await;
    }
    Client::connected(&world, "b-1", true).await.ping().await;
    assert!(is_closed(&mut crowd[0]).await, "the oldest has lost its place");
    let event = event(&world, "mqtt.gave_way").await;
    assert_eq!(event.address, IpAddr::from([127, 0, 0, 2]));
    assert_eq!(world.counted("axle_mqtt_refused_connects_total", "gave_way"), 1.0);
}

#[tokio::test]
async fn an_address_that_fails_too_often_is_not_listened_to_for_a_while() {
    let settings = Settings { failures_per_address_per_minute: 18, ..Settings::default() };
    let world = World::with(settings).await;
    world.add("b-1").await;
    let mut known = Client::connected(&world, "b-1", true).await;
    for _ in 0..3 {
        let mut bad = socket_from(2, world.plain).await;
        bad.write_all(b"\xc0\x00").await.unwrap();
        assert!(is_closed(&mut bad).await);
    }
    let mut next = socket_from(2, world.plain).await;
    assert!(is_closed(&mut next).await);
    assert_eq!(event(&world, "mqtt.address_failing").await.address, IpAddr::from([127, 0, 0, 2]));
    assert_eq!(world.counted("axle_mqtt_refused_connects_total", "address_failing"), 1.0);
    known.ping().await;
    Client::connected(&world, "b-1/other", true).await.ping().await;
}

#[tokio::test]
async fn behind_a_load_balancer_each_client_counts_for_itself() {
    let world = World::with(Settings {
        unauthenticated_per_address_max: 1,
        trusted_proxies: vec![IpAddr::from([127, 0, 0, 1])],
        ..Settings::default()
    })
    .await;
    let mut held = Vec::new();
    for (count, client) in (1..).zip([7, 8]) {
        let mut socket = world.plain_socket().await;
        let line = format!("PROXY TCP4 192.0.2.{client} 198.51.100.1 4711 8883\r\n\x10");
        socket.write_all(line.as_bytes()).await.unwrap();
        held.push(socket);
        strangers(&world, count).await;
    }
    let mut again = world.plain_socket().await;
    again.write_all(b"PROXY TCP4 192.0.2.7 198.51.100.1 4712 8883\r\n").await.unwrap();
    assert!(is_closed(&mut again).await);
    assert_eq!(event(&world, "mqtt.address_crowded").await.address, IpAddr::from([192, 0, 2, 7]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_handshakes_lets_everybody_in_and_holds_nobody_up() {
    let world = World::new().await;
    let credential = world.add_with_certificate("b-1").await;
    let config = Arc::new(world.client_config(&credential));
    let mut known = world.tls_client(&config, true).await.unwrap();
    assert_eq!(known.connect("b-1").await, 0);
    // Those that stop halfway through their handshake take no turn from anybody.
    let mut halfway = Vec::new();
    for _ in 0..50 {
        let mut socket = TcpStream::connect(world.tls).await.unwrap();
        socket.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await.unwrap();
        halfway.push(socket);
    }
    let storm = (0..200).map(|number| {
        let (world, config) = (&world, &config);
        async move {
            let mut client = world.tls_client(config, true).await.unwrap();
            assert_eq!(client.connect(&format!("b-1/{number}")).await, 0);
            client
        }
    });
    let mut storm = join_all(storm).await;
    known.ping().await;
    storm.last_mut().unwrap().ping().await;
    assert_eq!(world.counted("axle_mqtt_handshakes_total", "ok"), 201.0);
    strangers(&world, 50).await;
    assert_eq!(gauge(&world, "axle_mqtt_waiting_handshakes"), 0);
}

#[tokio::test]
async fn a_handshake_that_stops_halfway_is_ended_with_its_reason() {
    let world = World::new().await;
    let credential = world.add_with_certificate("b-1").await;
    let config = Arc::new(world.client_config(&credential));
    let mut halfway = TcpStream::connect(world.tls).await.unwrap();
    halfway.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await.unwrap();
    let mut silent = TcpStream::connect(world.tls).await.unwrap();
    let mut good = world.tls_client(&config, true).await.unwrap();
    assert_eq!(good.connect("b-1").await, 0);
    let ends = async {
        halfway.read_to_end(&mut Vec::new()).await.ok();
        silent.read_to_end(&mut Vec::new()).await.ok();
    };
    let patience = limit::HANDSHAKE_TIME_MAX + Duration::from_secs(8);
    tokio::time::timeout(patience, ends).await.expect("both are ended");
    let event = event(&world, "tls.timeout").await;
    assert_eq!(world.counted("axle_mqtt_handshakes_total", "timeout"), 2.0);
    assert_eq!(event.address, IpAddr::from([127, 0, 0, 1]));
    good.ping().await;
}

fn impatient() -> Settings {
    Settings { stall_time_max: Duration::from_millis(300), ..Settings::default() }
}

#[tokio::test]
async fn a_packet_that_does_not_come_to_its_end_ends_its_connection() {
    let world = World::with(impatient()).await;
    world.add("b-1").await;
    let mut good = Client::connected(&world, "b-1/good", true).await;
    let mut slow = Client::connected(&world, "b-1", true).await;
    slow.send_bytes(b"\x32\x7f\x00\x0fv1/d/b-1").await;
    // However many single bytes follow: the packet has its time, and no more.
    let drip = async {
        loop {
            tokio::time::sleep(Duration::from_millis(20)).await;
            good.ping().await;
        }
    };
    let code = tokio::select! {
        () = drip => None,
        code = slow.disconnected() => code,
    };
    assert_eq!(code, Some(0x83));
    event(&world, "mqtt.packet_late").await;
    assert_eq!(world.counted("axle_mqtt_malformed_packets_total", "packet_late"), 1.0);
}

#[tokio::test]
async fn a_packet_in_single_bytes_has_its_time_and_no_more() {
    let world = World::with(impatient()).await;
    world.add("b-1").await;
    let mut slow = Client::connected(&world, "b-1", true).await;
    slow.send_bytes(b"\x32\x7f\x00\x0f").await;
    for _ in 0..60 {
        slow.send_bytes(b"v").await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(slow.disconnected().await, Some(0x83));
}

#[tokio::test]
async fn whoever_reads_nothing_is_let_go_with_its_reason() {
    let world = World::with(Settings { plain_access: axle_mqtt::PlainAccess::All, ..impatient() });
    let world = world.await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let socket = socket.connect(world.plain).await.unwrap();
    let mut deaf = Client::new(Box::new(socket), true);
    assert_eq!(deaf.connect("deaf").await, 0);
    let options = SubscriptionOptions { qos: QoS::AtMostOnce, ..SubscriptionOptions::default() };
    deaf.subscribe_with(&["flood"], options, None).await;
    let mut speaker = Client::connected(&world, "speaker", true).await;
    let speak = async {
        loop {
            speaker.publish("flood", &[0; 60_000], 1).await;
            assert_eq!(speaker.puback().await, (1, 0), "nobody waits for the deaf one");
        }
    };
    let event = tokio::select! {
        () = speak => None,
        event = event(&world, "mqtt.unread") => Some(event),
    };
    assert_eq!(event.unwrap().client_id, "deaf");
}

#[tokio::test]
async fn one_that_floods_leaves_room_for_the_others() {
    let world = World::new().await;
    world.add("b-1").await;
    world.add("b-2").await;
    world.log.hold();
    let mut flood = Client::connected(&world, "b-1", true).await;
    let mut good = Client::connected(&world, "b-2", true).await;
    let payload = vec![b' '; 100_000];
    let count: usize = 2 * limit::UNSYNCED_BYTES_PER_CONNECTION_MAX / payload.len();
    let share = limit::UNSYNCED_BYTES_PER_CONNECTION_MAX / payload.len() + 1;
    let flooding = tokio::spawn(async move {
        for _ in 0..count {
            flood.publish(RIDE, &payload, 0).await;
        }
        flood
    });
    world.records_appended(share as u64).await;
    good.publish("v1/d/b-2/t/ride", b"{}", 1).await;
    world.records_appended(share as u64 + 1).await;
    assert_eq!(world.log_length(), share as u64 + 1, "the flood waits for the sync");
    assert_eq!(world.counted("axle_mqtt_slowed_connections_total", "unsynced"), 1.0);
    world.log.commit();
    assert_eq!(good.puback().await, (1, 0));
    let committer = async {
        while world.log_length() <= count as u64 {
            world.log.commit();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(8), committer).await.expect("nothing is lost");
    flooding.await.unwrap().ping().await;
}

#[tokio::test]
async fn a_publisher_that_is_too_fast_is_read_more_slowly_and_loses_nothing() {
    let world = World::with(Settings { publishes_per_second_max: 20, ..Settings::default() }).await;
    world.add("b-1").await;
    let mut fast = Client::connected(&world, "b-1", true).await;
    let mut calm = Client::connected(&world, "b-1/calm", true).await;
    for packet_id in 1..=30 {
        fast.publish(RIDE, b"{}", packet_id).await;
    }
    calm.ping().await;
    for packet_id in 1..=30 {
        assert_eq!(fast.puback().await, (packet_id, 0));
    }
    assert!(world.counted("axle_mqtt_slowed_connections_total", "rate") >= 1.0);
    fast.send_bytes(&[0xe0, 0]).await;
    assert_eq!(fast.disconnected().await, None);
    let wait = async {
        loop {
            let filter = ConnectionFilter { limit: 9, ..ConnectionFilter::default() };
            let events = world.app.ports.connections.list_connections(filter).await.unwrap();
            if let Some(end) = events.into_iter().find(|event| event.code == "mqtt.goodbye") {
                return end.reason;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let reason = wait.await;
    assert!(reason.contains("slowed down") && reason.contains("20 times a second"), "{reason}");
}

#[tokio::test]
async fn m28_a_flood_of_bare_packets_ends_its_connection() {
    let world = World::new().await;
    world.add("b-1").await;
    let mut good = Client::connected(&world, "b-1/good", true).await;
    let mut flood = Client::connected(&world, "b-1", true).await;
    let most = usize::from(limit::BARE_PACKETS_PER_TEN_SECONDS_MAX);
    flood.send_bytes(&b"\xc0\x00".repeat(2 * most + 1)).await;
    let answers = flood.receive_all().await;
    // They are counted by the clock's tens of seconds: it may have been one after the other.
    let pongs = answers.chunks(2).take_while(|packet| *packet == b"\xd0\x00").count();
    assert!((most..=2 * most).contains(&pongs), "{pongs}");
    assert_eq!((answers[2 * pongs], answers[2 * pongs + 2]), (0xe0, 0x96));
    event(&world, "mqtt.message_rate").await;
    good.ping().await;
}

#[tokio::test]
async fn t18_two_that_fight_for_a_client_id_are_calmed_and_never_refused() {
    let world = World::new().await;
    world.add("b-1").await;
    let mut last = Client::connected(&world, "b-1", true).await;
    for _ in 0..6 {
        let mut next = Client::connected(&world, "b-1", true).await;
        next.ping().await;
        assert_eq!(last.disconnected().await, Some(0x8e));
        last = next;
    }
    event(&world, "mqtt.clones").await;
    // From now on the newcomer waits; until then the other one is served.
    let mut next = Client::plain(&world, true).await;
    next.send_v5(connect_v5("b-1")).await;
    last.ping().await;
    Client::connected(&world, "b-1/beside", true).await.ping().await;
    last.ping().await;
    assert_eq!(last.disconnected().await, Some(0x8e));
    assert!(next.receive().await.is_some(), "let in all the same");
    next.ping().await;
    assert_eq!(world.counted("axle_mqtt_slowed_connections_total", "takeovers"), 1.0);
}
