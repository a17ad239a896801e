//! Typed views of a batch's columns, for the loops that sort, compare and copy rows.
//!
//! A row of several batches is a [`RowRef`]: batch and row in one number, so that an order of two
//! million rows is a plain vector.

use std::cmp::Ordering;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch, StringArray};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Float64Type, Int32Type, TimestampMicrosecondType};
use axle_domain::Error;

use crate::layout::Layout;

/// One column.
#[derive(Clone, Debug)]
pub(crate) enum View {
    /// Moments; never absent.
    Time(ScalarBuffer<i64>),
    /// Numbers.
    Float(ScalarBuffer<f64>, Option<NullBuffer>),
    /// True or false.
    Bool(BooleanArray),
    /// Text by code.
    Text(CodedText),
}

/// Text by code.
#[derive(Clone, Debug)]
pub(crate) struct CodedText {
    /// One code per row.
    pub(crate) codes: ScalarBuffer<i32>,
    /// The texts by code.
    pub(crate) texts: StringArray,
    /// Which rows have a text; all if absent.
    pub(crate) nulls: Option<NullBuffer>,
}

impl CodedText {
    /// The text of a row.
    #[inline]
    pub(crate) fn get(&self, row: usize) -> Option<&str> {
        if self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            return None;
        }
        let code = usize::try_from(*self.codes.get(row)?).ok()?;
        (code < self.texts.len()).then(|| self.texts.value(code))
    }
}

/// The columns of one batch.
#[derive(Clone, Debug)]
pub(crate) struct Columns {
    /// One view per column.
    pub(crate) views: Vec<View>,
    /// How many rows there are.
    pub(crate) rows: usize,
}

impl Columns {
    /// Views of a batch whose columns have the types of memory.
    pub(crate) fn of(batch: &RecordBatch) -> Result<Self, Error> {
        let views = batch.columns().iter().map(|array| view(array)).collect::<Result<_, _>>()?;
        Ok(Self { views, rows: batch.num_rows() })
    }

    /// The text column at a place, if it is one.
    pub(crate) fn text(&self, place: usize) -> Option<&CodedText> {
        match self.views.get(place) {
            Some(View::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The moments at a place; empty if they are none.
    pub(crate) fn times(&self, place: usize) -> &[i64] {
        match self.views.get(place) {
            Some(View::Time(times)) => times,
            _ => &[],
        }
    }

    /// One moment.
    #[inline]
    pub(crate) fn time(&self, place: usize, row: usize) -> i64 {
        self.times(place).get(row).copied().unwrap_or(0)
    }
}

fn view(array: &dyn Array) -> Result<View, Error> {
    let unknown = || Error::internal("store.type", format!("no view of {}", array.data_type()));
    if matches!(array.data_type(), DataType::Timestamp(..)) {
        let array = array.as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(unknown)?;
        return Ok(View::Time(array.values().clone()));
    }
    if let Some(array) = array.as_primitive_opt::<Float64Type>() {
        return Ok(View::Float(array.values().clone(), array.nulls().cloned()));
    }
    if let Some(array) = array.as_boolean_opt() {
        return Ok(View::Bool(array.clone()));
    }
    let array = array.as_dictionary_opt::<Int32Type>().ok_or_else(unknown)?;
    let texts = array.values().as_string_opt::<i32>().ok_or_else(unknown)?.clone();
    let nulls = array.nulls().cloned();
    Ok(View::Text(CodedText { codes: array.keys().values().clone(), texts, nulls }))
}

/// A row of one of several batches.
pub(crate) type RowRef = u64;

/// The row of a batch as one number.
#[inline]
pub(crate) fn row_ref(batch: usize, row: usize) -> RowRef {
    ((batch as u64) << 32) | (row as u64 & u64::from(u32::MAX))
}

/// The batch and the row.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "both halves have 32 bits")]
pub(crate) fn split(row: RowRef) -> (usize, usize) {
    ((row >> 32) as u32 as usize, row as u32 as usize)
}

/// Which of some columns play which part in a row's identity and order.
///
/// Sorted rows stand by device, keys, claimed time, values and `extra`; of one identity first the
/// one that came first, then by time and quality, so that the order is total and does not depend
/// on the order of arrival.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    /// Indexes in the stream's layout of the columns that are there, ascending.
    pub(crate) columns: Vec<usize>,
    /// Places of `device` and the keys.
    pub(crate) series: Vec<usize>,
    /// Place of `time_claimed`.
    pub(crate) claimed: usize,
    /// Places of the fields and `extra`.
    pub(crate) values: Vec<usize>,
    /// Places of `received_at`, `time` and `time_quality`, as far as they are there.
    pub(crate) rest: Vec<usize>,
}

impl Shape {
    /// All columns of a stream.
    pub(crate) fn full(layout: &Layout) -> Self {
        let columns: Vec<usize> = (0..layout.width()).collect();
        let mut series = vec![Layout::DEVICE];
        series.extend(layout.keys());
        let mut values: Vec<usize> = layout.fields().collect();
        values.push(layout.extra());
        let rest = vec![layout.received(), Layout::TIME, layout.quality()];
        Self { columns, series, claimed: layout.claimed(), values, rest }
    }

    /// What recognises a row, and what chooses among equal rows where someone can see the choice.
    pub(crate) fn for_wanted(layout: &Layout, wanted: &[usize]) -> Self {
        let full = Self::full(layout);
        let is_rest_seen = wanted.iter().any(|column| full.rest.contains(column));
        let columns: Vec<usize> = full
            .columns
            .iter()
            .copied()
            .filter(|c| is_rest_seen || !full.rest.contains(c))
            .collect();
        let place = |column: &usize| columns.iter().position(|c| c == column);
        Self {
            series: full.series.iter().filter_map(place).collect(),
            claimed: place(&full.claimed).unwrap_or(0),
            values: full.values.iter().filter_map(place).collect(),
            rest: full.rest.iter().filter_map(place).collect(),
            columns,
        }
    }

    /// Compares device and keys.
    pub(crate) fn compare_series(&self, a: (&Columns, usize), b: (&Columns, usize)) -> Ordering {
        compare(&self.series, a, b)
    }

    /// Compares device, keys and claimed time.
    pub(crate) fn compare_key(&self, a: (&Columns, usize), b: (&Columns, usize)) -> Ordering {
        self.compare_series(a, b)
            .then_with(|| a.0.time(self.claimed, a.1).cmp(&b.0.time(self.claimed, b.1)))
    }

    /// Compares the fields and `extra`.
    pub(crate) fn compare_values(&self, a: (&Columns, usize), b: (&Columns, usize)) -> Ordering {
        compare(&self.values, a, b)
    }

    /// Compares everything.
    pub(crate) fn compare_all(&self, a: (&Columns, usize), b: (&Columns, usize)) -> Ordering {
        self.compare_key(a, b)
            .then_with(|| self.compare_values(a, b))
            .then_with(|| compare(&self.rest, a, b))
    }
}

/// Compares the columns at some places, one after the other.
pub(crate) fn compare(places: &[usize], a: (&Columns, usize), b: (&Columns, usize)) -> Ordering {
    for place in places {
        let (Some(left), Some(right)) = (a.0.views.get(*place), b.0.views.get(*place)) else {
            continue;
        };
        let order = compare_view((left, a.1), (right, b.1));
        if order != Ordering::Equal {
            return order;
        }
    }
    Ordering::Equal
}

/// An absent value comes before all others; numbers stand in the total order of their bits.
fn compare_view(a: (&View, usize), b: (&View, usize)) -> Ordering {
    match (a.0, b.0) {
        (View::Time(left), View::Time(right)) => left.get(a.1).cmp(&right.get(b.1)),
        (View::Float(left, left_nulls), View::Float(right, right_nulls)) => {
            let value = |values: &ScalarBuffer<f64>, nulls: &Option<NullBuffer>, row| {
                let is_null = nulls.as_ref().is_some_and(|nulls: &NullBuffer| nulls.is_null(row));
                (!is_null).then(|| values.get(row).copied().unwrap_or(0.0))
            };
            match (value(left, left_nulls, a.1), value(right, right_nulls, b.1)) {
                (Some(left), Some(right)) => left.total_cmp(&right),
                (left, right) => left.is_some().cmp(&right.is_some()),
            }
        }
        (View::Bool(left), View::Bool(right)) => {
            let value =
                |values: &BooleanArray, row| values.is_valid(row).then(|| values.value(row));
            value(left, a.1).cmp(&value(right, b.1))
        }
        (View::Text(left), View::Text(right)) => left.get(a.1).cmp(&right.get(b.1)),
        (View::Time(_) | View::Float(..) | View::Bool(_) | View::Text(_), _) => Ordering::Equal,
    }
}
