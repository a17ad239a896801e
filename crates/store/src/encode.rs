//! Writes sorted rows into a Parquet file.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Float64Type, TimestampMicrosecondType};
use axle_domain::Error;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;
use sha2::{Digest, Sha256};

use crate::columns::Columns;
use crate::decimal;
use crate::failure::{internal, io};
use crate::layout::Layout;
use crate::range::Range;

/// Rows of a row group.
pub(crate) const ROW_GROUP_ROWS: usize = 128 * 1024;
/// Rows of a page, the least that a question for one device decodes.
const PAGE_ROWS: usize = 8192;

/// A finished file.
#[derive(Debug)]
pub(crate) struct Written {
    /// What its rows span.
    pub(crate) range: Range,
    /// Its length.
    pub(crate) bytes: u64,
    /// The SHA-256 of its bytes.
    pub(crate) sha256: [u8; 32],
}

/// A file that is being written.
pub(crate) struct FileWriter<'a> {
    layout: &'a Layout,
    writer: ArrowWriter<Hashing>,
    range: Range,
}

impl<'a> FileWriter<'a> {
    /// Creates the file, which must not exist.
    pub(crate) fn create(layout: &'a Layout, path: &Path) -> Result<Self, Error> {
        let file = File::create_new(path).map_err(|error| io("create a telemetry file", error))?;
        let hashing = Hashing { file: BufWriter::new(file), hash: Sha256::new(), bytes: 0 };
        let schema = Arc::clone(&layout.file);
        let writer = ArrowWriter::try_new(hashing, schema, Some(properties(layout)))
            .map_err(|error| internal("store.encode", error))?;
        Ok(Self { layout, writer, range: Range::default() })
    }

    /// Adds rows, which must follow those before in the order of [`crate::columns::Shape`].
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let columns = Columns::of(batch)?;
        let mut range = Range::of(self.layout, &columns);
        // Sorted by device: the ends are the bounds, whatever else the dictionary holds.
        if let Some(devices) = columns.text(Layout::DEVICE) {
            let text = |row| devices.get(row).unwrap_or("").to_owned();
            range.device = (text(0), text(columns.rows - 1));
        }
        self.range.extend(&range);
        let stored = to_file(self.layout, batch)?;
        self.writer.write(&stored).map_err(write_failed)
    }

    /// Writes the footer and brings everything to disk.
    pub(crate) fn finish(self) -> Result<Written, Error> {
        let hashing = self.writer.into_inner().map_err(write_failed)?;
        let failed = |error| io("write a telemetry file", error);
        let file = hashing.file.into_inner().map_err(|error| failed(error.into_error()))?;
        file.sync_all().map_err(failed)?;
        let sha256 = hashing.hash.finalize().into();
        Ok(Written { range: self.range, bytes: hashing.bytes, sha256 })
    }
}

fn write_failed(error: parquet::errors::ParquetError) -> Error {
    Error::unavailable("store.io", format!("cannot write a telemetry file: {error}"))
        .with_source(error)
}

/// Counts and hashes what goes into the file.
struct Hashing {
    file: BufWriter<File>,
    hash: Sha256,
    bytes: u64,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all(bytes)?;
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn properties(layout: &Layout) -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_created_by("axle".to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_write_batch_size(PAGE_ROWS)
        .set_sorting_columns(Some(sorting(layout)));
    for (index, field) in layout.file.fields().iter().enumerate() {
        let path = ColumnPath::from(field.name().as_str());
        if matches!(field.data_type(), DataType::Dictionary(..)) {
            properties = properties.set_column_dictionary_enabled(path.clone(), true);
        } else if matches!(field.data_type(), DataType::Timestamp(..) | DataType::Decimal32(..)) {
            properties =
                properties.set_column_encoding(path.clone(), Encoding::DELTA_BINARY_PACKED);
        }
        if index <= Layout::TIME || layout.keys().contains(&index) {
            let pages = EnabledStatistics::Page;
            properties = properties.set_column_statistics_enabled(path, pages);
        }
    }
    properties.build()
}

/// Device, then keys; then claimed time, which stands in two columns and cannot be named here.
fn sorting(layout: &Layout) -> Vec<SortingColumn> {
    let columns = std::iter::once(Layout::DEVICE).chain(layout.keys());
    columns
        .filter_map(|column| i32::try_from(column).ok())
        .map(|column_idx| SortingColumn { column_idx, descending: false, nulls_first: true })
        .collect()
}

/// Rows as files hold them.
fn to_file(layout: &Layout, batch: &RecordBatch) -> Result<RecordBatch, Error> {
    let mut arrays: Vec<ArrayRef> = Vec::with_capacity(layout.file.fields().len());
    let mut exact: Vec<ArrayRef> = Vec::new();
    for (index, array) in batch.columns().iter().enumerate() {
        if let (Some(scale), Some(numbers)) =
            (layout.scale(index), array.as_primitive_opt::<Float64Type>())
        {
            let (decimals, rest) = decimal::encode(numbers, scale)?;
            arrays.push(Arc::new(decimals));
            exact.push(Arc::new(rest));
        } else if index == layout.claimed() {
            arrays.push(claimed_where_it_differs(batch, array)?);
        } else {
            arrays.push(Arc::clone(array));
        }
    }
    arrays.extend(exact);
    RecordBatch::try_new(Arc::clone(&layout.file), arrays)
        .map_err(|error| internal("store.encode", error))
}

fn claimed_where_it_differs(batch: &RecordBatch, claimed: &ArrayRef) -> Result<ArrayRef, Error> {
    let times = batch.column(Layout::TIME).as_primitive_opt::<TimestampMicrosecondType>();
    let claims = claimed.as_primitive_opt::<TimestampMicrosecondType>();
    let (Some(times), Some(claims)) = (times, claims) else {
        return Err(Error::internal("store.encode", "a time column has another type"));
    };
    let differs = times.values().iter().zip(claims.values()).map(|(time, claim)| time != claim);
    let differs: BooleanArray = BooleanArray::from(differs.collect::<Vec<bool>>());
    let nulls = arrow::buffer::NullBuffer::new(differs.values().clone());
    let claims = TimestampMicrosecondArray::new(claims.values().clone(), Some(nulls));
    Ok(Arc::new(claims.with_timezone("UTC")))
}
