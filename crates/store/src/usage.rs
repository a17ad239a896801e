//! How much was used: readings become slots of time, with the gaps between them left open.

use std::collections::{BTreeMap, HashMap};

use axle_domain::Timestamp;
use axle_domain::port::{Cell, ColumnInfo, USAGE_GAP_MICROS_MAX, Usage};

use crate::history::HistoryRow;
use crate::reduce::Reducer;

/// Intervals that say what is usual for a key.
const INTERVALS: usize = 31;
/// Fewer say nothing yet.
const INTERVALS_MIN: usize = 3;

/// The columns after time and keys.
pub(crate) fn columns() -> impl Iterator<Item = ColumnInfo> {
    let columns = [
        ("used", "double"),
        ("grown", "double"),
        ("grown_in_gaps", "double"),
        ("covered", "bigint"),
        ("last", "double"),
        ("last_time", "timestamp"),
    ];
    columns.into_iter().map(|(name, kind)| ColumnInfo { name: name.into(), kind: kind.into() })
}

/// What is known of one key in one slot.
#[derive(Clone, Debug, Default, PartialEq)]
struct Slot {
    used: f64,
    grown: f64,
    grown_in_gaps: f64,
    covered: i64,
    last: Option<(i64, f64)>,
}

/// What is known of one key.
struct Series {
    keys: Vec<String>,
    last: Option<(i64, f64)>,
    intervals: Vec<i64>,
    next_interval: usize,
}

/// One row per slot and key.
pub(crate) struct UsageSlots {
    usage: Usage,
    series: Vec<Series>,
    known: HashMap<String, usize>,
    /// By start of the slot and key.
    slots: BTreeMap<(i64, usize), Slot>,
    /// The key of a row, in memory that is used again.
    joined: String,
}

impl UsageSlots {
    pub(crate) fn new(usage: Usage) -> Self {
        let usage = Usage { slot_micros: usage.slot_micros.max(1), ..usage };
        let (series, known, slots) = (Vec::new(), HashMap::new(), BTreeMap::new());
        Self { usage, series, known, slots, joined: String::new() }
    }

    fn start(&self, time: i64) -> i64 {
        time.div_euclid(self.usage.slot_micros).saturating_mul(self.usage.slot_micros)
    }

    /// The number of a row's key.
    fn key(&mut self, row: &HistoryRow) -> usize {
        let keys = row.keys();
        self.joined.clear();
        for key in &keys {
            self.joined.push_str(key);
            self.joined.push('\0');
        }
        if let Some(index) = self.known.get(&self.joined) {
            return *index;
        }
        let index = self.series.len();
        self.known.insert(self.joined.clone(), index);
        let keys = keys.into_iter().map(str::to_owned).collect();
        self.series.push(Series { keys, last: None, intervals: Vec::new(), next_interval: 0 });
        index
    }

    fn reading(&mut self, key: usize, time: i64, value: f64) {
        let Some(series) = self.series.get_mut(key) else { return };
        let before = series.last.replace((time, value));
        if let Some((before_time, before_value)) = before.filter(|before| before.0 < time) {
            let interval = time.saturating_sub(before_time);
            let is_gap = series.is_gap(interval, self.usage.gap_micros);
            series.learn(interval);
            let grown = if value >= before_value { value - before_value } else { value.max(0.0) };
            if is_gap {
                let start = self.start(time);
                self.slots.entry((start, key)).or_default().grown_in_gaps += grown;
            } else {
                self.spread(key, (before_time, before_value), (time, value), grown);
            }
        }
        let start = self.start(time);
        self.slots.entry((start, key)).or_default().last = Some((time, value));
    }

    /// Shares what lies between two readings among the slots that it lies in.
    fn spread(&mut self, key: usize, from: (i64, f64), to: (i64, f64), grown: f64) {
        let interval = seconds(to.0 - from.0);
        let (first, last) = (from.1.max(0.0), to.1.max(0.0));
        let rate = |time: i64| first + (last - first) * (seconds(time - from.0) / interval);
        let mut begin = from.0;
        while begin < to.0 {
            let start = self.start(begin);
            let end = start.saturating_add(self.usage.slot_micros).min(to.0);
            let part = seconds(end - begin);
            let slot = self.slots.entry((start, key)).or_default();
            slot.used += (rate(begin) + rate(end)) / 2.0 * part;
            slot.grown += grown * (part / interval);
            slot.covered += end - begin;
            begin = end;
        }
    }

    fn give(&self, (start, key): (i64, usize), slot: &Slot) -> Vec<Cell> {
        let mut cells = vec![Cell::Time(Timestamp(start))];
        let keys = self.series.get(key).map(|series| series.keys.as_slice()).unwrap_or_default();
        cells.extend(keys.iter().cloned().map(Cell::Text));
        cells.extend([slot.used, slot.grown, slot.grown_in_gaps].map(Cell::Float));
        cells.push(Cell::Int(slot.covered));
        cells.push(slot.last.map_or(Cell::Null, |(_, value)| Cell::Float(value)));
        cells.push(slot.last.map_or(Cell::Null, |(time, _)| Cell::Time(Timestamp(time))));
        cells
    }
}

impl Series {
    fn is_gap(&self, interval: i64, gap: i64) -> bool {
        if interval <= gap.min(USAGE_GAP_MICROS_MAX) {
            return false;
        }
        if interval > USAGE_GAP_MICROS_MAX || self.intervals.len() < INTERVALS_MIN {
            return true;
        }
        let mut intervals = self.intervals.clone();
        let middle = intervals.len() / 2;
        let (_, usual, _) = intervals.select_nth_unstable(middle);
        interval > usual.saturating_mul(3)
    }

    fn learn(&mut self, interval: i64) {
        match self.intervals.get_mut(self.next_interval) {
            Some(slot) => *slot = interval,
            None => self.intervals.push(interval),
        }
        self.next_interval = (self.next_interval + 1) % INTERVALS;
    }
}

#[expect(clippy::cast_precision_loss, reason = "an interval is far shorter than 2^52 us")]
fn seconds(micros: i64) -> f64 {
    micros as f64 / 1e6
}

impl Reducer for UsageSlots {
    fn push(&mut self, row: HistoryRow, output: &mut dyn FnMut(Vec<Cell>)) {
        let Cell::Float(value) = row.value(0) else { return };
        let time = row.time();
        // No reading that is still to come reaches back farther than the longest interval.
        let open = self.start(time.saturating_sub(USAGE_GAP_MICROS_MAX));
        while self.slots.first_key_value().is_some_and(|((start, _), _)| *start < open) {
            if let Some((place, slot)) = self.slots.pop_first() {
                output(self.give(place, &slot));
            }
        }
        let key = self.key(&row);
        self.reading(key, time, value);
    }

    fn finish(&mut self, output: &mut dyn FnMut(Vec<Cell>)) {
        for (place, slot) in std::mem::take(&mut self.slots) {
            output(self.give(place, &slot));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;
    const MINUTE: i64 = 60 * SECOND;

    /// Slots of a quarter of an hour: start in minutes, used in watt-minutes, covered minutes.
    fn slots(readings: &[(i64, f64)]) -> Vec<(i64, i64, i64)> {
        let usage = Usage { slot_micros: 15 * MINUTE, gap_micros: 5 * MINUTE };
        let mut slots = UsageSlots::new(usage);
        let series =
            Series { keys: Vec::new(), last: None, intervals: Vec::new(), next_interval: 0 };
        slots.series.push(series);
        for (time, value) in readings {
            slots.reading(0, *time * MINUTE, *value);
        }
        let round = |value: f64| format!("{value:.0}").parse().unwrap();
        let line = |((start, _), slot): ((i64, usize), Slot)| {
            (start / MINUTE, round(slot.used / 60.0), slot.covered / MINUTE)
        };
        slots.slots.into_iter().map(line).collect()
    }

    #[test]
    fn a_rate_runs_straight_between_readings_and_is_shared_among_slots() {
        let steady: Vec<_> = (0..=30).map(|minute| (minute, 60.0)).collect();
        assert_eq!(slots(&steady), [(0, 900, 15), (15, 900, 15), (30, 0, 0)]);
        let across = [(13, 0.0), (17, 40.0)];
        assert_eq!(slots(&across), [(0, 20, 2), (15, 60, 2)]);
    }

    #[test]
    fn a_gap_is_not_bridged_and_below_zero_is_nothing() {
        assert_eq!(slots(&[(0, 100.0), (6, 100.0)]), [(0, 0, 0)]);
        assert_eq!(slots(&[(0, -50.0), (2, -50.0), (4, 50.0)]), [(0, 50, 4)]);
    }

    #[test]
    fn what_is_usual_for_a_slow_meter_is_no_gap() {
        let slow: Vec<_> = (0..8).map(|index| (index * 10, 60.0)).collect();
        // Three intervals teach what is usual.
        let covered: i64 = slots(&slow).iter().map(|slot| slot.2).sum();
        assert_eq!(covered, 40);
        let mut late = slow.clone();
        late.push((70 + 31, 60.0));
        assert_eq!(slots(&late).iter().map(|slot| slot.2).sum::<i64>(), 40);
    }

    #[test]
    fn a_counter_grows_from_zero_after_a_reset() {
        let usage = Usage { slot_micros: 15 * MINUTE, gap_micros: 5 * MINUTE };
        let mut slots = UsageSlots::new(usage);
        let series =
            Series { keys: Vec::new(), last: None, intervals: Vec::new(), next_interval: 0 };
        slots.series.push(series);
        for (minute, count) in [(0, 100.0), (5, 110.0), (10, 3.0), (40, 23.0)] {
            slots.reading(0, minute * MINUTE, count);
        }
        let grown = |minute: i64| slots.slots.get(&(minute * MINUTE, 0)).cloned().unwrap();
        assert_eq!((grown(0).grown, grown(0).covered), (13.0, 10 * MINUTE));
        assert_eq!((grown(30).grown, grown(30).grown_in_gaps), (0.0, 20.0));
        assert_eq!(grown(30).last, Some((40 * MINUTE, 23.0)));
    }
}
