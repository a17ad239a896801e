//! The live map: where each device is, in memory, and many of them as few points.
//!
//! The map shows what the state holds as latest values and nothing else: it is filled from there
//! at the start and told of each commit, by the same rule (forward in time alone, never a future
//! row). Both may happen in any order. A vehicle lies in one place of the roster for good, so
//! that a view which lets the projection go on between two looks counts each exactly once.

mod area;
mod cluster;
mod place;
mod roster;
mod view;

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use axle_domain::port::{Clock, DeviceLink, ReportedState};
use axle_domain::{Device, DeviceId, Error, FieldKey, LatestValue, OwnedValue, Schemas, Timestamp};

pub use area::Area;
pub use view::{Cluster, MapFilter, MapView, Vehicle};

use place::{FIELDS, Reading};
use roster::Roster;

/// Devices whose latest values are read at once while the map is filled.
const FILL_DEVICES: usize = 2_000;
/// Who is connected is asked again after this.
const ONLINE_MICROS: i64 = 1_000_000;

/// Where the fleet is.
pub struct FleetMap {
    roster: RwLock<Roster>,
    link: Arc<dyn DeviceLink>,
    clock: Arc<dyn Clock>,
    asked_online_at: AtomicI64,
    is_filled: AtomicBool,
}

impl FleetMap {
    /// An empty map.
    #[must_use]
    pub fn new(link: Arc<dyn DeviceLink>, clock: Arc<dyn Clock>) -> Self {
        Self {
            roster: RwLock::new(Roster::new()),
            link,
            clock,
            asked_online_at: AtomicI64::new(i64::MIN),
            is_filled: AtomicBool::new(false),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Roster> {
        self.roster.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Roster> {
        self.roster.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a registered device in, or takes its new kind over.
    pub fn put_device(&self, device: &Device) {
        self.write().put(&device.id, &device.kind);
    }

    /// Reads where each device was last. The map may be used meanwhile; it says that it is not
    /// complete.
    ///
    /// # Errors
    /// As the state.
    pub(crate) async fn fill(
        &self,
        reported: &dyn ReportedState,
        schemas: &Schemas,
    ) -> Result<(), Error> {
        let fields = fields(schemas);
        let mut after: Option<DeviceId> = None;
        loop {
            let (values, last) = reported.latest_of(&fields, after.as_ref(), FILL_DEVICES).await?;
            self.take(&values);
            if last.is_none() {
                self.is_filled.store(true, Ordering::Release);
                return Ok(());
            }
            after = last;
        }
    }

    /// Takes latest values over. All of a device's must stand together.
    pub fn take(&self, values: &[LatestValue]) {
        let mut readings: Vec<(&str, Reading)> = Vec::new();
        let mut roster = self.write();
        for of_device in values.chunk_by(|a, b| a.device == b.device) {
            readings.clear();
            for value in of_device {
                read(value, &mut readings);
            }
            let device = of_device.first().filter(|_| !readings.is_empty());
            let Some(number) = device.and_then(|value| roster.find(value.device.as_str())) else {
                continue;
            };
            let Some(place) = roster.place_mut(number) else { continue };
            for (_, reading) in &readings {
                if let Some(fix) = reading.fix() {
                    place.move_to(&fix);
                }
                if let Some((time, percent)) = reading.battery() {
                    place.charge(time, percent);
                }
            }
        }
    }

    /// Whether the map has read the state since the start.
    #[must_use]
    pub fn is_filled(&self) -> bool {
        self.is_filled.load(Ordering::Acquire)
    }

    /// Devices that the map has room for at present, and the bytes that they take.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        let roster = self.read();
        (roster.len(), roster.memory_bytes())
    }

    /// Asks who is connected, unless that was just done.
    fn refresh_online(&self, now: Timestamp) {
        let asked = self.asked_online_at.load(Ordering::Acquire);
        if asked != i64::MIN && now.0.saturating_sub(asked).abs() < ONLINE_MICROS {
            return;
        }
        let swap = self.asked_online_at.compare_exchange(
            asked,
            now.0,
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        if swap.is_err() {
            return;
        }
        let online = self.link.online();
        let numbers: Vec<u32> = {
            let roster = self.read();
            online.iter().filter_map(|device| roster.find(device.as_str())).collect()
        };
        self.write().set_online(numbers.into_iter());
    }
}

/// The fields that tell where devices are.
fn fields(schemas: &Schemas) -> Vec<FieldKey> {
    let has = |schema: &axle_domain::StreamSchema, name: &str| {
        schema.fields.iter().any(|field| field.name == name)
    };
    let mut fields = Vec::new();
    for schema in schemas.iter().filter(|schema| schema.keys.is_empty()) {
        let known = FIELDS.iter().filter(|name| has(schema, name));
        fields.extend(known.map(|name| FieldKey(format!("{}.{name}", schema.name))));
    }
    fields
}

/// Notes a value in the reading of its stream.
fn read<'a>(value: &'a LatestValue, readings: &mut Vec<(&'a str, Reading)>) {
    let Some((stream, field)) = value.field.0.split_once('.') else { return };
    let OwnedValue::Float(number) = value.value else { return };
    if !FIELDS.contains(&field) {
        return;
    }
    match readings.iter_mut().find(|(known, _)| *known == stream) {
        Some((_, reading)) => reading.take(field, number, value),
        None => {
            let mut reading = Reading::default();
            reading.take(field, number, value);
            readings.push((stream, reading));
        }
    }
}
