//! The one thread that writes: everything that arrived meanwhile, then one sync, then everyone who
//! waited for it. It also begins segments and deletes those that nobody needs.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use crate::disk::{Disk, DiskFile, write_all};
use crate::pending::{Pending, Piece};
use crate::segment::{self, HEADER_BYTES, Header, Segment, UNFINISHED_NAME};
use crate::settings::LogSettings;
use crate::shared::Shared;
use crate::wait::Stop;

/// How long a full disk is left alone before it is tried again.
pub(crate) const FULL_RETRY: Duration = Duration::from_secs(1);
/// Room is reserved so far ahead, so that a sync rarely has to record a new file size.
const ALLOCATE_BYTES: u64 = 16 * 1024 * 1024;
/// Beside the segments while a write or sync has failed: says from which offset on the memory of
/// the operating system may differ from the disk.
pub(crate) const DOUBT_NAME: &str = "doubt";

/// The writer of a log.
pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) active: Arc<Segment>,
    /// So far the active segment's file has room.
    pub(crate) allocated: u64,
    /// Held as long as the writer lives: no second log on the same folder.
    pub(crate) lock: File,
}

/// Why a piece could not be made durable.
enum Trouble {
    /// No room; nothing was promised, so the same may be tried again.
    Full(io::Error),
    /// The disk's state is unknown.
    Doubt(String, io::Error),
}

impl Writer {
    /// Works until the log is closed or the disk fails.
    pub(crate) fn run(mut self) {
        let end = End { shared: Arc::clone(&self.shared) };
        while let Some(pieces) = self.wait() {
            if let Err((doing, error)) = self.commit(pieces) {
                self.poison(&doing, &error);
                return;
            }
            self.retain();
        }
        drop(self.lock);
        end.shared.stop(Stop::closed());
    }

    /// Waits for work; `None` when the log is closed and everything is written.
    fn wait(&self) -> Option<VecDeque<Piece>> {
        let linger = self.shared.settings.linger;
        let mut pending = self.shared.pending();
        while !pending.has_pieces() && !pending.is_released {
            if pending.is_closing {
                return None;
            }
            pending.is_idle = true;
            pending = self.shared.wake.wait(pending).unwrap_or_else(PoisonError::into_inner);
        }
        pending.is_idle = false;
        if !linger.is_zero() && pending.has_pieces() {
            let condition = |pending: &mut Pending| !pending.is_closing;
            let waited = self.shared.wake.wait_timeout_while(pending, linger, condition);
            pending = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        pending.is_released = false;
        Some(pending.take())
    }

    fn commit(&mut self, pieces: VecDeque<Piece>) -> Result<(), (String, io::Error)> {
        for piece in pieces {
            loop {
                let started = Instant::now();
                match self.store(&piece) {
                    Ok(()) => {
                        self.shared.commits.record(started.elapsed());
                        break;
                    }
                    Err(Trouble::Doubt(doing, error)) => return Err((doing, error)),
                    Err(Trouble::Full(error)) => self.wait_for_room(error)?,
                }
            }
            self.publish(piece);
        }
        Ok(())
    }

    /// Makes a piece durable.
    fn store(&mut self, piece: &Piece) -> Result<(), Trouble> {
        if piece.header.base != self.active.header.base {
            self.begin(&piece.header).map_err(|error| trouble("begin", &piece.header, error))?;
        }
        let header = &self.active.header;
        let file = &*self.active.file;
        while self.allocated < piece.end() {
            let to = piece.end().max(self.allocated + ALLOCATE_BYTES);
            let to = to.min(self.shared.settings.segment_bytes).max(piece.end());
            file.allocate(self.allocated, to)
                .map_err(|error| trouble("reserve room in", header, error))?;
            self.allocated = to;
        }
        write_all(file, &piece.buffer, piece.position)
            .map_err(|error| trouble("write to", header, error))?;
        // Whatever the error, a failed sync is in doubt: the system may have dropped the bytes.
        file.sync().map_err(|error| Trouble::Doubt(doing("sync", header), error))
    }

    /// Ends the active segment, which is durable, and begins the next.
    fn begin(&mut self, header: &Header) -> io::Result<()> {
        let (end, _next) = self.active.end();
        if self.allocated > end {
            // A courtesy to the disk's free space; zeros behind the last record do no harm.
            if let Err(error) = self.active.file.set_len(end) {
                tracing::warn!(error = %error, "cannot cut a full segment to its length");
            }
            self.allocated = end;
        }
        let settings = &self.shared.settings;
        let (segment, allocated) = create(&*self.disk, &self.dir, header, settings)?;
        self.allocated = allocated;
        self.active = Arc::new(segment);
        let active = Arc::clone(&self.active);
        self.shared.bytes.fetch_add(HEADER_BYTES as u64, Ordering::AcqRel);
        self.shared.replace_segments(|list| list.push(active));
        Ok(())
    }

    /// Tells everyone that a piece is durable.
    fn publish(&self, piece: Piece) {
        let shared = &*self.shared;
        let (end, next, bytes) = (piece.end(), piece.next, piece.buffer.len());
        let in_buffer =
            |(offset, at): &(u64, u64)| Some((*offset, usize::try_from(at - piece.position).ok()?));
        let tail_marks = piece.marks.iter().filter_map(in_buffer).collect();
        self.active.mark(piece.marks.iter().copied());
        self.active.oldest.get_or_init(|| piece.received.0);
        self.active.advance(end, next);
        shared.newest.store(piece.received.1, Ordering::Release);
        shared.bytes.fetch_add(bytes as u64, Ordering::AcqRel);
        let spare = shared.tail.push((piece.base, next), piece.buffer, tail_marks);
        shared.waiters.advance(next);
        let has_room = {
            let mut pending = shared.pending();
            pending.finish(bytes, spare);
            shared.note_waiting(&pending);
            pending.has_room()
        };
        if has_room {
            shared.room.notify_waiters();
        }
    }

    /// Sleeps while the disk is full. Appends are refused until something was written again.
    fn wait_for_room(&self, error: io::Error) -> Result<(), (String, io::Error)> {
        let mut pending = self.shared.pending();
        if !pending.is_full {
            tracing::error!(error = %error, "the disk of the log is full; nothing is accepted");
        }
        if pending.is_closing {
            return Err(("the disk was full while closing".to_owned(), error));
        }
        pending.is_full = true;
        let condition = |pending: &mut Pending| !pending.is_closing;
        let waited = self.shared.wake.wait_timeout_while(pending, FULL_RETRY, condition);
        drop(waited);
        Ok(())
    }

    /// Deletes whole segments that are released and over the bounds, oldest first.
    fn retain(&self) {
        let shared = &*self.shared;
        let retention = shared.settings.retention;
        let newest = shared.newest.load(Ordering::Acquire);
        let age_max = i64::try_from(retention.age_max.as_micros()).unwrap_or(i64::MAX);
        loop {
            // Held until the segment is out of the list: what `release` names afterwards is safe.
            let released = shared.released();
            let segments = shared.segments();
            let [oldest, after, ..] = &*segments else { return };
            // The newest record of a segment came before the first of the next one.
            let left = after.oldest.get().copied().unwrap_or(i64::MAX);
            let is_old = newest.saturating_sub(left) > age_max;
            let is_over = shared.bytes() > retention.bytes_max;
            if after.header.base > *released || !(is_old || is_over) {
                return;
            }
            // Out of the list first: a reader never finds a file that is gone.
            shared.replace_segments(|list| drop(list.remove(0)));
            drop(released);
            shared.bytes.fetch_sub(oldest.end().0, Ordering::AcqRel);
            let removed = self.disk.remove(&oldest.path);
            if let Err(error) = removed.and_then(|()| self.disk.sync_folder(&self.dir)) {
                tracing::warn!(error = %error, path = %oldest.path.display(), "cannot delete a segment");
                return;
            }
        }
    }

    /// Stops for good: what is not durable by now never will be in this run.
    fn poison(self, doing: &str, error: &io::Error) {
        tracing::error!(error = %error, doing, "the log has stopped");
        let durable = self.shared.waiters.durable();
        // While the machine runs, its memory may show bytes that the disk never got. The note is
        // in the same memory, so it lives exactly as long as the doubt.
        let noted = self.disk.create(&self.dir.join(DOUBT_NAME));
        if let Err(error) =
            noted.and_then(|file| write_all(&*file, durable.to_string().as_bytes(), 0))
        {
            tracing::warn!(error = %error, "cannot note that the disk is in doubt");
        }
        drop(self.lock);
        self.shared.stop(Stop::failed(&format!("{doing}: {error}")));
    }
}

/// Makes a segment's file; it has its name only when its header is durable.
pub(crate) fn create(
    disk: &dyn Disk,
    dir: &std::path::Path,
    header: &Header,
    settings: &LogSettings,
) -> io::Result<(Segment, u64)> {
    let unfinished = dir.join(UNFINISHED_NAME);
    let path = dir.join(segment::file_name(header.base));
    let begin = HEADER_BYTES as u64;
    let allocated = settings.segment_bytes.min(ALLOCATE_BYTES).max(begin);
    let file: Arc<dyn DiskFile> = disk.create(&unfinished)?;
    file.allocate(0, allocated)?;
    write_all(&*file, &header.encode(), 0)?;
    file.sync()?;
    disk.rename(&unfinished, &path)?;
    disk.sync_folder(dir)?;
    Ok((Segment::new(*header, path, file, (begin, header.base)), allocated))
}

fn doing(what: &str, header: &Header) -> String {
    format!("a failed attempt to {what} segment {}", segment::file_name(header.base))
}

fn trouble(what: &str, header: &Header, error: io::Error) -> Trouble {
    if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
        return Trouble::Full(error);
    }
    Trouble::Doubt(doing(what, header), error)
}

/// Rings when the writer has ended, however it ended.
struct End {
    shared: Arc<Shared>,
}

impl Drop for End {
    fn drop(&mut self) {
        // After a regular end the reason is set already, and stays.
        self.shared.stop(Stop::failed("a fault of its writer"));
        self.shared.ended.notify_waiters();
    }
}
