//! Whether the projections are what a replay of the log gives.

use std::path::Path;

use axle_app::{Reached, Replay};
use axle_domain::port::Record;
use axle_domain::{Error, Offset, Schemas, Timestamp};
use axle_log::{Entry, LogFolder};
use axle_state::StateAudit;
use axle_store::{StoreAudit, StorePass};

/// Records and bytes of payload that are understood at once.
const RECORDS_MAX: usize = 4096;
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// What a comparison has seen.
#[derive(Debug, Default)]
pub(super) struct Compared {
    /// Records that were replayed.
    pub(super) records: u64,
    /// Rows that they hold, for the store.
    pub(super) rows: u64,
    /// Whether every record since the beginning was there, so that everything must be equal.
    pub(super) is_whole: bool,
    /// What differs, one sentence each.
    pub(super) findings: Vec<String>,
}

/// Replays what is kept of the log and compares store and state with it.
///
/// # Errors
/// Those of the three parts, where one cannot be read at all.
pub(super) fn compare(dir: &Path) -> Result<Compared, Error> {
    let schemas = Schemas::builtin();
    let folder = LogFolder::open(&dir.join("log"))?;
    let store = StoreAudit::open(&dir.join("store"), &schemas)?;
    let state = StateAudit::open(&dir.join("state.db"))?;
    let mut compared = Compared { is_whole: folder.first() == Offset(0), ..Compared::default() };
    let positions = (store.position(), state.position());
    bounds(&mut compared, folder.first(), positions);

    let mut first_pass = Pass::new(&folder, &schemas, positions);
    let (mut rows, mut state) = (store.begin(), Some(state));
    first_pass.run(&mut rows, state.as_mut())?;
    compared.records = first_pass.records;
    compared.rows = first_pass.rows;
    compared.is_whole &= !first_pass.is_damaged;
    end(&mut compared, first_pass.next, positions);
    if let Some(state) = state {
        let gathered = first_pass.replay.finish();
        compared.findings.extend(state.finish(&gathered, folder.first(), compared.is_whole)?);
    }
    let parts = rows.parts();
    compared.findings.extend(rows.finish(compared.is_whole)?);
    for part in 1..parts {
        let mut rows = store.pass(part, parts);
        Pass::new(&folder, &schemas, positions).run(&mut rows, None)?;
        compared.findings.extend(rows.finish(compared.is_whole)?);
    }
    Ok(compared)
}

fn bounds(compared: &mut Compared, first: Offset, (store, state): (Offset, Offset)) {
    for (name, position) in [("store", store), ("state", state)] {
        if position < first {
            compared.findings.push(format!(
                "the log begins at offset {first}, but the {name} has it only up to {position}: \
                 what lies between is gone"
            ));
        }
    }
}

fn end(compared: &mut Compared, next: Offset, (store, state): (Offset, Offset)) {
    for (name, position) in [("store", store), ("state", state)] {
        if position > next {
            compared.findings.push(format!(
                "the log ends at offset {next}, but the {name} is at {position}: part of the log \
                 is missing"
            ));
        }
    }
}

/// One walk through the log.
struct Pass<'a> {
    folder: &'a LogFolder,
    positions: (Offset, Offset),
    replay: Replay<'a>,
    records: u64,
    rows: u64,
    next: Offset,
    is_damaged: bool,
}

impl<'a> Pass<'a> {
    fn new(folder: &'a LogFolder, schemas: &'a Schemas, positions: (Offset, Offset)) -> Self {
        Self {
            folder,
            positions,
            replay: Replay::new(schemas),
            records: 0,
            rows: 0,
            next: folder.first(),
            is_damaged: false,
        }
    }

    fn run(
        &mut self,
        rows: &mut StorePass<'_>,
        mut state: Option<&mut StateAudit>,
    ) -> Result<(), Error> {
        let mut stretch: Vec<Record> = Vec::new();
        let mut bytes = 0;
        for entry in self.folder.entries(self.folder.first()) {
            match entry? {
                Entry::Record(record, length) => {
                    let begun = stretch.first().map(|first| self.reached(first.offset));
                    let is_full = stretch.len() >= RECORDS_MAX || bytes >= BYTES_MAX;
                    if is_full || begun.is_some_and(|it| it != self.reached(record.offset)) {
                        self.take(&stretch, rows, state.as_deref_mut())?;
                        stretch.clear();
                        bytes = 0;
                    }
                    bytes += length;
                    self.next = record.offset.next();
                    stretch.push(*record);
                }
                Entry::Damaged(_) => self.is_damaged = true,
                Entry::Torn(_) => {}
            }
        }
        self.take(&stretch, rows, state)
    }

    fn reached(&self, offset: Offset) -> Reached {
        let (store, state) = self.positions;
        Reached { store: offset < store, state: offset < state }
    }

    fn take(
        &mut self,
        stretch: &[Record],
        rows: &mut StorePass<'_>,
        state: Option<&mut StateAudit>,
    ) -> Result<(), Error> {
        let (Some(first), Some(last)) = (stretch.first(), stretch.last()) else { return Ok(()) };
        let reached = self.reached(first.offset);
        let newest: Timestamp = last.received_at;
        self.records += stretch.len() as u64;
        let (batches, changes) = self.replay.stretch(stretch, reached);
        for batch in batches {
            self.rows += batch.len() as u64;
            rows.take(batch)?;
        }
        match state {
            Some(state) if reached.state => state.take(&changes, newest),
            _ => Ok(()),
        }
    }
}
