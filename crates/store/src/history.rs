//! The history of one device: its rows in the order of time, day by day, so that memory holds one
//! day at most, handed to a reducer.

use std::collections::BTreeSet;
use std::sync::Arc;

use axle_domain::port::{
    Aggregate, Cell, ColumnInfo, History, QueryLimits, Reduce, Table, Visibility,
};
use axle_domain::{Error, Kind, Timestamp};

use crate::answer::{kind, size};
use crate::columns::{Columns, RowRef, View, row_ref, split};
use crate::constraint::Constraint;
use crate::layout::Layout;
use crate::plan::Snapshot;
use crate::range::meet;
use crate::reduce::{Buckets, Points, Reducer};
use crate::usage::UsageSlots;

const DAY: i64 = 24 * 3600 * 1_000_000;
/// Most rows of one device and day: 50 a second.
const DAY_ROWS_MAX: usize = 4_320_000;

/// A question that has been understood.
pub(crate) struct Question {
    snapshot: Snapshot,
    constraint: Constraint,
    reduce: Reduce,
    /// Indexes of the wanted fields in the layout, in the order of the answer.
    fields: Vec<usize>,
}

/// A row of the device, in memory.
#[derive(Clone, Debug)]
pub(crate) struct HistoryRow {
    columns: Arc<Columns>,
    row: usize,
    shape: Arc<RowShape>,
}

/// Where the parts of a history row stand.
#[derive(Debug)]
pub(crate) struct RowShape {
    time: usize,
    keys: Vec<usize>,
    fields: Vec<usize>,
}

impl HistoryRow {
    /// Its time.
    pub(crate) fn time(&self) -> i64 {
        self.columns.time(self.shape.time, self.row)
    }

    /// Its keys.
    pub(crate) fn keys(&self) -> Vec<&str> {
        let texts = self.shape.keys.iter().map(|place| self.columns.text(*place));
        texts.map(|text| text.and_then(|text| text.get(self.row)).unwrap_or("")).collect()
    }

    /// One of the wanted fields.
    pub(crate) fn value(&self, field: usize) -> Cell {
        let view = self.shape.fields.get(field).and_then(|place| self.columns.views.get(*place));
        view.map_or(Cell::Null, |view| cell(view, self.row))
    }

    /// All of it, as the answer has it.
    pub(crate) fn cells(&self) -> Vec<Cell> {
        let mut cells = vec![Cell::Time(Timestamp(self.time()))];
        cells.extend(self.keys().into_iter().map(|key| Cell::Text(key.to_owned())));
        cells.extend((0..self.shape.fields.len()).map(|field| self.value(field)));
        cells
    }
}

fn cell(view: &View, row: usize) -> Cell {
    use arrow::array::Array as _;
    match view {
        View::Time(times) => times.get(row).map_or(Cell::Null, |time| Cell::Time(Timestamp(*time))),
        View::Float(values, nulls) => {
            let is_null = nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
            values.get(row).filter(|_| !is_null).map_or(Cell::Null, |value| Cell::Float(*value))
        }
        View::Bool(values) if values.is_valid(row) => Cell::Bool(values.value(row)),
        View::Bool(_) => Cell::Null,
        View::Text(text) => text.get(row).map_or(Cell::Null, |text| Cell::Text(text.to_owned())),
    }
}

impl Question {
    /// Understands a question.
    pub(crate) fn new(snapshot: &Snapshot, history: &History) -> Result<Self, Error> {
        let layout = &snapshot.layout;
        let mut constraint =
            Constraint::visible(&Visibility::Devices(vec![history.device.clone()]));
        constraint.keep_time((history.from.0, history.to.0.saturating_sub(1)));
        let mut fields: Vec<usize> = Vec::new();
        for name in &history.fields {
            let index = layout.stream.field(name).ok_or_else(|| unknown_field(layout, name))?;
            if !fields.contains(&layout.field(index)) {
                fields.push(layout.field(index));
            }
        }
        if fields.is_empty() {
            fields = layout.fields().collect();
        }
        if let Reduce::Bucket(width, aggregate) = history.reduce {
            if width <= 0 {
                let message = "a bucket must be longer than nothing";
                return Err(Error::invalid("telemetry.bucket_invalid", message));
            }
            let is_number = |field: &usize| layout.scale(*field).is_some();
            if matches!(aggregate, Aggregate::Avg | Aggregate::Sum | Aggregate::Increase) {
                let other = fields.iter().find(|field| !is_number(field));
                if let Some(other) = other.filter(|_| !history.fields.is_empty()) {
                    let name = layout.sql.field(*other).name();
                    let message = format!("`{name}` is no number: ask for first, last or count");
                    return Err(Error::invalid("telemetry.aggregate_invalid", message));
                }
                fields.retain(is_number);
            }
        }
        if let Reduce::Usage(usage) = history.reduce {
            let is_number = |field: &usize| layout.scale(*field).is_some();
            if fields.len() != 1 || !fields.iter().all(is_number) || usage.slot_micros <= 0 {
                let message = "usage is asked for of one field that is a number, in slots";
                return Err(Error::invalid("telemetry.usage_invalid", message));
            }
        }
        Ok(Self { snapshot: snapshot.clone(), constraint, reduce: history.reduce, fields })
    }

    fn layout(&self) -> &Arc<Layout> {
        &self.snapshot.layout
    }

    /// The answer, and whether it was reduced.
    pub(crate) async fn answer(self) -> Result<(Table, bool), Error> {
        let mut output = Output::new(self.columns());
        match self.reduce {
            Reduce::None => {
                self.feed(&mut Everything, &mut output).await?;
                Ok((output.table, false))
            }
            Reduce::Points(points) => {
                let (rows, series, span) = self.count().await?;
                if rows <= points {
                    self.feed(&mut Everything, &mut output).await?;
                    return Ok((output.table, false));
                }
                let mut reducer = Points::new(points, series, self.fields.len(), span);
                self.feed(&mut reducer, &mut output).await?;
                let is_reduced = output.table.rows.len() < rows;
                Ok((output.table, is_reduced))
            }
            Reduce::Bucket(width, aggregate) => {
                let mut reducer = Buckets::new(width, aggregate, self.fields.len());
                self.feed(&mut reducer, &mut output).await?;
                Ok((output.table, true))
            }
            Reduce::Usage(usage) => {
                self.feed(&mut UsageSlots::new(usage), &mut output).await?;
                Ok((output.table, true))
            }
        }
    }

    fn columns(&self) -> Vec<ColumnInfo> {
        let layout = self.layout();
        let named = |column: usize| {
            let field = layout.sql.field(column);
            ColumnInfo { name: field.name().clone(), kind: kind(field.data_type()) }
        };
        let counts = matches!(self.reduce, Reduce::Bucket(_, Aggregate::Count));
        let mut columns = vec![named(Layout::TIME)];
        columns.extend(layout.keys().map(named));
        if matches!(self.reduce, Reduce::Usage(_)) {
            columns.extend(crate::usage::columns());
            return columns;
        }
        columns.extend(self.fields.iter().map(|field| {
            let mut info = named(*field);
            if counts {
                info.kind = "bigint".to_owned();
            }
            info
        }));
        columns
    }

    /// How many rows there are, in how many series, and the first and last time.
    async fn count(&self) -> Result<(usize, usize, (i64, i64)), Error> {
        let (mut rows, mut series, mut span) = (0, BTreeSet::new(), (i64::MAX, i64::MIN));
        for day in self.days() {
            for row in self.read(day, &[]).await? {
                rows += 1;
                span = (span.0.min(row.time()), span.1.max(row.time()));
                let keys = row.keys();
                if !keys.is_empty() && series.len() < DAY_ROWS_MAX {
                    series.insert(keys.join("\0"));
                }
            }
        }
        Ok((rows, series.len().max(1), span))
    }

    async fn feed(&self, reducer: &mut impl Reducer, output: &mut Output) -> Result<(), Error> {
        for day in self.days() {
            for row in self.read(day, &self.fields).await? {
                reducer.push(row, &mut |cells| output.push(cells));
                if output.table.truncated {
                    return Ok(());
                }
            }
        }
        reducer.finish(&mut |cells| output.push(cells));
        Ok(())
    }

    /// The days, as closed ranges, in which there may be rows.
    fn days(&self) -> Vec<(i64, i64)> {
        let wanted = self.constraint.time;
        let files = self.snapshot.files.iter().map(|file| &file.entry.range);
        let ranges: Vec<(i64, i64)> = files
            .chain(self.snapshot.chunks.iter().map(|chunk| &chunk.range))
            .map(|range| range.time)
            .filter(|time| meet(*time, wanted))
            .collect();
        let Some(first) = ranges.iter().map(|range| range.0.max(wanted.0)).min() else {
            return Vec::new();
        };
        let last = ranges.iter().map(|range| range.1.min(wanted.1)).max().unwrap_or(first);
        let mut days = Vec::new();
        let mut from = first;
        while from <= last {
            let next = (from.div_euclid(DAY) + 1).saturating_mul(DAY);
            let day = (from, last.min(next - 1));
            if ranges.iter().any(|range| meet(*range, day)) {
                days.push(day);
            }
            if next <= from {
                break;
            }
            from = next;
        }
        days
    }

    /// The rows of one day in the order of time, keys, and whatever else tells them apart.
    async fn read(&self, day: (i64, i64), fields: &[usize]) -> Result<Vec<HistoryRow>, Error> {
        let layout = self.layout();
        let mut constraint = self.constraint.clone();
        constraint.keep_time(day);
        let mut wanted: Vec<usize> = vec![Layout::TIME, layout.claimed()];
        wanted.extend(layout.keys());
        wanted.extend(fields);
        wanted.sort_unstable();
        let place = |column: usize| wanted.binary_search(&column).unwrap_or(0);
        let shape = Arc::new(RowShape {
            time: place(Layout::TIME),
            keys: layout.keys().map(place).collect(),
            fields: fields.iter().map(|field| place(*field)).collect(),
        });
        let mut batches: Vec<Arc<Columns>> = Vec::new();
        let mut order: Vec<(i64, RowRef)> = Vec::new();
        for unit in self.snapshot.units(&constraint) {
            for batch in unit.read(layout, &wanted)? {
                let columns = Columns::of(&batch?)?;
                let rows = columns.times(shape.time).iter().enumerate();
                let rows = rows.filter(|(_, time)| (day.0..=day.1).contains(time));
                order.extend(rows.map(|(row, time)| (*time, row_ref(batches.len(), row))));
                batches.push(Arc::new(columns));
                if order.len() > DAY_ROWS_MAX {
                    return Err(too_dense(order.len()));
                }
                tokio::task::yield_now().await;
            }
        }
        let mut rest: Vec<usize> = layout.keys().map(place).collect();
        rest.push(place(layout.claimed()));
        rest.extend(&shape.fields);
        order.sort_unstable_by(|a, b| {
            let later = || {
                let (left, right) = (split(a.1), split(b.1));
                match (batches.get(left.0), batches.get(right.0)) {
                    (Some(x), Some(y)) => crate::columns::compare(&rest, (x, left.1), (y, right.1)),
                    _ => std::cmp::Ordering::Equal,
                }
            };
            a.0.cmp(&b.0).then_with(later)
        });
        let row = |(_, row): (i64, RowRef)| {
            let (batch, row) = split(row);
            let columns = Arc::clone(batches.get(batch)?);
            Some(HistoryRow { columns, row, shape: Arc::clone(&shape) })
        };
        Ok(order.into_iter().filter_map(row).collect())
    }
}

fn unknown_field(layout: &Layout, name: &str) -> Error {
    let known: Vec<&str> = layout.stream.fields.iter().map(|field| field.name).collect();
    let shown: String = name.chars().take(64).collect();
    let message = format!(
        "the stream `{}` has no field `{}`: it has {}",
        layout.name(),
        shown.escape_debug(),
        known.join(", ")
    );
    Error::invalid("telemetry.field_unknown", message)
}

fn too_dense(rows: usize) -> Error {
    let message = format!(
        "the device has more than {DAY_ROWS_MAX} rows in one day: ask for a shorter time, or use SQL"
    );
    Error::new(Kind::TooLarge, "telemetry.too_dense", message)
        .with_limit(DAY_ROWS_MAX as u64, rows as u64)
}

/// A table within the limits of any answer.
struct Output {
    table: Table,
    limits: QueryLimits,
    bytes: usize,
}

impl Output {
    fn new(columns: Vec<ColumnInfo>) -> Self {
        let table = Table { columns, ..Table::default() };
        Self { table, limits: QueryLimits::default(), bytes: 0 }
    }

    fn push(&mut self, cells: Vec<Cell>) {
        let bytes: usize = cells.iter().map(size).sum::<usize>() + 2;
        if self.table.truncated
            || self.table.rows.len() >= self.limits.rows
            || self.bytes + bytes > self.limits.bytes
        {
            self.table.truncated = true;
            return;
        }
        self.bytes += bytes;
        self.table.rows.push(cells);
    }
}

/// Keeps every row.
struct Everything;

impl Reducer for Everything {
    fn push(&mut self, row: HistoryRow, output: &mut dyn FnMut(Vec<Cell>)) {
        output(row.cells());
    }

    fn finish(&mut self, _output: &mut dyn FnMut(Vec<Cell>)) {}
}
