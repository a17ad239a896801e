//! What the outside knows: what was sent, what was promised, what was seen; and whether it fits.

use std::collections::{BTreeMap, BTreeSet};

use axle_domain::port::{Counters, Record};
use axle_domain::{Source, Timestamp, Turned};

use super::life::exactly_once::{Once, TWICE, Twice};
use super::life::retained::Kept;
use super::life::uploads::Uploads;
use super::life::wills::Wills;

/// What the topics begin with that no mapping knows.
pub(super) const OPAQUE: &str = "sim/";

/// What a device sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A sample of `ride`.
    Ride,
    /// What nobody understands.
    Nonsense,
    /// To a topic of another device.
    Foreign,
}

/// A message that was sent.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) device: String,
    pub(super) kind: Kind,
}

/// When the first message happened.
const BEGAN: i64 = 1_790_000_000_000_000;

impl Sent {
    pub(super) fn topic(&self) -> String {
        let device = match self.kind {
            Kind::Foreign => "d-other",
            Kind::Ride | Kind::Nonsense => &self.device,
        };
        format!("v1/d/{device}/t/ride")
    }

    pub(super) fn payload(&self, number: u64) -> String {
        match self.kind {
            Kind::Ride | Kind::Foreign => {
                let millis = time_of(number).0 / 1000;
                format!("{{\"time\":{millis},\"speed_kmh\":{number}}}")
            }
            Kind::Nonsense => format!("nonsense {number}"),
        }
    }

    /// The row that a ride becomes.
    fn row(&self, number: u64) -> Row {
        Row { device: self.device.clone(), time: time_of(number), value: number.to_string() }
    }
}

/// A row of `ride` that is to be there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Row {
    pub(super) device: String,
    pub(super) time: Timestamp,
    pub(super) value: String,
}

pub(super) fn time_of(number: u64) -> Timestamp {
    Timestamp(BEGAN + i64::try_from(number).unwrap() * 1_000_000)
}

/// The number of a message.
pub(super) fn number_of(payload: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(payload).ok()?;
    match text.strip_prefix("nonsense ") {
        Some(number) => number.parse().ok(),
        None => serde_like(text),
    }
}

/// The number in the JSON that [`Sent::payload`] writes.
fn serde_like(text: &str) -> Option<u64> {
    let (_, number) = text.split_once("\"speed_kmh\":")?;
    number.strip_suffix('}')?.parse().ok()
}

/// A record as the program saw it that follows the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) source: Source,
    pub(super) device: String,
    pub(super) topic: String,
    pub(super) content_type: String,
    pub(super) payload: Vec<u8>,
}

/// Everything that is known from outside.
#[derive(Default)]
pub(super) struct Ledger {
    numbers: u64,
    pub(super) twice: Twice,
    pub(super) once: Once,
    pub(super) kept: Kept,
    pub(super) wills: Wills,
    pub(super) uploads: Uploads,
    pub(super) sent: BTreeMap<u64, Sent>,
    pub(super) accepted: BTreeSet<u64>,
    pub(super) refused: u64,
    pub(super) delivered: BTreeSet<u64>,
    pub(super) seen: BTreeMap<u64, Seen>,
    /// Offsets that the log says are damaged.
    pub(super) damaged: BTreeSet<u64>,
    /// In peace, by kill, by loss of power, by a failed sync.
    pub(super) ends: [u64; 4],
    pub(super) trace: Vec<String>,
}

/// What axle says at the end.
pub(super) struct Claims {
    /// Every visible row, and how often.
    pub(super) rows: BTreeMap<String, u64>,
    pub(super) counters: Counters,
    /// Payloads of what was set aside.
    pub(super) quarantined: Vec<Vec<u8>>,
    /// The latest speed of each device.
    pub(super) latest: BTreeMap<String, String>,
}

impl Ledger {
    /// The number of the next message.
    pub(super) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers - 1
    }

    pub(super) fn note(&mut self, what: String) {
        self.trace.push(what);
    }

    /// Takes what the program that follows the log has read.
    pub(super) fn see(&mut self, record: &Record) -> Result<(), String> {
        let message = record.message();
        let seen = Seen {
            source: message.source,
            device: message.device.to_owned(),
            topic: message.topic.to_owned(),
            content_type: message.content_type.to_owned(),
            payload: message.payload.to_vec(),
        };
        let offset = record.offset.0;
        let before = self.seen.insert(offset, seen.clone());
        if before.is_some_and(|before| before != seen) {
            return Err(format!("offset {offset} has changed after it was read"));
        }
        let is_next = offset == 0
            || self.seen.contains_key(&(offset - 1))
            || self.damaged.contains(&(offset - 1));
        is_next.then_some(()).ok_or_else(|| format!("a gap before offset {offset}"))
    }

    /// The numbers of the messages in the log, in its order.
    fn logged(&self) -> Result<Vec<u64>, String> {
        let mut numbers = Vec::new();
        let mut last: BTreeMap<&str, u64> = BTreeMap::new();
        let published = self
            .seen
            .iter()
            .filter(|(_, seen)| seen.source == Source::Mqtt && !seen.topic.starts_with(OPAQUE));
        for (offset, seen) in published {
            let number = number_of(&seen.payload);
            let sent = number.and_then(|number| Some((number, self.sent.get(&number)?)));
            let Some((number, sent)) = sent else {
                return Err(format!("offset {offset} was never sent"));
            };
            let is_same = sent.payload(number).as_bytes() == seen.payload
                && sent.device == seen.device
                && sent.kind != Kind::Foreign;
            if !is_same {
                return Err(format!("offset {offset} is not what was sent as {number}"));
            }
            if last.insert(&sent.device, number).is_some_and(|before| before >= number) {
                return Err(format!("message {number} of {} is out of order", sent.device));
            }
            numbers.push(number);
        }
        Ok(numbers)
    }

    /// Compares everything with everything.
    pub(super) fn check(&self, claims: &Claims) -> Result<(), String> {
        let logged = self.logged()?;
        let is_logged: BTreeSet<u64> = logged.iter().copied().collect();
        if let Some(lost) = self.accepted.difference(&is_logged).next() {
            return Err(format!("message {lost} was acknowledged and is lost"));
        }
        let of_kind = |kind: Kind| {
            let numbers = logged.iter().copied();
            numbers.filter(move |number| self.sent[number].kind == kind)
        };
        self.kept.check(self.seen.values())?;
        self.wills.check(self.seen.values())?;
        let uploaded = self.uploads.check(self.seen.values())?;
        let rides: BTreeSet<u64> = of_kind(Kind::Ride).collect();
        self.once.check(rides.iter().copied().filter(|it| self.sent[it].device == TWICE))?;
        let mut expected: Vec<Row> = rides.iter().map(|it| self.sent[it].row(*it)).collect();
        expected.extend(uploaded);
        check_rows(&expected, claims)?;
        let nonsense = of_kind(Kind::Nonsense).count() as u64;
        self.check_counts(expected.len() as u64, nonsense, claims)?;
        for number in of_kind(Kind::Nonsense) {
            let payload = self.sent[&number].payload(number).into_bytes();
            let times = claims.quarantined.iter().filter(|it| **it == payload).count();
            if times != 1 {
                return Err(format!("message {number} is set aside {times} times"));
            }
        }
        let subscribed = of_kind(Kind::Ride).chain(of_kind(Kind::Nonsense)).collect();
        if let Some(phantom) = self.delivered.difference(&is_logged).next() {
            return Err(format!("message {phantom} was delivered and is not in the log"));
        }
        let missing: Option<u64> =
            BTreeSet::difference(&subscribed, &self.delivered).next().copied();
        match missing {
            Some(missing) => Err(format!("message {missing} never reached the subscriber")),
            None => Ok(()),
        }
    }

    /// The law of the door: what was received was stored, set aside or refused.
    fn check_counts(&self, rows: u64, nonsense: u64, claims: &Claims) -> Result<(), String> {
        let Counters { stored, quarantined, rejected, shed } = claims.counters;
        let doors = self.seen.values().filter(|seen| seen.source == Source::Door);
        let turned = doors.filter_map(|seen| Turned::from_payload(&seen.payload));
        let recorded: u64 = turned.map(|turned| turned.rejected).sum();
        let foreign = self.sent.values().filter(|sent| sent.kind == Kind::Foreign).count() as u64;
        let is_right = stored == rows
            && quarantined == nonsense
            && shed == 0
            // Told means durable; where the log had failed nobody was told, and the count may
            // have found another way.
            && (self.refused..=foreign).contains(&recorded)
            && (recorded..=foreign).contains(&rejected);
        if is_right {
            return Ok(());
        }
        Err(format!(
            "stored {stored} of {rows}, set aside {quarantined} of {nonsense}, refused {rejected} \
             ({recorded} in the log) of {} told and {foreign} sent",
            self.refused
        ))
    }
}

fn check_rows(expected: &[Row], claims: &Claims) -> Result<(), String> {
    let mut rows = claims.rows.clone();
    let mut latest: BTreeMap<&str, &Row> = BTreeMap::new();
    for row in expected {
        // As the store names it.
        let name = format!("ride {} {} {}", row.device, row.time.0, row.value);
        match rows.remove(&name) {
            Some(1) => {}
            Some(times) => return Err(format!("row `{name}` is there {times} times")),
            None => return Err(format!("row `{name}` is missing")),
        }
        let newest = latest.entry(&row.device).or_insert(row);
        *newest = (*newest).max(row);
    }
    if let Some(phantom) = rows.keys().next() {
        return Err(format!("row `{phantom}` came from nowhere"));
    }
    let latest: BTreeMap<String, String> =
        latest.into_iter().map(|(device, row)| (device.to_owned(), row.value.clone())).collect();
    if latest != claims.latest {
        return Err(format!("the latest values are {:?}, not {latest:?}", claims.latest));
    }
    Ok(())
}
