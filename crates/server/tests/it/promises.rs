//! What clients were promised beyond a PUBACK, over kill -9: retained messages, wills, QoS 2 both
//! ways, and who is there.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::device::Device;
use crate::law::{dump, packet};
use crate::path::{get, rows};
use crate::server::TestServer;

const EVERYTHING: [(&str, &str); 2] =
    [("AXLE_MQTT__PLAIN_LISTEN", "127.0.0.1:0"), ("AXLE_MQTT__PLAIN_ACCESS", "all")];

fn text(body: &mut Vec<u8>, text: &str) {
    body.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
    body.extend(text.as_bytes());
}

/// A client of MQTT 5 whose session lasts an hour.
struct Client {
    socket: TcpStream,
}

impl Client {
    /// Connects; says whether its session was there.
    fn connect(server: &TestServer, id: &str, will: Option<(&str, u8)>) -> (Self, bool) {
        let mut socket = TcpStream::connect(server.address("mqtt")).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 5];
        // A will at QoS 1.
        body.push(if will.is_some() { 0x0c } else { 0 });
        body.extend([0, 60, 5, 0x11, 0, 0, 14, 16]);
        text(&mut body, id);
        if let Some((topic, delay_seconds)) = will {
            body.extend([5, 0x18, 0, 0, 0, delay_seconds]);
            text(&mut body, topic);
            text(&mut body, "gone");
        }
        socket.write_all(&packet(0x10, &body)).unwrap();
        let mut client = Self { socket };
        let (first, body) = client.read();
        assert_eq!((first, body[1]), (0x20, 0), "CONNACK");
        (client, body[0] == 1)
    }

    fn write(&mut self, first: u8, body: &[u8]) {
        self.socket.write_all(&packet(first, body)).unwrap();
    }

    /// The next packet, a short one.
    fn read(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 2];
        self.socket.read_exact(&mut head).unwrap();
        assert!(head[1] < 128, "a short packet");
        let mut body = vec![0; usize::from(head[1])];
        self.socket.read_exact(&mut body).unwrap();
        (head[0], body)
    }

    /// Publishes with packet id 1; `flags` are those of the first byte.
    fn publish(&mut self, flags: u8, topic: &str, payload: &str) {
        let mut body = Vec::new();
        text(&mut body, topic);
        body.extend([0, 1, 0]);
        body.extend(payload.as_bytes());
        self.write(0x30 | flags, &body);
    }

    /// An acknowledgement of packet id 1, or of another.
    fn expect(&mut self, first: u8) -> [u8; 2] {
        let (seen, body) = self.read();
        assert_eq!(seen, first, "{body:?}");
        assert!(body.get(2).is_none_or(|code| *code < 0x80), "{body:?}");
        [body[0], body[1]]
    }

    fn subscribe(&mut self, filter: &str, qos: u8) {
        let mut body = vec![0, 9, 0];
        text(&mut body, filter);
        body.push(qos);
        self.write(0x82, &body);
        assert_eq!(self.read(), (0x90, vec![0, 9, 0, qos]), "SUBACK");
    }

    /// The next PUBLISH: first byte, topic, packet id.
    fn published(&mut self) -> (u8, String, [u8; 2]) {
        let (first, body) = self.read();
        assert_eq!(first & 0xf0, 0x30, "PUBLISH, not {first:#x} {body:?}");
        let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
        let (topic, rest) = body[2..].split_at(length);
        (first, String::from_utf8(topic.to_vec()).unwrap(), [rest[0], rest[1]])
    }

    /// The topic of the next message, which comes at QoS 1.
    fn take(&mut self) -> String {
        let (first, topic, id) = self.published();
        assert_eq!(first & 0x06, 0x02, "QoS 1");
        self.write(0x40, &id);
        topic
    }

    /// Nothing but the answer to PINGREQ comes next.
    fn hears_nothing(&mut self) {
        self.write(0xc0, &[]);
        assert_eq!(self.read().0, 0xd0, "PINGRESP");
    }
}

/// The topics of a stopped server's log that begin so, in order.
fn logged(data: &std::path::Path, prefix: &str) -> Vec<String> {
    let topics = dump(data).into_iter().map(|record| record["topic"].as_str().unwrap().to_owned());
    topics.filter(|topic| topic.starts_with(prefix)).collect()
}

#[test]
fn retained_messages_wills_and_qos_2_are_kept_over_kills() {
    let server = TestServer::start_on(Arc::new(tempfile::tempdir().unwrap()), &EVERYTHING);
    let (mut listener, _) = Client::connect(&server, "listener", None);
    listener.subscribe("gone/#", 1);
    listener.subscribe("pair/#", 2);
    let (mut teller, _) = Client::connect(&server, "teller", None);
    for (topic, payload) in [("plant/a", "1"), ("plant/b", "2"), ("plant/b", "")] {
        teller.publish(0x03, topic, payload);
        teller.expect(0x40);
    }
    // Both are connected when the server is killed: that ends their connections.
    let _now = Client::connect(&server, "now", Some(("gone/now", 0)));
    let _later = Client::connect(&server, "later", Some(("gone/later", 2)));
    let _back = Client::connect(&server, "back", Some(("gone/back", 60)));
    let (mut pair, _) = Client::connect(&server, "pair", None);
    pair.publish(0x04, "pair/1", "once");
    pair.expect(0x50);
    let (first, topic, id) = listener.published();
    assert_eq!((first & 0x06, &*topic), (0x04, "pair/1"));
    listener.write(0x50, &id);
    assert_eq!(listener.expect(0x62), id, "PUBREL");

    let server = TestServer::start_on(server.kill(), &EVERYTHING);
    // Who comes back before the delay is over has not gone.
    assert!(Client::connect(&server, "back", None).1);
    let (mut listener, is_present) = Client::connect(&server, "listener", None);
    assert!(is_present);
    let mut heard = Vec::new();
    // PUBREL comes again, not the message; and the wills, each when its time has come.
    while heard.len() < 3 {
        let (first, body) = listener.read();
        if first == 0x62 {
            assert_eq!(body[..2], id);
            listener.write(0x70, &id);
            heard.push("PUBREL".to_owned());
            continue;
        }
        let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
        listener.write(0x40, &body[2 + length..4 + length]);
        heard.push(String::from_utf8(body[2..2 + length].to_vec()).unwrap());
    }
    heard.sort();
    assert_eq!(heard, ["PUBREL", "gone/later", "gone/now"]);
    let (mut pair, is_present) = Client::connect(&server, "pair", None);
    assert!(is_present);
    pair.publish(0x0c, "pair/1", "once");
    pair.expect(0x50);
    pair.write(0x62, &[0, 1]);
    pair.expect(0x70);
    let (mut late, _) = Client::connect(&server, "late", None);
    late.subscribe("plant/#", 1);
    assert_eq!(late.take(), "plant/a");
    late.hears_nothing();
    listener.hears_nothing();

    // A second kill brings nothing twice, and the packet id is free.
    let server = TestServer::start_on(server.kill(), &EVERYTHING);
    let (mut pair, _) = Client::connect(&server, "pair", None);
    pair.publish(0x04, "pair/2", "another");
    pair.expect(0x50);
    let (mut listener, _) = Client::connect(&server, "listener", None);
    assert_eq!(listener.published().1, "pair/2");
    let data = server.kill();
    let data = data.path().join("data");
    assert_eq!(logged(&data, "gone/"), ["gone/now", "gone/later"]);
    assert_eq!(logged(&data, "pair/"), ["pair/1", "pair/2"]);
}

/// What the log of a stopped server says of who was there.
fn presence(data: &std::path::Path) -> Vec<String> {
    let said = dump(data).into_iter().filter(|record| record["source"] == "presence");
    let events = said.map(|record| {
        let payload: Value = serde_json::from_str(record["payload"].as_str().unwrap()).unwrap();
        let (event, code) = (&payload["event"], payload.get("code"));
        let code = code.and_then(Value::as_str).unwrap_or("");
        format!("{} {code}", event.as_str().unwrap()).trim().to_owned()
    });
    events.collect()
}

#[test]
fn a_kill_leaves_no_device_connected_for_ever_and_tells_of_each_session_once() {
    let mut server = TestServer::start();
    server.ok(&["device", "add", "b-1", "--out", "keys"]);
    let keys = server.folder().path().join("keys");
    let state = |server: &TestServer| get(server, "/api/v1/devices/b-1/state")["online"].clone();
    for life in 1..=2_u64 {
        let mut device = Device::connect(&server.address("mqtts"), &keys, "b-1");
        // Durable with this PUBACK, as all before it in the log.
        device.publish("v1/d/b-1/t/ride", "{\"speed_kmh\":1}");
        assert_eq!(state(&server), true);
        server = TestServer::start_on(server.kill(), &[]);
        assert_eq!(state(&server), false);
        let sql = "SELECT count(*) FROM presence WHERE code = 'server.ended'";
        let mut attempts = 0;
        while rows(&server, sql)[0][0].as_u64() < Some(life) {
            attempts += 1;
            assert!(attempts < 1000, "nobody says that it went");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    let data = server.kill();
    let pair = ["connected", "disconnected server.ended"];
    assert_eq!(presence(&data.path().join("data")), [pair, pair].concat());
}
