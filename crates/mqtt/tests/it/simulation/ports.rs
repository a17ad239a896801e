//! The ports of a simulated run: real ones, wrapped by what can go wrong.

use std::collections::BTreeSet;
use std::future::{Future, pending};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use axle_domain::port::{
    ClientSessionStore, Counters, EventLog, LogBounds, LogFigures, Projected, QueueFigures, Record,
    ReportedState, SessionChanges, SessionsCommitted, SilentDevice, StoredSessions, UploadReceipt,
};
use axle_domain::{
    DeviceId, Error, FieldKey, LatestValue, Message, Offset, QuarantineCount, QuarantineFilter,
    QuarantineId, QuarantineItem, QueuedMessage, Source, Timestamp,
};
use axle_log::EmbeddedLog;
use axle_testkit::memory_state::MemoryState;
use bytes::Bytes;
use tokio::sync::Notify;

use super::disk::SimDisk;
use super::planted::Planted;

/// The embedded log on a simulated disk.
pub(super) struct SimLog {
    pub(super) inner: EmbeddedLog,
    pub(super) disk: SimDisk,
    pub(super) planted: Option<Planted>,
    /// Where uploads stand.
    uploads: Mutex<BTreeSet<Offset>>,
    /// Rings for all who wait for more, in their order.
    appended: Notify,
}

impl SimLog {
    pub(super) fn new(inner: EmbeddedLog, disk: SimDisk, planted: Option<Planted>) -> Self {
        Self { inner, disk, planted, uploads: Mutex::default(), appended: Notify::new() }
    }

    fn has(&self, planted: Planted) -> bool {
        self.planted == Some(planted)
    }

    fn is_told_early(&self, offset: Offset) -> bool {
        match self.planted {
            Some(Planted::AcknowledgeEarly) => offset < self.bounds().appended,
            Some(Planted::AnswerUploadEarly) => self.uploads.lock().unwrap().contains(&offset),
            _ => false,
        }
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
        self.appended.notify_waiters();
        if message.source == Source::Upload {
            self.uploads.lock().unwrap().insert(offset);
        }
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
        if self.is_told_early(offset) {
            // So that whoever finds nothing there does not ask again at once for ever.
            tokio::time::sleep(LOOK_INTERVAL).await;
            return Ok(());
        }
        while offset >= self.inner.bounds().appended {
            self.appended.notified().await;
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
        if self.has(Planted::ForgetOrigin) {
            records.iter_mut().for_each(|record| record.origin = Bytes::new());
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

    fn waiting_age(&self) -> Duration {
        // As the clock of the simulation has it: nothing waits for long.
        Duration::ZERO
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
    /// Whether nothing goes wrong.
    pub(super) fn is_none(&self) -> bool {
        self.fails_in.is_none() && self.ends_in.is_none()
    }

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

pub(super) fn failed() -> Error {
    Error::unavailable("sim.failed", "the commit has failed, and nothing has changed")
}

impl SimState {
    /// Does to changes of sessions what a planted defect does.
    async fn forget(&self, changes: &mut SessionChanges) {
        match self.planted {
            Some(Planted::ForgetQueued) => {
                changes.queued.retain(|queued| queued.sequence % 5 != 2);
            }
            Some(Planted::ForgetReceived) => changes.received.clear(),
            Some(Planted::ForgetCompleted) => changes.completed.clear(),
            Some(Planted::ForgetReleased) => changes.released.clear(),
            Some(Planted::ForgetRetained) => changes.retained.retain(|it| it.payload.is_empty()),
            Some(Planted::KeepRetained) => changes.retained.retain(|it| !it.payload.is_empty()),
            Some(Planted::ForgetWill) => changes.put.iter_mut().for_each(|it| it.will = None),
            Some(Planted::KeepWill) => {
                let stored = self.inner.load_client_sessions().await.unwrap();
                for it in changes.put.iter_mut().filter(|it| it.will.is_none()) {
                    let known = stored.sessions.iter().find(|(known, _)| known.number == it.number);
                    it.will = known.and_then(|(known, _)| known.will.clone());
                }
            }
            _ => {}
        }
    }
}

#[async_trait]
impl ReportedState for SimState {
    async fn position(&self) -> Result<Offset, Error> {
        self.inner.position().await
    }

    async fn commit(&self, mut projected: Projected) -> Result<(), Error> {
        if self.planted == Some(Planted::ForgetReceipt) {
            projected.receipts.clear();
        }
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
        self.forget(&mut changes).await;
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

/// How many messages wait in all queues.
pub(super) fn waiting(stored: &StoredSessions) -> u64 {
    stored.sessions.iter().map(|(_, figures): &(_, QueueFigures)| figures.rows).sum()
}
