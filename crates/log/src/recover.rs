//! Finds the end of a log after whatever happened, and makes it fit for appending.
//!
//! The last segment is checked record by record; of the others the header and the place in the
//! chain. Bytes behind the last valid record are cleared; nothing else is ever changed.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::sync::Arc;

use axle_domain::{Error, Kind, Offset};
use bytes::Bytes;

use crate::disk::{Disk, DiskFile, read_full, write_all};
use crate::record;
use crate::scan::{Scan, Step};
use crate::segment::{self, DamagedRange, HEADER_BYTES, Header, Segment, VERSION};
use crate::settings::LogSettings;
use crate::survey::{self, Found, Walked};
use crate::writer::{self, DOUBT_NAME};

const LOCK_NAME: &str = "lock";
const BLOCK_BYTES: usize = 1024 * 1024;
/// What is written again at every start.
const WRITTEN_AGAIN_BYTES: u64 = 4 * 1024 * 1024;

/// What opening a log has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// Segment files.
    pub segments: usize,
    /// The oldest offset that is kept.
    pub first: Offset,
    /// The offset of the next append.
    pub next: Offset,
    /// Bytes of all segments.
    pub bytes: u64,
    /// Records of the last segment, all of them checked.
    pub checked_records: u64,
    /// Bytes behind the last valid record that were no record and were cleared: a write that a
    /// crash cut short before anyone was told that it is durable.
    pub torn_bytes: u64,
    /// Records that had begun in those bytes, as far as one can tell.
    pub torn_records: u64,
    /// Stretches of the last segment that cannot be read though valid records follow. They stay as
    /// they are.
    pub damaged: Vec<DamagedRange>,
    /// Whether a write or sync had failed in the last run, so that the end was written once more.
    pub was_in_doubt: bool,
}

/// A log that is ready for its writer.
pub(crate) struct Recovered {
    pub(crate) lock: File,
    pub(crate) segments: Vec<Arc<Segment>>,
    pub(crate) active: Arc<Segment>,
    pub(crate) allocated: u64,
    pub(crate) newest: Option<i64>,
    pub(crate) report: Recovery,
}

/// Opens a folder's log, or begins one where there never was any.
pub(crate) fn open(
    disk: &dyn Disk,
    dir: &Path,
    settings: &LogSettings,
) -> Result<Recovered, Error> {
    std::fs::create_dir_all(dir).map_err(|error| segment::failed("create", dir, error))?;
    let mut lock = Lock::take(&dir.join(LOCK_NAME))?;
    let found = survey::list(disk, dir, true)?;
    let recovered = match found.split_last() {
        Some((last, sealed)) => reopen(disk, dir, settings, (sealed, last))?,
        None if lock.was_held_before => {
            let text = format!(
                "{} had a log and all its segments are gone; restore them, or delete the file \
                 `{LOCK_NAME}` there to begin a new log",
                dir.display()
            );
            return Err(Error::new(Kind::Corrupt, "log.segment_missing", text));
        }
        None => begin(disk, dir, settings)?,
    };
    lock.sign().map_err(|error| segment::failed("write", &dir.join(LOCK_NAME), error))?;
    let (segments, active, allocated, newest, report) = recovered;
    Ok(Recovered { lock: lock.file, segments, active, allocated, newest, report })
}

type Opened = (Vec<Arc<Segment>>, Arc<Segment>, u64, Option<i64>, Recovery);

fn begin(disk: &dyn Disk, dir: &Path, settings: &LogSettings) -> Result<Opened, Error> {
    let failed = |error| segment::failed("begin a log in", dir, error);
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        disk.sync_folder(parent).map_err(failed)?;
    }
    let id = (settings.segment_id)(0);
    let header = Header { version: VERSION, id, base: 0, previous_id: 0, previous_base: 0 };
    let (segment, allocated) = writer::create(disk, dir, &header, settings).map_err(failed)?;
    let active = Arc::new(segment);
    let report = Recovery {
        segments: 1,
        first: Offset(0),
        next: Offset(0),
        bytes: HEADER_BYTES as u64,
        checked_records: 0,
        torn_bytes: 0,
        torn_records: 0,
        damaged: Vec::new(),
        was_in_doubt: false,
    };
    Ok((vec![Arc::clone(&active)], active, allocated, None, report))
}

fn reopen(
    disk: &dyn Disk,
    dir: &Path,
    settings: &LogSettings,
    (sealed, last): (&[Found], &Found),
) -> Result<Opened, Error> {
    let bases = sealed.iter().chain([last]).map(|found| found.header.base).skip(1);
    let mut segments = Vec::with_capacity(sealed.len() + 1);
    for (found, next) in sealed.iter().zip(bases) {
        let file = Arc::clone(&found.file);
        let end = (found.length, next);
        let segment = Segment::new(found.header, found.path.clone(), file, end);
        if let Some(oldest) = oldest(found)? {
            segment.oldest.get_or_init(|| oldest);
        }
        segments.push(Arc::new(segment));
    }
    let seen = survey::walk(last)?;
    let doubt = dir.join(DOUBT_NAME);
    let names = disk.list(dir).map_err(|error| segment::failed("list", dir, error))?;
    let was_in_doubt = names.contains(&doubt);
    let torn_records = settle(last, &seen, was_in_doubt)
        .map_err(|error| segment::failed("mend the end of", &last.path, error))?;
    if was_in_doubt {
        disk.remove(&doubt).map_err(|error| segment::failed("delete", &doubt, error))?;
    }
    let file = Arc::clone(&last.file);
    let mut active = Segment::new(last.header, last.path.clone(), file, (seen.end, seen.next));
    let mut allocated = last.length;
    if last.header.version < VERSION && seen.end == HEADER_BYTES as u64 {
        // Without a record yet: the next one may be of a kind that its version does not know.
        let header = Header { version: VERSION, ..last.header };
        (active, allocated) = writer::create(disk, dir, &header, settings)
            .map_err(|error| segment::failed("begin anew", &last.path, error))?;
    }
    active.mark(seen.marks);
    if let Some(oldest) = seen.oldest {
        active.oldest.get_or_init(|| oldest);
    }
    let active = Arc::new(active);
    segments.push(Arc::clone(&active));
    let report = Recovery {
        segments: segments.len(),
        first: Offset(segments.first().map_or(0, |segment| segment.header.base)),
        next: Offset(seen.next),
        bytes: segments.iter().map(|segment| segment.end().0).sum(),
        checked_records: seen.records,
        torn_bytes: seen.written.saturating_sub(seen.end),
        torn_records,
        damaged: seen.damaged,
        was_in_doubt,
    };
    Ok((segments, active, allocated, seen.newest, report))
}

/// When the first record of a segment came; `None` where it cannot be read.
fn oldest(found: &Found) -> Result<Option<i64>, Error> {
    let mut scan = Scan::new(
        &*found.file,
        found.header.seed(),
        HEADER_BYTES as u64,
        found.length,
        BLOCK_BYTES / 256,
    );
    match scan.step().map_err(|error| segment::failed("read", &found.path, error))? {
        Step::Record(head, _bytes) => Ok(Some(head.received_at)),
        Step::Blank | Step::Damage => Ok(None),
    }
}

/// Clears what is behind the last valid record and makes what stays durable: a crash of the
/// process alone may have left records that only the operating system's memory holds. Says how
/// many records had begun in what was cleared.
fn settle(last: &Found, seen: &Walked, was_in_doubt: bool) -> std::io::Result<u64> {
    let file = &*last.file;
    // The process may have ended before it could write down that it is in doubt: the end, which
    // one commit hardly exceeds, is written again in any case. All that one may have (64 MiB)
    // would make every start wait for the disk.
    let unsynced = seen.end.saturating_sub(WRITTEN_AGAIN_BYTES);
    let first = HEADER_BYTES as u64;
    write_again(file, if was_in_doubt { first } else { first.max(unsynced) }, seen.end)?;
    let mut torn_records = 0;
    let mut position = seen.end;
    while position < seen.written {
        let left = usize::try_from(seen.written - position).unwrap_or(usize::MAX);
        let mut block = vec![0; left.min(BLOCK_BYTES)];
        let count = read_full(file, &mut block, position)?;
        let magic = record::MAGIC;
        let begun = block.windows(magic.len()).filter(|bytes| *bytes == magic).count();
        torn_records += begun as u64;
        block.fill(0);
        write_all(file, &Bytes::from(block), position)?;
        position += count.max(1) as u64;
    }
    file.sync()?;
    Ok(torn_records)
}

/// Writes the same bytes again: after a failed sync the system may hold pages as clean that the
/// disk never got. So they are dirty, and the next sync means something.
fn write_again(file: &dyn DiskFile, from: u64, to: u64) -> std::io::Result<()> {
    let mut position = from;
    let mut block = vec![0; BLOCK_BYTES];
    while position < to {
        let left = usize::try_from(to - position).unwrap_or(usize::MAX);
        block.truncate(left.min(BLOCK_BYTES));
        let count = read_full(file, &mut block, position)?;
        let read = block.get(..count).filter(|read| !read.is_empty());
        write_all(file, read.ok_or(std::io::ErrorKind::UnexpectedEof)?, position)?;
        position += count as u64;
    }
    Ok(())
}

/// The file that keeps a second log away. Its text is the process that holds it.
struct Lock {
    file: File,
    /// Somebody had a log here once.
    was_held_before: bool,
}

impl Lock {
    fn take(path: &Path) -> Result<Self, Error> {
        let failed = |error| segment::failed("lock", path, error);
        let mut options = OpenOptions::new();
        let mut file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(failed)?;
        let outcome = file.try_lock();
        let mut holder = String::new();
        (&mut file).take(32).read_to_string(&mut holder).map_err(failed)?;
        match outcome {
            Ok(()) => Ok(Self { file, was_held_before: !holder.is_empty() }),
            Err(TryLockError::Error(error)) => Err(failed(error)),
            Err(TryLockError::WouldBlock) => {
                let folder = path.parent().unwrap_or(path).display();
                let text = format!(
                    "the log in {folder} is in use by process {}; stop it first",
                    holder.trim()
                );
                Err(Error::new(Kind::Conflict, "log.locked", text))
            }
        }
    }

    fn sign(&mut self) -> std::io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        writeln!(self.file, "{}", std::process::id())
    }
}
