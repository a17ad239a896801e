//! Looks at a log's folder without changing anything: which segments there are, what they hold.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axle_domain::{Error, Kind, Offset};

use crate::disk::{Disk, DiskFile, RealDisk};
use crate::scan::{Scan, Step};
use crate::segment::{self, DamagedRange, HEADER_BYTES, Header, MARK_EVERY_BYTES};

const CHUNK_BYTES: usize = 1024 * 1024;

/// A segment as it was found: header and place in the chain are right, its records unread.
pub(crate) struct Found {
    pub(crate) header: Header,
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) length: u64,
}

/// Opens every segment of a folder, oldest first.
///
/// # Errors
/// `Corrupt`, when a header cannot be read or a segment is missing between two others; `Invalid`,
/// when a newer axle wrote one; `Unavailable`, when the disk fails.
pub(crate) fn list(disk: &dyn Disk, dir: &Path, is_writable: bool) -> Result<Vec<Found>, Error> {
    let paths = disk.list(dir).map_err(|error| segment::failed("list", dir, error))?;
    let mut paths: Vec<PathBuf> =
        paths.into_iter().filter(|path| segment::base_of(path).is_some()).collect();
    paths.sort();
    let mut found: Vec<Found> = Vec::with_capacity(paths.len());
    for path in paths {
        let open = || {
            let file = disk.open(&path, is_writable)?;
            let length = file.length()?;
            Ok((file, length))
        };
        let (file, length) = open().map_err(|error| segment::failed("open", &path, error))?;
        let header = Header::read(&*file, &path)?;
        if let Some(before) = found.last() {
            follows(&before.header, &header, &path)?;
        }
        found.push(Found { header, path, file, length });
    }
    Ok(found)
}

/// Checks that one segment follows another in the chain of identities.
fn follows(before: &Header, after: &Header, path: &Path) -> Result<(), Error> {
    if (after.previous_id, after.previous_base) == (before.id, before.base) {
        return Ok(());
    }
    let before_name = segment::file_name(before.base);
    let wanted = segment::file_name(after.previous_base);
    let text = if after.previous_base == before.base {
        format!(
            "segment {before_name} is not the one that {} was written after: it comes from \
             another log; restore the right one",
            path.display()
        )
    } else {
        format!(
            "segment {wanted} is missing between {before_name} and {}; restore it",
            path.display()
        )
    };
    Err(Error::new(Kind::Corrupt, "log.segment_missing", text))
}

/// What a walk through all records of a segment has seen.
#[derive(Debug, Default)]
pub(crate) struct Walked {
    /// Valid records.
    pub(crate) records: u64,
    /// One past the last byte of the last valid record.
    pub(crate) end: u64,
    /// One past the offset of the last valid record.
    pub(crate) next: u64,
    /// What cannot be read though valid records follow.
    pub(crate) damaged: Vec<DamagedRange>,
    /// One past the last byte that is not zero, `end` if none follows.
    pub(crate) written: u64,
    /// Where some records stand.
    pub(crate) marks: Vec<(u64, u64)>,
    /// When the first record came.
    pub(crate) oldest: Option<i64>,
    /// When the last record came.
    pub(crate) newest: Option<i64>,
}

/// Checks all records of a segment.
///
/// # Errors
/// `Unavailable`, when the disk fails.
pub(crate) fn walk(found: &Found) -> Result<Walked, Error> {
    let failed = |error| segment::failed("read", &found.path, error);
    let begin = HEADER_BYTES as u64;
    let seed = found.header.seed();
    let mut scan = Scan::new(&*found.file, seed, begin, found.length, CHUNK_BYTES);
    let mut seen = Walked { end: begin, next: found.header.base, ..Walked::default() };
    let mut marked = begin;
    loop {
        match scan.step().map_err(failed)? {
            Step::Record(head, _bytes) if head.offset == seen.next => {
                if seen.end >= marked + MARK_EVERY_BYTES {
                    marked = seen.end;
                    seen.marks.push((head.offset, seen.end));
                }
                seen.records += 1;
                seen.next = head.offset + 1;
                seen.end = scan.position;
                seen.oldest = seen.oldest.or(Some(head.received_at));
                seen.newest = Some(head.received_at);
            }
            Step::Record(..) | Step::Blank | Step::Damage => {
                scan.position = seen.end;
                let Some(head) = scan.search(seen.next).map_err(failed)? else {
                    seen.written = scan.last_written().map_err(failed)?;
                    return Ok(seen);
                };
                seen.damaged.push(DamagedRange {
                    file: found.path.clone(),
                    from_byte: seen.end,
                    to_byte: scan.position,
                    from: Offset(seen.next),
                    next_good: Offset(head.offset),
                });
                seen.end = scan.position;
                seen.next = head.offset;
            }
        }
    }
}

/// What [`verify`] has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyReport {
    /// Segment files.
    pub segments: usize,
    /// Valid records.
    pub records: u64,
    /// The oldest offset that is kept.
    pub first: Offset,
    /// One past the newest valid record.
    pub next: Offset,
    /// Bytes of all segments up to their last valid record.
    pub bytes: u64,
    /// What cannot be read though valid records follow.
    pub damaged: Vec<DamagedRange>,
    /// Bytes behind the last valid record of the log that are no record: a write that a crash cut
    /// short. The next start clears them.
    pub torn_bytes: u64,
}

impl VerifyReport {
    /// Whether every record that was ever acknowledged and is kept can be read.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.damaged.is_empty()
    }
}

/// Checks every record of a log without changing anything. Best while no server runs on it:
/// a commit under way looks like a torn one.
///
/// # Errors
/// Those that would keep the log from starting: `Corrupt` for an unreadable header or a missing
/// segment, `Invalid` for a newer format, `NotFound` where there is no log, `Unavailable` when the
/// disk fails.
pub fn verify(dir: &Path) -> Result<VerifyReport, Error> {
    let found = if dir.is_dir() { list(&RealDisk, dir, false)? } else { Vec::new() };
    let (Some(first), Some(last)) = (found.first(), found.last()) else {
        let text = format!("there is no log in {}", dir.display());
        return Err(Error::not_found("log.not_found", text));
    };
    let mut report = VerifyReport {
        segments: found.len(),
        records: 0,
        first: Offset(first.header.base),
        next: Offset(last.header.base),
        bytes: 0,
        damaged: Vec::new(),
        torn_bytes: 0,
    };
    let followers = found.iter().skip(1).map(Some).chain([None]);
    for (segment, follower) in found.iter().zip(followers) {
        let mut seen = walk(segment)?;
        report.records += seen.records;
        report.bytes += seen.end;
        report.damaged.append(&mut seen.damaged);
        match follower {
            Some(follower) if seen.next != follower.header.base => {
                report.damaged.push(DamagedRange {
                    file: segment.path.clone(),
                    from_byte: seen.end,
                    to_byte: segment.length.max(seen.written),
                    from: Offset(seen.next),
                    next_good: Offset(follower.header.base),
                });
            }
            Some(_complete) => {}
            None => {
                report.next = Offset(seen.next);
                report.torn_bytes = seen.written.saturating_sub(seen.end);
            }
        }
    }
    Ok(report)
}
