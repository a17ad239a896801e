//! A server of a few hundred lines with the doors of axle, in memory, that lies on request.

mod mqtt;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use axle_fleet::Doors;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// What the server does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    /// Nothing.
    None,
    /// Acknowledges every seventh message and forgets it.
    Lose,
    /// Shows every seventh row twice.
    Double,
    /// Changes a digit of every seventh row.
    Corrupt,
    /// Shows a row that nobody sent.
    Invent,
    /// Forgets commands.
    ForgetCommands,
    /// Sends each command a second time under another id.
    RepeatCommands,
    /// Closes every connection after ten messages, the last of them unacknowledged.
    Hiccup,
}

/// What it remembers.
#[derive(Default)]
pub(crate) struct Memory {
    /// Device, milliseconds, sample.
    pub(crate) rows: Vec<(String, i64, Value)>,
    received: u64,
    uploads: BTreeMap<String, Value>,
    commands: BTreeMap<String, Value>,
    links: BTreeMap<String, mpsc::Sender<(String, Value)>>,
}

/// The server.
#[derive(Clone)]
pub(crate) struct Fake {
    lie: Lie,
    pub(crate) memory: Arc<Mutex<Memory>>,
}

impl Fake {
    /// Opens the doors on free ports.
    pub(crate) async fn start(lie: Lie) -> (Self, Doors) {
        let fake = Self { lie, memory: Arc::default() };
        let bind = || TcpListener::bind("127.0.0.1:0");
        let (http, mqtt) = (bind().await.unwrap(), bind().await.unwrap());
        let addresses = json!({
            "http": http.local_addr().unwrap().to_string(),
            "mqtt": mqtt.local_addr().unwrap().to_string(),
        });
        let doors = Doors::parse(&addresses.to_string(), "secret", "").unwrap();
        tokio::spawn(fake.clone().serve_http(http));
        tokio::spawn(fake.clone().serve_mqtt(mqtt));
        (fake, doors)
    }

    async fn serve_http(self, listener: TcpListener) {
        while let Ok((tcp, _)) = listener.accept().await {
            let fake = self.clone();
            let service = hyper::service::service_fn(move |request| fake.clone().answer(request));
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(tcp), service);
            tokio::spawn(connection);
        }
    }

    async fn answer(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let (head, body) = request.into_parts();
        assert_eq!(head.headers["authorization"], "Bearer secret");
        let body = body.collect().await.unwrap().to_bytes();
        let path: Vec<&str> = head.uri.path().trim_start_matches("/api/v1/").split('/').collect();
        let key = head.headers.get("idempotency-key").map(|key| key.to_str().unwrap().to_owned());
        let answer = match (head.method.as_str(), path.as_slice()) {
            ("PUT", ["devices", device]) => Some(json!({ "id": device })),
            ("POST", ["tokens"]) => Some(json!({ "token": "secret" })),
            ("GET", ["positions"]) => {
                let count = self.memory.lock().unwrap().received;
                Some(json!({ "appended": count, "applied": { "store": count, "state": count } }))
            }
            ("POST", ["uploads"]) => Some(self.upload(head.uri.query().unwrap(), key, &body)),
            ("POST", ["query"]) => Some(self.query(&body)),
            ("GET", ["devices", device, "state"]) => Some(self.state(device)),
            ("POST", ["devices", device, "commands"]) => Some(self.command(device, &body)),
            ("GET", ["devices", device, "commands"]) => Some(self.commands(device)),
            ("GET", ["commands", id]) => self.memory.lock().unwrap().commands.get(*id).cloned(),
            other => panic!("{other:?}"),
        };
        let status = if answer.is_some() { 200 } else { 404 };
        let body = Bytes::from(answer.unwrap_or_default().to_string());
        Ok(Response::builder().status(status).body(Full::new(body)).unwrap())
    }

    fn store(&self, device: &str, mut sample: Value) {
        let mut memory = self.memory.lock().unwrap();
        memory.received += 1;
        let time = sample["time"].as_i64().unwrap();
        // By the content, so that a message that is sent again meets the same fate.
        let is_chosen = time % 7 == 0;
        if is_chosen && self.lie == Lie::Lose {
            return;
        }
        if is_chosen && self.lie == Lie::Double {
            memory.rows.push((device.to_owned(), time, sample.clone()));
        }
        if is_chosen && self.lie == Lie::Invent {
            memory.rows.push((device.to_owned(), time - 1, sample.clone()));
        }
        if is_chosen && self.lie == Lie::Corrupt {
            sample["speed_kmh"] = json!(1.0);
        }
        let row = (device.to_owned(), time, sample);
        // Rows of one identity are one row, as in the store.
        if self.lie == Lie::Double || !memory.rows.contains(&row) {
            memory.rows.push(row);
        }
    }

    fn upload(&self, query: &str, key: Option<String>, body: &[u8]) -> Value {
        let device = query.split('&').find_map(|part| part.strip_prefix("device=")).unwrap();
        let key = key.unwrap();
        if let Some(receipt) = self.memory.lock().unwrap().uploads.get(&key) {
            return receipt.clone();
        }
        let lines: Vec<&[u8]> =
            body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
        lines.iter().for_each(|line| self.store(device, serde_json::from_slice(line).unwrap()));
        let receipt = json!({ "upload": key, "stored": lines.len(), "duplicate": 0 });
        self.memory.lock().unwrap().uploads.insert(key, receipt.clone());
        receipt
    }

    fn query(&self, body: &[u8]) -> Value {
        let body: Value = serde_json::from_slice(body).unwrap();
        let sql = body["sql"].as_str().unwrap();
        let after = |mark: &str| {
            let (_, rest) = sql.split_once(mark)?;
            rest.split_once('\'').map(|(text, _)| text.to_owned())
        };
        let millis = |text: Option<String>, otherwise| text.map_or(otherwise, |text| parse(&text));
        let memory = self.memory.lock().unwrap();
        // Sums: none, so that rows are compared one by one.
        let Some(device) = after("device = '") else { return json!({ "rows": [] }) };
        let is_outside = sql.contains(" OR ");
        let (from, to) = match is_outside {
            true => (millis(after("time < '"), i64::MIN), millis(after("time >= '"), i64::MAX)),
            false => (millis(after("time >= '"), i64::MIN), millis(after("time < '"), i64::MAX)),
        };
        let exactly = after("time = '").map(|text| parse(&text));
        let is_wanted = |row: &&(String, i64, Value)| {
            row.0 == device
                && exactly.is_none_or(|time| row.1 == time)
                && ((from..to).contains(&row.1) != is_outside)
        };
        let rows = memory.rows.iter().filter(is_wanted);
        if sql.contains("count(*)") {
            return json!({ "rows": [[rows.count()]] });
        }
        let names = sql.trim_start_matches("SELECT ").split_once(" FROM ").unwrap().0;
        let row = |(_, time, sample): &(String, i64, Value)| {
            let cells = names.split(", ").map(|name| match name {
                "time" => json!(format(*time)),
                name => sample.get(name).cloned().unwrap_or(Value::Null),
            });
            Value::Array(cells.collect())
        };
        json!({ "rows": rows.map(row).collect::<Vec<_>>(), "truncated": false })
    }

    fn state(&self, device: &str) -> Value {
        let memory = self.memory.lock().unwrap();
        let rows = memory.rows.iter().filter(|row| row.0 == device);
        let Some((_, time, sample)) = rows.max_by_key(|row| row.1) else { return json!({}) };
        let fields = sample.as_object().unwrap().iter().map(|(name, value)| {
            (format!("ride.{name}"), json!({ "value": value, "time": format(*time) }))
        });
        json!({ "device": device, "fields": fields.collect::<serde_json::Map<_, _>>() })
    }

    fn command(&self, device: &str, body: &[u8]) -> Value {
        let mut command: Value = serde_json::from_slice(body).unwrap();
        let mut memory = self.memory.lock().unwrap();
        let timeout_ms = command["timeout_s"].as_i64().unwrap() * 1000;
        command["deadline"] = json!(format(now() + timeout_ms));
        command["history"] = json!([{ "status": "accepted" }]);
        let times = if self.lie == Lie::RepeatCommands { 2 } else { 1 };
        for _ in 0..times {
            let id = format!("c{}", memory.commands.len());
            command["id"] = json!(id);
            command["device"] = json!(device);
            memory.commands.insert(id, command.clone());
            if let Some(link) = memory.links.get(device) {
                let _gone = link.try_send((device.to_owned(), command.clone()));
            }
        }
        command
    }

    fn commands(&self, device: &str) -> Value {
        let mut memory = self.memory.lock().unwrap();
        if self.lie == Lie::ForgetCommands {
            memory.commands.clear();
        }
        for command in memory.commands.values_mut() {
            let is_over = parse(command["deadline"].as_str().unwrap()) < now();
            if is_over && command["history"].as_array().unwrap().len() == 1 {
                command["history"].as_array_mut().unwrap().push(json!({ "status": "expired" }));
            }
        }
        let mine = memory.commands.values().filter(|command| command["device"] == device);
        json!({ "items": mine.collect::<Vec<_>>() })
    }
}

fn now() -> i64 {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// Times of this server are milliseconds of one day, written as RFC 3339: enough for a test.
fn format(millis: i64) -> String {
    let day = millis.div_euclid(86_400_000);
    let rest = millis.rem_euclid(86_400_000);
    let (year, month, date) = date_of(day);
    let (s, milli) = (rest / 1000, rest % 1000);
    let (hour, minute, second) = (s / 3600, s / 60 % 60, s % 60);
    format!("{year:04}-{month:02}-{date:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

fn date_of(day: i64) -> (i64, i64, i64) {
    let is_leap = |year: i64| (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let (mut year, mut rest) = (1970, day);
    while rest >= 365 + i64::from(is_leap(year)) {
        rest -= 365 + i64::from(is_leap(year));
        year += 1;
    }
    for (month, days) in
        (1..).zip([31, 28 + i64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
    {
        if rest < days {
            return (year, month, rest + 1);
        }
        rest -= days;
    }
    unreachable!()
}

fn parse(text: &str) -> i64 {
    let number = |from: usize, to: usize| text[from..to].parse::<i64>().unwrap();
    let (year, month, date) = (number(0, 4), number(5, 7), number(8, 10));
    let begin = (year - 1970) * 365 + month * 28 - 28;
    let day = (begin..begin + 80).find(|day| date_of(*day) == (year, month, date)).unwrap();
    let seconds = number(11, 13) * 3600 + number(14, 16) * 60 + number(17, 19);
    (day * 86_400 + seconds) * 1000 + number(20, 23)
}
