//! Decides which runs a question reads, and which of them must meet to drop identical rows.
//!
//! Two runs can hold identical rows only if their devices and their claimed times overlap. Runs
//! that overlap nothing are read straight. Of identical rows the first that arrived stays, and
//! `time` may differ between them where a clock was corrected; so where runs meet, a wish for
//! some `time` must not drop rows before they have met. It is turned into one for `time_claimed`,
//! which identical rows share: a row with `time` in `a..=b` of a run whose shifts are `s..=t`
//! claims a time in `a - t..=b - s`.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use axle_domain::Error;

use crate::chunk::Chunk;
use crate::columns::{Columns, Shape};
use crate::constraint::Constraint;
use crate::data_file::DataFile;
use crate::failure::internal;
use crate::layout::Layout;
use crate::merge::{BATCH_ROWS, Batches, Merge};
use crate::range::{Range, common, meet};

/// All rows of one stream at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    /// The stream's columns.
    pub(crate) layout: Arc<Layout>,
    /// Rows in memory.
    pub(crate) chunks: Vec<Arc<Chunk>>,
    /// Rows in files.
    pub(crate) files: Vec<Arc<DataFile>>,
}

/// Rows that are sorted, or can be.
#[derive(Clone, Debug)]
enum Run {
    File(Arc<DataFile>),
    Memory(Arc<[Arc<Chunk>]>, Arc<Range>),
}

impl Run {
    fn range(&self) -> &Range {
        match self {
            Self::File(file) => &file.entry.range,
            Self::Memory(_, range) => range,
        }
    }

    /// The claimed times of it that a constraint leaves.
    fn claimed(&self, constraint: &Constraint) -> (i64, i64) {
        common(self.range().claimed, constraint.claimed)
    }
}

/// A part of an answer that can be read by itself.
#[derive(Clone, Debug)]
pub(crate) struct Unit {
    runs: Vec<Run>,
    constraint: Constraint,
    is_straight: bool,
}

impl Snapshot {
    /// The units that together hold every row that meets the constraint, each row once.
    /// The devices and the claimed time are met exactly; `time` still has to be looked at.
    pub(crate) fn units(&self, constraint: &Constraint) -> Vec<Unit> {
        if constraint.is_empty() {
            return Vec::new();
        }
        let mut runs: Vec<Run> = self.files.iter().cloned().map(Run::File).collect();
        if !self.chunks.is_empty() {
            let mut range = Range::default();
            self.chunks.iter().for_each(|chunk| range.extend(&chunk.range));
            runs.push(Run::Memory(self.chunks.iter().cloned().collect(), Arc::new(range)));
        }
        let mut units = Vec::new();
        narrow(runs, constraint, 0, &mut units);
        units
    }
}

/// Splits runs into groups that share nothing, narrowing the claimed time as far as it goes.
fn narrow(runs: Vec<Run>, constraint: &Constraint, depth: usize, units: &mut Vec<Unit>) {
    let wanted = |run: &Run| {
        let range = run.range();
        let (least, greatest) = &range.device;
        let claimed = run.claimed(constraint);
        claimed.0 <= claimed.1 && constraint.may_have_bytes(least.as_bytes(), greatest.as_bytes())
    };
    let runs: Vec<Run> = runs.into_iter().filter(wanted).collect();
    for group in sweep(runs, constraint).into_iter().flat_map(|group| groups(group, constraint)) {
        let straight = matches!(group.as_slice(), [Run::File(_)]);
        if straight {
            if group.iter().all(|run| meet(run.range().time, constraint.time)) {
                units.push(Unit { runs: group, constraint: constraint.clone(), is_straight: true });
            }
            continue;
        }
        let Some(claimed) = claimed_of(&group, constraint) else { continue };
        let mut narrower = constraint.clone();
        narrower.keep_claimed(claimed);
        let is_narrower = narrower.claimed != constraint.claimed && group.len() > 1;
        if is_narrower && depth < 3 {
            narrow(group, &narrower, depth + 1, units);
        } else {
            units.push(Unit { runs: group, constraint: narrower, is_straight: false });
        }
    }
}

/// The claimed times that rows with a wanted time can have in these runs.
fn claimed_of(runs: &[Run], constraint: &Constraint) -> Option<(i64, i64)> {
    if constraint.time == Constraint::ALWAYS {
        return Some(constraint.claimed);
    }
    let of = |run: &Run| {
        let range = run.range();
        let time = common(range.time, constraint.time);
        let claimed = (time.0.saturating_sub(range.shift.1), time.1.saturating_sub(range.shift.0));
        let claimed = common(claimed, run.claimed(constraint));
        (time.0 <= time.1 && claimed.0 <= claimed.1).then_some(claimed)
    };
    let claims = runs.iter().filter_map(of);
    claims.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
}

/// Groups of runs such that runs of different groups share no claimed time, for many files.
fn sweep(mut runs: Vec<Run>, constraint: &Constraint) -> Vec<Vec<Run>> {
    runs.sort_by_key(|run| run.claimed(constraint).0);
    let mut groups: Vec<Vec<Run>> = Vec::new();
    let mut until = None;
    for run in runs {
        let claimed = run.claimed(constraint);
        let touches = until.is_some_and(|until| claimed.0 <= until);
        until = Some(until.map_or(claimed.1, |until: i64| until.max(claimed.1)));
        match groups.last_mut() {
            Some(group) if touches => group.push(run),
            _ => groups.push(vec![run]),
        }
    }
    groups
}

/// Groups of runs such that runs of different groups share no device or no claimed time.
fn groups(runs: Vec<Run>, constraint: &Constraint) -> Vec<Vec<Run>> {
    let mut groups: Vec<Vec<Run>> = Vec::new();
    for run in runs {
        let overlaps = |other: &Run| {
            let (mine, theirs) = (&run.range().device, &other.range().device);
            mine.0 <= theirs.1
                && theirs.0 <= mine.1
                && meet(run.claimed(constraint), other.claimed(constraint))
        };
        let (touching, mut apart): (Vec<_>, Vec<_>) =
            groups.into_iter().partition(|group| group.iter().any(overlaps));
        let mut group: Vec<Run> = touching.into_iter().flatten().collect();
        group.push(run);
        apart.push(group);
        groups = apart;
    }
    groups
}

impl Unit {
    /// How many rows it may have, at most.
    pub(crate) fn rows_max(&self) -> u64 {
        self.runs.iter().map(|run| run.range().rows).sum()
    }

    /// Reads the wanted columns (indexes of the layout, ascending).
    pub(crate) fn read(&self, layout: &Arc<Layout>, wanted: &[usize]) -> Result<Batches, Error> {
        if let ([Run::File(file)], true) = (self.runs.as_slice(), self.is_straight) {
            return Ok(Box::new(file.scan(layout, wanted, &self.constraint, true)?));
        }
        let shape = Shape::for_wanted(layout, wanted);
        let mut sources: Vec<Batches> = Vec::with_capacity(self.runs.len());
        for run in &self.runs {
            sources.push(match run {
                Run::File(file) => {
                    Box::new(file.scan(layout, &shape.columns, &self.constraint, false)?)
                }
                Run::Memory(chunks, _) => {
                    Box::new(SortedMemory::new(layout, &shape, chunks, &self.constraint)?)
                }
            });
        }
        let places: Vec<usize> =
            wanted.iter().filter_map(|c| shape.columns.iter().position(|s| s == c)).collect();
        let merged: Batches = match sources.pop() {
            Some(only) if sources.is_empty() => only,
            Some(last) => {
                sources.push(last);
                Box::new(Merge::new(layout, shape, sources))
            }
            None => Box::new(std::iter::empty()),
        };
        let project = move |batch: Result<RecordBatch, Error>| {
            batch?.project(&places).map_err(|error| internal("store.scan", error))
        };
        Ok(Box::new(merged.map(project)))
    }
}

/// Rows of memory, chosen, sorted and without identical ones.
struct SortedMemory {
    sources: Vec<Columns>,
    places: Vec<usize>,
    schema: arrow::datatypes::SchemaRef,
    order: Vec<u64>,
    next: usize,
}

impl SortedMemory {
    fn new(
        layout: &Layout,
        shape: &Shape,
        chunks: &[Arc<Chunk>],
        constraint: &Constraint,
    ) -> Result<Self, Error> {
        let sources: Vec<Columns> = chunks.iter().map(|chunk| chunk.columns.clone()).collect();
        let chosen: Option<Vec<Vec<u32>>> = is_choosy(constraint)
            .then(|| chunks.iter().map(|chunk| choose(layout, chunk, constraint)).collect());
        let sorted = crate::sort::sort(&Shape::full(layout), &sources, chosen.as_deref());
        let fields: Vec<_> =
            shape.columns.iter().map(|column| layout.memory.field(*column).clone()).collect();
        let places = shape.columns.clone();
        let schema = Arc::new(Schema::new(fields));
        Ok(Self { sources, places, schema, order: sorted.order, next: 0 })
    }
}

fn is_choosy(constraint: &Constraint) -> bool {
    constraint.devices.is_some() || constraint.claimed != Constraint::ALWAYS
}

/// The rows of a chunk that meet the devices and the claimed time.
fn choose(layout: &Layout, chunk: &Chunk, constraint: &Constraint) -> Vec<u32> {
    let range = &chunk.range;
    let is_within = |claimed: &i64| (constraint.claimed.0..=constraint.claimed.1).contains(claimed);
    if !meet(range.claimed, constraint.claimed) {
        return Vec::new();
    }
    let claims = chunk.columns.times(layout.claimed());
    let all_within = is_within(&range.claimed.0) && is_within(&range.claimed.1);
    let rows = (0_u32..).zip(claims);
    let Some(devices) = chunk.columns.text(Layout::DEVICE).filter(|_| constraint.devices.is_some())
    else {
        return rows.filter(|(_, claimed)| is_within(claimed)).map(|(row, _)| row).collect();
    };
    let (least, greatest) = &range.device;
    if !constraint.may_have_bytes(least.as_bytes(), greatest.as_bytes()) {
        return Vec::new();
    }
    let wanted: Vec<bool> =
        devices.texts.iter().map(|text| text.is_some_and(|t| constraint.has_device(t))).collect();
    if !wanted.contains(&true) {
        return Vec::new();
    }
    let is_wanted = |code: &i32| usize::try_from(*code).is_ok_and(|c| wanted.get(c) == Some(&true));
    let mut chosen = Vec::new();
    if let Some(only) = the_only(&wanted) {
        // One device: compare codes, which the compiler does many at a time.
        for (block, codes) in (0_u32..).step_by(64).zip(devices.codes.chunks(64)) {
            if codes.iter().fold(false, |found, code| found | (*code == only)) {
                let rows = (block..).zip(codes).filter(|(_, code)| **code == only);
                chosen.extend(rows.map(|(row, _)| row));
            }
        }
    } else {
        let rows = (0_u32..).zip(devices.codes.iter()).filter(|(_, code)| is_wanted(code));
        chosen.extend(rows.map(|(row, _)| row));
    }
    if !all_within {
        chosen.retain(|row| claims.get(*row as usize).is_some_and(is_within));
    }
    chosen
}

/// The code of the only wanted text, if there is just one.
fn the_only(wanted: &[bool]) -> Option<i32> {
    let mut codes = wanted.iter().enumerate().filter(|(_, wanted)| **wanted).map(|(code, _)| code);
    let first = codes.next()?;
    if codes.next().is_some() {
        return None;
    }
    i32::try_from(first).ok()
}

impl Iterator for SortedMemory {
    type Item = Result<RecordBatch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let end = self.order.len().min(self.next + BATCH_ROWS);
        let rows = self.order.get(self.next..end).filter(|rows| !rows.is_empty())?;
        let batch = crate::gather::gather(&self.sources, &self.places, rows, &self.schema);
        self.next = end;
        Some(batch)
    }
}
