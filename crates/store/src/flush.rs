//! Brings recent rows into files: sort, drop identical rows, split by day, encode, commit.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use axle_domain::Error;
use chrono::{DateTime, Datelike};
use tracing::{debug, error};

use crate::chunk::Chunk;
use crate::columns::{Columns, RowRef, Shape, split};
use crate::data_file::DataFile;
use crate::encode::{FileWriter, Written};
use crate::failure::io;
use crate::gather::gather;
use crate::layout::Layout;
use crate::manifest::{FileEntry, Manifest, Tier, hex, sync_folder};
use crate::sort::sort;
use crate::store::{Shared, poisoned};

const DAY: i64 = 24 * 3600 * 1_000_000;
/// A row that arrives longer after its time than this goes into a side file of its month, lest a
/// flush touch a hundred old days or a day's file span a year.
const LATE_FROM: i64 = 2 * DAY;
/// So does a row whose clock was off by more: it would widen what planning must read.
const SHIFT_MAX: i64 = DAY;
/// Rows that are copied and encoded at a time.
const SLICE_ROWS: usize = 64 * 1024;
/// How long to wait after a flush that failed.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The flush thread.
pub(crate) fn run(shared: &Shared) {
    let mut last = Instant::now();
    // A disk that refuses is not asked in a tight loop, however full memory is.
    let mut has_failed = false;
    loop {
        let ticket = {
            let mut state = shared.state();
            loop {
                if state.is_closed {
                    let asked = state.asked;
                    drop(state);
                    shared.announce(asked, Some("the telemetry store is closed".to_owned()));
                    return;
                }
                let interval = if has_failed {
                    shared.settings.flush_interval.min(RETRY_AFTER)
                } else {
                    shared.settings.flush_interval
                };
                let wait = interval.saturating_sub(last.elapsed());
                let is_due = !has_failed && state.is_flush_due(&shared.settings);
                if state.asked > state.done || is_due || wait.is_zero() {
                    break state.asked;
                }
                let waited = shared.wake.wait_timeout(state, wait);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        };
        last = Instant::now();
        let result = flush(shared);
        if let Err(error) = &result {
            error!(error = %error.chain(), "flushing telemetry failed");
        }
        has_failed = result.is_err();
        shared.state().done = ticket;
        shared.announce(ticket, result.err().map(|error| error.message));
        // Others wait for files to merge.
        shared.wake.notify_all();
        debug!(elapsed_ms = last.elapsed().as_millis(), "flushed telemetry");
    }
}

/// One flush.
fn flush(shared: &Shared) -> Result<(), Error> {
    let (snapshot, through, position) = {
        let mut state = shared.state();
        if let Some(reason) = &state.poison {
            return Err(poisoned(reason));
        }
        let mut snapshot: BTreeMap<String, Vec<Arc<Chunk>>> = BTreeMap::new();
        for (name, stream) in &mut state.streams {
            stream.flushing.append(&mut stream.active);
            if !stream.flushing.is_empty() {
                snapshot.insert(name.clone(), stream.flushing.clone());
            }
        }
        (snapshot, state.through, state.position)
    };
    if snapshot.is_empty() && through == position {
        return Ok(());
    }
    let mut made = Made::default();
    let mut manifest = shared.commit.lock().unwrap_or_else(PoisonError::into_inner);
    let mut next_file = manifest.next_file;
    let mut result = Ok(());
    for (name, chunks) in &snapshot {
        let Some(layout) = shared.layouts.get(name) else { continue };
        result = write_stream(shared, layout, chunks, &mut next_file, &mut made);
        if result.is_err() {
            break;
        }
    }
    let result = result.and_then(|()| commit(shared, &mut manifest, &made, through, next_file));
    if result.is_err() {
        // What was not committed stays in memory, and another flush writes it anew. Files that a
        // manifest may name after all stay too; the next start removes them if it does not.
        if shared.state().poison.is_none() {
            made.files.iter().for_each(|entry| {
                std::fs::remove_file(shared.folder.join(&entry.path)).ok();
            });
        }
        let mut state = shared.state();
        for stream in state.streams.values_mut() {
            let newer = std::mem::take(&mut stream.active);
            stream.active.append(&mut stream.flushing);
            stream.active.extend(newer);
        }
    }
    result
}

/// What a flush has written so far.
#[derive(Default)]
struct Made {
    files: Vec<FileEntry>,
    collapsed: u64,
}

fn commit(
    shared: &Shared,
    manifest: &mut Manifest,
    made: &Made,
    through: u64,
    next_file: u64,
) -> Result<(), Error> {
    let mut next = manifest.clone();
    next.position = next.position.max(through);
    next.collapsed_rows += made.collapsed;
    next.next_file = next_file;
    next.files.extend(made.files.iter().cloned());
    next.write(&shared.folder).map_err(|error| shared.give_up_if_open(error))?;
    *manifest = next;
    let mut state = shared.state();
    state.position = manifest.position;
    state.collapsed = manifest.collapsed_rows;
    for stream in state.streams.values_mut() {
        stream.flushing.clear();
    }
    for entry in &made.files {
        let file = Arc::new(DataFile::new(entry.clone(), &shared.folder));
        state.streams.entry(entry.stream.clone()).or_default().files.push(file);
    }
    Ok(())
}

fn write_stream(
    shared: &Shared,
    layout: &Layout,
    chunks: &[Arc<Chunk>],
    next_file: &mut u64,
    made: &mut Made,
) -> Result<(), Error> {
    let sources: Vec<Columns> = chunks.iter().map(|chunk| chunk.columns.clone()).collect();
    let sorted = sort(&Shape::full(layout), &sources, None);
    made.collapsed += sorted.collapsed;
    for ((tier, period), order) in split_by_period(layout, &sources, sorted.order) {
        let place = Place { layout, tier, period };
        let path = place.path(*next_file);
        *next_file += 1;
        let full = prepare(&shared.folder, &path)?;
        let mut writer = FileWriter::create(layout, &full)?;
        let places: Vec<usize> = (0..layout.width()).collect();
        for rows in order.chunks(SLICE_ROWS) {
            writer.write(&gather(&sources, &places, rows, &layout.memory)?)?;
        }
        made.files.push(place.entry(path, writer.finish()?));
        sync_parent(&full)?;
    }
    Ok(())
}

/// Where rows of one stream, tier and period go.
pub(crate) struct Place<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) tier: Tier,
    pub(crate) period: String,
}

impl Place<'_> {
    /// The path of a file below the store's folder.
    pub(crate) fn path(&self, number: u64) -> String {
        let (stream, period) = (self.layout.name(), &self.period);
        match self.tier {
            Tier::Recent => format!("{stream}/day={period}/flush-{number}.parquet"),
            Tier::Settled => format!("{stream}/settled/day={period}/settled-{number}.parquet"),
            Tier::Late => format!("{stream}/late/month={period}/late-{number}.parquet"),
        }
    }

    /// What the manifest says of a finished file.
    pub(crate) fn entry(&self, path: String, written: Written) -> FileEntry {
        FileEntry {
            path,
            stream: self.layout.name().to_owned(),
            tier: self.tier,
            period: self.period.clone(),
            range: written.range,
            bytes: written.bytes,
            sha256: hex(&written.sha256),
        }
    }
}

/// Makes the folders of a file and clears away what a failed flush left under its name.
pub(crate) fn prepare(folder: &Path, path: &str) -> Result<std::path::PathBuf, Error> {
    let full = folder.join(path);
    let mut missing = Vec::new();
    let mut parent = full.parent();
    while let Some(folder) = parent.filter(|folder| !folder.exists()) {
        missing.push(folder.to_owned());
        parent = folder.parent();
    }
    for folder in missing.iter().rev() {
        std::fs::create_dir(folder).map_err(|error| io("create a folder of the store", error))?;
        sync_parent(folder)?;
    }
    match std::fs::remove_file(&full) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(io("remove an unfinished telemetry file", error))
        }
        _ => Ok(full),
    }
}

/// Brings the name of a file or folder to disk.
pub(crate) fn sync_parent(path: &Path) -> Result<(), Error> {
    path.parent().map_or(Ok(()), sync_folder)
}

/// Rows by tier and period, each in the order they had.
fn split_by_period(
    layout: &Layout,
    sources: &[Columns],
    order: Vec<RowRef>,
) -> BTreeMap<(Tier, String), Vec<RowRef>> {
    let mut by_bucket: BTreeMap<Bucket, Vec<RowRef>> = BTreeMap::new();
    let columns = |place| sources.iter().map(|source| source.times(place)).collect::<Vec<_>>();
    let (times, claims, received) =
        (columns(Layout::TIME), columns(layout.claimed()), columns(layout.received()));
    let pick = |columns: &[&[i64]], row: RowRef| {
        let (source, row) = split(row);
        columns.get(source).and_then(|column| column.get(row)).copied().unwrap_or(0)
    };
    let bucket = |row: RowRef| bucket(pick(&times, row), pick(&claims, row), pick(&received, row));
    // Nearly always all rows are of one day.
    let first = order.first().map(|row| bucket(*row));
    match first {
        Some(first) if order.iter().all(|row| bucket(*row) == first) => {
            by_bucket.insert(first, order);
        }
        _ => order.into_iter().for_each(|row| by_bucket.entry(bucket(row)).or_default().push(row)),
    }
    let mut by_period: BTreeMap<(Tier, String), Vec<RowRef>> = BTreeMap::new();
    for (bucket, rows) in by_bucket {
        by_period.insert(bucket.period(), rows);
    }
    by_period
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Bucket {
    /// Days since the epoch.
    Day(i64),
    /// Months since year 0.
    Late(i64),
}

fn bucket(time: i64, claimed: i64, received: i64) -> Bucket {
    let age = received.saturating_sub(time);
    let shift = time.saturating_sub(claimed);
    let is_late = age.saturating_abs() > LATE_FROM || shift.saturating_abs() > SHIFT_MAX;
    if is_late { Bucket::Late(month(time)) } else { Bucket::Day(time.div_euclid(DAY)) }
}

fn month(time: i64) -> i64 {
    DateTime::from_timestamp_micros(time)
        .map_or(0, |time| i64::from(time.year()) * 12 + i64::from(time.month0()))
}

impl Bucket {
    fn period(self) -> (Tier, String) {
        match self {
            Self::Day(day) => {
                let time = DateTime::from_timestamp_micros(day.saturating_mul(DAY));
                let text = time.map(|time| time.format("%Y-%m-%d").to_string());
                (Tier::Recent, text.unwrap_or_else(|| "0000-00-00".to_owned()))
            }
            Self::Late(month) => {
                let (year, month) = (month.div_euclid(12), month.rem_euclid(12) + 1);
                (Tier::Late, format!("{year:04}-{month:02}"))
            }
        }
    }
}
