//! The ports of a simulated run: real ones, wrapped by what can go wrong.

use std::collections::BTreeMap;
use std::future::{Future, pending};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use axle_domain::port::{
    Answer, ClientSessionStore, Counters, EventLog, History, LogBounds, LogFigures, Projected,
    Query, QueueFigures, Record, ReportedState, SessionChanges, SessionsCommitted, SilentDevice,
    StoreFigures, StoredSessions, Table, TelemetryStore, UploadReceipt,
};
use axle_domain::{
    Column, DeviceId, Error, FieldKey, LatestValue, Message, Offset, QuarantineCount,
    QuarantineFilter, QuarantineId, QuarantineItem, QueuedMessage, RowBatch, Source, Timestamp,
};
use axle_log::EmbeddedLog;
use axle_testkit::memory_state::MemoryState;
use bytes::Bytes;

use super::chance::Chance;
use super::disk::SimDisk;
use super::planted::Planted;

/// The embedded log on a simulated disk.
pub(super) struct SimLog {
    pub(super) inner: EmbeddedLog,
    pub(super) disk: SimDisk,
    pub(super) planted: Option<Planted>,
}

impl SimLog {
    fn has(&self, planted: Planted) -> bool {
        self.planted == Some(planted)
    }
}

/// How often somebody who waits for the disk looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// What a future says if it is asked once.
pub(super) fn now<F: Future>(future: F) -> Option<F::Output> {
    let mut future = Box::pin(tokio::task::unconstrained(future));
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// Waits for another thread without letting any task of this one go on: so the order of all that
/// happens does not depend on how fast that thread is.
pub(super) fn at_once<F: Future>(future: F) -> F::Output {
    let mut future = Box::pin(tokio::task::unconstrained(future));
    let mut context = Context::from_waker(Waker::noop());
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::sleep(Duration::from_micros(20)),
        }
    }
}

#[async_trait]
impl EventLog for SimLog {
    fn append(&self, message: &Message<'_>) -> Result<Offset, Error> {
        if self.has(Planted::LoseRefusal) && message.source == Source::Door {
            return Ok(Offset(self.bounds().durable.0.saturating_sub(1)));
        }
        let offset = self.inner.append(message)?;
        if self.disk.is_closed() {
            // The first record of a closed disk alone is in the first commit: what shares a
            // commit does not depend on which thread is faster.
            self.disk.wait_blocked();
        } else {
            // So it does with what the server appends on its own; whether it gets there is told
            // to whoever waits for it.
            let _outcome = at_once(self.inner.durable(offset));
        }
        Ok(offset)
    }

    async fn durable(&self, offset: Offset) -> Result<(), Error> {
        if self.has(Planted::AcknowledgeEarly) && offset < self.bounds().appended {
            return Ok(());
        }
        // Looks in simulated time, so that it does not matter when the writer's thread rings.
        loop {
            let outcome = now(self.inner.durable(offset));
            if let Some(outcome) = outcome {
                return outcome;
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    async fn room(&self) {
        self.inner.room().await;
    }

    async fn read(&self, from: Offset, bytes_max: usize) -> Result<Vec<Record>, Error> {
        let mut records = at_once(self.inner.read(from, bytes_max))?;
        if self.has(Planted::ServeDamage) {
            for record in records.iter_mut().filter(|it| it.offset.0 % 7 == 3) {
                let mut payload = record.payload.to_vec();
                payload.iter_mut().take(1).for_each(|byte| *byte ^= 1);
                record.payload = Bytes::from(payload);
            }
        }
        Ok(records)
    }

    fn bounds(&self) -> LogBounds {
        let bounds = self.inner.bounds();
        if self.has(Planted::AcknowledgeEarly) {
            return LogBounds { durable: bounds.appended, ..bounds };
        }
        bounds
    }

    fn figures(&self) -> LogFigures {
        self.inner.figures()
    }

    fn waiting_bytes(&self) -> usize {
        self.inner.waiting_bytes()
    }

    fn release(&self, before: Offset) {
        let too_far = if self.has(Planted::ReleaseTooFar) { 8 } else { 0 };
        self.inner.release(Offset(before.0 + too_far));
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

/// When a commit goes wrong, counted down.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Trouble {
    /// The commit that fails and changes nothing.
    pub(super) fails_in: Option<u64>,
    /// The commit during which the process ends, and whether it was made by then.
    pub(super) ends_in: Option<(u64, bool)>,
}

/// What becomes of a commit.
enum Fate {
    Good,
    Failed,
    Ended { is_made: bool },
}

impl Trouble {
    fn next(&mut self) -> Fate {
        let fails = self.fails_in == Some(0);
        self.fails_in = self.fails_in.and_then(|left| left.checked_sub(1));
        match &mut self.ends_in {
            Some((0, is_made)) => return Fate::Ended { is_made: *is_made },
            Some((left, _)) => *left -= 1,
            None => {}
        }
        if fails { Fate::Failed } else { Fate::Good }
    }
}

/// The state in memory: what its commits say is as durable as a transaction is.
pub(super) struct SimState {
    pub(super) inner: Arc<MemoryState>,
    pub(super) projected: Mutex<Trouble>,
    pub(super) sessions: Mutex<Trouble>,
    pub(super) has_ended: Mutex<bool>,
    pub(super) planted: Option<Planted>,
}

impl SimState {
    pub(super) fn new(inner: Arc<MemoryState>, planted: Option<Planted>) -> Self {
        let (projected, sessions, has_ended) = Default::default();
        Self { inner, projected, sessions, has_ended, planted }
    }

    /// Whether the process has ended within a commit.
    pub(super) fn has_ended(&self) -> bool {
        *self.has_ended.lock().unwrap()
    }

    async fn end<T>(&self) -> T {
        *self.has_ended.lock().unwrap() = true;
        pending().await
    }
}

fn failed() -> Error {
    Error::unavailable("sim.failed", "the commit has failed, and nothing has changed")
}

#[async_trait]
impl ReportedState for SimState {
    async fn position(&self) -> Result<Offset, Error> {
        self.inner.position().await
    }

    async fn commit(&self, projected: Projected) -> Result<(), Error> {
        let fate = self.projected.lock().unwrap().next();
        match fate {
            Fate::Good => self.inner.commit(projected).await,
            Fate::Failed => Err(failed()),
            Fate::Ended { is_made } => {
                let through = projected.through;
                if self.planted == Some(Planted::TearCommit) {
                    let torn = Projected { through, ..Projected::default() };
                    self.inner.commit(torn).await.unwrap();
                } else if is_made {
                    self.inner.commit(projected).await.unwrap();
                }
                self.end().await
            }
        }
    }

    async fn latest(
        &self,
        device: &DeviceId,
    ) -> Result<(Vec<LatestValue>, Option<Timestamp>), Error> {
        self.inner.latest(device).await
    }

    async fn latest_of(
        &self,
        fields: &[FieldKey],
        after: Option<&DeviceId>,
        devices_max: usize,
    ) -> Result<(Vec<LatestValue>, Option<DeviceId>), Error> {
        self.inner.latest_of(fields, after, devices_max).await
    }

    async fn list_quarantined(
        &self,
        filter: QuarantineFilter,
    ) -> Result<Vec<QuarantineItem>, Error> {
        self.inner.list_quarantined(filter).await
    }

    async fn count_quarantined(&self) -> Result<Vec<QuarantineCount>, Error> {
        self.inner.count_quarantined().await
    }

    async fn list_silent(
        &self,
        since: Timestamp,
        limit: usize,
    ) -> Result<(Vec<SilentDevice>, u64), Error> {
        self.inner.list_silent(since, limit).await
    }

    async fn find_quarantined(&self, id: QuarantineId) -> Result<Option<QuarantineItem>, Error> {
        self.inner.find_quarantined(id).await
    }

    async fn find_receipt(&self, token: &str, key: &str) -> Result<Option<UploadReceipt>, Error> {
        self.inner.find_receipt(token, key).await
    }

    async fn counters(&self) -> Result<Counters, Error> {
        self.inner.counters().await
    }
}

#[async_trait]
impl ClientSessionStore for SimState {
    async fn load_client_sessions(&self) -> Result<StoredSessions, Error> {
        self.inner.load_client_sessions().await
    }

    async fn oldest_needed(&self) -> Result<Offset, Error> {
        self.inner.oldest_needed().await
    }

    async fn commit_client_sessions(
        &self,
        mut changes: SessionChanges,
    ) -> Result<SessionsCommitted, Error> {
        if self.planted == Some(Planted::ForgetQueued) {
            changes.queued.retain(|queued| queued.sequence % 5 != 2);
        }
        let fate = self.sessions.lock().unwrap().next();
        match fate {
            Fate::Good => self.inner.commit_client_sessions(changes).await,
            Fate::Failed => Err(failed()),
            Fate::Ended { is_made } => {
                if is_made {
                    self.inner.commit_client_sessions(changes).await.unwrap();
                }
                self.end().await
            }
        }
    }

    async fn list_queued(
        &self,
        session: u64,
        after: u64,
        limit: usize,
    ) -> Result<Vec<QueuedMessage>, Error> {
        self.inner.list_queued(session, after, limit).await
    }
}

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

/// How many messages wait in all queues.
pub(super) fn waiting(stored: &StoredSessions) -> u64 {
    stored.sessions.iter().map(|(_, figures): &(_, QueueFigures)| figures.rows).sum()
}
