//! What clients should not send, and what becomes of it: a table, and a good client beside it.

use crate::client::Client;
use crate::world::World;

/// When the bytes are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
enum At {
    /// Instead of CONNECT.
    Start,
    /// After a CONNECT of version 3.1.1.
    V3,
    /// After a CONNECT of version 5.0.
    V5,
}
use At::{Start, V3, V5};

const HELLO_V5: &[u8] = b"\x10\x10\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x03b-1";

/// What to send, when, the bytes that the answer begins with, and how it is counted.
type Case = (&'static str, At, Vec<u8>, Vec<u8>, &'static str);

fn publish_v5(topic: &[u8], properties: &[u8]) -> Vec<u8> {
    let mut body = u16::try_from(topic.len()).unwrap().to_be_bytes().to_vec();
    body.extend_from_slice(topic);
    body.extend_from_slice(&[0, 1]);
    put_length(&mut body, properties.len());
    body.extend_from_slice(properties);
    packet(0x32, &body)
}

fn publish_v3(topic: &[u8]) -> Vec<u8> {
    let mut body = u16::try_from(topic.len()).unwrap().to_be_bytes().to_vec();
    body.extend_from_slice(topic);
    body.extend_from_slice(&[0, 1]);
    packet(0x32, &body)
}

fn connect_v5(flags: u8, properties: &[u8], rest: &[u8]) -> Vec<u8> {
    let mut body = b"\x00\x04MQTT\x05".to_vec();
    body.extend_from_slice(&[flags, 0, 60]);
    put_length(&mut body, properties.len());
    body.extend_from_slice(properties);
    body.extend_from_slice(rest);
    packet(0x10, &body)
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    put_length(&mut bytes, body.len());
    bytes.extend_from_slice(body);
    bytes
}

fn put_length(bytes: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        bytes.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
        length >>= 7;
    }
    bytes.push(u8::try_from(length).unwrap());
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn before_connect() -> Vec<Case> {
    let nothing = Vec::new;
    let refused = |code: u8| vec![0x20, 0, 0, code];
    let long_id = [&[0xff, 0x00][..], &[b'x'; 0xff00]].concat();
    vec![
        ("M01 PUBACK first", Start, b"\x40\x02\x00\x01".to_vec(), nothing(), "not_connect_first"),
        ("M01 PUBLISH first", Start, publish_v3(b"a"), nothing(), "not_connect_first"),
        ("M01 PINGREQ first", Start, b"\xc0\x00".to_vec(), nothing(), "not_connect_first"),
        (
            "M02 five bytes",
            Start,
            b"\x10\xff\xff\xff\xff\x01".to_vec(),
            nothing(),
            "length_malformed",
        ),
        ("M02 non-minimal", Start, b"\x10\x8f\x00".to_vec(), nothing(), "length_malformed"),
        (
            "M03 256 MiB",
            Start,
            b"\x10\xff\xff\xff\x7f\x00\x04M".to_vec(),
            nothing(),
            "packet_large",
        ),
        (
            "M03 256 MiB, version known",
            Start,
            b"\x10\xff\xff\xff\x7f\x00\x04MQTT\x05\x02".to_vec(),
            refused(0x95),
            "packet_large",
        ),
        (
            "M04 too short",
            Start,
            b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x03b-".to_vec(),
            refused(0x81),
            "length_wrong",
        ),
        ("M04 too long", Start, connect_v5(2, b"", b"\x00\x03b-1x"), refused(0x81), "length_wrong"),
        (
            "M05 MQIsdp",
            Start,
            packet(0x10, b"\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x03b-1"),
            vec![0x20, 2, 0, 1],
            "version",
        ),
        (
            "M05 mqtt",
            Start,
            packet(0x10, b"\x00\x04mqtt\x04\x02\x00\x3c\x00\x03b-1"),
            nothing(),
            "not_mqtt",
        ),
        (
            "M05 level 6",
            Start,
            packet(0x10, b"\x00\x04MQTT\x06\x02\x00\x3c\x00\x00\x03b-1"),
            refused(0x84),
            "version",
        ),
        (
            "M05 level 3",
            Start,
            packet(0x10, b"\x00\x04MQTT\x03\x02\x00\x3c\x00\x03b-1"),
            vec![0x20, 2, 0, 1],
            "version",
        ),
        ("M08 reserved bit", Start, connect_v5(3, b"", b"\x00\x03b-1"), refused(0x81), "flags"),
        ("M09 will QoS 3", Start, connect_v5(0x1e, b"", b"\x00\x03b-1"), refused(0x81), "flags"),
        (
            "M09 will QoS without will",
            Start,
            connect_v5(0x0a, b"", b"\x00\x03b-1"),
            refused(0x82),
            "will_flags",
        ),
        (
            "M10 empty id, not clean",
            Start,
            packet(0x10, b"\x00\x04MQTT\x04\x00\x00\x3c\x00\x00"),
            vec![0x20, 2, 0, 2],
            "client_id",
        ),
        ("M11 NUL in id", Start, connect_v5(2, b"", b"\x00\x04b-\x001"), refused(0x81), "text"),
        (
            "M11 overlong UTF-8",
            Start,
            connect_v5(2, b"", b"\x00\x02\xc0\x80"),
            refused(0x81),
            "text",
        ),
        ("M11 64 KiB id", Start, connect_v5(2, b"", &long_id), refused(0x95), "packet_large"),
        (
            "M11 lookalike",
            Start,
            connect_v5(2, b"", "\u{0}\u{4}\u{43b}-1".as_bytes()),
            refused(0x85),
            "client_id",
        ),
        (
            "M12 nobody's id",
            Start,
            connect_v5(2, b"", b"\x00\x03b-9"),
            refused(0x87),
            "not_authorized",
        ),
        (
            "M21 property twice",
            Start,
            connect_v5(2, b"\x21\x00\x01\x21\x00\x01", b"\x00\x03b-1"),
            refused(0x82),
            "property",
        ),
        (
            "M21 unknown property",
            Start,
            connect_v5(2, b"\x7f\x00", b"\x00\x03b-1"),
            refused(0x81),
            "malformed",
        ),
        (
            "M21 many user properties",
            Start,
            connect_v5(2, &b"\x26\x00\x01k\x00\x01v".repeat(33), b"\x00\x03b-1"),
            refused(0x97),
            "user_properties",
        ),
        (
            "M23 AUTH method",
            Start,
            connect_v5(2, b"\x15\x00\x01x", b"\x00\x03b-1"),
            refused(0x8c),
            "auth_method",
        ),
        ("M30 HTTP", Start, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), nothing(), "not_mqtt"),
        (
            "M30 TLS",
            Start,
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
            nothing(),
            "not_mqtt",
        ),
        ("M30 PROXY", Start, b"\r\n\r\n\x00\r\nQUIT\n".to_vec(), nothing(), "not_mqtt"),
    ]
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn after_connect() -> Vec<Case> {
    let said = |code: u8| vec![0xe0, 0, code];
    let deep = "a/".repeat(10_000);
    vec![
        (
            "M02 five bytes",
            V5,
            b"\x30\xff\xff\xff\xff\x01".to_vec(),
            said(0x81),
            "length_malformed",
        ),
        ("M03 256 MiB", V5, b"\x30\xff\xff\xff\x7f\x00\x01a".to_vec(), said(0x95), "packet_large"),
        ("M04 topic beyond the end", V5, packet(0x30, b"\x00\x09abc"), said(0x81), "length_wrong"),
        ("M06 CONNECT twice", V5, HELLO_V5.to_vec(), said(0x82), "second_connect"),
        ("M06 CONNECT twice", V3, HELLO_V5.to_vec(), vec![], "second_connect"),
        ("M07 CONNACK", V5, b"\x20\x02\x00\x00".to_vec(), said(0x82), "protocol"),
        ("M07 SUBACK", V5, b"\x90\x03\x00\x01\x00".to_vec(), said(0x82), "protocol"),
        ("M07 PINGRESP", V5, b"\xd0\x00".to_vec(), said(0x82), "protocol"),
        ("M07 type 0", V5, b"\x00\x00".to_vec(), said(0x81), "malformed"),
        ("M07 type 15 in 3.1.1", V3, b"\xf0\x00".to_vec(), vec![], "protocol"),
        ("M08 SUBSCRIBE flags", V5, b"\x80\x00".to_vec(), said(0x81), "flags"),
        ("M08 PINGREQ with a body", V5, b"\xc0\x01\x00".to_vec(), said(0x81), "length_wrong"),
        ("M09 QoS 3", V5, b"\x36\x03\x00\x01a".to_vec(), said(0x81), "flags"),
        ("M09 DUP at QoS 0", V5, b"\x38\x04\x00\x01a\x00".to_vec(), said(0x81), "flags"),
        ("M14 empty topic", V5, publish_v5(b"", b""), said(0x90), "topic"),
        ("M14 wildcard", V5, publish_v5(b"a/+", b""), said(0x90), "topic"),
        ("M14 NUL", V5, publish_v5(b"a\0", b""), said(0x90), "topic"),
        ("M14 NUL", V3, publish_v3(b"a\0"), vec![], "topic"),
        ("M14 long", V5, publish_v5(&[b'x'; 65_535], b""), said(0x90), "topic"),
        ("M14 deep", V5, publish_v5(deep.as_bytes(), b""), said(0x90), "topic"),
        (
            "M14 a little deep",
            V5,
            publish_v5("a/".repeat(16).as_bytes(), b""),
            said(0x90),
            "topic_too_deep",
        ),
        ("M16 no filters", V5, packet(0x82, b"\x00\x01\x00"), said(0x82), "no_filters"),
        ("M16 no filters", V3, packet(0x82, b"\x00\x01"), vec![], "no_filters"),
        (
            "M08 reserved option",
            V5,
            packet(0x82, b"\x00\x01\x00\x00\x01a\xc0"),
            said(0x81),
            "flags",
        ),
        ("M18 packet id 0", V5, b"\x32\x06\x00\x01a\x00\x00\x00".to_vec(), said(0x82), "packet_id"),
        ("M18 PUBREC code", V5, b"\x50\x03\x00\x01\x92".to_vec(), said(0x81), "malformed"),
        ("M20 alias 0", V5, publish_v5(b"a", b"\x23\x00\x00"), said(0x94), "topic_alias"),
        ("M20 alias 17", V5, publish_v5(b"a", b"\x23\x00\x11"), said(0x94), "topic_alias"),
        ("M20 unknown alias", V5, publish_v5(b"", b"\x23\x00\x02"), said(0x94), "topic_alias"),
        (
            "M21 property of another packet",
            V5,
            publish_v5(b"a", b"\x21\x00\x01"),
            said(0x82),
            "property",
        ),
        (
            "M21 properties overrun",
            V5,
            packet(0x30, b"\x00\x01a\x7f\x01"),
            said(0x81),
            "length_wrong",
        ),
        (
            "M21 many user properties",
            V5,
            publish_v5(b"a", &b"\x26\x00\x01k\x00\x01v".repeat(33)),
            said(0x97),
            "user_properties",
        ),
        (
            "M21 large user property",
            V5,
            publish_v5(b"a", &[b"\x26\x00\x01k\xff\xff".to_vec(), vec![b'v'; 65_535]].concat()),
            said(0x95),
            "properties_large",
        ),
        ("M21 payload format 2", V5, publish_v5(b"a", b"\x01\x02"), said(0x82), "property"),
        ("M23 AUTH", V5, b"\xf0\x00".to_vec(), said(0x82), "protocol"),
        ("M26 129 KiB", V5, packet(0x30, &[0; 129 * 1024]), said(0x95), "packet_large"),
        (
            "M28 expiry raised",
            V5,
            packet(0xe0, b"\x00\x05\x11\x00\x00\x00\x05"),
            said(0x82),
            "expiry_raised",
        ),
        ("unknown PUBACK code", V5, b"\x40\x03\x00\x01\x55".to_vec(), said(0x81), "malformed"),
        ("empty UNSUBSCRIBE", V5, packet(0xa2, b"\x00\x01\x00"), said(0x82), "no_filters"),
        ("half a filter", V5, packet(0x82, b"\x00\x01\x00\x00\x01a"), said(0x81), "length_wrong"),
    ]
}

async fn check(world: &World, case: &Case) {
    let (name, at, bytes, expected, counted) = case;
    let metric = match at {
        Start => "axle_mqtt_refused_connects_total",
        V3 | V5 => "axle_mqtt_malformed_packets_total",
    };
    let before = world.counted(metric, counted);
    let mut client = match at {
        Start => Client::plain(world, true).await,
        V3 => Client::connected(world, "b-1", false).await,
        V5 => Client::connected(world, "b-1", true).await,
    };
    client.send_bytes(bytes).await;
    let answer = client.receive_all().await;
    // The second byte is the length, which the reason string makes.
    let mut seen =
        answer.get(..expected.len().max(answer.len().min(1))).unwrap_or(&answer).to_vec();
    if let (Some(length), Some(0)) = (seen.get_mut(1), expected.get(1)) {
        *length = 0;
        // In DISCONNECT and CONNACK of MQTT 5 a reason string says what was wrong.
        assert!(answer.len() > 20, "{name} {at:?}: no reason in {answer:x?}");
    }
    assert_eq!(seen, *expected, "{name} {at:?}: {answer:x?}");
    assert!(world.counted(metric, counted) > before, "{name} {at:?} counts as {counted}");
}

#[tokio::test]
async fn bad_input_ends_its_own_connection_with_the_right_word() {
    let world = World::new().await;
    world.add("b-1").await;
    world.add("good").await;
    let mut good = Client::connected(&world, "good", true).await;
    for (packet_id, case) in (1..).zip(before_connect().iter().chain(&after_connect())) {
        check(&world, case).await;
        good.publish("v1/d/good/t/ride", b"{}", packet_id).await;
        assert_eq!(good.puback().await, (packet_id, 0), "beside {}", case.0);
    }
}

#[tokio::test]
async fn too_many_filters_are_refused_one_by_one() {
    let world = World::new().await;
    world.add("b-1").await;
    let mut client = Client::connected(&world, "b-1", true).await;
    let filters: Vec<String> = (0..70).map(|n| format!("v1/d/b-1/c/{n}/+")).collect();
    let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
    let codes = client.subscribe(&filters).await;
    assert!(codes[..64].iter().all(|code| *code == 1));
    assert!(codes[64..].iter().all(|code| *code == 0x97));
    assert_eq!(client.subscribe(&filters[..1].repeat(1000)).await[..256], [1; 256]);
    client.ping().await;
    // Ten thousand filters in one packet, each of one byte.
    let mut body = b"\x00\x05\x00".to_vec();
    body.extend_from_slice(&b"\x00\x01a\x01".repeat(10_000));
    client.send_bytes(&packet(0x82, &body)).await;
    let answer = client.receive().await;
    assert!(answer.is_some());
    client.ping().await;
}

#[tokio::test]
async fn unknown_acknowledgements_change_nothing() {
    let world = World::new().await;
    world.add("b-1").await;
    let mut client = Client::connected(&world, "b-1", true).await;
    client.send_bytes(b"\x40\x02\x00\x63").await;
    client.ping().await;
    client.send_bytes(b"\x62\x02\x00\x63").await;
    match client.receive().await {
        Some(rmqtt_codec::MqttPacket::V5(rmqtt_codec::v5::Packet::PublishComplete(ack))) => {
            assert_eq!(u8::from(ack.reason_code), 0x92);
        }
        other => panic!("no PUBCOMP but {other:?}"),
    }
}

#[tokio::test]
async fn random_bytes_are_refused_in_time_and_disturb_nobody() {
    use proptest::strategy::{Strategy, ValueTree};
    use proptest::test_runner::TestRunner;
    let world = World::new().await;
    world.add("b-1").await;
    let mut good = Client::connected(&world, "b-1", true).await;
    // The same bytes on every run.
    let mut runner = TestRunner::deterministic();
    let bytes = proptest::collection::vec(proptest::num::u8::ANY, 1..600);
    for packet_id in 1..200 {
        let bytes = bytes.new_tree(&mut runner).unwrap().current();
        let (mut fresh, mut known) =
            (Client::plain(&world, true).await, Client::connected(&world, "b-1/x", true).await);
        fresh.send_bytes(&bytes).await;
        known.send_bytes(&bytes).await;
        drop((fresh, known));
        good.publish("v1/d/b-1/t/ride", b"{}", packet_id).await;
        assert_eq!(good.puback().await, (packet_id, 0));
    }
}
