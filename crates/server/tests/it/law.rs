//! The law of the door over kills: what was received was stored, set aside or refused; in the
//! metrics and record by record. And retention over kills: nothing that somebody needs goes.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cli::{axle, text};
use crate::path::{get, rows};
use crate::server::TestServer;

/// Lives that end by a kill.
const KILLS: u64 = 4;
/// Messages of a device that may be unanswered.
const WINDOW: u64 = 100;
/// What devices do in turn: most of it is right, some is nonsense, some not theirs.
const KINDS: [Kind; 5] = [Kind::Row, Kind::Row, Kind::Nonsense, Kind::Row, Kind::Foreign];

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Kind {
    Row,
    Nonsense,
    Foreign,
}

fn kind_of(number: u64) -> Kind {
    KINDS[usize::try_from(number).unwrap() % KINDS.len()]
}

/// How many of each kind were sent, and how many of them were answered.
#[derive(Clone, Debug, Default)]
struct Told {
    next: u64,
    sent: BTreeMap<Kind, u64>,
    answered: BTreeMap<Kind, u64>,
}

/// A device that speaks MQTT 5 without TLS, many messages at a time, until the server is gone.
fn publish_until_it_ends(address: &str, mut told: Told, is_loud: &AtomicBool) -> Told {
    let mut input = connect(address);
    let (begin, mut answered) = (told.next, told.next);
    loop {
        while told.next < answered + WINDOW {
            *told.sent.entry(kind_of(told.next)).or_default() += 1;
            let packet = publish(told.next, begin);
            told.next += 1;
            if input.socket.write_all(&packet).is_err() {
                return told;
            }
        }
        is_loud.store(true, Ordering::Release);
        // The window is full: an answer, or the end.
        let Some((first, body)) = input.packet() else { return told };
        assert_eq!(first, 0x40, "PUBACK");
        let (kind, code) = (kind_of(answered), body.get(2).copied().unwrap_or(0));
        assert_eq!(code, if kind == Kind::Foreign { 0x87 } else { 0 }, "{kind:?}");
        *told.answered.entry(kind).or_default() += 1;
        answered += 1;
    }
}

fn publish(number: u64, begin: u64) -> Vec<u8> {
    let device = if kind_of(number) == Kind::Foreign { "b-2" } else { "b-1" };
    let topic = format!("v1/d/{device}/t/ride");
    let payload = match kind_of(number) {
        Kind::Row | Kind::Foreign => {
            let (time, speed) = (1_790_000_000_000_u64 + number, number % 100);
            format!("{{\"time\":{time},\"speed_kmh\":{speed}}}")
        }
        Kind::Nonsense => format!("nonsense {number}"),
    };
    let mut body = u16::try_from(topic.len()).unwrap().to_be_bytes().to_vec();
    body.extend(topic.as_bytes());
    body.extend(u16::try_from((number - begin) % 60_000 + 1).unwrap().to_be_bytes());
    body.push(0);
    body.extend(payload.as_bytes());
    packet(0x32, &body)
}

pub(crate) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let (mut packet, mut length) = (vec![first], body.len());
    while length >= 128 {
        packet.push(u8::try_from(length % 128).unwrap() | 0x80);
        length /= 128;
    }
    packet.push(u8::try_from(length).unwrap());
    packet.extend(body);
    packet
}

/// A connection of device `b-1` without TLS.
fn connect(address: &str) -> Input {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let body = [0, 4, b'M', b'Q', b'T', b'T', 5, 2, 0, 60, 0, 0, 3, b'b', b'-', b'1'];
    socket.write_all(&packet(0x10, &body)).unwrap();
    let mut input = Input { socket };
    assert_eq!(input.packet().unwrap().0, 0x20, "CONNACK");
    input
}

struct Input {
    socket: TcpStream,
}

impl Input {
    /// The next packet, short ones alone; `None` at the end.
    fn packet(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 2];
        self.socket.read_exact(&mut head).ok()?;
        let mut body = vec![0; usize::from(head[1] & 0x7f)];
        if head[1] & 0x80 != 0 {
            let mut high = [0; 1];
            self.socket.read_exact(&mut high).ok()?;
            body.resize(body.len() + usize::from(high[0]) * 128, 0);
        }
        self.socket.read_exact(&mut body).ok()?;
        Some((head[0], body))
    }
}

/// The records of a stopped server's log, as `axle log dump` prints them.
pub(crate) fn dump(data: &Path) -> Vec<Value> {
    let mut command = axle();
    command.args(["log", "dump", "--json", "--data-dir"]).arg(data);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn verified(data: &Path) {
    let mut verify = axle();
    let output = verify.args(["verify", "--data-dir"]).arg(data).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stdout));
}

/// What the records say: rows, things set aside, refusals.
fn recorded(records: &[Value]) -> (u64, u64, u64) {
    let (mut stored, mut aside, mut refused) = (0, 0, 0);
    for record in records {
        match record["source"].as_str().unwrap() {
            "mqtt" if record["payload"].as_str().unwrap().starts_with('{') => stored += 1,
            "mqtt" => aside += 1,
            "door" => refused += record["rejected"].as_u64().unwrap(),
            // What the server says of its own devices is no message that came to the door.
            _ => {}
        }
    }
    (stored, aside, refused)
}

/// A counter of the door in the metrics.
fn counted(server: &TestServer, outcome: &str) -> u64 {
    let address = server.address("ops");
    let mut socket = TcpStream::connect(&address).unwrap();
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let name = format!("axle_ingest_records_total{{outcome=\"{outcome}\"}} ");
    let line = answer.lines().find_map(|line| line.strip_prefix(&name)).unwrap();
    line.trim().parse().unwrap()
}

const PLAIN: [(&str, &str); 2] =
    [("AXLE_MQTT__PLAIN_LISTEN", "127.0.0.1:0"), ("AXLE_MQTT__PLAIN_ACCESS", "device")];

#[test]
fn what_was_received_was_stored_set_aside_or_refused_over_kills() {
    let server = TestServer::start_on(Arc::new(tempfile::tempdir().unwrap()), &PLAIN);
    server.ok(&["device", "add", "b-1", "--out", "keys"]);
    let (mut server, mut told) = (Some(server), Told::default());
    for kill in 1..=KILLS {
        let running = server.take().unwrap();
        let address = running.address("mqtt");
        let is_loud = Arc::new(AtomicBool::new(false));
        let loud = Arc::clone(&is_loud);
        let device = std::thread::spawn(move || publish_until_it_ends(&address, told, &loud));
        while !is_loud.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        std::thread::sleep(Duration::from_millis(40 * kill));
        let folder = running.kill();
        told = device.join().unwrap();
        let data = folder.path().join("data");
        verified(&data);

        let (stored, aside, refused) = recorded(&dump(&data));
        for (kind, recorded) in
            [(Kind::Row, stored), (Kind::Nonsense, aside), (Kind::Foreign, refused)]
        {
            let of = |counts: &BTreeMap<Kind, u64>| counts.get(&kind).copied().unwrap_or(0);
            let may = of(&told.answered)..=of(&told.sent);
            assert!(may.contains(&recorded), "{recorded} of {kind:?} in the log, not {may:?}");
        }

        let again = TestServer::start_on(folder, &PLAIN);
        // Waits until the store has all; then until the state has.
        let visible = rows(&again, "SELECT count(*) FROM ride");
        assert_eq!(visible, json!([[stored]]));
        let applied = || get(&again, "/api/v1/positions");
        while applied()["applied"]["state"].as_u64() < applied()["appended"].as_u64() {
            std::thread::sleep(Duration::from_millis(5));
        }
        let of = |outcome| counted(&again, outcome);
        assert_eq!((of("quarantined"), of("rejected"), of("shed")), (aside, refused, 0));
        // What the server says itself of its devices never came to the door.
        assert_eq!(of("stored"), stored);
        assert_eq!(of("received"), stored + aside + refused);
        server = Some(again);
    }
    assert!(told.answered.values().all(|count| *count > 0), "{told:?}");
}

/// A request with the administrator's token; the body of its answer.
fn request(server: &TestServer, line: &str, body: &str) -> Value {
    let address = server.address("http");
    let token = std::fs::read_to_string(server.data_dir().join("admin.token")).unwrap();
    let mut socket = TcpStream::connect(&address).unwrap();
    let text = format!(
        "{line} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        token.trim(),
        body.len()
    );
    socket.write_all(text.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 20"), "{answer}");
    serde_json::from_str(body).unwrap()
}

/// Bytes of a message of which thirteen hundred and some fill a segment of the log.
const LARGE_BYTES: usize = 100_000;
/// Messages: a segment, and the beginning of the next.
const LARGE: u16 = 1500;
/// What 150 MB take to be read again and removed, on a machine that has much else to do.
const RETENTION_TIME_MAX: Duration = Duration::from_secs(180);
/// How far the consumer gets: into the second segment.
const READ: u64 = 1400;

#[test]
fn retention_goes_on_over_kills_and_passes_nobody() {
    let small = [("AXLE_LOG__RETENTION_BYTES", "1 MiB"), ("AXLE_STORE__FLUSH_INTERVAL", "200ms")];
    let variables = [PLAIN[0], PLAIN[1], small[0], small[1]];
    let server = TestServer::start_on(Arc::new(tempfile::tempdir().unwrap()), &variables);
    server.ok(&["device", "add", "b-1", "--out", "keys"]);
    server.ok(&["consumer", "create", "export", "--from", "first"]);
    let mut device = connect(&server.address("mqtt"));
    let topic = "v1/d/b-1/e/blob";
    for number in 1..=LARGE {
        let mut body = u16::try_from(topic.len()).unwrap().to_be_bytes().to_vec();
        body.extend(topic.as_bytes());
        body.extend(number.to_be_bytes());
        body.push(0);
        body.resize(body.len() + LARGE_BYTES, b'x');
        device.socket.write_all(&packet(0x32, &body)).unwrap();
        if number % 50 == 0 {
            for _ in 0..50 {
                assert_eq!(device.packet().unwrap().0, 0x40, "PUBACK");
            }
        }
    }
    let end = get(&server, "/api/v1/positions")["appended"].as_u64().unwrap();
    assert!(end >= u64::from(LARGE));
    let first = |server: &TestServer| {
        get(server, "/api/v1/streams/messages?from=next")["first"].as_u64().unwrap()
    };
    // Nobody has read: nothing goes, whatever has been projected by now, and by a restart.
    let server = TestServer::start_on(server.kill(), &variables);
    assert_eq!(first(&server), 0);
    let moved = request(
        &server,
        "PUT /api/v1/streams/consumers/export/position",
        &json!({"position": READ}).to_string(),
    );
    assert_eq!(moved["position"], READ);
    // The first segment may go now, or a moment later: the kill is somewhere in between.
    let server = TestServer::start_on(server.kill(), &variables);
    let began = Instant::now();
    while first(&server) == 0 {
        let consumers = || server.ok(&["consumer", "list"]);
        assert!(began.elapsed() < RETENTION_TIME_MAX, "retention has stopped: {}", consumers());
        std::thread::sleep(Duration::from_millis(50));
    }
    let folder = server.kill();
    let data = folder.path().join("data");
    verified(&data);
    let offsets: Vec<u64> = dump_from(&data, READ).collect();
    assert_eq!(offsets, (READ..READ + offsets.len() as u64).collect::<Vec<_>>());
    assert!(READ + offsets.len() as u64 >= end, "what was acknowledged is there");
}

/// The offsets from one on.
fn dump_from(data: &Path, from: u64) -> impl Iterator<Item = u64> {
    let mut command = axle();
    command.args(["log", "dump", "--from", &from.to_string(), "--data-dir"]).arg(data);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let lines: Vec<u64> = text(&output.stdout)
        .lines()
        .map(|line| line.split('\t').next().unwrap().parse().unwrap())
        .collect();
    lines.into_iter()
}
