//! Broken packets, headers and requests of strangers: none makes us panic, hang, or hold more
//! memory than is there. The seeds have the shapes of what has brought other brokers down.

use std::sync::Arc;

use allocation_counter::measure;
use axle_domain::{filter_contains, limit};
use axle_testkit::mutation::run;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use crate::identity::identify;
use crate::packet::header::{PacketKind, peek};
use crate::packet::subscribe::{Subscribe, Unsubscribe};
use crate::packet::{Version, connect, disconnect, forward, publish, topic};
use crate::proxied::read_client;

/// Shapes of packets that other brokers fell over.
const FALLEN: [&[u8]; 18] = [
    // CVE-2023-0809, CVE-2016-9877, CVE-2021-28166: before and instead of a good CONNECT.
    b"\x30\xff\xff\xff\x7f\x00\x04",
    b"\x40\x02\x00\x01",
    b"\x20\x09\x00\x00\x06\x22\x00\x0a\x21\x05",
    b"\x10\x11\x00\x04MQTT\x04\x82\x00\x3c\x00\x01c\x00\x01u",
    // CVE-2025-56352: an empty client id and no clean session.
    b"\x10\x0c\x00\x04MQTT\x04\x00\x00\x3c\x00\x00",
    // CVE-2021-34432: no topic, and no alias.
    b"\x30\x02\x00\x00",
    b"\x30\x03\x00\x00\x00",
    // CVE-2021-41039: many user properties; a property length that overruns its packet.
    b"\x10\x19\x00\x04MQTT\x05\x02\x00\x3c\x0a\x26\x00\x01k\x00\x01v\x26\x00\x01k\x00\x01c",
    b"\x10\x10\x00\x04MQTT\x05\x02\x00\x3c\xff\x7f\x00\x03b-1",
    b"\x82\x08\x00\x01\xff\xff\xff\x7f\x00\x01a\x01",
    // A will whose properties are not allowed there.
    b"\x10\x1b\x00\x04MQTT\x05\x06\x00\x3c\x00\x00\x01c\x05\x11\x00\x00\x00\x05\x00\x01t\x00\x01m",
    // CVE-2024-8376: an unusual order of good packets.
    b"\x82\x06\x00\x01\x00\x01a\x01\xa2\x05\x00\x02\x00\x01a\xe0\x00\x30\x04\x00\x01ax",
    // CVE-2026-8741: a packet id of QoS 2 again, and its release twice.
    b"\x34\x06\x00\x01a\x00\x07x\x3c\x06\x00\x01a\x00\x07x\x62\x02\x00\x07\x62\x02\x00\x07",
    // Five bytes of length, and one byte to spare.
    b"\x10\xff\xff\xff\xff\x01",
    b"\x10\x8f\x00",
    // Subscription identifier 0, topic alias 0, QoS 3.
    b"\x82\x0a\x00\x01\x02\x0b\x00\x00\x01a\x01",
    b"\x32\x09\x00\x01a\x00\x01\x03\x23\x00\x00",
    b"\x36\x05\x00\x01a\x00\x01",
];

/// Good packets.
const GOOD: [&[u8]; 10] = [
    b"\x10\x0f\x00\x04MQTT\x04\x02\x00\x3c\x00\x03b-1",
    b"\x10\x10\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x03b-1",
    b"\x10\x25\x00\x04MQTT\x05\xc6\x00\x3c\x05\x11\x00\x00\x00\x05\x00\x03b-1\x00\x00\x01t\x00\x01m\x00\x01u\x00\x01p",
    b"\x32\x12\x00\x01a\x00\x01\x0b\x23\x00\x01\x03\x00\x01c\x01\x01\x26\x00",
    b"\x32\x15\x00\x0fv1/d/b-1/t/ride\x00\x01{}",
    b"\x40\x04\x00\x01\x10\x00",
    b"\x82\x0f\x00\x01\x00\x00\x09$share/g/\x01",
    b"\x82\x11\x00\x02\x00\x0cv1/d/b-1/c/#\x01",
    b"\xa2\x06\x00\x01\x00\x00\x01a",
    b"\xe0\x07\x04\x05\x11\x00\x00\x00\x05",
];

/// Everything that is in some bytes, read to its end.
fn read_all(mut bytes: &[u8], version: Version) {
    while let Ok(Some(header)) = peek(bytes, limit::PACKET_BYTES_MAX) {
        let Some(body) = bytes.get(header.body_at..header.length) else { return };
        match header.kind {
            PacketKind::Connect => drop(connect::read(body)),
            PacketKind::Publish => {
                if let Ok(publish) = publish::read(header, body, version) {
                    let kept = forward::kept(publish.properties);
                    drop(forward::restored(publish.content_type, &kept));
                    drop(forward::aged(&kept, 5));
                }
            }
            PacketKind::Subscribe => {
                if let Ok(subscribe) = Subscribe::read(body, version) {
                    subscribe.wishes(version).for_each(|wish| {
                        let _form = topic::check_filter(wish.filter).is_ok();
                        let _is_its = filter_contains(wish.filter, "v1/d/b-1/t/ride");
                    });
                }
            }
            PacketKind::Unsubscribe => {
                if let Ok(unsubscribe) = Unsubscribe::read(body, version) {
                    let _count = unsubscribe.filters().count();
                }
            }
            PacketKind::Disconnect => drop(disconnect::read(body, version)),
            PacketKind::PubComp => {
                let _is_good = publish::read_completion(body, version).is_ok();
            }
            PacketKind::PubAck | PacketKind::PubRec | PacketKind::PubRel => {
                let _is_good = publish::read_ack(body, version).is_ok();
            }
            PacketKind::PingReq | PacketKind::Auth => {}
        }
        bytes = bytes.get(header.length..).unwrap_or_default();
    }
}

fn with_deep_and_many() -> Vec<Vec<u8>> {
    // CVE-2019-11779: a topic of slashes alone; a SUBSCRIBE of very many filters.
    let body = [&[0, 1, 0x40, 0][..], &b"/".repeat(0x4000), b"\x01"].concat();
    let deep = [&[0x82, 0x85, 0x80, 0x01][..], &body].concat();
    let filters = b"\x00\x01a\x01".repeat(2000);
    let many = [&[0x82, 0xc2, 0x3e, 0, 1][..], &filters].concat();
    vec![deep, many]
}

#[test]
fn packets_of_both_versions() {
    let more = with_deep_and_many();
    let seeds: Vec<&[u8]> =
        FALLEN.into_iter().chain(GOOD).chain(more.iter().map(Vec::as_slice)).collect();
    for version in [Version::V3, Version::V5] {
        run("packets", &seeds, |input| measure(|| read_all(input, version)).bytes_max);
    }
}

#[test]
fn topics_and_filters() {
    let seeds: [&[u8]; 8] = [
        b"v1/d/b-1/t/ride",
        b"$share/g/v1/d/+/t/#",
        b"$SYS/#",
        b"a/#/b",
        b"+a/+",
        b"//",
        b"$share//x",
        b"\xc3\x28/\xef\xbf\xbf",
    ];
    run("topics", &seeds, |input| {
        let held = measure(|| {
            let _is_name = topic::check_name(input).is_ok();
            if let Ok(text) = std::str::from_utf8(input) {
                let _is_filter = topic::check_filter(text).is_ok();
                let _one = filter_contains(text, "v1/d/b-1/t/ride");
                let _other = filter_contains("v1/+/b-1/#", text);
                drop(axle_domain::TopicFilter::parse(text));
                drop(axle_domain::Topic::parse(text));
                drop(axle_domain::Layout::parse(text));
            }
        });
        held.bytes_max
    });
}

#[test]
fn headers_of_load_balancers() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let seeds: [&[u8]; 5] = [
        b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 8883\r\nrest",
        b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 8883\r\nrest",
        b"PROXY UNKNOWN\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\x12\x67\x22\xb3rest",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x21\xff\xff\xc0\0\x02\x07",
    ];
    let balancer = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
    run("proxy headers", &seeds, |input| {
        let read = || {
            let mut socket = input;
            let _client = runtime.block_on(read_client(&mut socket, balancer)).is_ok();
        };
        measure(read).bytes_max
    });
}

/// A request that is answered with 101.
const UPGRADE: &[u8] = b"GET /mqtt HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// What comes over a WebSocket, read to its end; whether one began.
fn read_frames(runtime: &tokio::runtime::Runtime, socket: impl AsyncRead + Unpin) -> bool {
    let socket = tokio::io::join(socket, tokio::io::sink());
    runtime.block_on(async {
        let Ok(mut socket) = crate::websocket::accept(socket).await else { return false };
        let mut some = [0; 1024];
        while matches!(socket.read(&mut some).await, Ok(1..)) {}
        drop(socket.shutdown().await);
        true
    })
}

#[test]
fn requests_for_a_websocket() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert!(read_frames(&runtime, UPGRADE));
    let many = [&UPGRADE[..UPGRADE.len() - 2], &b"a: b\r\n".repeat(200), b"\r\n"].concat();
    let long = [b"GET /mqtt?".as_slice(), &b"a".repeat(20_000), b" HTTP/1.1\r\n\r\n"].concat();
    let seeds: [&[u8]; 6] = [
        UPGRADE,
        &many,
        &long,
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST /mqtt HTTP/1.1\r\nContent-Length: 18446744073709551615\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ];
    run("websocket requests", &seeds, |input| {
        let read = || {
            let _has_begun = read_frames(&runtime, input);
        };
        measure(read).bytes_max
    });
}

#[test]
fn frames_of_a_websocket() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    // Masked with zeros, so that their contents are what they seem.
    let seeds: [&[u8]; 12] = [
        b"\x82\x80\0\0\0\0",
        b"\x82\x92\0\0\0\0\x10\x10\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x03b-1",
        b"\x02\x81\0\0\0\0\x10\x80\x81\0\0\0\0\x10",
        b"\x81\x82\0\0\0\0hi",
        b"\x89\x82\0\0\0\0hi\x8a\x80\0\0\0\0\x82\x82\0\0\0\0\xc0\0",
        b"\x88\x82\0\0\0\0\x03\xe8",
        b"\x88\x81\0\0\0\0\x03",
        // Lengths that are claimed alone: 64 KiB, all there is, and with the highest bit.
        b"\x82\xfe\xff\xff\0\0\0\0\xc0\0",
        b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0\xc0\0",
        b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0",
        // Not masked, reserved bits, a control frame in parts.
        b"\x82\x02\xc0\0",
        b"\xf2\x82\0\0\0\0\xc0\0\x09\x80\0\0\0\0",
    ];
    run("websocket frames", &seeds, |input| {
        let read = || assert!(read_frames(&runtime, UPGRADE.chain(input)));
        measure(read).bytes_max
    });
}

#[test]
fn certificates_and_requests() {
    use axle_domain::port::{CertificateAuthority, CertificateSubject, Clock};
    let folder = tempfile::tempdir().unwrap();
    let now = axle_domain::Timestamp(1_790_000_000_000_000);
    let clock: Arc<dyn Clock> = Arc::new(axle_testkit::clock::ManualClock::new(now));
    let authority = crate::DeviceAuthority::open(folder.path(), &[], clock).unwrap();
    let device = axle_domain::DeviceId::parse("b-1").unwrap();
    let (_key, request) = crate::new_key_and_request(&device).unwrap();
    let subject = CertificateSubject::Device(device);
    let root = authority.root();
    run("requests", &[request.as_bytes(), b"-----BEGIN CERTIFICATE REQUEST-----"], |input| {
        let text = String::from_utf8_lossy(input);
        measure(|| drop(authority.sign(&subject, &text))).bytes_max / 8
    });
    run("certificates", &[root.as_ref()], |input| {
        let certificate = rustls_pki_types::CertificateDer::from(input);
        measure(|| drop(identify(&certificate))).bytes_max
    });
}
