//! Merges sorted runs into one and drops identical rows.
//!
//! Runs seldom interleave row by row: most of the time one run owns the next stretch of a series,
//! which is found by bisection and copied whole. Only where two runs have the same series and
//! claimed time are values compared.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use axle_domain::Error;

use crate::columns::{Columns, RowRef, Shape, row_ref};
use crate::gather::gather;
use crate::layout::Layout;

/// Batches of a sorted run.
pub(crate) type Batches = Box<dyn Iterator<Item = Result<RecordBatch, Error>> + Send>;

/// Rows of one answer batch.
pub(crate) const BATCH_ROWS: usize = 8192;

struct Run {
    batches: Batches,
    /// The batch it stands in: an index into the merge's batches.
    batch: usize,
    row: usize,
    is_done: bool,
}

/// A merge of sorted runs, itself sorted.
pub(crate) struct Merge {
    shape: Shape,
    schema: SchemaRef,
    runs: Vec<Run>,
    batches: Vec<Columns>,
    order: Vec<RowRef>,
    batch_rows: usize,
    /// The last row that was taken where runs met, for recognising what equals it.
    last: Option<(Columns, usize)>,
    collapsed: u64,
    is_started: bool,
}

impl Merge {
    /// Merges runs that have the columns of `shape`.
    pub(crate) fn new(layout: &Layout, shape: Shape, runs: Vec<Batches>) -> Self {
        let fields: Vec<_> =
            shape.columns.iter().map(|column| layout.memory.field(*column).clone()).collect();
        let runs = runs.into_iter();
        let runs = runs.map(|batches| Run { batches, batch: 0, row: 0, is_done: false }).collect();
        Self {
            shape,
            schema: Arc::new(Schema::new(fields)),
            runs,
            batches: Vec::new(),
            order: Vec::new(),
            batch_rows: BATCH_ROWS,
            last: None,
            collapsed: 0,
            is_started: false,
        }
    }

    /// Sets how many rows a batch of the answer has.
    pub(crate) fn with_batch_rows(mut self, rows: usize) -> Self {
        self.batch_rows = rows.max(1);
        self
    }

    /// How many rows merged into an identical one so far.
    pub(crate) fn collapsed(&self) -> u64 {
        self.collapsed
    }

    fn head(&self, run: usize) -> Option<(&Columns, usize)> {
        let run = self.runs.get(run).filter(|run| !run.is_done)?;
        self.batches.get(run.batch).map(|columns| (columns, run.row))
    }

    /// Moves a run to its next batch with rows.
    fn fetch(&mut self, index: usize) -> Result<(), Error> {
        let Some(run) = self.runs.get_mut(index) else { return Ok(()) };
        loop {
            let Some(batch) = run.batches.next() else {
                run.is_done = true;
                return Ok(());
            };
            let columns = Columns::of(&batch?)?;
            if columns.rows > 0 {
                run.batch = self.batches.len();
                run.row = 0;
                self.batches.push(columns);
                return Ok(());
            }
        }
    }

    /// The run with the least row and the run with the second least, by series and claimed time.
    fn least(&self) -> (Option<usize>, Option<usize>, Ordering) {
        let (mut first, mut second): (Option<usize>, Option<usize>) = (None, None);
        for index in 0..self.runs.len() {
            let Some(head) = self.head(index) else { continue };
            let is_before = |other: Option<usize>| match other.and_then(|other| self.head(other)) {
                Some(other) => self.shape.compare_key(head, other) == Ordering::Less,
                None => true,
            };
            if is_before(first) {
                second = first;
                first = Some(index);
            } else if is_before(second) {
                second = Some(index);
            }
        }
        let order = match (first.and_then(|i| self.head(i)), second.and_then(|i| self.head(i))) {
            (Some(first), Some(second)) => self.shape.compare_key(first, second),
            _ => Ordering::Less,
        };
        (first, second, order)
    }

    /// Takes the next stretch; says whether there was one.
    fn step(&mut self) -> Result<bool, Error> {
        let (first, second, order) = self.least();
        let Some(first) = first else { return Ok(false) };
        if order == Ordering::Equal {
            self.take_least_of_equals(first)?;
            return Ok(true);
        }
        if self.last.is_some() && self.take_after_last(first)? {
            return Ok(true);
        }
        let Some(head) = self.head(first) else { return Ok(false) };
        let end = self.stretch(head, second.and_then(|second| self.head(second)));
        self.take(first, end)?;
        Ok(true)
    }

    /// Where the stretch of a run that comes before `bound` ends, within its series and batch.
    fn stretch(&self, head: (&Columns, usize), bound: Option<(&Columns, usize)>) -> usize {
        let (columns, start) = head;
        let is_same = |row: usize| {
            self.shape.series.iter().all(|place| {
                columns.text(*place).is_none_or(|text| {
                    text.codes.get(row) == text.codes.get(start) || text.get(row) == text.get(start)
                })
            })
        };
        let limit = columns.rows.min(start + self.batch_rows);
        let end = gallop(start, limit, is_same);
        match bound {
            Some(bound) if self.shape.compare_series(head, bound) == Ordering::Equal => {
                let until = bound.0.time(self.shape.claimed, bound.1);
                let times = columns.times(self.shape.claimed);
                let times = times.get(start..end).unwrap_or(&[]);
                start + times.partition_point(|time| *time < until)
            }
            _ => end,
        }
    }

    /// Takes rows up to `end` of a run.
    fn take(&mut self, index: usize, end: usize) -> Result<(), Error> {
        let Some(run) = self.runs.get_mut(index) else { return Ok(()) };
        // At least one, so that a merge always ends.
        let end = end.max(run.row + 1);
        let batch = run.batch;
        self.order.extend((run.row..end).map(|row| row_ref(batch, row)));
        run.row = end;
        self.advance(index)
    }

    fn advance(&mut self, index: usize) -> Result<(), Error> {
        let is_at_end = self.runs.get(index).is_some_and(|run| {
            self.batches.get(run.batch).is_none_or(|columns| run.row >= columns.rows)
        });
        if is_at_end { self.fetch(index) } else { Ok(()) }
    }

    /// Several runs have the same series and claimed time: takes their least row, or drops it.
    fn take_least_of_equals(&mut self, first: usize) -> Result<(), Error> {
        let mut least = first;
        for index in 0..self.runs.len() {
            if let (Some(head), Some(other)) = (self.head(index), self.head(least))
                && self.shape.compare_all(head, other) == Ordering::Less
            {
                least = index;
            }
        }
        self.take_or_drop(least)
    }

    fn take_or_drop(&mut self, index: usize) -> Result<(), Error> {
        let Some(head) = self.head(index) else { return Ok(()) };
        let is_known = self.last.as_ref().is_some_and(|last| {
            let last = (&last.0, last.1);
            self.shape.compare_key(head, last) == Ordering::Equal
                && self.shape.compare_values(head, last) == Ordering::Equal
        });
        if is_known {
            self.collapsed += 1;
            if let Some(run) = self.runs.get_mut(index) {
                run.row += 1;
            }
            return self.advance(index);
        }
        let taken = (head.0.clone(), head.1);
        let end = taken.1 + 1;
        self.last = Some(taken);
        self.take(index, end)
    }

    /// One run is ahead of all others, but its row may still equal the one taken last.
    fn take_after_last(&mut self, index: usize) -> Result<bool, Error> {
        let is_same_key = match (self.head(index), self.last.as_ref()) {
            (Some(head), Some(last)) => {
                self.shape.compare_key(head, (&last.0, last.1)) == Ordering::Equal
            }
            _ => false,
        };
        if !is_same_key {
            self.last = None;
            return Ok(false);
        }
        self.take_or_drop(index)?;
        Ok(true)
    }

    /// Copies what was taken, and forgets batches that no run stands in.
    fn emit(&mut self) -> Result<RecordBatch, Error> {
        let places: Vec<usize> = (0..self.shape.columns.len()).collect();
        let batch = gather(&self.batches, &places, &self.order, &self.schema)?;
        self.order.clear();
        let old = std::mem::take(&mut self.batches);
        let mut old: Vec<Option<Columns>> = old.into_iter().map(Some).collect();
        for run in self.runs.iter_mut().filter(|run| !run.is_done) {
            if let Some(columns) = old.get_mut(run.batch).and_then(Option::take) {
                run.batch = self.batches.len();
                self.batches.push(columns);
            }
        }
        Ok(batch)
    }

    fn fill(&mut self) -> Result<Option<RecordBatch>, Error> {
        if !self.is_started {
            self.is_started = true;
            for index in 0..self.runs.len() {
                self.fetch(index)?;
            }
        }
        while self.order.len() < self.batch_rows {
            if !self.step()? {
                break;
            }
        }
        if self.order.is_empty() {
            return Ok(None);
        }
        self.emit().map(Some)
    }
}

impl Iterator for Merge {
    type Item = Result<RecordBatch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.fill() {
            Ok(batch) => batch.map(Ok),
            Err(error) => {
                self.runs.clear();
                self.order.clear();
                Some(Err(error))
            }
        }
    }
}

/// The end of the rows from `start` on that are the same, found in steps of doubling length.
fn gallop(start: usize, limit: usize, is_same: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut step) = (start, 1);
    while low + step < limit && is_same(low + step) {
        low += step;
        step *= 2;
    }
    let mut high = limit.min(low + step);
    // Rows up to `low` are the same, the row at `high` is not (or there is none).
    low += 1;
    while low < high {
        let middle = low + (high - low) / 2;
        if is_same(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}
