//! The plant that made the fleet, and the workshops that repair it: they send master data through
//! their feed. It is a legacy system, so a few of its records are wrong, and wait for a person.

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
use crate::clock::{civil, days_of, parse_rfc3339_micros, rfc3339};
use crate::random::Key;

/// What the plant is called.
const PLANT: &str = "graz";
/// Records of one batch.
const BATCH_RECORDS: usize = 120;
/// Pause between two swaps.
const SWAP_PAUSE: Duration = Duration::from_millis(100);
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

impl Vehicle {
    /// When it left the plant. The same for ever, so that a plant that says it again says no more.
    fn built_ms(&self) -> i64 {
        (days_of(2024, 1, 8) + self.key.named("made").below(0, 500).cast_signed()) * DAY_MS
    }

    /// When one of its components was made: some days before.
    fn produced_ms(&self, part: Key) -> i64 {
        self.built_ms() - DAY_MS * (3 + part.below(1, 40).cast_signed())
    }
}

/// A component that sits in a device.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sits {
    serial: String,
    /// Since when, as the registry writes it.
    from: String,
    model: String,
}

/// The plant.
pub(super) struct Plant {
    /// May feed, and nothing else.
    feed: Api,
    /// Where workshops look up what sits in a device.
    registry: Api,
    status: Arc<FleetStatus>,
}

impl Plant {
    /// A plant with a token of its own.
    ///
    /// # Errors
    /// What the API answers when the token is made.
    pub(super) async fn new(doors: &Doors, status: Arc<FleetStatus>) -> Result<Self, Error> {
        let body = json!({ "scopes": [format!("feed:{PLANT}")] });
        let call = Call::json(Method::POST, "/api/v1/tokens", &body);
        let registry = Api::new(&doors.http, &doors.token);
        let answer = registry.call(&call).await?.into_json()?;
        let token = answer.get("token").and_then(Value::as_str).unwrap_or_default();
        Ok(Self { feed: Api::new(&doors.http, token), registry, status })
    }

    /// Tells of the vehicles, then of every swap, until the end.
    pub(super) async fn run(
        self,
        vehicles: Vec<Vehicle>,
        mut swaps: mpsc::Receiver<Swap>,
        stop: CancellationToken,
    ) {
        let records: Vec<Value> =
            vehicles.iter().flat_map(|vehicle| records(vehicle, &vehicles)).collect();
        for batch in records.chunks(BATCH_RECORDS) {
            if !self.send(batch, &stop).await {
                return;
            }
        }
        loop {
            let swap = tokio::select! {
                () = stop.cancelled() => return,
                swap = swaps.recv() => swap,
            };
            let Some(swap) = swap else { return };
            let sits = match self.sits(&swap).await {
                Ok(sits) => sits,
                Err(error) => {
                    tracing::debug!(device = %swap.device, %error, "nobody knows what sits there");
                    FleetStatus::count(&self.status.errors);
                    continue;
                }
            };
            let records = sits.map(|sits| swapped(&swap, &sits)).unwrap_or_default();
            if !records.is_empty() && !self.send(&records, &stop).await {
                return;
            }
            tokio::time::sleep(SWAP_PAUSE).await;
        }
    }

    /// What sits in the device that a workshop has opened.
    async fn sits(&self, swap: &Swap) -> Result<Option<Sits>, Error> {
        let path = format!("/api/v1/devices/{}/components", swap.device);
        let answer = self.registry.call(&Call::get(&path)).await?.into_json()?;
        let items = answer.get("items").and_then(Value::as_array);
        let sits = items.into_iter().flatten().find_map(|item| {
            let text = |name: &str| Some(item.get(name)?.as_str()?.to_owned());
            let is_open = item.get("to").is_none_or(Value::is_null);
            let is_meant = is_open && text("kind")? == swap.component;
            let (serial, from, model) = (text("serial")?, text("from")?, text("model")?);
            is_meant.then_some(Sits { serial, from, model })
        });
        Ok(sits)
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
                answer = self.feed.call(&call) => answer,
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

/// The records of a new vehicle, with the mistakes that a legacy system makes.
fn records(vehicle: &Vehicle, all: &[Vehicle]) -> Vec<Value> {
    let Vehicle { device, kind, name, key, number } = vehicle;
    let model = if *kind == "bike" { "City 4" } else { "Compact E" };
    let mut records = vec![json!({
        "type": "device", "id": device.as_str(), "kind": kind, "name": name, "model": model,
    })];
    let (built_ms, parts): (_, &[Part]) =
        (vehicle.built_ms(), if *kind == "bike" { &BIKE } else { &CAR });
    for (component, letters, models) in parts {
        let part = key.named(component);
        let produced_ms = vehicle.produced_ms(part);
        let serial = serial(letters, produced_ms, part);
        let model = models.get(usize::from(part.below(2, 4) == 0));
        records.push(json!({
            "type": "component", "serial": serial, "kind": component, "model": model,
            "produced_at": rfc3339(produced_ms),
        }));
        records.push(installation(&serial, device.as_str(), &rfc3339(built_ms), None));
    }
    records.extend(mistake(vehicle, all, number % WRONG_EVERY));
    records
}

/// A wrong record: a serial number that two components have, a component in two vehicles at once,
/// a component in a vehicle that nobody registered.
fn mistake(vehicle: &Vehicle, all: &[Vehicle], which: u64) -> Option<Value> {
    let letters = if vehicle.kind == "bike" { "MOT" } else { "EDU" };
    let part = vehicle.key.named("motor");
    let serial = serial(letters, vehicle.produced_ms(part), part);
    let built_ms = vehicle.built_ms();
    let later_ms = built_ms + 12 * DAY_MS;
    match which {
        4 => Some(json!({
            "type": "component", "serial": serial, "kind": "motor", "model": "Cargo Line",
            "produced_at": rfc3339(later_ms),
        })),
        11 => {
            let place = usize::try_from(vehicle.number).ok()?;
            let mut others = all.iter().filter(|other| other.kind == vehicle.kind);
            let other = others.nth(place.checked_sub(1)?)?;
            Some(installation(&serial, other.device.as_str(), &rfc3339(later_ms), None))
        }
        18 => {
            let nobody = format!("{}-x{:03}", vehicle.kind, vehicle.key.below(8, 1000));
            let from = rfc3339(built_ms - DAY_MS);
            Some(installation(&serial, &nobody, &from, Some(&rfc3339(built_ms))))
        }
        _ => None,
    }
}

/// The records of a swap: the old component leaves, a new one was made and sits there now.
fn swapped(swap: &Swap, sits: &Sits) -> Vec<Value> {
    let Swap { device, component, time_ms } = swap;
    let is_before = parse_rfc3339_micros(&sits.from).is_some_and(|from| from < time_ms * 1000);
    if !is_before {
        return vec![];
    }
    let now = rfc3339(*time_ms);
    let letters = sits.serial.split('-').next().unwrap_or_default();
    let part = Key::new(0x50).named(device.as_str()).named(component);
    let produced_ms = time_ms - 20 * DAY_MS;
    let serial = serial(letters, produced_ms, part.child(time_ms.cast_unsigned()));
    vec![
        installation(&sits.serial, device.as_str(), &sits.from, Some(&now)),
        json!({
            "type": "component", "serial": serial, "kind": component, "model": sits.model,
            "produced_at": rfc3339(produced_ms),
        }),
        installation(&serial, device.as_str(), &now, None),
    ]
}

fn installation(serial: &str, device: &str, from: &str, to: Option<&str>) -> Value {
    let mut record = json!({
        "type": "installation", "serial": serial, "device": device, "from": from,
    });
    if let (Some(to), Some(record)) = (to, record.as_object_mut()) {
        record.insert("to".to_owned(), to.into());
    }
    record
}

/// A serial number such as `BAT-24-0F3A91C`: what it is, the year, and a number.
fn serial(letters: &str, produced_ms: i64, part: Key) -> String {
    let (year, ..) = civil(produced_ms.div_euclid(DAY_MS));
    format!("{letters}-{:02}-{:07X}", year % 100, part.below(6, 1 << 28))
}

/// The same batch has the same key, however often it is sent.
fn batch_key(body: &str) -> String {
    let key = body.bytes().fold(Key::new(1), |key, byte| key.child(u64::from(byte)));
    format!("{PLANT}-{:016x}", key.at(0))
}

#[cfg(test)]
mod tests;
