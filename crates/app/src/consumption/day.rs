//! Days as the store adds them up, and those of them that are kept in memory.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axle_domain::port::{Cell, Clock, Table, USAGE_GAP_MICROS_MAX};
use axle_domain::{DeviceId, RowBatch, Timestamp, limit};

use super::STREAM;

/// Microseconds of a day of UTC.
pub(super) const DAY: i64 = 24 * 3600 * 1_000_000;

/// A quarter of an hour of one key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Slot {
    /// Its begin, in microseconds since the epoch.
    pub(super) start: i64,
    /// Watt-hours by the rate.
    pub(super) used_wh: f32,
    /// Watt-hours by the counter.
    pub(super) grown_wh: f32,
    /// Watt-hours by the counter over a gap that ended here.
    pub(super) gap_wh: f32,
    /// Seconds of which something is known.
    pub(super) covered_s: f32,
}

/// A day of one key.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SeriesDay {
    pub(super) socket: Box<str>,
    pub(super) name: Box<str>,
    /// In order; only those of which something is known.
    pub(super) slots: Vec<Slot>,
    /// The newest reading and its time.
    pub(super) last: Option<(Timestamp, f64)>,
}

/// A day of one household.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct DayUse {
    /// Ordered by socket and name.
    pub(super) series: Vec<SeriesDay>,
}

/// The days, counted from 1970 in UTC, that lie in a range of time.
pub(super) fn days_of(from: Timestamp, to: Timestamp) -> Range<i64> {
    from.0.div_euclid(DAY)..to.0.saturating_add(DAY - 1).div_euclid(DAY)
}

/// What the store says, by day.
pub(super) fn split(table: &Table, days: Range<i64>) -> Vec<DayUse> {
    let mut split: Vec<DayUse> = days.clone().map(|_| DayUse::default()).collect();
    for row in &table.rows {
        let [Cell::Time(start), Cell::Text(socket), Cell::Text(name), rest @ ..] = row.as_slice()
        else {
            continue;
        };
        let day = usize::try_from(start.0.div_euclid(DAY) - days.start);
        let Some(day) = day.ok().and_then(|day| split.get_mut(day)) else { continue };
        let place = day.series.iter().position(|it| *it.socket == **socket && *it.name == **name);
        let place = place.unwrap_or_else(|| {
            let (socket, name) = (socket.as_str().into(), name.as_str().into());
            day.series.push(SeriesDay { socket, name, slots: Vec::new(), last: None });
            day.series.len() - 1
        });
        if let Some(series) = day.series.get_mut(place) {
            series.take(start.0, rest);
        }
    }
    for day in &mut split {
        day.series.sort_unstable_by(|a, b| (&a.socket, &a.name).cmp(&(&b.socket, &b.name)));
    }
    split
}

impl SeriesDay {
    fn take(&mut self, start: i64, cells: &[Cell]) {
        let number = |index: usize| match cells.get(index) {
            Some(Cell::Float(number)) => *number,
            Some(Cell::Int(number)) => *number as f64,
            _ => 0.0,
        };
        #[expect(clippy::cast_possible_truncation, reason = "seven digits are more than a meter's")]
        let slot = Slot {
            start,
            used_wh: (number(0) / 3600.0) as f32,
            grown_wh: number(1) as f32,
            gap_wh: number(2) as f32,
            covered_s: (number(3) / 1e6) as f32,
        };
        if slot.covered_s > 0.0 || slot.gap_wh > 0.0 {
            self.slots.push(slot);
        }
        if let (Some(Cell::Float(value)), Some(Cell::Time(time))) = (cells.get(4), cells.get(5)) {
            self.last = Some((*time, *value));
        }
    }
}

type Key = (DeviceId, i64);

/// Older rows may change a day that is kept; with an hour to spare for rows on their way.
const LATE_FROM: i64 = USAGE_GAP_MICROS_MAX - 3600 * 1_000_000;

#[derive(Default)]
struct Contents {
    days: HashMap<Key, Arc<DayUse>>,
    /// In the order in which they came.
    order: VecDeque<Key>,
    slots: usize,
    /// Whose days are being computed, and which of them changed meanwhile.
    computing: Option<(DeviceId, BTreeSet<i64>)>,
}

/// Days that are over, kept until a late row changes one.
///
/// Limit: [`limit::CONSUMPTION_SLOTS_KEPT_MAX`] slots; those that came first go first.
pub(crate) struct KeptDays {
    contents: Mutex<Contents>,
    clock: Arc<dyn Clock>,
}

impl KeptDays {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { contents: Mutex::default(), clock }
    }

    pub(super) fn find(&self, device: &DeviceId, days: Range<i64>) -> Vec<Option<Arc<DayUse>>> {
        let contents = self.lock();
        days.map(|day| contents.days.get(&(device.clone(), day)).cloned()).collect()
    }

    /// The first day that is not over yet, with what may still reach into the day before.
    pub(super) fn over(&self) -> i64 {
        self.clock.now().shifted(-USAGE_GAP_MICROS_MAX).0.div_euclid(DAY)
    }

    /// Says whose days will be computed, before their rows are read.
    pub(super) fn begin(&self, device: &DeviceId) {
        self.lock().computing = Some((device.clone(), BTreeSet::new()));
    }

    /// Keeps what was computed of days from the first on, but for those that are not over and
    /// those that changed meanwhile.
    pub(super) fn keep(&self, device: &DeviceId, first: i64, days: &[Arc<DayUse>], over: i64) {
        let mut contents = self.lock();
        let changed = contents.computing.take().filter(|(of, _)| of == device);
        let changed = changed.map(|(_, changed)| changed).unwrap_or_default();
        for (day, used) in (first..over).zip(days) {
            if !changed.contains(&day) {
                contents.put((device.clone(), day), Arc::clone(used));
            }
        }
    }

    /// What rows change of that which may be kept: to be given to [`KeptDays::forget`] once they
    /// are visible.
    pub(crate) fn changed_by(&self, batches: &[RowBatch]) -> BTreeSet<Key> {
        let late_from = self.clock.now().shifted(-LATE_FROM).0;
        let mut changed = BTreeSet::new();
        for batch in batches.iter().filter(|batch| batch.schema.name.as_str() == STREAM) {
            // Rows of one device and day mostly stand together.
            let mut seen = None;
            let rows = batch.time.iter().zip(&batch.device.codes).enumerate();
            for (row, (time, code)) in rows.filter(|(_, (time, _))| **time < late_from) {
                let day = |reach: i64| time.saturating_add(reach).div_euclid(DAY);
                // An interval that begins or ends here may lie in the day beside.
                let days = (day(-USAGE_GAP_MICROS_MAX), day(USAGE_GAP_MICROS_MAX));
                if seen.replace((*code, days)) == Some((*code, days)) {
                    continue;
                }
                let device = batch.device.get(row).and_then(|device| DeviceId::parse(device).ok());
                let Some(device) = device else { continue };
                changed.extend((days.0..=days.1).map(|day| (device.clone(), day)));
            }
        }
        changed
    }

    /// Forgets days.
    pub(crate) fn forget(&self, changed: BTreeSet<Key>) {
        if changed.is_empty() {
            return;
        }
        let mut contents = self.lock();
        for key in changed {
            contents.remove(&key);
            if let Some((device, days)) = &mut contents.computing
                && *device == key.0
            {
                days.insert(key.1);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Contents {
    fn put(&mut self, key: Key, used: Arc<DayUse>) {
        self.remove(&key);
        self.slots += weight(&used);
        self.order.push_back(key.clone());
        self.days.insert(key, used);
        // An order longer than its days has names in it that were forgotten.
        while self.slots > limit::CONSUMPTION_SLOTS_KEPT_MAX
            || self.order.len() > 2 * self.days.len()
        {
            let Some(oldest) = self.order.pop_front() else { break };
            self.remove(&oldest);
        }
    }

    fn remove(&mut self, key: &Key) {
        if let Some(used) = self.days.remove(key) {
            self.slots = self.slots.saturating_sub(weight(&used));
        }
    }
}

/// Slots, and about as much again for what stands around them.
fn weight(used: &DayUse) -> usize {
    used.series.iter().map(|series| series.slots.len() + 4).sum::<usize>() + 4
}

#[cfg(test)]
mod tests {
    use super::*;
    use axle_domain::{Row, Schemas, TimeQuality, Value};
    use axle_testkit::clock::ManualClock;

    const HOUR: i64 = 3_600_000_000;

    fn device() -> DeviceId {
        DeviceId::parse("m-1").unwrap()
    }

    fn row_at(time: i64) -> Vec<RowBatch> {
        let schemas = Schemas::builtin();
        let schema = schemas.find("energy").unwrap();
        let mut batch = RowBatch::new(Arc::clone(schema));
        let time = Timestamp(time);
        batch.push(&Row {
            schema,
            device: "m-1",
            time,
            time_claimed: time,
            received_at: time,
            quality: TimeQuality::Trusted,
            keys: &["s-1", "power"],
            values: &[Some(Value::Float(1.0))],
            extra: None,
        });
        vec![batch]
    }

    /// Kept days at noon of day 13.
    fn days() -> KeptDays {
        KeptDays::new(Arc::new(ManualClock::new(Timestamp(13 * DAY + 12 * HOUR))))
    }

    fn kept(days: &KeptDays) -> Vec<bool> {
        days.find(&device(), 10..14).iter().map(Option::is_some).collect()
    }

    fn keep(days: &KeptDays) {
        let used: Vec<_> = (0..4).map(|_| Arc::new(DayUse::default())).collect();
        days.keep(&device(), 10, &used, days.over());
    }

    #[test]
    fn days_that_are_over_are_kept_until_a_late_row_comes() {
        let days = days();
        days.begin(&device());
        keep(&days);
        assert_eq!(kept(&days), [true, true, true, false]);
        let live = days.changed_by(&row_at(13 * DAY + 11 * HOUR));
        assert!(live.is_empty(), "what is live changes nothing");
        days.forget(days.changed_by(&row_at(11 * DAY + HOUR)));
        assert_eq!(kept(&days), [false, false, true, false], "the day before reaches into it");
        days.forget(days.changed_by(&row_at(12 * DAY + 12 * HOUR)));
        assert_eq!(kept(&days), [false, false, false, false]);
    }

    #[test]
    fn what_was_computed_while_a_late_row_came_is_not_kept() {
        let days = days();
        days.begin(&device());
        days.forget(days.changed_by(&row_at(11 * DAY + 12 * HOUR)));
        keep(&days);
        assert_eq!(kept(&days), [true, false, true, false]);
        days.begin(&device());
        keep(&days);
        assert_eq!(kept(&days), [true, true, true, false], "the next time it is");
    }

    #[test]
    fn memory_is_bounded() {
        let days = days();
        let slot = Slot { start: 0, used_wh: 0.0, grown_wh: 0.0, gap_wh: 0.0, covered_s: 1.0 };
        let series = SeriesDay {
            socket: "s".into(),
            name: "n".into(),
            slots: vec![slot; limit::CONSUMPTION_SLOTS_KEPT_MAX / 3],
            last: None,
        };
        let used = Arc::new(DayUse { series: vec![series] });
        days.keep(&device(), 10, &[(); 4].map(|()| Arc::clone(&used)), 14);
        assert_eq!(kept(&days), [false, false, true, true], "the first went");
    }
}
