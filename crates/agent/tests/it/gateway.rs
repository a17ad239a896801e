//! A gateway that does what it is told, over plain TCP and MQTT 5.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};

/// A message that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
}

#[derive(Default)]
struct Inner {
    is_open: AtomicBool,
    is_acking: AtomicBool,
    received: Mutex<Vec<Message>>,
    /// Commands that each subscription gets, in order, and as often as they stand here.
    commands: Mutex<Vec<Value>>,
    kicks: watch::Sender<u64>,
    more: Notify,
}

/// The gateway.
#[derive(Clone)]
pub(crate) struct Gateway {
    pub(crate) address: String,
    inner: Arc<Inner>,
    count: watch::Sender<usize>,
}

impl Gateway {
    /// Listens; `is_open` says whether connections are let in.
    pub(crate) async fn start(is_open: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let inner = Inner {
            is_open: AtomicBool::new(is_open),
            is_acking: AtomicBool::new(true),
            ..Inner::default()
        };
        let gateway = Self { address, inner: Arc::new(inner), count: watch::channel(0).0 };
        let serving = gateway.clone();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let serving = serving.clone();
                tokio::spawn(async move { serving.serve(tcp).await });
            }
        });
        gateway
    }

    pub(crate) fn open(&self) {
        self.inner.is_open.store(true, Ordering::SeqCst);
    }

    /// Whether publishes are acknowledged.
    pub(crate) fn acknowledge(&self, is_acking: bool) {
        self.inner.is_acking.store(is_acking, Ordering::SeqCst);
    }

    /// Hangs up on everyone.
    pub(crate) fn kick(&self) {
        self.inner.kicks.send_modify(|kicks| *kicks += 1);
    }

    /// A command of a minute for everyone who subscribes, and for who has.
    pub(crate) fn command(&self, id: &str, name: &str, more: Value) {
        let deadline = in_time(Duration::from_secs(60));
        let mut command = json!({
            "id": id, "name": name, "payload": { "n": 1 }, "deadline": deadline, "dry_run": false,
        });
        for (key, value) in more.as_object().unwrap() {
            command[key] = value.clone();
        }
        self.inner.commands.lock().unwrap().push(command);
        self.inner.more.notify_waiters();
    }

    pub(crate) fn received(&self) -> Vec<Message> {
        self.inner.received.lock().unwrap().clone()
    }

    /// Waits until what came satisfies a condition.
    pub(crate) async fn wait_for(&self, what: &str, is_met: impl Fn(&[Message]) -> bool) {
        let mut count = self.count.subscribe();
        let waiting = async {
            while !is_met(&self.received()) {
                count.changed().await.unwrap();
            }
        };
        if tokio::time::timeout(Duration::from_secs(30), waiting).await.is_err() {
            let topics: Vec<String> =
                self.received().into_iter().map(|message| message.topic).collect();
            panic!("waited in vain for {what}; there came {topics:?}");
        }
    }

    async fn serve(&self, mut tcp: TcpStream) -> std::io::Result<()> {
        if !self.inner.is_open.load(Ordering::SeqCst) {
            return Ok(());
        }
        let (mut sent, mut is_subscribed) = (0, false);
        let mut kicks = self.inner.kicks.subscribe();
        loop {
            let more = self.inner.more.notified();
            let commands = self.inner.commands.lock().unwrap().clone();
            if is_subscribed && sent < commands.len() {
                for command in &commands[sent..] {
                    tcp.write_all(&publish(command)).await?;
                }
                sent = commands.len();
            }
            let first = tokio::select! {
                first = tcp.read_u8() => first?,
                _kicked = kicks.changed() => return Ok(()),
                () = more => continue,
            };
            let body = read_body(&mut tcp).await?;
            match first >> 4 {
                1 => tcp.write_all(&[0x20, 6, 0, 0, 3, 0x21, 0, 8]).await?,
                3 => {
                    let (id, message) = read_publish(&body);
                    self.inner.received.lock().unwrap().push(message);
                    self.count.send_modify(|count| *count += 1);
                    if self.inner.is_acking.load(Ordering::SeqCst) {
                        tcp.write_all(&[0x40, 2, id[0], id[1]]).await?;
                    }
                }
                8 => {
                    is_subscribed = true;
                    tcp.write_all(&[0x90, 4, body[0], body[1], 0, 1]).await?;
                }
                12 => tcp.write_all(&[0xd0, 0]).await?,
                14 => return Ok(()),
                _ => {}
            }
        }
    }
}

async fn read_body(tcp: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let (mut length, mut shift) = (0, 0);
    loop {
        let byte = tcp.read_u8().await?;
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let mut body = vec![0; length];
    tcp.read_exact(&mut body).await?;
    Ok(body)
}

fn read_publish(body: &[u8]) -> ([u8; 2], Message) {
    let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
    let (topic, rest) = body[2..].split_at(length);
    assert_eq!(rest[2], 0, "no properties");
    let topic = String::from_utf8(topic.to_vec()).unwrap();
    ([rest[0], rest[1]], Message { topic, payload: rest[3..].to_vec() })
}

fn publish(command: &Value) -> Vec<u8> {
    let (id, name) = (command["id"].as_str().unwrap(), command["name"].as_str().unwrap());
    let topic = format!("v1/d/d-1/c/{id}/{name}");
    let payload = command.to_string();
    let mut body = (topic.len() as u16).to_be_bytes().to_vec();
    body.extend(topic.as_bytes());
    body.extend([0, 9, 0]);
    body.extend(payload.as_bytes());
    let mut packet = vec![0x32];
    let mut length = body.len();
    while length >= 128 {
        packet.push((length % 128) as u8 | 0x80);
        length /= 128;
    }
    packet.push(length as u8);
    packet.extend(body);
    packet
}

/// A moment to come, RFC 3339.
pub(crate) fn in_time(wait: Duration) -> String {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap() + wait;
    chrono::DateTime::from_timestamp_micros(since.as_micros() as i64).unwrap().to_rfc3339()
}

/// A measurement of a container: socket, name, watts, milliseconds.
pub(crate) type Measurement = (String, String, f64, Option<i64>);

/// Reads a container.
pub(crate) fn measurements(payload: &[u8]) -> Vec<Measurement> {
    let mut found = Vec::new();
    fields(payload, |field, value| {
        let Field::Bytes(bytes) = value else { return };
        assert_eq!(field, 2);
        let mut measurement = (String::new(), String::new(), 0.0, None);
        fields(bytes, |field, value| match (field, value) {
            (1, Field::Bytes(name)) => measurement.1 = String::from_utf8(name.to_vec()).unwrap(),
            (2, Field::Bytes(socket)) => {
                measurement.0 = String::from_utf8(socket.to_vec()).unwrap();
            }
            (3, Field::Fixed(watts)) => measurement.2 = f64::from_le_bytes(watts),
            (4, Field::Varint(ts)) => measurement.3 = Some(ts as i64),
            other => panic!("field {}", other.0),
        });
        found.push(measurement);
    });
    found
}

enum Field<'a> {
    Varint(u64),
    Fixed([u8; 8]),
    Bytes(&'a [u8]),
}

fn fields<'a>(mut rest: &'a [u8], mut each: impl FnMut(u64, Field<'a>)) {
    let varint = |rest: &mut &'a [u8]| {
        let (mut value, mut shift) = (0_u64, 0);
        loop {
            let byte = rest[0];
            *rest = &rest[1..];
            value |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                return value;
            }
        }
    };
    while !rest.is_empty() {
        let tag = varint(&mut rest);
        let value = match tag & 7 {
            0 => Field::Varint(varint(&mut rest)),
            1 => {
                let (bytes, after) = rest.split_at(8);
                rest = after;
                Field::Fixed(bytes.try_into().unwrap())
            }
            2 => {
                let length = varint(&mut rest) as usize;
                let (bytes, after) = rest.split_at(length);
                rest = after;
                Field::Bytes(bytes)
            }
            other => panic!("wire type {other}"),
        };
        each(tag >> 3, value);
    }
}
