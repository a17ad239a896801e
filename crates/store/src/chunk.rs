//! Recent rows as Arrow columns: what one `write` brought, or several of them put together.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int32Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::datatypes::Int32Type;
use axle_domain::{Column, Dictionary, Error, FloatColumn, RowBatch, TextColumn, TimeQuality};

use crate::columns::{Columns, row_ref};
use crate::failure::internal;
use crate::gather::gather;
use crate::layout::Layout;
use crate::range::Range;

/// Rows of one stream, unsorted.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// The columns.
    pub(crate) columns: Columns,
    /// What the rows span.
    pub(crate) range: Range,
    /// Memory it takes, roughly.
    pub(crate) bytes: usize,
}

impl Chunk {
    /// Takes over a batch, nearly without copying.
    pub(crate) fn new(layout: &Layout, batch: RowBatch) -> Result<Self, Error> {
        let rows = batch.len();
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(layout.width());
        arrays.push(dictionary(batch.device, None)?);
        arrays.push(moments(batch.time));
        for key in batch.keys {
            arrays.push(dictionary(key, None)?);
        }
        for column in batch.values {
            arrays.push(match column {
                Column::Float(column) => floats(column),
                Column::Bool(column) => Arc::new(BooleanArray::from(column)),
                Column::Text(column) => texts(column)?,
            });
        }
        arrays.push(moments(batch.time_claimed));
        arrays.push(moments(batch.received_at));
        arrays.push(qualities(&batch.quality)?);
        arrays.push(extras(rows, batch.extra)?);
        let batch = RecordBatch::try_new(Arc::clone(&layout.memory), arrays)
            .map_err(|error| internal("store.write", error))?;
        Self::of(layout, &batch)
    }

    fn of(layout: &Layout, batch: &RecordBatch) -> Result<Self, Error> {
        let columns = Columns::of(batch)?;
        let range = Range::of(layout, &columns);
        Ok(Self { columns, range, bytes: batch.get_array_memory_size() })
    }

    /// How many rows there are.
    pub(crate) fn rows(&self) -> usize {
        self.columns.rows
    }

    /// Puts chunks together, in their order.
    pub(crate) fn concat(layout: &Layout, chunks: &[Arc<Self>]) -> Result<Self, Error> {
        let sources: Vec<Columns> = chunks.iter().map(|chunk| chunk.columns.clone()).collect();
        let places: Vec<usize> = (0..layout.width()).collect();
        let rows = sources.iter().enumerate();
        let order: Vec<u64> = rows
            .flat_map(|(batch, source)| (0..source.rows).map(move |r| row_ref(batch, r)))
            .collect();
        Self::of(layout, &gather(&sources, &places, &order, &layout.memory)?)
    }
}

fn moments(values: Vec<i64>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(values).with_timezone("UTC"))
}

fn dictionary(dictionary: Dictionary, nulls: Option<NullBuffer>) -> Result<ArrayRef, Error> {
    let texts = StringArray::from_iter_values(dictionary.texts.iter().map(|text| &**text));
    coded(dictionary.codes, nulls, texts)
}

fn coded(
    codes: Vec<i32>,
    nulls: Option<NullBuffer>,
    texts: StringArray,
) -> Result<ArrayRef, Error> {
    let keys = Int32Array::new(ScalarBuffer::from(codes), nulls);
    let array = DictionaryArray::<Int32Type>::try_new(keys, Arc::new(texts));
    Ok(Arc::new(array.map_err(|error| internal("store.write", error))?))
}

fn floats(column: FloatColumn) -> ArrayRef {
    let mut values = column.values;
    // The canonical zero: -0.0 + 0.0 is 0.0, and every other number stays.
    for value in &mut values {
        *value += 0.0;
    }
    let nulls = marks(&column.valid, column.null_count);
    Arc::new(Float64Array::new(ScalarBuffer::from(values), nulls))
}

fn texts(column: TextColumn) -> Result<ArrayRef, Error> {
    let nulls = marks(&column.valid, column.null_count);
    dictionary(column.texts, nulls)
}

fn marks(valid: &[bool], null_count: usize) -> Option<NullBuffer> {
    (null_count > 0).then(|| NullBuffer::from(valid))
}

fn qualities(qualities: &[TimeQuality]) -> Result<ArrayRef, Error> {
    let codes = qualities.iter().map(|quality| i32::from(*quality as u8)).collect();
    let words = StringArray::from_iter_values(TimeQuality::ALL.map(TimeQuality::as_str));
    coded(codes, None, words)
}

fn extras(rows: usize, extras: Vec<(usize, String)>) -> Result<ArrayRef, Error> {
    let mut codes = vec![0_i32; rows];
    let mut valid = vec![false; rows];
    let mut texts = vec![String::new()];
    for (row, text) in extras {
        if let (Some(code), Some(valid)) = (codes.get_mut(row), valid.get_mut(row)) {
            *code = i32::try_from(texts.len()).unwrap_or(0);
            *valid = true;
            texts.push(text);
        }
    }
    coded(codes, Some(NullBuffer::from(valid)), StringArray::from_iter_values(texts))
}
