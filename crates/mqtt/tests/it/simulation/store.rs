//! A store of rows of which some are on disk and some in memory alone.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use axle_domain::port::{Answer, History, Query, StoreFigures, Table, TelemetryStore};
use axle_domain::{Column, Error, Offset, RowBatch};

use super::chance::Chance;
use super::planted::Planted;
use super::ports::failed;

/// A store of rows by their identity: those on disk, and those in memory alone.
pub(super) struct SimStore {
    rows: Mutex<Rows>,
    planted: Option<Planted>,
}

#[derive(Default)]
struct Rows {
    flushed: BTreeMap<String, u64>,
    position: Offset,
    recent: BTreeMap<String, u64>,
    through: Offset,
    /// What `through` was before the last write.
    before: Offset,
    chance: Option<Chance>,
}

impl SimStore {
    pub(super) fn new(seed: u64, planted: Option<Planted>) -> Self {
        let rows = Rows { chance: Some(Chance::new(seed)), ..Rows::default() };
        Self { rows: Mutex::new(rows), planted }
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap()
    }

    /// Forgets what is in memory alone.
    pub(super) fn end(&self) {
        let mut rows = self.rows();
        rows.recent.clear();
        (rows.before, rows.through) = (rows.position, rows.position);
    }

    /// Every row, and how often a query would see it.
    pub(super) fn visible(&self) -> BTreeMap<String, u64> {
        let rows = self.rows();
        let mut all = rows.flushed.clone();
        for (row, count) in &rows.recent {
            self.add(&mut all, row.clone(), *count);
        }
        all
    }

    fn add(&self, rows: &mut BTreeMap<String, u64>, row: String, count: u64) {
        let known = rows.entry(row).or_insert(0);
        *known = match self.planted {
            Some(Planted::KeepDoublets) => *known + count,
            _ => 1,
        };
    }

    fn flush_rows(&self, rows: &mut Rows) {
        // A store may have more on disk than its position says: then it is written again.
        let is_modest = rows.chance.as_mut().is_some_and(|chance| chance.one_in(2));
        rows.position = if is_modest { rows.before.max(rows.position) } else { rows.through };
        if self.planted == Some(Planted::FlushEarly) {
            return;
        }
        for (row, count) in std::mem::take(&mut rows.recent) {
            self.add(&mut rows.flushed, row, count);
        }
    }
}

/// The rows of a batch as texts that say who they are.
fn identities(batch: &RowBatch) -> Vec<String> {
    let value = |row: usize| {
        let of = |column: &Column| match column {
            Column::Float(column) => column.valid[row].then(|| column.values[row].to_string()),
            Column::Bool(column) => column[row].map(|truth| truth.to_string()),
            Column::Text(column) => {
                column.valid[row].then(|| column.texts.get(row).unwrap().to_owned())
            }
        };
        batch.values.iter().filter_map(of).collect::<Vec<_>>().join(",")
    };
    let identity = |row: usize| {
        let device = batch.device.get(row).unwrap();
        format!("{} {device} {} {}", batch.schema.name, batch.time_claimed[row], value(row))
    };
    (0..batch.len()).map(identity).collect()
}

#[async_trait]
impl TelemetryStore for SimStore {
    async fn write(&self, batches: Vec<RowBatch>, through: Offset) -> Result<(), Error> {
        let mut rows = self.rows();
        for batch in &batches {
            for row in identities(batch) {
                let mut recent = std::mem::take(&mut rows.recent);
                self.add(&mut recent, row, 1);
                rows.recent = recent;
            }
        }
        (rows.before, rows.through) = (rows.through, rows.through.max(through));
        if rows.chance.as_mut().is_some_and(|chance| chance.one_in(3)) {
            self.flush_rows(&mut rows);
        }
        Ok(())
    }

    fn position(&self) -> Offset {
        self.rows().position
    }

    async fn flush(&self) -> Result<(), Error> {
        self.flush_rows(&mut self.rows());
        Ok(())
    }

    async fn query(&self, _query: Query) -> Result<Answer, Error> {
        Err(failed())
    }

    async fn history(&self, _history: History) -> Result<(Table, bool), Error> {
        Err(failed())
    }

    fn figures(&self) -> StoreFigures {
        StoreFigures::default()
    }

    async fn close(&self) -> Result<(), Error> {
        Ok(())
    }
}
