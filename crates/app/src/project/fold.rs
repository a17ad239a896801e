//! The latest value of each field, folded from batches: texts are looked up once per device and
//! key of a batch, not once per row.

use std::hash::{Hash, Hasher};

use axle_domain::{
    Column, DeviceId, FieldKey, LatestValue, OwnedValue, Row, RowBatch, StreamName, StreamSchema,
    Timestamp, Value,
};
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

#[derive(Default)]
struct Fields {
    has_key: bool,
    names: Vec<&'static str>,
    latest: Vec<Option<Latest>>,
}

/// Latest values and last signs of life, gathered.
#[derive(Default)]
pub(super) struct Fold {
    slots: HashMap<Slot, usize>,
    fields: Vec<Fields>,
    seen: HashMap<Box<str>, Timestamp>,
}

impl Fold {
    pub(super) fn len(&self) -> usize {
        self.slots.len() + self.seen.len()
    }

    /// The place of the latest values of a stream, device and first key.
    fn place(&mut self, schema: &StreamSchema, device: &str, key: &str) -> usize {
        let slot = SlotRef { stream: schema.name.as_str(), device, key };
        if let Some(place) = self.slots.get(&slot) {
            return *place;
        }
        let place = self.fields.len();
        self.fields.push(Fields {
            has_key: !schema.keys.is_empty(),
            names: schema.fields.iter().map(|field| field.name).collect(),
            latest: schema.fields.iter().map(|_| None).collect(),
        });
        let (device, key) = (Box::from(device), Box::from(key));
        self.slots.insert(Slot { stream: schema.name.clone(), device, key }, place);
        place
    }

    /// Takes the values of a row.
    pub(super) fn row(&mut self, row: &Row<'_>) {
        if !LatestValue::may_come_from(row.quality) {
            return;
        }
        let key = row.keys.first().copied().unwrap_or("");
        let place = self.place(row.schema, row.device, key);
        let Some(fields) = self.fields.get_mut(place) else { return };
        for (slot, value) in fields.latest.iter_mut().zip(row.values) {
            if let Some(value) = value {
                put(slot, row.time, row.received_at, *value);
            }
        }
    }

    /// Takes the values of a batch.
    pub(super) fn batch(&mut self, batch: &RowBatch) {
        let groups = Groups::of(batch);
        let places: Vec<usize> = groups
            .first_rows
            .iter()
            .map(|row| {
                let device = batch.device.get(*row).unwrap_or("");
                let key = batch.keys.first().and_then(|key| key.get(*row)).unwrap_or("");
                self.place(&batch.schema, device, key)
            })
            .collect();
        for (index, column) in batch.values.iter().enumerate() {
            for (place, row) in places.iter().zip(groups.latest(batch, column)) {
                let (Some(row), Some(fields)) = (row, self.fields.get_mut(*place)) else {
                    continue;
                };
                let times = (batch.time.get(row), batch.received_at.get(row));
                let ((Some(time), Some(received)), Some(slot), Some(value)) =
                    (times, fields.latest.get_mut(index), value(column, row))
                else {
                    continue;
                };
                put(slot, Timestamp(*time), Timestamp(*received), value);
            }
        }
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
    pub(super) fn finish(mut self) -> (Vec<LatestValue>, Vec<(DeviceId, Timestamp)>) {
        let mut latest = Vec::with_capacity(self.slots.len());
        let mut slots: Vec<(Slot, usize)> = self.slots.into_iter().collect();
        slots.sort_unstable_by(|(a, _), (b, _)| (&a.device, &a.key).cmp(&(&b.device, &b.key)));
        for (slot, place) in slots {
            let Ok(device) = DeviceId::parse(&slot.device) else { continue };
            let Some(fields) = self.fields.get_mut(place).map(std::mem::take) else { continue };
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
        let seen = self.seen.into_iter();
        let seen = seen.filter_map(|(device, at)| Some((DeviceId::parse(&device).ok()?, at)));
        (latest, seen.collect())
    }
}

/// Rows of a batch that share their latest values.
struct Groups {
    /// The group of each row.
    of_row: Vec<u32>,
    /// A row of each group.
    first_rows: Vec<usize>,
}

impl Groups {
    fn of(batch: &RowBatch) -> Self {
        let mut first_rows = Vec::new();
        let mut known: HashMap<(i32, i32), u32> = HashMap::new();
        let keys = batch.keys.first();
        let of_row = batch.device.codes.iter().enumerate().map(|(row, device)| {
            let key = keys.and_then(|keys| keys.codes.get(row)).copied().unwrap_or(0);
            *known.entry((*device, key)).or_insert_with(|| {
                first_rows.push(row);
                u32::try_from(first_rows.len() - 1).unwrap_or(u32::MAX)
            })
        });
        Self { of_row: of_row.collect(), first_rows }
    }

    /// Per group the row that holds the latest value of a column.
    fn latest(&self, batch: &RowBatch, column: &Column) -> Vec<Option<usize>> {
        let mut latest: Vec<Option<usize>> = vec![None; self.first_rows.len()];
        let moments = batch.time.iter().zip(&batch.received_at);
        let rows = self.of_row.iter().zip(moments).zip(&batch.quality).enumerate();
        for (row, ((group, moment), quality)) in rows {
            if !LatestValue::may_come_from(*quality) || !has_value(column, row) {
                continue;
            }
            let Some(slot) = latest.get_mut(*group as usize) else { continue };
            let is_newer = slot.is_none_or(|best| {
                batch.time.get(best).zip(batch.received_at.get(best)) <= Some(moment)
            });
            if is_newer {
                *slot = Some(row);
            }
        }
        latest
    }
}

fn has_value(column: &Column, row: usize) -> bool {
    match column {
        Column::Float(floats) => floats.null_count == 0 || floats.valid.get(row) == Some(&true),
        Column::Bool(truths) => matches!(truths.get(row), Some(Some(_))),
        Column::Text(texts) => texts.null_count == 0 || texts.valid.get(row) == Some(&true),
    }
}

fn value(column: &Column, row: usize) -> Option<Value<'_>> {
    match column {
        Column::Float(floats) => floats.values.get(row).copied().map(Value::Float),
        Column::Bool(truths) => truths.get(row).copied().flatten().map(Value::Bool),
        Column::Text(texts) => texts.texts.get(row).map(Value::Text),
    }
}

/// Takes a value if it is not older than what is there, reusing the memory of a text.
fn put(slot: &mut Option<Latest>, time: Timestamp, received_at: Timestamp, value: Value<'_>) {
    match slot {
        Some(latest) if (time, received_at) < (latest.time, latest.received_at) => {}
        Some(latest) => {
            (latest.time, latest.received_at) = (time, received_at);
            match (&mut latest.value, value) {
                (OwnedValue::Text(text), Value::Text(new)) => {
                    text.clear();
                    text.push_str(new);
                }
                (slot, value) => *slot = OwnedValue::from(value),
            }
        }
        None => *slot = Some(Latest { time, received_at, value: OwnedValue::from(value) }),
    }
}
