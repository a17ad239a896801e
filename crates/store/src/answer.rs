//! Collects an answer within its limits, and turns it into cells or an Arrow stream.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Float64Type, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType,
};
use arrow::ipc::writer::StreamWriter;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use axle_domain::port::{Cell, ColumnInfo, QueryLimits, Table};
use axle_domain::{Error, Timestamp};
use bytes::Bytes;

use crate::failure::internal;

/// An answer that takes no more than its limits allow.
pub(crate) trait Collect {
    /// Takes a batch; says whether there is room for more.
    fn push(&mut self, batch: &RecordBatch) -> Result<bool, Error>;
}

/// The type of a column as SQL tools write it.
#[expect(clippy::wildcard_enum_match_arm, reason = "everything else has a text form")]
pub(crate) fn kind(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 | DataType::Null => "text",
        DataType::Dictionary(_, value) => return kind(value),
        DataType::Float16 | DataType::Float32 | DataType::Float64 => "double",
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => "bigint",
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => "bigint",
        DataType::Boolean => "boolean",
        DataType::Timestamp(..) => "timestamp",
        DataType::Date32 | DataType::Date64 => "date",
        DataType::Time32(_) | DataType::Time64(_) => "time",
        DataType::Interval(_) | DataType::Duration(_) => "interval",
        DataType::Decimal32(..) | DataType::Decimal64(..) => "numeric",
        DataType::Decimal128(..) | DataType::Decimal256(..) => "numeric",
        _ => "text",
    }
    .to_owned()
}

/// Cells within limits.
pub(crate) struct Cells {
    /// What there is so far.
    pub(crate) table: Table,
    limits: QueryLimits,
    bytes: usize,
}

impl Cells {
    pub(crate) fn new(schema: &SchemaRef, limits: QueryLimits) -> Self {
        let info = |field: &arrow::datatypes::FieldRef| ColumnInfo {
            name: field.name().clone(),
            kind: kind(field.data_type()),
        };
        let columns = schema.fields().iter().map(info).collect();
        Self { table: Table { columns, ..Table::default() }, limits, bytes: 0 }
    }
}

impl Collect for Cells {
    fn push(&mut self, batch: &RecordBatch) -> Result<bool, Error> {
        let room = self.limits.rows - self.table.rows.len().min(self.limits.rows);
        let taken = batch.num_rows().min(room);
        let batch_part = batch.slice(0, taken);
        let columns = batch_part.columns().iter();
        let columns = columns.map(CellReader::new).collect::<Result<Vec<_>, _>>()?;
        for row in 0..taken {
            let cells = columns.iter().map(|column| column.cell(row));
            let cells = cells.collect::<Result<Vec<Cell>, Error>>()?;
            let bytes: usize = cells.iter().map(size).sum::<usize>() + 2;
            if self.bytes + bytes > self.limits.bytes {
                self.table.truncated = true;
                return Ok(false);
            }
            self.bytes += bytes;
            self.table.rows.push(cells);
        }
        self.table.truncated = taken < batch.num_rows();
        Ok(!self.table.truncated)
    }
}

/// About how many bytes a cell takes as text.
pub(crate) fn size(cell: &Cell) -> usize {
    match cell {
        Cell::Null | Cell::Bool(_) => 5,
        Cell::Int(_) => 9,
        Cell::Float(_) => 10,
        Cell::Time(_) => 30,
        Cell::Text(text) => text.len() + 3,
    }
}

/// Reads the cells of one column.
enum CellReader {
    Null,
    Bool(arrow::array::BooleanArray),
    Int(arrow::array::Int64Array),
    Float(arrow::array::Float64Array),
    Time(arrow::array::TimestampMicrosecondArray),
    Text(ArrayRef),
}

impl CellReader {
    fn new(array: &ArrayRef) -> Result<Self, Error> {
        let failed = |error| internal("store.answer", error);
        let other = || Error::internal("store.answer", "a cast gave another type");
        let to = |data_type: &DataType| cast(array, data_type).map_err(failed);
        Ok(match kind(array.data_type()).as_str() {
            _ if *array.data_type() == DataType::Null => Self::Null,
            "boolean" => Self::Bool(array.as_boolean_opt().ok_or_else(other)?.clone()),
            "bigint" => {
                let array = to(&DataType::Int64)?;
                Self::Int(array.as_primitive_opt::<Int64Type>().ok_or_else(other)?.clone())
            }
            "double" => {
                let array = to(&DataType::Float64)?;
                Self::Float(array.as_primitive_opt::<Float64Type>().ok_or_else(other)?.clone())
            }
            "timestamp" => {
                let array = to(&DataType::Timestamp(TimeUnit::Microsecond, None))?;
                let array = array.as_primitive_opt::<TimestampMicrosecondType>();
                Self::Time(array.ok_or_else(other)?.clone())
            }
            _ => Self::Text(Arc::clone(array)),
        })
    }

    fn cell(&self, row: usize) -> Result<Cell, Error> {
        Ok(match self {
            Self::Bool(array) if array.is_valid(row) => Cell::Bool(array.value(row)),
            Self::Int(array) if array.is_valid(row) => Cell::Int(array.value(row)),
            Self::Float(array) if array.is_valid(row) => Cell::Float(array.value(row)),
            Self::Time(array) if array.is_valid(row) => Cell::Time(Timestamp(array.value(row))),
            Self::Text(array) if array.is_valid(row) => Cell::Text(text(array, row)?),
            Self::Null
            | Self::Bool(_)
            | Self::Int(_)
            | Self::Float(_)
            | Self::Time(_)
            | Self::Text(_) => Cell::Null,
        })
    }
}

fn text(array: &ArrayRef, row: usize) -> Result<String, Error> {
    if let Some(array) = array.as_string_view_opt() {
        return Ok(array.value(row).to_owned());
    }
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(array.as_ref(), &options)
        .map_err(|error| internal("store.answer", error))?;
    Ok(formatter.value(row).to_string())
}

/// An Arrow IPC stream within limits.
pub(crate) struct ArrowBytes {
    writer: StreamWriter<Vec<u8>>,
    schema: SchemaRef,
    limits: QueryLimits,
    rows: usize,
    is_truncated: bool,
}

impl ArrowBytes {
    pub(crate) fn new(schema: &SchemaRef, limits: QueryLimits) -> Result<Self, Error> {
        let schema = Arc::new(plain(schema));
        let writer = StreamWriter::try_new(Vec::new(), &schema);
        let writer = writer.map_err(|error| internal("store.answer", error))?;
        Ok(Self { writer, schema, limits, rows: 0, is_truncated: false })
    }

    /// The bytes, and whether rows are missing.
    pub(crate) fn finish(self) -> Result<(Bytes, bool), Error> {
        let bytes = self.writer.into_inner().map_err(|error| internal("store.answer", error))?;
        Ok((Bytes::from(bytes), self.is_truncated))
    }
}

impl Collect for ArrowBytes {
    fn push(&mut self, batch: &RecordBatch) -> Result<bool, Error> {
        let taken = batch.num_rows().min(self.limits.rows - self.rows.min(self.limits.rows));
        self.is_truncated |= taken < batch.num_rows();
        let mut start = 0;
        while start < taken {
            let count = (taken - start).min(256);
            let before = self.writer.get_ref().len();
            let rows = self.convert(&batch.slice(start, count))?;
            if before + rows_bytes(&rows) > self.limits.bytes {
                self.is_truncated = true;
                return Ok(false);
            }
            self.writer.write(&rows).map_err(|error| internal("store.answer", error))?;
            self.rows += count;
            start += count;
        }
        Ok(!self.is_truncated)
    }
}

impl ArrowBytes {
    fn convert(&self, rows: &RecordBatch) -> Result<RecordBatch, Error> {
        let arrays = rows.columns().iter().zip(self.schema.fields());
        let arrays = arrays.map(|(array, field)| cast(array, field.data_type()));
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        arrays
            .collect::<Result<Vec<_>, _>>()
            .and_then(|arrays| {
                RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)
            })
            .map_err(|error| internal("store.answer", error))
    }
}

/// Text in the form that every reader of Arrow knows; views share buffers and are younger.
#[expect(clippy::wildcard_enum_match_arm, reason = "all other types stay")]
fn plain(schema: &SchemaRef) -> Schema {
    let fields = schema.fields().iter().map(|field| match field.data_type() {
        DataType::Utf8View => field.as_ref().clone().with_data_type(DataType::Utf8),
        DataType::BinaryView => field.as_ref().clone().with_data_type(DataType::Binary),
        _ => field.as_ref().clone(),
    });
    Schema::new(fields.collect::<Vec<_>>())
}

/// The bytes of the rows themselves, without shared buffers.
fn rows_bytes(batch: &RecordBatch) -> usize {
    let of = |array: &ArrayRef| array.to_data().get_slice_memory_size().unwrap_or(usize::MAX);
    batch.columns().iter().map(of).fold(0, usize::saturating_add)
}
