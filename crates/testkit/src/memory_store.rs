//! A telemetry store that keeps what it is given; it answers histories, and no SQL.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use axle_domain::port::{
    Answer, Cell, ColumnInfo, History, Query, StoreFigures, Table, TelemetryStore,
};
use axle_domain::{Column, Error, Offset, RowBatch, Timestamp};

/// Keeps batches in memory. A history is every row of its range, doublets included and never
/// reduced; SQL is `Unavailable`.
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

    async fn history(&self, history: History) -> Result<(Table, bool), Error> {
        let mut rows: Vec<Vec<Cell>> = Vec::new();
        let mut columns = Vec::new();
        for batch in self.batches().iter().filter(|it| it.schema.name == history.stream) {
            let fields: Vec<_> = (0..batch.values.len())
                .filter(|field| is_wanted(batch, *field, &history))
                .collect();
            columns = columns_of(batch, &fields);
            let is_ours = |row: &usize| {
                let time = batch.time.get(*row).copied().unwrap_or_default();
                let is_inside = (history.from.0..history.to.0).contains(&time);
                is_inside && batch.device.get(*row) == Some(history.device.as_str())
            };
            rows.extend((0..batch.len()).filter(is_ours).map(|row| cells(batch, row, &fields)));
        }
        rows.sort_by_key(|row| match row.first() {
            Some(Cell::Time(time)) => *time,
            _ => Timestamp::default(),
        });
        Ok((Table { columns, rows, truncated: false }, false))
    }

    fn figures(&self) -> StoreFigures {
        StoreFigures { recent_rows: self.row_count() as u64, ..StoreFigures::default() }
    }

    async fn close(&self) -> Result<(), Error> {
        Ok(())
    }
}

fn is_wanted(batch: &RowBatch, field: usize, history: &History) -> bool {
    let name = batch.schema.fields.get(field).map_or("", |field| field.name);
    history.fields.is_empty() || history.fields.iter().any(|wanted| wanted == name)
}

fn columns_of(batch: &RowBatch, fields: &[usize]) -> Vec<ColumnInfo> {
    let named = |name: &str| ColumnInfo { name: name.to_owned(), kind: String::new() };
    let keys = batch.schema.keys.iter().map(|key| named(key));
    let fields = fields.iter().filter_map(|field| batch.schema.fields.get(*field));
    std::iter::once(named("time")).chain(keys).chain(fields.map(|it| named(it.name))).collect()
}

fn cells(batch: &RowBatch, row: usize, fields: &[usize]) -> Vec<Cell> {
    let time = Cell::Time(Timestamp(batch.time.get(row).copied().unwrap_or_default()));
    let text = |text: Option<&str>| text.map_or(Cell::Null, |text| Cell::Text(text.to_owned()));
    let keys = batch.keys.iter().map(|key| text(key.get(row)));
    let is_there = |valid: &[bool]| valid.get(row).copied().unwrap_or_default();
    let values = fields.iter().map(|field| match batch.values.get(*field) {
        Some(Column::Float(column)) if is_there(&column.valid) => {
            column.values.get(row).map_or(Cell::Null, |number| Cell::Float(*number))
        }
        Some(Column::Bool(column)) => {
            column.get(row).copied().flatten().map_or(Cell::Null, Cell::Bool)
        }
        Some(Column::Text(column)) if is_there(&column.valid) => text(column.texts.get(row)),
        Some(Column::Float(_) | Column::Text(_)) | None => Cell::Null,
    });
    std::iter::once(time).chain(keys).chain(values).collect()
}
