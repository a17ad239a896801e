//! A telemetry store that keeps what it is given and answers no question.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use axle_domain::port::{Answer, History, Query, StoreFigures, Table, TelemetryStore};
use axle_domain::{Error, Offset, RowBatch};

/// Keeps batches in memory. Questions are `Unavailable`; so is nothing else.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<Contents>);

#[derive(Debug, Default)]
struct Contents {
    batches: Vec<RowBatch>,
    position: Offset,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What was written so far, in the order in which it was written.
    #[must_use]
    pub fn batches(&self) -> Vec<RowBatch> {
        self.contents().batches.clone()
    }

    /// How many rows were written so far, doublets included.
    #[must_use]
    pub fn row_count(&self) -> usize {
        self.contents().batches.iter().map(RowBatch::len).sum()
    }

    fn contents(&self) -> std::sync::MutexGuard<'_, Contents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn answers_nothing() -> Error {
    Error::unavailable("store.answers_nothing", "the store in memory answers no question")
}

#[async_trait]
impl TelemetryStore for MemoryStore {
    async fn write(&self, batches: Vec<RowBatch>, through: Offset) -> Result<(), Error> {
        let mut contents = self.contents();
        contents.batches.extend(batches);
        contents.position = contents.position.max(through);
        Ok(())
    }

    fn position(&self) -> Offset {
        self.contents().position
    }

    async fn flush(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn query(&self, _query: Query) -> Result<Answer, Error> {
        Err(answers_nothing())
    }

    async fn history(&self, _history: History) -> Result<(Table, bool), Error> {
        Err(answers_nothing())
    }

    fn figures(&self) -> StoreFigures {
        StoreFigures { recent_rows: self.row_count() as u64, ..StoreFigures::default() }
    }

    async fn close(&self) -> Result<(), Error> {
        Ok(())
    }
}
