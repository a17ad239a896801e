//! Makes a history small: a few rows per slice for drawing, or one row per bucket.

use std::collections::BTreeMap;

use axle_domain::Timestamp;
use axle_domain::port::{Aggregate, Cell};

use crate::history::HistoryRow;

/// Takes rows in the order of time and gives rows in the order of time.
pub(crate) trait Reducer {
    /// Takes a row.
    fn push(&mut self, row: HistoryRow, output: &mut dyn FnMut(Vec<Cell>));
    /// Gives what is left.
    fn finish(&mut self, output: &mut dyn FnMut(Vec<Cell>));
}

/// First, least, greatest and last of each slice, for every series and field.
pub(crate) struct Points {
    start: i64,
    slice_micros: i64,
    fields: usize,
    slice: i64,
    next: u64,
    kept: BTreeMap<Vec<String>, Vec<Option<Extremes>>>,
}

/// What stays of one field in one slice. Each row carries its number in the slice.
struct Extremes {
    first: (u64, HistoryRow),
    least: (u64, HistoryRow, Cell),
    greatest: (u64, HistoryRow, Cell),
    last: (u64, HistoryRow),
}

impl Points {
    /// About `points` rows of so many series and fields over a closed range of time.
    pub(crate) fn new(points: usize, series: usize, fields: usize, span: (i64, i64)) -> Self {
        let per_slice = series.saturating_mul(2 + 2 * fields).max(1);
        let slices = i64::try_from((points / per_slice).max(1)).unwrap_or(i64::MAX);
        let length = span.1.saturating_sub(span.0).saturating_add(1).max(1);
        let slice_micros = (length / slices + i64::from(length % slices != 0)).max(1);
        Self { start: span.0, slice_micros, fields, slice: 0, next: 0, kept: BTreeMap::new() }
    }
}

impl Reducer for Points {
    fn push(&mut self, row: HistoryRow, output: &mut dyn FnMut(Vec<Cell>)) {
        let slice = row.time().saturating_sub(self.start).div_euclid(self.slice_micros);
        if slice != self.slice {
            self.finish(output);
            self.slice = slice;
        }
        let number = self.next;
        self.next += 1;
        let keys: Vec<String> = row.keys().into_iter().map(str::to_owned).collect();
        let fields = self.kept.entry(keys).or_default();
        fields.resize_with(self.fields, || None);
        for (field, extremes) in fields.iter_mut().enumerate() {
            let value = row.value(field);
            if value == Cell::Null {
                continue;
            }
            let Some(extremes) = extremes else {
                let here = || (number, row.clone(), value.clone());
                *extremes = Some(Extremes {
                    first: (number, row.clone()),
                    least: here(),
                    greatest: here(),
                    last: (number, row.clone()),
                });
                continue;
            };
            extremes.last = (number, row.clone());
            if is_less(&value, &extremes.least.2) {
                extremes.least = (number, row.clone(), value.clone());
            }
            if is_less(&extremes.greatest.2, &value) {
                extremes.greatest = (number, row.clone(), value);
            }
        }
    }

    fn finish(&mut self, output: &mut dyn FnMut(Vec<Cell>)) {
        let mut rows: BTreeMap<u64, HistoryRow> = BTreeMap::new();
        for extremes in std::mem::take(&mut self.kept).into_values().flatten().flatten() {
            rows.insert(extremes.first.0, extremes.first.1);
            rows.insert(extremes.least.0, extremes.least.1);
            rows.insert(extremes.greatest.0, extremes.greatest.1);
            rows.insert(extremes.last.0, extremes.last.1);
        }
        rows.into_values().for_each(|row| output(row.cells()));
        self.next = 0;
    }
}

fn is_less(a: &Cell, b: &Cell) -> bool {
    match (a, b) {
        (Cell::Float(a), Cell::Float(b)) => a < b,
        (Cell::Text(a), Cell::Text(b)) => a < b,
        (Cell::Bool(a), Cell::Bool(b)) => !a & b,
        _ => false,
    }
}

/// One row per bucket and series.
pub(crate) struct Buckets {
    width: i64,
    aggregate: Aggregate,
    fields: usize,
    bucket: Option<i64>,
    series: BTreeMap<Vec<String>, Vec<Bucket>>,
    /// The last value of every counter, which the next bucket goes on from.
    counters: BTreeMap<Vec<String>, Vec<Option<f64>>>,
}

#[derive(Clone, Debug, Default)]
struct Bucket {
    count: i64,
    sum: f64,
    chosen: Option<Cell>,
}

impl Buckets {
    pub(crate) fn new(width: i64, aggregate: Aggregate, fields: usize) -> Self {
        let (series, counters) = (BTreeMap::new(), BTreeMap::new());
        Self { width: width.max(1), aggregate, fields, bucket: None, series, counters }
    }

    /// How much a counter grew since its value before: from zero if it fell, nothing if it is new.
    fn increase(&mut self, keys: &[String], field: usize, value: f64) -> f64 {
        let fields = self.fields;
        let counters = self.counters.entry(keys.to_vec()).or_insert_with(|| vec![None; fields]);
        let Some(slot) = counters.get_mut(field) else { return 0.0 };
        match slot.replace(value) {
            Some(before) if value >= before => value - before,
            Some(_) => value.max(0.0),
            None => 0.0,
        }
    }
}

impl Reducer for Buckets {
    fn push(&mut self, row: HistoryRow, output: &mut dyn FnMut(Vec<Cell>)) {
        let start = row.time().div_euclid(self.width).saturating_mul(self.width);
        if self.bucket != Some(start) {
            self.finish(output);
            self.bucket = Some(start);
        }
        let keys: Vec<String> = row.keys().into_iter().map(str::to_owned).collect();
        for field in 0..self.fields {
            let value = row.value(field);
            let increase = match (&value, self.aggregate) {
                (Cell::Float(number), Aggregate::Increase) => self.increase(&keys, field, *number),
                _ => 0.0,
            };
            let fields = self.fields;
            let buckets = self.series.entry(keys.clone()).or_default();
            buckets.resize(fields, Bucket::default());
            if let Some(bucket) = buckets.get_mut(field) {
                bucket.push(value, increase, self.aggregate);
            }
        }
    }

    fn finish(&mut self, output: &mut dyn FnMut(Vec<Cell>)) {
        let Some(start) = self.bucket.take() else { return };
        for (keys, buckets) in std::mem::take(&mut self.series) {
            let mut cells = vec![Cell::Time(Timestamp(start))];
            cells.extend(keys.into_iter().map(Cell::Text));
            cells.extend(buckets.into_iter().map(|bucket| bucket.answer(self.aggregate)));
            output(cells);
        }
    }
}

impl Bucket {
    fn push(&mut self, value: Cell, increase: f64, aggregate: Aggregate) {
        if value == Cell::Null {
            return;
        }
        self.count += 1;
        match aggregate {
            Aggregate::Count => {}
            Aggregate::Increase => self.sum += increase,
            Aggregate::Avg | Aggregate::Sum => {
                if let Cell::Float(number) = value {
                    self.sum += number;
                }
            }
            Aggregate::First => {
                self.chosen.get_or_insert(value);
            }
            Aggregate::Last => self.chosen = Some(value),
            Aggregate::Min | Aggregate::Max => {
                let is_better = self.chosen.as_ref().is_none_or(|chosen| {
                    if aggregate == Aggregate::Min {
                        is_less(&value, chosen)
                    } else {
                        is_less(chosen, &value)
                    }
                });
                if is_better {
                    self.chosen = Some(value);
                }
            }
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a bucket holds fewer rows than 2^52")]
    fn answer(self, aggregate: Aggregate) -> Cell {
        match aggregate {
            Aggregate::Count => Cell::Int(self.count),
            _ if self.count == 0 => Cell::Null,
            Aggregate::Avg => Cell::Float(self.sum / self.count as f64),
            Aggregate::Sum | Aggregate::Increase => Cell::Float(self.sum),
            Aggregate::First | Aggregate::Last | Aggregate::Min | Aggregate::Max => {
                self.chosen.unwrap_or(Cell::Null)
            }
        }
    }
}
