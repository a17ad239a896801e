//! Copies chosen rows of several batches into one.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanBuilder, DictionaryArray, Float64Array, Int32Array, RecordBatch,
    StringArray, TimestampMicrosecondArray,
};
use arrow::buffer::{BooleanBuffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::{Int32Type, SchemaRef};
use axle_domain::Error;
use hashbrown::HashMap;

use crate::columns::{CodedText, Columns, RowRef, View, split};
use crate::failure::internal;

/// Copies the rows of `order`, column by column. `places` says which columns of the sources make
/// up the columns of `schema`.
pub(crate) fn gather(
    sources: &[Columns],
    places: &[usize],
    order: &[RowRef],
    schema: &SchemaRef,
) -> Result<RecordBatch, Error> {
    let arrays: Result<Vec<ArrayRef>, Error> =
        places.iter().map(|place| gather_column(sources, *place, order)).collect();
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(order.len()));
    RecordBatch::try_new_with_options(Arc::clone(schema), arrays?, &options)
        .map_err(|error| internal("store.gather", error))
}

fn gather_column(sources: &[Columns], place: usize, order: &[RowRef]) -> Result<ArrayRef, Error> {
    let views: Vec<&View> = sources.iter().filter_map(|source| source.views.get(place)).collect();
    match views.first() {
        Some(View::Time(_)) => Ok(times(&views, order)),
        Some(View::Float(..)) => Ok(floats(&views, order)),
        Some(View::Bool(_)) => Ok(bools(&views, order)),
        Some(View::Text(_)) => texts(&views, order),
        None => Err(Error::internal("store.gather", format!("no column {place} to copy"))),
    }
}

fn times(views: &[&View], order: &[RowRef]) -> ArrayRef {
    let slices: Vec<&[i64]> = views
        .iter()
        .map(|view| match view {
            View::Time(times) => times.as_ref(),
            View::Float(..) | View::Bool(_) | View::Text(_) => &[],
        })
        .collect();
    let values: Vec<i64> = order.iter().map(|row| pick(&slices, *row)).collect();
    Arc::new(TimestampMicrosecondArray::from(values).with_timezone("UTC"))
}

#[inline]
fn pick<T: Copy + Default>(slices: &[&[T]], row: RowRef) -> T {
    let (source, row) = split(row);
    slices.get(source).and_then(|slice| slice.get(row)).copied().unwrap_or_default()
}

fn floats(views: &[&View], order: &[RowRef]) -> ArrayRef {
    let mut slices: Vec<&[f64]> = Vec::with_capacity(views.len());
    let mut nulls = Vec::with_capacity(views.len());
    for view in views {
        if let View::Float(values, valid) = view {
            slices.push(values);
            nulls.push(valid.as_ref());
        }
    }
    let values: Vec<f64> = order.iter().map(|row| pick(&slices, *row)).collect();
    Arc::new(Float64Array::new(ScalarBuffer::from(values), gather_nulls(&nulls, order)))
}

/// The marks of the chosen rows; none if no source has any.
fn gather_nulls(nulls: &[Option<&NullBuffer>], order: &[RowRef]) -> Option<NullBuffer> {
    if nulls.iter().all(Option::is_none) {
        return None;
    }
    let is_valid = |index: usize| {
        let (source, row) = order.get(index).map_or((0, 0), |row| split(*row));
        nulls.get(source).copied().flatten().is_none_or(|nulls| nulls.is_valid(row))
    };
    Some(NullBuffer::new(BooleanBuffer::collect_bool(order.len(), is_valid)))
        .filter(|nulls| nulls.null_count() > 0)
}

fn bools(views: &[&View], order: &[RowRef]) -> ArrayRef {
    let mut builder = BooleanBuilder::with_capacity(order.len());
    for row in order {
        let (source, row) = split(*row);
        match views.get(source) {
            Some(View::Bool(values)) if values.is_valid(row) => {
                builder.append_value(values.value(row));
            }
            _ => builder.append_null(),
        }
    }
    Arc::new(builder.finish())
}

/// Codes of the sources become codes of one dictionary that holds what the chosen rows use.
fn texts(views: &[&View], order: &[RowRef]) -> Result<ArrayRef, Error> {
    let sources: Vec<&CodedText> = views
        .iter()
        .filter_map(|view| match view {
            View::Text(text) => Some(text),
            View::Time(_) | View::Float(..) | View::Bool(_) => None,
        })
        .collect();
    let nulls: Vec<Option<&NullBuffer>> = sources.iter().map(|s| s.nulls.as_ref()).collect();
    let nulls = gather_nulls(&nulls, order);
    let slices: Vec<&[i32]> = sources.iter().map(|source| source.codes.as_ref()).collect();
    if let [source] = sources.as_slice() {
        let codes: Vec<i32> = order.iter().map(|row| pick(&slices, *row)).collect();
        return dictionary(codes, nulls, source.texts.clone());
    }
    let mut merged = Merged::new(&sources);
    let mut codes = Vec::with_capacity(order.len());
    for (index, row) in order.iter().enumerate() {
        if nulls.as_ref().is_some_and(|nulls| nulls.is_null(index)) {
            codes.push(0);
            continue;
        }
        codes.push(merged.code(split(*row).0, pick(&slices, *row)));
    }
    if merged.texts.is_empty() {
        // Codes of absent rows must point somewhere.
        merged.texts.push("");
    }
    dictionary(codes, nulls, StringArray::from_iter_values(merged.texts))
}

fn dictionary(
    codes: Vec<i32>,
    nulls: Option<NullBuffer>,
    texts: StringArray,
) -> Result<ArrayRef, Error> {
    let keys = Int32Array::new(ScalarBuffer::from(codes), nulls);
    let array = DictionaryArray::<Int32Type>::try_new(keys, Arc::new(texts));
    Ok(Arc::new(array.map_err(|error| internal("store.gather", error))?))
}

/// One dictionary out of several, filled as texts turn up.
struct Merged<'a> {
    sources: &'a [&'a CodedText],
    /// Per source and code the merged code; -1 where it has not turned up.
    known: Vec<Vec<i32>>,
    last: (usize, i32, i32),
    texts: Vec<&'a str>,
    index: HashMap<&'a str, i32>,
}

impl<'a> Merged<'a> {
    fn new(sources: &'a [&'a CodedText]) -> Self {
        let known = sources.iter().map(|_| Vec::new()).collect();
        let last = (usize::MAX, 0, 0);
        Self { sources, known, last, texts: Vec::new(), index: HashMap::new() }
    }

    #[inline]
    fn code(&mut self, source: usize, code: i32) -> i32 {
        if self.last.0 == source && self.last.1 == code {
            return self.last.2;
        }
        let merged = self.find(source, code);
        self.last = (source, code, merged);
        merged
    }

    fn find(&mut self, source: usize, code: i32) -> i32 {
        let (Some(known), Some(text)) = (self.known.get_mut(source), self.sources.get(source))
        else {
            return 0;
        };
        if known.is_empty() {
            known.resize(text.texts.len().max(1), -1);
        }
        let place = usize::try_from(code).unwrap_or(0);
        let Some(slot) = known.get_mut(place) else { return 0 };
        if *slot < 0 {
            let text: &'a str = if place < text.texts.len() { text.texts.value(place) } else { "" };
            let next = i32::try_from(self.texts.len()).unwrap_or(i32::MAX);
            let texts = &mut self.texts;
            *slot = *self.index.entry(text).or_insert_with(|| {
                texts.push(text);
                next
            });
        }
        *slot
    }
}
