//! A file that the manifest names, and how its rows are read.

use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{
    Decimal32Type, Float64Type, Int32Type, Schema, SchemaRef, TimestampMicrosecondType,
};
use arrow::error::ArrowError;
use axle_domain::Error;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::arrow::arrow_reader::{
    ArrowPredicateFn, ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder, RowFilter, RowSelection, RowSelector,
};
use parquet::file::metadata::PageIndexPolicy;
use parquet::file::statistics::Statistics;
use sha2::{Digest, Sha256};
use tracing::warn;

use crate::constraint::Constraint;
use crate::decimal;
use crate::failure::{corrupt, internal};
use crate::layout::Layout;
use crate::manifest::{FileEntry, hex};
use crate::merge::BATCH_ROWS;
use crate::range::meet;

/// What is hashed at a time.
const HASH_BYTES: usize = 1 << 20;

/// A file of the store. Once it is doomed it is removed when nobody reads it any more.
#[derive(Debug)]
pub(crate) struct DataFile {
    /// What the manifest says of it.
    pub(crate) entry: FileEntry,
    path: PathBuf,
    footer: Mutex<Option<ArrowReaderMetadata>>,
    is_doomed: AtomicBool,
}

impl DataFile {
    pub(crate) fn new(entry: FileEntry, folder: &std::path::Path) -> Self {
        let path = folder.join(&entry.path);
        Self { entry, path, footer: Mutex::new(None), is_doomed: AtomicBool::new(false) }
    }

    /// Removes the file as soon as its last reader is done.
    pub(crate) fn doom(&self) {
        self.is_doomed.store(true, Ordering::Release);
    }

    fn damaged(&self, error: impl std::fmt::Display) -> Error {
        corrupt("store.file_damaged", format!("telemetry file `{}`: {error}", self.entry.path))
    }

    /// Opens the file; its footer is read once and kept. Before that the whole file is compared
    /// with its checksum, once in a run: pages have none of their own, and what the disk has
    /// changed meanwhile must not be answered as if it were measured.
    fn open(&self, layout: &Layout) -> Result<(File, ArrowReaderMetadata), Error> {
        let mut file = File::open(&self.path).map_err(|error| self.damaged(error))?;
        let mut footer = self.footer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(footer) = footer.as_ref() {
            return Ok((file, footer.clone()));
        }
        let (_bytes, sha256) = digest(&mut file).map_err(|error| self.damaged(error))?;
        if sha256 != self.entry.sha256 {
            return Err(self.damaged("it does not match its checksum; restore it from a backup"));
        }
        let options = ArrowReaderOptions::new()
            .with_schema(Arc::clone(&layout.file))
            .with_page_index_policy(PageIndexPolicy::Required);
        let read =
            ArrowReaderMetadata::load(&file, options).map_err(|error| self.damaged(error))?;
        *footer = Some(read.clone());
        Ok((file, read))
    }

    /// Reads the columns (indexes of the layout, ascending) of rows that may meet the constraint;
    /// the devices and the claimed time are applied exactly, and the time if `with_time`.
    pub(crate) fn scan(
        &self,
        layout: &Arc<Layout>,
        columns: &[usize],
        constraint: &Constraint,
        with_time: bool,
    ) -> Result<FileScan, Error> {
        let (file, footer) = self.open(layout)?;
        let groups = self.groups(&footer, constraint, with_time)?;
        let stored = StoredColumns::new(layout, columns, &footer, &groups);
        let schema = footer.parquet_schema();
        let projection = ProjectionMask::leaves(schema, stored.leaves.iter().copied());
        let pages = self.pages(&footer, &groups, constraint)?;
        let filter = filter(&footer, layout, constraint, with_time);
        let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, footer)
            .with_row_groups(groups)
            .with_projection(projection)
            .with_batch_size(BATCH_ROWS);
        if let Some(pages) = pages {
            builder = builder.with_row_selection(pages);
        }
        if let Some(filter) = filter {
            builder = builder.with_row_filter(filter);
        }
        let reader = builder.build().map_err(|error| self.damaged(error))?;
        let fields: Vec<_> =
            columns.iter().map(|column| layout.memory.field(*column).clone()).collect();
        let schema = Arc::new(Schema::new(fields));
        let name = self.entry.path.clone();
        Ok(FileScan {
            layout: Arc::clone(layout),
            columns: columns.to_vec(),
            stored,
            reader,
            schema,
            name,
        })
    }

    /// Row groups that may hold wanted rows.
    fn groups(
        &self,
        footer: &ArrowReaderMetadata,
        constraint: &Constraint,
        with_time: bool,
    ) -> Result<Vec<usize>, Error> {
        let mut groups = Vec::new();
        for (index, group) in footer.metadata().row_groups().iter().enumerate() {
            let statistics =
                |column: usize| group.columns().get(column).and_then(|c| c.statistics());
            if let Some(Statistics::ByteArray(devices)) = statistics(Layout::DEVICE)
                && let (Some(least), Some(greatest)) = (devices.min_opt(), devices.max_opt())
                && !constraint.may_have_bytes(least.data(), greatest.data())
            {
                continue;
            }
            if with_time
                && let Some(Statistics::Int64(times)) = statistics(Layout::TIME)
                && let (Some(least), Some(greatest)) = (times.min_opt(), times.max_opt())
                && !meet((*least, *greatest), constraint.time)
            {
                continue;
            }
            groups.push(index);
        }
        Ok(groups)
    }

    /// The pages that may hold wanted devices; `None` for all.
    fn pages(
        &self,
        footer: &ArrowReaderMetadata,
        groups: &[usize],
        constraint: &Constraint,
    ) -> Result<Option<RowSelection>, Error> {
        let metadata = footer.metadata();
        let (Some(columns), Some(offsets)) = (metadata.column_index(), metadata.offset_index())
        else {
            return Ok(None);
        };
        if constraint.devices.is_none() || groups.is_empty() {
            return Ok(None);
        }
        let plain = Schema::new(vec![arrow::datatypes::Field::new(
            "device",
            arrow::datatypes::DataType::Utf8,
            false,
        )]);
        let failed = |error| self.damaged(error);
        let converter = StatisticsConverter::try_new("device", &plain, footer.parquet_schema())
            .map_err(failed)?;
        let least = converter.data_page_mins(columns, offsets, groups).map_err(failed)?;
        let greatest = converter.data_page_maxes(columns, offsets, groups).map_err(failed)?;
        let rows = converter
            .data_page_row_counts(offsets, metadata.row_groups(), groups)
            .map_err(failed)?;
        let (Some(least), Some(greatest), Some(rows)) =
            (least.as_string_opt::<i32>(), greatest.as_string_opt::<i32>(), rows)
        else {
            return Ok(None);
        };
        let bound = |texts: &StringArray, page: usize| {
            texts.is_valid(page).then(|| texts.value(page).as_bytes().to_vec())
        };
        let selectors = (0..rows.len()).map(|page| {
            let count = usize::try_from(rows.value(page)).unwrap_or(usize::MAX);
            let wanted = match (bound(least, page), bound(greatest, page)) {
                (Some(least), Some(greatest)) => constraint.may_have_bytes(&least, &greatest),
                _ => true,
            };
            if wanted { RowSelector::select(count) } else { RowSelector::skip(count) }
        });
        Ok(Some(selectors.collect::<Vec<_>>().into()))
    }
}

/// Length and SHA-256, in hexadecimal digits, of a file from where it stands.
pub(crate) fn digest(file: &mut File) -> std::io::Result<(u64, String)> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0_u8; HASH_BYTES];
    let mut bytes = 0_u64;
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok((bytes, hex(&hash.finalize())));
        }
        bytes += count as u64;
        hash.update(buffer.get(..count).unwrap_or_default());
    }
}

impl Drop for DataFile {
    fn drop(&mut self) {
        if self.is_doomed.load(Ordering::Acquire)
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            // It stays behind unlisted; the next start removes it.
            warn!(file = %self.entry.path, %error, "cannot remove a merged telemetry file");
        }
    }
}

/// The rows that meet the constraint, decided before any other column is decoded.
fn filter(
    footer: &ArrowReaderMetadata,
    layout: &Layout,
    constraint: &Constraint,
    with_time: bool,
) -> Option<RowFilter> {
    let schema = footer.parquet_schema();
    let mut predicates: Vec<Box<dyn parquet::arrow::arrow_reader::ArrowPredicate>> = Vec::new();
    if constraint.devices.is_some() {
        let constraint = constraint.clone();
        let mask = ProjectionMask::leaves(schema, [Layout::DEVICE]);
        let predicate = move |batch: RecordBatch| has_device(&batch, &constraint);
        predicates.push(Box::new(ArrowPredicateFn::new(mask, predicate)));
    }
    let time = if with_time { constraint.time } else { Constraint::ALWAYS };
    if time != Constraint::ALWAYS || constraint.claimed != Constraint::ALWAYS {
        let claimed = constraint.claimed;
        let mask = ProjectionMask::leaves(schema, [Layout::TIME, layout.claimed()]);
        let predicate = move |batch: RecordBatch| is_within(&batch, time, claimed);
        predicates.push(Box::new(ArrowPredicateFn::new(mask, predicate)));
    }
    (!predicates.is_empty()).then(|| RowFilter::new(predicates))
}

fn has_device(batch: &RecordBatch, constraint: &Constraint) -> Result<BooleanArray, ArrowError> {
    let other = || ArrowError::SchemaError("`device` is no coded text".to_owned());
    let devices = batch.column(0).as_dictionary_opt::<Int32Type>().ok_or_else(other)?;
    let texts = devices.values().as_string_opt::<i32>().ok_or_else(other)?;
    let wanted: Vec<bool> =
        texts.iter().map(|text| text.is_some_and(|text| constraint.has_device(text))).collect();
    let keys = devices.keys().values().iter();
    let rows =
        keys.map(|key| usize::try_from(*key).is_ok_and(|key| wanted.get(key) == Some(&true)));
    Ok(BooleanArray::from(rows.collect::<Vec<bool>>()))
}

fn is_within(
    batch: &RecordBatch,
    time: (i64, i64),
    claimed: (i64, i64),
) -> Result<BooleanArray, ArrowError> {
    let other = || ArrowError::SchemaError("a time column has another type".to_owned());
    let of = |index: usize| batch.column(index).as_primitive_opt::<TimestampMicrosecondType>();
    let (times, claims) = (of(0).ok_or_else(other)?, of(1).ok_or_else(other)?);
    let rows = times.values().iter().enumerate().map(|(row, at)| {
        let claim = if claims.is_valid(row) { claims.value(row) } else { *at };
        (time.0..=time.1).contains(at) && (claimed.0..=claimed.1).contains(&claim)
    });
    Ok(BooleanArray::from(rows.collect::<Vec<bool>>()))
}

/// Which columns of the file make up the wanted columns.
#[derive(Debug)]
struct StoredColumns {
    /// Indexes of the file's columns, ascending.
    leaves: Vec<usize>,
}

impl StoredColumns {
    fn new(
        layout: &Layout,
        columns: &[usize],
        footer: &ArrowReaderMetadata,
        groups: &[usize],
    ) -> Self {
        let mut leaves: Vec<usize> = columns.to_vec();
        for column in columns {
            if *column == layout.claimed() {
                leaves.push(Layout::TIME);
            }
            if let Some(exact) = layout.exact(*column)
                && !is_all_null(footer, groups, exact)
            {
                leaves.push(exact);
            }
        }
        leaves.sort_unstable();
        leaves.dedup();
        Self { leaves }
    }

    fn place(&self, leaf: usize) -> Option<usize> {
        self.leaves.binary_search(&leaf).ok()
    }
}

fn is_all_null(footer: &ArrowReaderMetadata, groups: &[usize], column: usize) -> bool {
    groups.iter().all(|group| {
        let group = footer.metadata().row_groups().get(*group);
        let statistics = group.and_then(|g| g.columns().get(column)).and_then(|c| c.statistics());
        let rows = group.and_then(|group| u64::try_from(group.num_rows()).ok());
        statistics.is_some_and(|statistics| statistics.null_count_opt() == rows)
    })
}

/// Reads rows of a file in the types of memory.
pub(crate) struct FileScan {
    layout: Arc<Layout>,
    columns: Vec<usize>,
    stored: StoredColumns,
    reader: ParquetRecordBatchReader,
    schema: SchemaRef,
    name: String,
}

impl FileScan {
    fn convert(&self, batch: &RecordBatch) -> Result<RecordBatch, Error> {
        let leaf = |leaf: usize| self.stored.place(leaf).and_then(|p| batch.columns().get(p));
        let other = || {
            let message = format!("telemetry file `{}` has other column types", self.name);
            corrupt("store.file_damaged", message)
        };
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            let array = leaf(*column).ok_or_else(other)?;
            if let Some(scale) = self.layout.scale(*column) {
                let decimals = array.as_primitive_opt::<Decimal32Type>().ok_or_else(other)?;
                let exact = self.layout.exact(*column).and_then(leaf);
                let exact = exact.and_then(|array| array.as_primitive_opt::<Float64Type>());
                arrays.push(Arc::new(decimal::decode(decimals, exact, scale)));
            } else if *column == self.layout.claimed() {
                let times = leaf(Layout::TIME).ok_or_else(other)?;
                arrays.push(claims(times, array).ok_or_else(other)?);
            } else {
                arrays.push(Arc::clone(array));
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)
            .map_err(|error| internal("store.decode", error))
    }
}

/// The claimed time, which stands in `time` where its own column is empty.
fn claims(times: &ArrayRef, claims: &ArrayRef) -> Option<ArrayRef> {
    if claims.null_count() == claims.len() {
        return Some(Arc::clone(times));
    }
    let times = times.as_primitive_opt::<TimestampMicrosecondType>()?;
    let claims = claims.as_primitive_opt::<TimestampMicrosecondType>()?;
    let merged = times.values().iter().enumerate();
    let merged: Vec<i64> = merged
        .map(|(row, time)| if claims.is_valid(row) { claims.value(row) } else { *time })
        .collect();
    Some(Arc::new(TimestampMicrosecondArray::from(merged).with_timezone("UTC")))
}

impl Iterator for FileScan {
    type Item = Result<RecordBatch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = match self.reader.next()? {
            Ok(batch) => batch,
            Err(error) => {
                let message = format!("telemetry file `{}`: {error}", self.name);
                return Some(Err(corrupt("store.file_damaged", message)));
            }
        };
        Some(self.convert(&batch))
    }
}
