//! The plant that made the fleet, and the workshops that repair it: they send master data through
//! their feed. It is a legacy system, so a few of its records are wrong, and wait for a person.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axle_domain::{DeviceId, Error};
use hyper::Method;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::FleetStatus;
use crate::Doors;
use crate::api::{Api, Call};
use crate::clock::{days_of, rfc3339};
use crate::random::Key;

/// What the plant is called.
const PLANT: &str = "graz";
/// Records of one batch.
const BATCH_RECORDS: usize = 120;
/// Vehicles whose records are gathered before a batch is sent.
const BATCH_PAUSE: Duration = Duration::from_secs(2);
/// Pause before an attempt is repeated, and how often.
const RETRY_PAUSE: Duration = Duration::from_secs(5);
const ATTEMPTS: u32 = 12;
/// Of so many vehicles one has a wrong record of each kind.
const WRONG_EVERY: u64 = 25;
/// Milliseconds of a day.
const DAY_MS: i64 = 24 * 3_600_000;

/// What bikes and cars are made of: kind of component, serial's letters, models.
type Part = (&'static str, &'static str, [&'static str; 2]);
const BIKE: [Part; 5] = [
    ("battery", "BAT", ["PowerTube 500", "PowerPack 500"]),
    ("motor", "MOT", ["Performance Line", "Active Line Plus"]),
    ("display", "DSP", ["Intuvia 100", "Purion 200"]),
    ("controller", "CTL", ["HMU-3", "HMU-3b"]),
    ("lock", "LCK", ["RingLock 2", "RingLock 2"]),
];
const CAR: [Part; 4] = [
    ("battery", "HVB", ["HV 52 kWh", "HV 52 kWh"]),
    ("motor", "EDU", ["EDU 110", "EDU 150"]),
    ("charger", "OBC", ["OBC 11", "OBC 22"]),
    ("modem", "TCU", ["TCU 5G", "TCU LTE"]),
];

/// A workshop has put another component into a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Swap {
    /// Which device.
    pub(super) device: DeviceId,
    /// What kind of component.
    pub(super) component: &'static str,
    /// When, milliseconds since the epoch.
    pub(super) time_ms: i64,
}

/// A vehicle that leaves the plant.
#[derive(Clone, Debug)]
pub(super) struct Vehicle {
    /// Its id.
    pub(super) device: DeviceId,
    /// `bike` or `car`.
    pub(super) kind: &'static str,
    /// What people call it.
    pub(super) name: String,
    /// What its serial numbers derive from.
    pub(super) key: Key,
    /// Its number, from 0.
    pub(super) number: u64,
}

/// The plant.
pub(super) struct Plant {
    api: Api,
    status: Arc<FleetStatus>,
    /// What sits where since when, as far as the plant has said so.
    installed: BTreeMap<(DeviceId, &'static str), (String, i64)>,
}

impl Plant {
    /// A plant with a token of its own, that may feed and nothing else.
    pub(super) async fn new(doors: &Doors, status: Arc<FleetStatus>) -> Result<Self, Error> {
        let body = json!({ "scopes": [format!("feed:{PLANT}")] });
        let call = Call::json(Method::POST, "/api/v1/tokens", &body);
        let answer = Api::new(&doors.http, &doors.token).call(&call).await?.into_json()?;
        let token = answer.get("token").and_then(Value::as_str).unwrap_or_default();
        let api = Api::new(&doors.http, token);
        Ok(Self { api, status, installed: BTreeMap::new() })
    }

    /// Tells of the vehicles, then of every swap, until the end.
    pub(super) async fn run(
        mut self,
        vehicles: Vec<Vehicle>,
        mut swaps: mpsc::Receiver<Swap>,
        stop: CancellationToken,
    ) {
        let records: Vec<Value> =
            vehicles.iter().flat_map(|vehicle| self.records(vehicle, &vehicles)).collect();
        for batch in records.chunks(BATCH_RECORDS) {
            if !self.send(batch, &stop).await {
                return;
            }
        }
        let mut gathered = Vec::new();
        loop {
            let some = tokio::select! {
                () = stop.cancelled() => return,
                some = swaps.recv_many(&mut gathered, BATCH_RECORDS / 4) => some,
            };
            if some == 0 {
                return;
            }
            let records: Vec<Value> =
                gathered.drain(..).flat_map(|swap| self.swapped(&swap)).collect();
            if !self.send(&records, &stop).await
                || tokio::time::timeout(BATCH_PAUSE, stop.cancelled()).await.is_ok()
            {
                return;
            }
        }
    }

    /// The records of a new vehicle, with the mistakes that a legacy system makes.
    fn records(&mut self, vehicle: &Vehicle, all: &[Vehicle]) -> Vec<Value> {
        let Vehicle { device, kind, name, key, number } = vehicle;
        let made_ms = days_of(2024, 1, 8) * DAY_MS
            + i64::try_from(key.named("made").below(0, 500)).unwrap_or(0) * DAY_MS;
        let model = if *kind == "bike" { "City 4" } else { "Compact E" };
        let mut records = vec![json!({
            "type": "device", "id": device.as_str(), "kind": kind, "name": name, "model": model,
        })];
        let parts: &[Part] = if *kind == "bike" { &BIKE } else { &CAR };
        for (component, letters, models) in parts {
            let part = key.named(component);
            let serial = serial(letters, part, 0);
            let produced_ms = made_ms - 86_400_000 * (3 + part.below(1, 40).cast_signed());
            let model = models.get(usize::from(part.below(2, 4) == 0));
            records.push(json!({
                "type": "component", "serial": serial, "kind": component, "model": model,
                "produced_at": rfc3339(produced_ms),
            }));
            records.push(installation(&serial, device.as_str(), made_ms, None));
            self.installed.insert((device.clone(), component), (serial, made_ms));
        }
        records.extend(self.mistake(vehicle, all, number % WRONG_EVERY));
        records
    }

    /// A wrong record: a serial number that two components have, a component in two vehicles at
    /// once, a component in a vehicle that nobody registered.
    fn mistake(&self, vehicle: &Vehicle, all: &[Vehicle], which: u64) -> Option<Value> {
        let (serial, made_ms) = self.installed.get(&(vehicle.device.clone(), "motor"))?;
        let later_ms = made_ms + 12 * DAY_MS;
        match which {
            4 => Some(json!({
                "type": "component", "serial": serial, "kind": "motor", "model": "Cargo Line",
                "produced_at": rfc3339(later_ms),
            })),
            11 => {
                let place = usize::try_from(vehicle.number).ok()?;
                let mut others = all.iter().filter(|other| other.kind == vehicle.kind);
                let other = others.nth(place.checked_sub(1)?)?;
                Some(installation(serial, other.device.as_str(), later_ms, None))
            }
            18 => {
                let nobody = format!("{}-x{:03}", vehicle.kind, vehicle.key.below(8, 1000));
                Some(installation(serial, &nobody, made_ms - DAY_MS, Some(*made_ms)))
            }
            _ => None,
        }
    }

    /// The records of a swap: the old component leaves, a new one was made and sits there now.
    fn swapped(&mut self, swap: &Swap) -> Vec<Value> {
        let Swap { device, component, time_ms } = swap;
        let Some(installed) = self.installed.get_mut(&(device.clone(), *component)) else {
            return vec![];
        };
        let (old, from_ms) = installed.clone();
        if from_ms >= *time_ms {
            return vec![];
        }
        let letters = old.split('-').next().unwrap_or_default();
        let part = Key::new(0x50).named(device.as_str()).named(component);
        let serial = serial(letters, part, time_ms.cast_unsigned());
        *installed = (serial.clone(), *time_ms);
        vec![
            installation(&old, device.as_str(), from_ms, Some(*time_ms)),
            json!({
                "type": "component", "serial": serial, "kind": component,
                "produced_at": rfc3339(time_ms - 20 * DAY_MS),
            }),
            installation(&serial, device.as_str(), *time_ms, None),
        ]
    }

    /// Sends a batch, however often it takes; says whether life goes on.
    async fn send(&self, records: &[Value], stop: &CancellationToken) -> bool {
        let body = json!({ "records": records });
        let key = batch_key(&body.to_string());
        let path = format!("/api/v1/feeds/{PLANT}/batches");
        for _attempt in 0..ATTEMPTS {
            let headers = [("idempotency-key", key.as_str())];
            let call = Call { headers: &headers, ..Call::json(Method::POST, &path, &body) };
            let answer = tokio::select! {
                () = stop.cancelled() => return false,
                answer = self.api.call(&call) => answer,
            };
            match answer {
                Ok(answer) if answer.is_temporary() => {}
                Ok(answer) => {
                    self.note(answer.into_json(), records.len());
                    return true;
                }
                Err(_unreachable) => {}
            }
            FleetStatus::count(&self.status.errors);
            if tokio::time::timeout(RETRY_PAUSE, stop.cancelled()).await.is_ok() {
                return false;
            }
        }
        true
    }

    fn note(&self, answer: Result<Value, Error>, records: usize) {
        match answer {
            Ok(answer) => {
                let review = answer.get("review").and_then(Value::as_u64).unwrap_or(0);
                self.status.records.fetch_add(records as u64, Ordering::Relaxed);
                self.status.review.fetch_add(review, Ordering::Relaxed);
            }
            Err(error) => {
                tracing::warn!(%error, "a batch of the plant was refused");
                FleetStatus::count(&self.status.errors);
            }
        }
    }
}

fn installation(serial: &str, device: &str, from_ms: i64, to_ms: Option<i64>) -> Value {
    let mut record = json!({
        "type": "installation", "serial": serial, "device": device, "from": rfc3339(from_ms),
    });
    if let (Some(to_ms), Some(record)) = (to_ms, record.as_object_mut()) {
        record.insert("to".to_owned(), rfc3339(to_ms).into());
    }
    record
}

/// A serial number such as `BAT-24-0F3A91C`.
fn serial(letters: &str, part: Key, place: u64) -> String {
    let year = 23 + part.below(place ^ 5, 3);
    format!("{letters}-{year}-{:07X}", part.below(place ^ 6, 1 << 28))
}

/// The same batch has the same key, however often it is sent.
fn batch_key(body: &str) -> String {
    let key = body.bytes().fold(Key::new(1), |key, byte| key.child(u64::from(byte)));
    format!("{PLANT}-{:016x}", key.at(0))
}

#[cfg(test)]
mod tests;
