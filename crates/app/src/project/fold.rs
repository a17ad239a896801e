//! The latest value of each field, folded from rows: one look-up a row, no allocation for a
//! device that is known.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use axle_domain::{DeviceId, FieldKey, LatestValue, OwnedValue, Row, StreamName, Timestamp, Value};
use hashbrown::{Equivalent, HashMap};

/// Which rows share their latest values: stream, device, first key.
#[derive(PartialEq, Eq)]
struct Slot {
    stream: StreamName,
    device: Box<str>,
    key: Box<str>,
}

#[derive(Clone, Copy)]
struct SlotRef<'a> {
    stream: &'a str,
    device: &'a str,
    key: &'a str,
}

impl Hash for SlotRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.device, self.key, self.stream).hash(state);
    }
}

impl Hash for Slot {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let (stream, device, key) = (self.stream.as_str(), &*self.device, &*self.key);
        SlotRef { stream, device, key }.hash(state);
    }
}

impl Equivalent<Slot> for SlotRef<'_> {
    fn equivalent(&self, slot: &Slot) -> bool {
        *slot.device == *self.device
            && *slot.key == *self.key
            && slot.stream.as_str() == self.stream
    }
}

struct Latest {
    time: Timestamp,
    received_at: Timestamp,
    value: OwnedValue,
}

struct Fields {
    has_key: bool,
    names: Vec<&'static str>,
    latest: Vec<Option<Latest>>,
}

/// Latest values and last signs of life, gathered.
#[derive(Default)]
pub(super) struct Fold {
    slots: HashMap<Slot, Fields>,
    seen: BTreeMap<Box<str>, Timestamp>,
}

impl Fold {
    pub(super) fn len(&self) -> usize {
        self.slots.len() + self.seen.len()
    }

    /// Takes the values of a row.
    pub(super) fn row(&mut self, row: &Row<'_>) {
        if !LatestValue::may_come_from(row.quality) {
            return;
        }
        let key = row.keys.first().copied().unwrap_or("");
        let slot = SlotRef { stream: row.schema.name.as_str(), device: row.device, key };
        if let Some(fields) = self.slots.get_mut(&slot) {
            return fields.take(row);
        }
        let mut fields = Fields {
            has_key: !row.keys.is_empty(),
            names: row.schema.fields.iter().map(|field| field.name).collect(),
            latest: row.schema.fields.iter().map(|_| None).collect(),
        };
        fields.take(row);
        let (device, key) = (Box::from(row.device), Box::from(key));
        self.slots.insert(Slot { stream: row.schema.name.clone(), device, key }, fields);
    }

    /// Notes a sign of life.
    pub(super) fn seen(&mut self, device: &str, at: Timestamp) {
        if device.is_empty() {
            return;
        }
        match self.seen.get_mut(device) {
            Some(seen) => *seen = at.max(*seen),
            None => drop(self.seen.insert(Box::from(device), at)),
        }
    }

    /// The entries for the state, ordered, so that the state's pages are touched in order.
    pub(super) fn finish(self) -> (Vec<LatestValue>, Vec<(DeviceId, Timestamp)>) {
        let mut latest = Vec::with_capacity(self.slots.len());
        for (slot, fields) in self.slots {
            let Ok(device) = DeviceId::parse(&slot.device) else { continue };
            let stream = &slot.stream;
            for (name, value) in fields.names.iter().zip(fields.latest) {
                let Some(Latest { time, received_at, value }) = value else { continue };
                let field = match fields.has_key {
                    true => FieldKey(format!("{stream}.{name}[{}]", slot.key)),
                    false => FieldKey(format!("{stream}.{name}")),
                };
                let device = device.clone();
                latest.push(LatestValue { device, field, value, time, received_at });
            }
        }
        latest.sort_unstable_by(|a, b| (&a.device, &a.field).cmp(&(&b.device, &b.field)));
        let seen = self.seen.into_iter();
        let seen = seen.filter_map(|(device, at)| Some((DeviceId::parse(&device).ok()?, at)));
        (latest, seen.collect())
    }
}

impl Fields {
    fn take(&mut self, row: &Row<'_>) {
        for (slot, value) in self.latest.iter_mut().zip(row.values) {
            let Some(value) = value else { continue };
            match slot {
                Some(latest) if (row.time, row.received_at) < (latest.time, latest.received_at) => {
                }
                Some(latest) => {
                    (latest.time, latest.received_at) = (row.time, row.received_at);
                    put(&mut latest.value, *value);
                }
                None => {
                    let (time, received_at) = (row.time, row.received_at);
                    *slot = Some(Latest { time, received_at, value: OwnedValue::from(*value) });
                }
            }
        }
    }
}

/// Replaces a value, reusing the memory of a text.
fn put(slot: &mut OwnedValue, value: Value<'_>) {
    match (slot, value) {
        (OwnedValue::Text(text), Value::Text(new)) => {
            text.clear();
            text.push_str(new);
        }
        (slot, value) => *slot = OwnedValue::from(value),
    }
}
