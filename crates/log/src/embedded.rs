//! The log in files of this machine.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use axle_domain::port::{EventLog, LogBounds, LogFigures, Record};
use axle_domain::{Error, Kind, Message, Offset, Timestamp};

use crate::disk::{Disk, RealDisk};
use crate::pending::Pending;
use crate::read;
use crate::recover::{self, Recovery};
use crate::segment::{self, Segment};
use crate::settings::LogSettings;
use crate::shared::Shared;
use crate::wait::Stop;
use crate::writer::Writer;

/// A log in segment files. One thread writes; everyone else appends to its buffer and waits.
///
/// Dropping it syncs what was appended, as [`EventLog::close`] does, and blocks meanwhile.
pub struct EmbeddedLog {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl EmbeddedLog {
    /// Opens the log of a folder, or begins one where there never was any. Blocks for the time of
    /// checking the last segment.
    ///
    /// # Errors
    /// `Conflict`, when another process has it open; `Corrupt`, when a segment's header cannot be
    /// read or a segment is missing; `Invalid`, when a newer axle wrote it; `Unavailable`, when the
    /// disk fails. Nothing has changed in the first three cases.
    pub fn open(dir: &Path, settings: LogSettings) -> Result<(Self, Recovery), Error> {
        Self::open_on(Arc::new(RealDisk), dir, settings)
    }

    /// Opens the log of a folder on a given disk, which may be one that fails.
    ///
    /// # Errors
    /// See [`Self::open`].
    pub fn open_on(
        disk: Arc<dyn Disk>,
        dir: &Path,
        settings: LogSettings,
    ) -> Result<(Self, Recovery), Error> {
        let recovered = recover::open(&*disk, dir, &settings)?;
        let (end, next) = recovered.active.end();
        let pending = Pending::new(recovered.active.header, end, next);
        let shared = Arc::new(Shared::new(settings, pending, recovered.segments));
        if let Some(newest) = recovered.newest {
            shared.newest.store(newest, Ordering::Release);
        }
        let writer = Writer {
            shared: Arc::clone(&shared),
            disk,
            dir: dir.to_owned(),
            active: recovered.active,
            allocated: recovered.allocated,
            lock: recovered.lock,
        };
        let thread = std::thread::Builder::new()
            .name("axle-log".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| segment::failed("start the writer of", dir, error))?;
        Ok((Self { shared, writer: Mutex::new(Some(thread)) }, recovered.report))
    }

    fn begin_closing(&self) {
        self.shared.pending().is_closing = true;
        self.shared.wake.notify_one();
    }

    /// The segment that holds a durable offset.
    fn segment(&self, offset: u64) -> Result<Arc<Segment>, Error> {
        let segments = self.shared.segments();
        let after = segments.partition_point(|segment| segment.header.base <= offset);
        let segment = after.checked_sub(1).and_then(|place| segments.get(place));
        segment.cloned().ok_or_else(|| {
            let first = self.shared.first();
            let text = format!("offset {offset} is no longer kept, the oldest is {first}");
            Error::not_found("log.offset_expired", text)
        })
    }
}

#[async_trait]
impl EventLog for EmbeddedLog {
    fn append(&self, message: &Message<'_>) -> Result<Offset, Error> {
        let shared = &*self.shared;
        let mut pending = shared.pending();
        if let Some(reason) = shared.waiters.stop_reason() {
            return Err(reason.error());
        }
        if pending.is_closing {
            return Err(Stop::closed().error());
        }
        let offset = pending.push(message, &shared.settings)?;
        shared.appended.store(pending.next, Ordering::Release);
        shared.note_waiting(&pending);
        let is_idle = std::mem::take(&mut pending.is_idle);
        drop(pending);
        if is_idle {
            shared.wake.notify_one();
        }
        Ok(offset)
    }

    async fn durable(&self, offset: Offset) -> Result<(), Error> {
        self.shared.waiters.wait(offset.0).await
    }

    fn waiting_bytes(&self) -> usize {
        self.shared.waiting.load(Ordering::Relaxed)
    }

    fn waiting_age(&self) -> Duration {
        self.shared.waiting_age()
    }

    async fn room(&self) {
        loop {
            let mut ring = std::pin::pin!(self.shared.room.notified());
            ring.as_mut().enable();
            if self.shared.has_room() {
                return;
            }
            ring.await;
        }
    }

    async fn read(&self, from: Offset, bytes_max: usize) -> Result<Vec<Record>, Error> {
        if from.0 >= self.shared.waiters.durable() {
            return Ok(Vec::new());
        }
        let segment = self.segment(from.0)?;
        if let Some(records) = self.shared.tail.read(from.0, bytes_max) {
            return Ok(records);
        }
        let reading = tokio::task::spawn_blocking(move || read::read(&segment, from.0, bytes_max));
        reading.await.unwrap_or_else(|error| {
            let text = format!("reading offset {from} was cut short");
            Err(Error::new(Kind::Unavailable, "log.read_stopped", text).with_source(error))
        })
    }

    fn bounds(&self) -> LogBounds {
        let shared = &*self.shared;
        // The durable end first, so that it is never beyond the appended one.
        let durable = shared.waiters.durable();
        LogBounds {
            first: Offset(shared.first()),
            durable: Offset(durable),
            appended: Offset(shared.appended.load(Ordering::Acquire)),
            bytes: shared.bytes(),
        }
    }

    fn figures(&self) -> LogFigures {
        let segments = self.shared.segments();
        let oldest = segments.first().and_then(|segment| segment.oldest.get());
        LogFigures {
            segments: segments.len() as u64,
            first_at: oldest.map(|micros| Timestamp(*micros)),
            commits: self.shared.commits.counts(),
            is_full: self.shared.pending().is_full,
        }
    }

    fn release(&self, before: Offset) {
        *self.shared.released() = before.0;
        let second = self.shared.segments().get(1).map(|segment| segment.header.base);
        if second.is_some_and(|base| base <= before.0) {
            let mut pending = self.shared.pending();
            pending.is_released = true;
            let is_idle = std::mem::take(&mut pending.is_idle);
            drop(pending);
            if is_idle {
                self.shared.wake.notify_one();
            }
        }
    }

    async fn close(&self) {
        self.begin_closing();
        loop {
            let mut ring = std::pin::pin!(self.shared.ended.notified());
            ring.as_mut().enable();
            if self.shared.waiters.stop_reason().is_some() {
                return;
            }
            ring.await;
        }
    }
}

impl Drop for EmbeddedLog {
    fn drop(&mut self) {
        self.begin_closing();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if writer.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the writer of the log has ended by a fault");
        }
    }
}
