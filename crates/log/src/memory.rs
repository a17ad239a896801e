//! The log without a disk, for tests of whoever needs a log.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use axle_domain::port::{EventLog, LogBounds, LogFigures, Record};
use axle_domain::{Error, Kind, Message, Offset, limit};
use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;

use crate::record::{self, Seed};
use crate::wait::{Stop, Waiters};

/// A log that lives as long as the process. Every append is "durable" at once, unless
/// [`MemoryLog::hold`] was called: then nothing is until [`MemoryLog::commit`].
#[derive(Default)]
pub struct MemoryLog {
    records: Mutex<Records>,
    waiters: Waiters,
    room: Notify,
    first: AtomicU64,
    appended: AtomicU64,
}

#[derive(Default)]
struct Records {
    /// From `first` on, each as it would stand in a segment.
    kept: VecDeque<Bytes>,
    first: u64,
    bytes: usize,
    waiting: usize,
    /// How long what waits is said to have waited.
    age: Duration,
    is_held: bool,
    is_closed: bool,
}

impl Records {
    fn next(&self) -> u64 {
        self.first + self.kept.len() as u64
    }
}

impl MemoryLog {
    /// An empty log.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on nothing becomes durable by itself.
    pub fn hold(&self) {
        self.lock().is_held = true;
    }

    /// Nothing becomes durable by itself, and what waits is said to have waited so long.
    pub fn stall(&self, age: Duration) {
        let mut records = self.lock();
        (records.is_held, records.age) = (true, age);
    }

    /// Makes durable what was appended so far.
    pub fn commit(&self) {
        let next = {
            let mut records = self.lock();
            records.waiting = 0;
            records.next()
        };
        if self.waiters.stop_reason().is_none() {
            self.waiters.advance(next);
        }
        self.room.notify_waiters();
    }

    /// Behaves as if the disk had failed.
    pub fn fail(&self) {
        self.waiters.stop(Stop::failed("a failed sync"));
        self.room.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl EventLog for MemoryLog {
    fn append(&self, message: &Message<'_>) -> Result<Offset, Error> {
        let mut records = self.lock();
        if let Some(reason) = self.waiters.stop_reason() {
            return Err(reason.error());
        }
        if records.is_closed {
            return Err(Stop::closed().error());
        }
        let size = record::size(message)?;
        if records.waiting + size > limit::COMMIT_BUFFER_BYTES_MAX {
            return Err(Error::new(Kind::Busy, "log.busy", "too much waits for the log's sync"));
        }
        let offset = records.next();
        let mut buffer = BytesMut::new();
        record::encode(&mut buffer, message, offset, size, Seed::new(0));
        records.kept.push_back(buffer.freeze());
        records.bytes += size;
        records.waiting += size;
        self.appended.store(offset + 1, Ordering::Release);
        if !records.is_held {
            records.waiting = 0;
            // Under the lock, so that the durable end never goes back.
            self.waiters.advance(offset + 1);
        }
        Ok(Offset(offset))
    }

    async fn durable(&self, offset: Offset) -> Result<(), Error> {
        self.waiters.wait(offset.0).await
    }

    fn waiting_bytes(&self) -> usize {
        self.lock().waiting
    }

    fn waiting_age(&self) -> Duration {
        let records = self.lock();
        if records.waiting == 0 { Duration::ZERO } else { records.age }
    }

    async fn room(&self) {
        loop {
            let mut ring = std::pin::pin!(self.room.notified());
            ring.as_mut().enable();
            if self.waiters.stop_reason().is_some()
                || self.lock().waiting <= limit::COMMIT_BUFFER_BYTES_MAX / 2
            {
                return;
            }
            ring.await;
        }
    }

    async fn read(&self, from: Offset, bytes_max: usize) -> Result<Vec<Record>, Error> {
        let durable = self.waiters.durable();
        let records = self.lock();
        let Some(skip) = from.0.checked_sub(records.first) else {
            let text = format!("offset {from} is no longer kept, the oldest is {}", records.first);
            return Err(Error::not_found("log.offset_expired", text));
        };
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        let count = usize::try_from(durable.saturating_sub(from.0)).unwrap_or(usize::MAX);
        let mut bytes = 0;
        let mut read = Vec::new();
        for record in records.kept.iter().skip(skip).take(count) {
            bytes += record.len();
            read.extend(record::decode(&mut record.clone()).map(|(record, _length)| record));
            if bytes >= bytes_max {
                break;
            }
        }
        Ok(read)
    }

    fn bounds(&self) -> LogBounds {
        let durable = self.waiters.durable();
        LogBounds {
            first: Offset(self.first.load(Ordering::Acquire)),
            durable: Offset(durable),
            appended: Offset(self.appended.load(Ordering::Acquire)),
            bytes: self.lock().bytes as u64,
        }
    }

    fn figures(&self) -> LogFigures {
        LogFigures::default()
    }

    fn release(&self, before: Offset) {
        let durable = self.waiters.durable();
        let mut records = self.lock();
        while records.first < before.0.min(durable)
            && let Some(oldest) = records.kept.pop_front()
        {
            records.first += 1;
            records.bytes -= oldest.len();
        }
        self.first.store(records.first, Ordering::Release);
    }

    async fn close(&self) {
        self.lock().is_closed = true;
        self.commit();
        self.waiters.stop(Stop::closed());
        self.room.notify_waiters();
    }
}
