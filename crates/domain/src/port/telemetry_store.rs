//! Telemetry at rest, and the questions one can ask of it.

use async_trait::async_trait;
use bytes::Bytes;

use crate::{DeviceId, Error, Offset, RowBatch, StreamName, Timestamp};

/// Whose rows a question may see. The store applies it inside the scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// Everyone's.
    All,
    /// Only those of these devices.
    Devices(Vec<DeviceId>),
}

/// What a question may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryLimits {
    /// Most rows of the answer; more are cut off and `truncated` says so.
    pub rows: usize,
    /// Most bytes of the answer; likewise.
    pub bytes: usize,
    /// Longest run.
    pub time: std::time::Duration,
}

impl Default for QueryLimits {
    fn default() -> Self {
        use crate::limit;
        Self {
            rows: limit::QUERY_ROWS_MAX,
            bytes: limit::QUERY_BYTES_MAX,
            time: limit::QUERY_TIME_MAX,
        }
    }
}

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerFormat {
    /// Cells.
    Table,
    /// An Arrow IPC stream.
    ArrowStream,
}

/// A question in SQL.
#[derive(Clone, Debug)]
pub struct Query {
    /// One `SELECT` (or `WITH`, `VALUES`, `EXPLAIN`); anything that could change something is
    /// refused.
    pub sql: String,
    /// Whose rows it sees.
    pub visibility: Visibility,
    /// What it may cost.
    pub limits: QueryLimits,
    /// The form of the answer.
    pub format: AnswerFormat,
}

/// An answer.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Cells.
    Table(Table),
    /// An Arrow IPC stream, and whether it was cut off.
    ArrowStream(Bytes, bool),
}

/// A column of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnInfo {
    /// Its name.
    pub name: String,
    /// Its type as SQL tools write it: `text`, `double`, `bigint`, `boolean`, `timestamp`, …
    pub kind: String,
}

/// One value of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// No value.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// A moment.
    Time(Timestamp),
    /// Text, and whatever else has a text form.
    Text(String),
}

/// Rows of cells.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// The columns.
    pub columns: Vec<ColumnInfo>,
    /// The rows; each has one cell per column.
    pub rows: Vec<Vec<Cell>>,
    /// Whether rows are missing because a limit was reached.
    pub truncated: bool,
}

/// How to aggregate the values of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregate {
    /// Mean.
    Avg,
    /// Least.
    Min,
    /// Greatest.
    Max,
    /// Sum.
    Sum,
    /// How many.
    Count,
    /// First in time.
    First,
    /// Last in time.
    Last,
    /// How much a counter grew; a fall is a reset to zero, so it is never negative.
    Increase,
}

/// How to make a history small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduce {
    /// Every row, up to the query limits.
    None,
    /// For drawing: at most about this many rows; first, least, greatest and last of each slice
    /// stay, so that no spike is lost.
    Points(usize),
    /// One row per bucket of so many microseconds (aligned to the epoch) and key.
    Bucket(i64, Aggregate),
    /// How much was used, by a field that is a rate or a counter: one row per slot of so many
    /// microseconds (aligned to the epoch) and key. See [`Usage`].
    Usage(Usage),
}

/// How a rate adds up and how a counter grew, between readings that follow each other.
///
/// Between two readings of a key a rate runs along a straight line, and a counter grows evenly;
/// what lies in several slots is shared among them. A rate below zero counts as zero; a counter
/// that fell was reset to zero before. Readings that are farther apart than `gap_micros`, and
/// also than three times what is usual for the key (the median of the intervals before), have a
/// gap between them: nothing is assumed there. Three hours are a gap in any case.
///
/// The answer's columns are `time`, the keys, `used` (rate times seconds), `grown`,
/// `grown_in_gaps` (what a counter grew over the gap that ended in this slot), `covered`
/// (microseconds that are no gap), `last` and `last_time` (the newest reading in the slot).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The width of a slot.
    pub slot_micros: i64,
    /// Readings as near as this have no gap between them.
    pub gap_micros: i64,
}

/// Readings farther apart than this always have a gap between them.
pub const USAGE_GAP_MICROS_MAX: i64 = 3 * 3600 * 1_000_000;

/// A question for the history of one device.
#[derive(Clone, Debug)]
pub struct History {
    /// The device.
    pub device: DeviceId,
    /// The stream.
    pub stream: StreamName,
    /// From this event time on.
    pub from: Timestamp,
    /// Until before this event time.
    pub to: Timestamp,
    /// Only these fields; empty for all.
    pub fields: Vec<String>,
    /// How to make it small.
    pub reduce: Reduce,
}

/// Figures of the store for operators.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreFigures {
    /// Rows in memory.
    pub recent_rows: u64,
    /// Rows in files.
    pub file_rows: u64,
    /// Files.
    pub files: u64,
    /// Bytes of all files.
    pub file_bytes: u64,
    /// Rows that merged into an equal one since the beginning, as far as merges have seen.
    pub collapsed_rows: u64,
}

/// Telemetry for ever, queryable at once.
///
/// 1. *Visible at once.* Rows are part of every later answer when `write` returns.
/// 2. *Idempotent.* Rows of one identity (see [`crate::Row`]) are one row in every answer, however
///    often and in whatever order they were written; the earliest `received_at` stays.
/// 3. *Position.* `position` is one past the last record whose rows are in files: replaying the
///    log from there restores everything. It never goes back, files and position change together.
/// 4. *Lateness.* A row is accepted whatever its event time; answers do not depend on the order
///    of arrival.
/// 5. *Read-only.* `query` refuses (`Denied`) what is not a pure question, before it runs.
/// 6. *Visibility* is applied inside the scan, below joins, aggregates and statistics.
/// 7. *Bounds.* A question is stopped (`TooLarge`, `Busy`) when it exceeds its limits; an answer
///    that is cut says so.
#[async_trait]
pub trait TelemetryStore: Send + Sync {
    /// Takes rows that came from records before `through`. Waits where memory is full until a
    /// flush made room. Rows of records before the current applied position are expected only
    /// after a restart.
    async fn write(&self, batches: Vec<RowBatch>, through: Offset) -> Result<(), Error>;

    /// Where the log must be replayed from after a crash.
    fn position(&self) -> Offset;

    /// Brings everything written so far into files.
    async fn flush(&self) -> Result<(), Error>;

    /// Answers SQL.
    async fn query(&self, query: Query) -> Result<Answer, Error>;

    /// Answers the history of one device: columns `time`, keys, fields. Says whether it was
    /// reduced.
    async fn history(&self, history: History) -> Result<(Table, bool), Error>;

    /// Figures.
    fn figures(&self) -> StoreFigures;

    /// Flushes, stops background work and closes.
    async fn close(&self) -> Result<(), Error>;
}
