//! Connection events: gathered in memory, written in groups, bounded per device and address.
//!
//! ```text
//!   record ──▶ recent (memory, bounded) ──▶ flush: one job per 512 events ──▶ rows, trimmed
//! ```

mod recent;
mod row;

use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use axle_domain::port::{ConnectionFilter, ConnectionJournal};
use axle_domain::{ConnectionEvent, Error};
use rusqlite::Connection;

use crate::SqliteState;
use crate::failure::Failure;
use recent::Recent;

/// Events of one job: others that wait for the state get their turn in between.
const JOB_EVENTS_MAX: usize = 512;

/// The journal's part in memory.
pub(crate) struct Journal {
    recent: Mutex<Recent>,
    /// Held by the one who writes: whoever comes later finds everything written.
    flushing: tokio::sync::Mutex<()>,
}

impl Journal {
    /// The journal of a file that was just opened.
    pub(crate) fn open(connection: &Connection) -> Result<Self, Failure> {
        let sql = "SELECT coalesce(max(number), 0) FROM connection_event";
        let last: i64 = connection.query_row(sql, [], |row| row.get(0))?;
        let recent = Recent::new(u64::try_from(last).unwrap_or(0).saturating_add(1));
        Ok(Self { recent: Mutex::new(recent), flushing: tokio::sync::Mutex::new(()) })
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl ConnectionJournal for SqliteState {
    fn record(&self, event: ConnectionEvent) {
        if let Some(journal) = &self.journal {
            journal.recent().record(event);
        }
    }

    async fn list_connections(
        &self,
        filter: ConnectionFilter,
    ) -> Result<Vec<ConnectionEvent>, Error> {
        self.flush_connections().await?;
        self.read(move |connection| row::list(connection, &filter)).await
    }

    async fn flush_connections(&self) -> Result<(), Error> {
        let Some(journal) = &self.journal else { return Ok(()) };
        let _alone = journal.flushing.lock().await;
        // What comes while this writes is for the next flush: a storm cannot keep this one busy.
        let mut rest = journal.recent().unwritten_count();
        while rest > 0 {
            let batch = Batch::take(journal, rest.min(JOB_EVENTS_MAX));
            if batch.events.is_empty() {
                break;
            }
            rest = rest.saturating_sub(batch.events.len());
            let events = batch.events.clone();
            let trimmed = self.write(move |writing| row::put(writing.connection, &events)).await?;
            batch.done(trimmed);
        }
        journal.recent().forget_old();
        Ok(())
    }

    fn dropped_connections(&self) -> u64 {
        self.journal.as_ref().map_or(0, |journal| journal.recent().dropped())
    }
}

/// Events on their way to the file. What is dropped without having arrived is tried again.
struct Batch<'a> {
    journal: &'a Journal,
    events: Vec<(u64, ConnectionEvent)>,
}

impl<'a> Batch<'a> {
    fn take(journal: &'a Journal, most: usize) -> Self {
        let events = journal.recent().take_unwritten(most);
        Self { journal, events }
    }

    fn done(mut self, trimmed: u64) {
        self.events.clear();
        self.journal.recent().count_dropped(trimmed);
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        if !self.events.is_empty() {
            self.journal.recent().put_back(self.events.iter().map(|(number, _)| *number));
        }
    }
}
