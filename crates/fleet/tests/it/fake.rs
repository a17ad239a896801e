//! A server of a few hundred lines with the doors of axle, in memory, that lies on request.

mod mqtt;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::Read;
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
    /// Believes every time.
    Believe,
    /// Forgets what it set aside.
    ForgetQuarantine,
    /// Sends each command twice, under the same id.
    SendTwice,
}

/// A row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    device: String,
    stream: String,
    /// As claimed, and as corrected, milliseconds.
    claimed: i64,
    time: i64,
    quality: &'static str,
    sample: Value,
}

/// What it remembers.
#[derive(Default)]
pub(crate) struct Memory {
    /// What is stored.
    rows: Vec<Row>,
    /// Device, code and payload of what is set aside.
    quarantine: Vec<(String, &'static str, Vec<u8>)>,
    /// What plants have said.
    pub(crate) records: Vec<Value>,
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
        let mut body = body.collect().await.unwrap().to_bytes();
        if head.headers.get("content-encoding").is_some_and(|coding| coding == "gzip") {
            let mut plain = Vec::new();
            flate2::read::GzDecoder::new(&*body).read_to_end(&mut plain).unwrap();
            body = Bytes::from(plain);
        }
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
            ("POST", ["feeds", _, "batches"]) => Some(self.feed(&body)),
            ("GET", ["devices", device, "components"]) => Some(self.components(device)),
            ("GET", ["quarantine"]) => Some(self.quarantine(head.uri.query().unwrap())),
            ("GET", ["quarantine", id]) => Some(self.item(id.parse().unwrap())),
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

    /// Takes a payload: a sample, or an envelope of some with the clock of their sender.
    fn store(&self, device: &str, stream: &str, payload: &[u8]) {
        self.memory.lock().unwrap().received += 1;
        let Ok(message) = serde_json::from_slice::<Value>(payload) else {
            return self.set_aside(device, "payload.invalid", payload);
        };
        let ahead = message["sent_at"].as_str().map_or(0, |sent_at| parse(sent_at) - now());
        let samples = message["samples"].as_array().or(message.as_array()).cloned();
        let samples = samples.unwrap_or_else(|| vec![message]);
        for sample in samples {
            let claimed = sample["time"].as_i64().unwrap();
            let (time, until) = (claimed - ahead, now());
            let day = 86_400_000;
            let quality = match time - until {
                ahead if ahead > 7 * day && self.lie != Lie::Believe => {
                    self.set_aside(device, "time.future", sample.to_string().as_bytes());
                    continue;
                }
                _ if self.lie == Lie::Believe => "trusted",
                ahead if ahead > 300_000 => "future",
                _ if ahead != 0 => "corrected",
                behind if behind < -day => "late",
                _ => "trusted",
            };
            let (device, stream) = (device.to_owned(), stream.to_owned());
            self.keep(Row { device, stream, claimed, time, quality, sample });
        }
    }

    fn set_aside(&self, device: &str, code: &'static str, payload: &[u8]) {
        if self.lie != Lie::ForgetQuarantine {
            let item = (device.to_owned(), code, payload.to_vec());
            self.memory.lock().unwrap().quarantine.push(item);
        }
    }

    fn keep(&self, mut row: Row) {
        let mut memory = self.memory.lock().unwrap();
        // By the content, so that a message that is sent again meets the same fate.
        let is_chosen = row.claimed % 7 == 0;
        if is_chosen && self.lie == Lie::Lose {
            return;
        }
        if is_chosen && self.lie == Lie::Double {
            memory.rows.push(row.clone());
        }
        if is_chosen && self.lie == Lie::Invent {
            let (claimed, time) = (row.claimed - 1, row.time - 1);
            memory.rows.push(Row { claimed, time, ..row.clone() });
        }
        if is_chosen && self.lie == Lie::Corrupt {
            row.sample["speed_kmh"] = json!(1.0);
        }
        // Rows of one identity are one row, as in the store.
        let is_same = |other: &Row| {
            other.claimed == row.claimed
                && other.device == row.device
                && other.stream == row.stream
                && other.sample == row.sample
        };
        if self.lie == Lie::Double || !memory.rows.iter().any(is_same) {
            memory.rows.push(row);
        }
    }

    fn feed(&self, body: &[u8]) -> Value {
        let mut batch: Value = serde_json::from_slice(body).unwrap();
        let records = batch["records"].as_array_mut().unwrap();
        let accepted = records.len();
        self.memory.lock().unwrap().records.append(records);
        json!({ "accepted": accepted, "unchanged": 0, "review": 0, "records": [] })
    }

    /// What sits in a device, as far as anyone has said so.
    fn components(&self, device: &str) -> Value {
        let memory = self.memory.lock().unwrap();
        let find = |serial: &Value, of: &str| {
            memory.records.iter().find(|r| r["type"] == of && r["serial"] == *serial).cloned()
        };
        let sits = memory.records.iter().filter(|record| {
            record["type"] == "installation" && record["device"] == device && record["to"].is_null()
        });
        let items = sits.filter_map(|record| {
            let mut item = find(&record["serial"], "component")?;
            (item["from"], item["to"]) = (record["from"].clone(), Value::Null);
            Some(item)
        });
        json!({ "items": items.collect::<Vec<_>>() })
    }

    fn quarantine(&self, query: &str) -> Value {
        let device = query.split('&').find_map(|part| part.strip_prefix("device=")).unwrap();
        let memory = self.memory.lock().unwrap();
        let items = memory.quarantine.iter().enumerate().filter(|(_, (of, ..))| of == device);
        let items = items.map(|(id, (_, code, _))| json!({ "id": id.to_string(), "code": code }));
        json!({ "items": items.collect::<Vec<_>>(), "next": null })
    }

    fn item(&self, id: usize) -> Value {
        let (_, code, payload) = self.memory.lock().unwrap().quarantine[id].clone();
        json!({ "code": code, "payload": String::from_utf8(payload).unwrap() })
    }

    fn upload(&self, query: &str, key: Option<String>, body: &[u8]) -> Value {
        let device = query.split('&').find_map(|part| part.strip_prefix("device=")).unwrap();
        let key = key.unwrap();
        if let Some(receipt) = self.memory.lock().unwrap().uploads.get(&key) {
            return receipt.clone();
        }
        let lines: Vec<&[u8]> =
            body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
        let stream = query.split('&').find_map(|part| part.strip_prefix("stream=")).unwrap();
        lines.iter().for_each(|line| self.store(device, stream, line));
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
        let memory = self.memory.lock().unwrap();
        // Sums: none, so that rows are compared one by one.
        let Some(device) = after("device = '") else { return json!({ "rows": [] }) };
        let (_, after_from) = sql.split_once(" FROM ").unwrap();
        let stream = after_from.split(' ').next().unwrap();
        // Ranges of times: of one kind, joined by OR, perhaps all of them negated.
        let column = if sql.contains("time_claimed >=") { "time_claimed" } else { "time" };
        let is_outside = sql.contains("NOT (") || (column == "time" && sql.contains(" OR "));
        let bounds = |mark: &str| {
            let mark = format!("{column} {mark} '");
            let parts = sql.split(mark.as_str()).skip(1);
            let times = parts.map(|part| parse(part.split_once('\'').unwrap().0));
            times.collect::<Vec<i64>>()
        };
        let (mut froms, mut tos) = (bounds(">="), bounds("<"));
        if is_outside && column == "time" {
            std::mem::swap(&mut froms, &mut tos);
        }
        let ranges: Vec<_> = froms.into_iter().zip(tos).collect();
        let exactly = bounds("=");
        let is_wanted = |row: &&Row| {
            let at = if column == "time" { row.time } else { row.claimed };
            let is_in =
                ranges.is_empty() || ranges.iter().any(|(from, to)| (*from..*to).contains(&at));
            row.device == device
                && row.stream == stream
                && exactly.iter().all(|time| *time == at)
                && is_in != is_outside
        };
        let rows = memory.rows.iter().filter(is_wanted);
        if sql.contains("count(*)") {
            return json!({ "rows": [[rows.count()]] });
        }
        let names = sql.trim_start_matches("SELECT ").split_once(" FROM ").unwrap().0;
        let row = |row: &Row| {
            let cells = names.split(", ").map(|name| match name {
                "time" => json!(format(row.time)),
                "time_claimed" => json!(format(row.claimed)),
                "time_quality" => json!(row.quality),
                name => row.sample.get(name).cloned().unwrap_or(Value::Null),
            });
            Value::Array(cells.collect())
        };
        json!({ "rows": rows.map(row).collect::<Vec<_>>(), "truncated": false })
    }

    fn state(&self, device: &str) -> Value {
        let memory = self.memory.lock().unwrap();
        let rows = memory.rows.iter().filter(|row| row.device == device);
        let Some(row) = rows.max_by_key(|row| row.time) else { return json!({}) };
        let fields = row.sample.as_object().unwrap().iter().map(|(name, value)| {
            (format!("ride.{name}"), json!({ "value": value, "time": format(row.time) }))
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
