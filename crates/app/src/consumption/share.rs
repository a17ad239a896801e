//! From the slots of days to what each socket used in each bucket.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axle_domain::Timestamp;

use super::Stretch;
use super::day::{DayUse, SeriesDay, Slot};

/// The name of rows that are a counter's watt-hours, not watts.
const COUNTER: &str = "energy_wh";

/// What a socket used.
#[derive(Clone, Debug, PartialEq)]
pub struct SocketUse {
    /// The socket.
    pub socket: String,
    /// What is measured there.
    pub name: String,
    /// Whether a counter says so, not the sum of readings in watts.
    pub is_counted: bool,
    /// Kilowatt-hours in all buckets.
    pub kwh: f64,
    /// Seconds of which something is known.
    pub covered_s: f64,
    /// Kilowatt-hours that its counter grew over gaps: nobody knows when; they are in no bucket.
    pub gap_kwh: f64,
    /// One value a bucket.
    pub values: Vec<BucketUse>,
}

/// What a socket used in one bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BucketUse {
    /// Kilowatt-hours; never below zero.
    pub kwh: f64,
    /// Seconds of which something is known; without any there is no data.
    pub covered_s: f64,
}

/// A reading.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The socket.
    pub socket: String,
    /// What is measured there.
    pub name: String,
    /// The power.
    pub watts: f64,
    /// Its time.
    pub time: Timestamp,
}

/// Adds up days by socket and bucket.
pub(super) fn sockets(days: &[Arc<DayUse>], buckets: &[Stretch]) -> Vec<SocketUse> {
    let all = || days.iter().flat_map(|day| &day.series);
    let counted: BTreeSet<&str> =
        all().filter(|it| &*it.name == COUNTER).map(|it| &*it.socket).collect();
    let mut named: BTreeMap<&str, &str> = BTreeMap::new();
    for series in all().filter(|it| &*it.name != COUNTER) {
        named.entry(&series.socket).or_insert(&series.name);
    }
    let mut sums: BTreeMap<(&str, &str), SocketUse> = BTreeMap::new();
    for day in days {
        for series in &day.series {
            let socket = &*series.socket;
            let is_counted = counted.contains(socket);
            let name = match is_counted {
                true => named.get(socket).copied().unwrap_or(COUNTER),
                false => &*series.name,
            };
            let sum = sums.entry((socket, name)).or_insert_with(|| SocketUse {
                socket: socket.to_owned(),
                name: name.to_owned(),
                is_counted,
                kwh: 0.0,
                covered_s: 0.0,
                gap_kwh: 0.0,
                values: vec![BucketUse::default(); buckets.len()],
            });
            let is_counter = &*series.name == COUNTER;
            let other = if is_counter { None } else { counter_of(day, socket) };
            for slot in &series.slots {
                let wh = match is_counter {
                    true => slot.grown_wh,
                    // Where a counter says it, the readings need not.
                    false if other.is_some_and(|it| covers(it, slot)) => continue,
                    false => slot.used_wh,
                };
                sum.add(buckets, slot, wh, is_counter);
            }
        }
    }
    sums.into_values().map(SocketUse::finish).collect()
}

/// The counter of a socket on a day.
fn counter_of<'a>(day: &'a DayUse, socket: &str) -> Option<&'a SeriesDay> {
    day.series.iter().find(|it| &*it.socket == socket && &*it.name == COUNTER)
}

/// Whether a counter knows of a slot.
fn covers(counter: &SeriesDay, slot: &Slot) -> bool {
    let found = counter.slots.binary_search_by_key(&slot.start, |it| it.start);
    found.ok().and_then(|index| counter.slots.get(index)).is_some_and(|it| it.covered_s > 0.0)
}

impl SocketUse {
    fn add(&mut self, buckets: &[Stretch], slot: &Slot, wh: f32, is_counter: bool) {
        let after = buckets.partition_point(|bucket| bucket.from.0 <= slot.start);
        let Some(index) = after.checked_sub(1) else { return };
        if buckets.get(index).is_none_or(|bucket| slot.start >= bucket.to.0) {
            return;
        }
        if is_counter {
            self.gap_kwh += f64::from(slot.gap_wh) / 1000.0;
        }
        if let Some(value) = self.values.get_mut(index) {
            value.kwh += f64::from(wh.max(0.0)) / 1000.0;
            value.covered_s += f64::from(slot.covered_s);
        }
    }

    fn finish(mut self) -> Self {
        self.kwh = self.values.iter().map(|value| value.kwh).sum();
        self.covered_s = self.values.iter().map(|value| value.covered_s).sum();
        self
    }
}

/// The newest reading in watts of each socket and name, no older than `since`.
pub(super) fn newest(days: &[Arc<DayUse>], since: Timestamp) -> Vec<Reading> {
    let mut newest: BTreeMap<(&str, &str), (Timestamp, f64)> = BTreeMap::new();
    for series in days.iter().flat_map(|day| &day.series) {
        let Some(last) = series.last.filter(|(time, _)| *time >= since) else { continue };
        if &*series.name != COUNTER {
            newest.insert((&series.socket, &series.name), last);
        }
    }
    let reading = |((socket, name), (time, watts)): ((&str, &str), (Timestamp, f64))| Reading {
        socket: socket.to_owned(),
        name: name.to_owned(),
        watts,
        time,
    };
    newest.into_iter().map(reading).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUARTER: i64 = 900_000_000;

    fn slot(index: i64, used_wh: f32, grown_wh: f32, covered_s: f32) -> Slot {
        Slot { start: index * QUARTER, used_wh, grown_wh, gap_wh: 0.0, covered_s }
    }

    fn day(series: &[(&str, &str, &[Slot])]) -> Vec<Arc<DayUse>> {
        let series = series.iter().map(|(socket, name, slots)| SeriesDay {
            socket: (*socket).into(),
            name: (*name).into(),
            slots: slots.to_vec(),
            last: None,
        });
        vec![Arc::new(DayUse { series: series.collect() })]
    }

    fn hours(count: i64) -> Vec<Stretch> {
        let hour = |index: i64| Timestamp(index * 4 * QUARTER);
        let stretch = |it| Stretch { from: hour(it), to: hour(it + 1), seconds: 3600 };
        (0..count).map(stretch).collect()
    }

    #[test]
    fn a_socket_with_a_counter_is_counted_and_its_readings_fill_in() {
        let counter = [slot(0, 0.0, 100.0, 900.0), slot(1, 0.0, 50.0, 900.0)];
        let watts = [slot(0, 90.0, 7.0, 900.0), slot(4, 40.0, 7.0, 600.0)];
        let used = day(&[("s-1", "energy_wh", &counter), ("s-1", "power", &watts)]);
        let sockets = sockets(&used, &hours(3));
        assert_eq!(sockets.len(), 1);
        let socket = &sockets[0];
        assert!(socket.is_counted && socket.name == "power");
        let expected = [
            BucketUse { kwh: 0.15, covered_s: 1800.0 },
            BucketUse { kwh: 0.04, covered_s: 600.0 },
            BucketUse { kwh: 0.0, covered_s: 0.0 },
        ];
        for (value, expected) in socket.values.iter().zip(expected) {
            assert!((value.kwh - expected.kwh).abs() < 1e-6, "{value:?}");
            assert_eq!(value.covered_s, expected.covered_s);
        }
        assert!((socket.kwh - 0.19).abs() < 1e-6);
    }

    #[test]
    fn sockets_are_apart_and_what_lies_outside_is_not_counted() {
        let slots = [slot(-1, 5.0, 0.0, 900.0), slot(0, 1.0, 0.0, 900.0), slot(8, 9.0, 0.0, 1.0)];
        let used = day(&[("s-1", "power", &slots), ("s-2", "power", &slots)]);
        let sockets = sockets(&used, &hours(2));
        assert_eq!(sockets.len(), 2);
        assert!(sockets.iter().all(|socket| (socket.kwh - 0.001).abs() < 1e-9));
        assert!(sockets.iter().all(|socket| !socket.is_counted && socket.covered_s == 900.0));
    }
}
