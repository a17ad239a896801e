//! Our reader against one that others wrote: what we accept it reads the same, and on nothing at
//! all do we panic. It is more lenient, so it may accept what we refuse.

#![expect(
    clippy::too_many_lines,
    clippy::wildcard_enum_match_arm,
    clippy::collapsible_match,
    reason = "one comparison per kind of packet, side by side"
)]

use bytes::BytesMut;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use rmqtt_codec::types::QoS;
use rmqtt_codec::{MqttCodec, MqttPacket, v3, v5};
use tokio_util::codec::Decoder;

use super::header::{PacketKind, peek};
use super::subscribe::{Subscribe, Unsubscribe};
use super::{Version, connect, disconnect, publish};

const BYTES_MAX: usize = 128 * 1024;

/// Good packets of every kind, to be spoilt.
fn seeds() -> Vec<Vec<u8>> {
    let texts: [&[u8]; 14] = [
        b"\x10\x0f\x00\x04MQTT\x04\x02\x00\x3c\x00\x03b-1",
        b"\x10\x10\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x03b-1",
        b"\x10\x25\x00\x04MQTT\x05\xc6\x00\x3c\x05\x11\x00\x00\x00\x05\x00\x03b-1\x00\x00\x01t\x00\x01m\x00\x01u\x00\x01p",
        b"\x30\x05\x00\x01ahi",
        b"\x32\x07\x00\x01a\x00\x01hi",
        b"\x32\x08\x00\x01a\x00\x01\x00hi",
        b"\x32\x12\x00\x01a\x00\x01\x0b\x23\x00\x01\x03\x00\x01c\x01\x01\x26\x00",
        b"\x3b\x06\x00\x01a\x00\x09x",
        b"\x40\x02\x00\x01",
        b"\x40\x04\x00\x01\x10\x00",
        b"\x82\x07\x00\x01\x00\x00\x01a\x01",
        b"\x82\x06\x00\x01\x00\x01a\x01",
        b"\xa2\x06\x00\x01\x00\x00\x01a",
        b"\xe0\x02\x04\x00",
    ];
    texts.iter().map(|text| text.to_vec()).collect()
}

fn input() -> impl Strategy<Value = Vec<u8>> {
    let spoilt = (proptest::sample::select(seeds()), any::<proptest::sample::Index>(), any::<u8>())
        .prop_map(|(mut bytes, at, byte)| {
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes
        });
    let random = proptest::collection::vec(any::<u8>(), 0..200);
    prop_oneof![1 => proptest::sample::select(seeds()), 6 => spoilt, 2 => random]
}

/// What the other codec makes of these bytes; `None` if it refuses or wants more.
fn theirs(bytes: &[u8], version: Version) -> Option<MqttPacket> {
    let mut codec = match version {
        Version::V3 => MqttCodec::V3(v3::Codec::new(0)),
        Version::V5 => MqttCodec::V5(v5::Codec::new(0, 0)),
    };
    codec.decode(&mut BytesMut::from(bytes)).ok().flatten().map(|(packet, _)| packet)
}

fn check(bytes: &[u8], version: Version) {
    let Ok(Some(header)) = peek(bytes, BYTES_MAX) else { return };
    let Some(body) = bytes.get(header.body_at..header.length) else { return };
    let other = || theirs(bytes, version).expect("what we accept others accept");
    match header.kind {
        PacketKind::Publish => {
            let Ok(mine) = publish::read(header, body, version) else { return };
            // Theirs knows no alias without a topic in 3.1.1, and neither do we.
            let (MqttPacket::V3(v3::Packet::Publish(p)) | MqttPacket::V5(v5::Packet::Publish(p))) =
                other()
            else {
                panic!("another kind")
            };
            assert_eq!((mine.topic, mine.qos), (&*p.topic, p.qos.value()));
            assert_eq!(mine.packet_id, p.packet_id.map_or(0, |id| id.get()));
            assert_eq!((mine.payload, mine.is_retained), (&p.payload[..], p.retain));
            let properties = p.properties.unwrap_or_default();
            assert_eq!(mine.alias, properties.topic_alias.map_or(0, |alias| alias.get()));
            assert_eq!(
                mine.content_type,
                &**properties.content_type.as_ref().unwrap_or(&"".into())
            );
            assert_eq!(mine.is_text, properties.is_utf8_payload);
        }
        PacketKind::Connect => {
            let Ok(mine) = connect::read(body) else { return };
            match theirs(bytes, mine.version) {
                Some(MqttPacket::V3(v3::Packet::Connect(p))) => {
                    assert_eq!((mine.client_id, mine.keep_alive), (&*p.client_id, p.keep_alive));
                    assert_eq!(
                        mine.will.map(|w| w.payload),
                        p.last_will.as_ref().map(|w| &w.message[..])
                    );
                }
                Some(MqttPacket::V5(v5::Packet::Connect(p))) => {
                    assert_eq!((mine.client_id, mine.keep_alive), (&*p.client_id, p.keep_alive));
                    assert_eq!(mine.receive_max, p.receive_max.map_or(u16::MAX, |max| max.get()));
                    assert_eq!(mine.will.map(|w| w.topic), p.last_will.as_ref().map(|w| &*w.topic));
                }
                // An empty client id that is not clean: theirs refuses while reading, we later.
                None => assert!(mine.client_id.is_empty() && !mine.is_clean),
                other => panic!("another kind: {other:?}"),
            }
        }
        PacketKind::Subscribe => {
            let Ok(mine) = Subscribe::read(body, version) else { return };
            let filters: Vec<_> = mine.wishes(version).map(|w| (w.filter, w.qos)).collect();
            // An empty filter: theirs refuses the packet in 3.1.1, we the filter.
            if filters.iter().any(|(filter, _)| filter.is_empty()) {
                return;
            }
            let qos = |qos: QoS| qos.value();
            let expected: Vec<(String, u8)> = match other() {
                MqttPacket::V3(v3::Packet::Subscribe { topic_filters, .. }) => {
                    topic_filters.iter().map(|(f, q)| (f.to_string(), qos(*q))).collect()
                }
                MqttPacket::V5(v5::Packet::Subscribe(p)) => {
                    p.topic_filters.iter().map(|(f, o)| (f.to_string(), qos(o.qos))).collect()
                }
                other => panic!("another kind: {other:?}"),
            };
            assert!(filters.iter().map(|(f, q)| ((*f).to_owned(), *q)).eq(expected));
        }
        PacketKind::Unsubscribe => {
            let Ok(mine) = Unsubscribe::read(body, version) else { return };
            if mine.filters().any(str::is_empty) {
                return;
            }
            other();
        }
        PacketKind::Disconnect => {
            if disconnect::read(body, version).is_ok() {
                other();
            }
        }
        PacketKind::PubAck => {
            if publish::read_ack(body, version).is_ok() {
                other();
            }
        }
        _ => {}
    }
}

fn config() -> ProptestConfig {
    let wanted = ProptestConfig::default();
    if wanted.rng_seed != RngSeed::Random {
        return wanted;
    }
    ProptestConfig { cases: 20_000, rng_seed: RngSeed::Fixed(1), ..wanted }
}

proptest! {
    // The same cases in every run; `PROPTEST_RNG_SEED` and `PROPTEST_CASES` look further.
    #![proptest_config(config())]

    #[test]
    fn what_we_accept_others_read_the_same(bytes in input()) {
        check(&bytes, Version::V3);
        check(&bytes, Version::V5);
    }
}

#[test]
fn the_seeds_are_read_in_at_least_one_version() {
    for seed in seeds() {
        check(&seed, Version::V3);
        check(&seed, Version::V5);
        assert!(matches!(peek(&seed, BYTES_MAX), Ok(Some(_))), "{seed:x?}");
    }
}
