//! Reads a log's folder from outside: of a stopped server, or beside a running one. Nothing is
//! locked and nothing is changed.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use axle_domain::port::Record;
use axle_domain::{Error, Kind, Offset};

use crate::disk::RealDisk;
use crate::record;
use crate::scan::{Scan, Step};
use crate::segment::{self, DamagedRange, HEADER_BYTES};
use crate::survey::{Found, list};

const CHUNK_BYTES: usize = 1024 * 1024;
/// A server beside us may delete its oldest segment while we open it: then we look again.
const ATTEMPTS_MAX: usize = 3;

/// A segment file as it stands there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// The file.
    pub path: PathBuf,
    /// Its format.
    pub version: u32,
    /// Its identity, which every checksum in it starts from.
    pub id: u64,
    /// The offset of its first record.
    pub base: Offset,
    /// Bytes of the file, room that is reserved included.
    pub bytes: u64,
}

/// What comes next in the log.
#[derive(Debug)]
pub enum Entry {
    /// A record whose checksum is right, and the bytes that it takes.
    Record(Box<Record>, usize),
    /// Records that cannot be read though good ones follow.
    Damaged(DamagedRange),
    /// So many bytes behind the last good record that are none: a write that a crash cut short,
    /// or one that is under way.
    Torn(u64),
}

/// All segments of a folder as they were when it was opened, to be read record by record.
pub struct LogFolder {
    found: Vec<Found>,
}

impl LogFolder {
    /// Opens every segment for reading.
    ///
    /// # Errors
    /// `NotFound` where there is no log; `Corrupt` for an unreadable header or a segment that is
    /// missing between two others; `Invalid` for a newer format; `Unavailable` when the disk fails.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let mut attempts = 1;
        let found = loop {
            match if dir.is_dir() { list(&RealDisk, dir, false) } else { Ok(Vec::new()) } {
                Err(error) if error.kind == Kind::Unavailable && attempts < ATTEMPTS_MAX => {
                    attempts += 1;
                }
                listed => break listed?,
            }
        };
        if found.is_empty() {
            let text = format!("there is no log in {}", dir.display());
            return Err(Error::not_found("log.not_found", text));
        }
        Ok(Self { found })
    }

    /// The segments, oldest first.
    pub fn segments(&self) -> impl Iterator<Item = SegmentInfo> + '_ {
        self.found.iter().map(|found| SegmentInfo {
            path: found.path.clone(),
            version: found.header.version,
            id: found.header.id,
            base: Offset(found.header.base),
            bytes: found.length,
        })
    }

    /// The oldest offset that is kept.
    #[must_use]
    pub fn first(&self) -> Offset {
        Offset(self.found.first().map_or(0, |found| found.header.base))
    }

    /// Everything from an offset on, in order. Whole segments before it are not read.
    #[must_use]
    pub fn entries(&self, from: Offset) -> Entries<'_> {
        let after = self.found.partition_point(|found| found.header.base <= from.0);
        let place = after.saturating_sub(1);
        Entries { folder: self, place, from: from.0, walk: None, ready: VecDeque::new() }
    }
}

/// See [`LogFolder::entries`].
pub struct Entries<'a> {
    folder: &'a LogFolder,
    /// The segment that is read, or will be.
    place: usize,
    from: u64,
    walk: Option<Walk<'a>>,
    ready: VecDeque<Entry>,
}

/// A walk through one segment.
struct Walk<'a> {
    scan: Scan<'a>,
    next: u64,
}

impl Iterator for Entries<'_> {
    type Item = Result<Entry, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.ready.pop_front() {
                return Some(Ok(entry));
            }
            let found = self.folder.found.get(self.place)?;
            if let Err(error) = self.step(found) {
                self.place = usize::MAX;
                return Some(Err(segment::failed("read", &found.path, error)));
            }
        }
    }
}

impl<'a> Entries<'a> {
    /// Looks at one place of a segment; what is worth telling becomes ready.
    fn step(&mut self, found: &'a Found) -> std::io::Result<()> {
        let walk = self.walk.get_or_insert_with(|| Walk {
            scan: Scan::new(
                &*found.file,
                found.header.seed(),
                HEADER_BYTES as u64,
                found.length,
                CHUNK_BYTES,
            ),
            next: found.header.base,
        });
        let position = walk.scan.position;
        match walk.scan.step()? {
            Step::Record(head, mut bytes) if head.offset == walk.next => {
                walk.next += 1;
                if head.offset >= self.from
                    && let Some((record, length)) = record::decode(&mut bytes)
                {
                    self.ready.push_back(Entry::Record(Box::new(record), length));
                }
            }
            Step::Record(..) | Step::Blank | Step::Damage => {
                walk.scan.position = position;
                let good = walk.scan.search(walk.next)?.map(|head| head.offset);
                let follower = self.folder.found.get(self.place + 1);
                let next_good = good.or(follower.map(|follower| follower.header.base));
                let (from, at) = (walk.next, walk.scan.position);
                match next_good {
                    Some(next_good) if next_good > from || good.is_some() => {
                        walk.next = next_good;
                        if next_good > self.from {
                            let to_byte = if good.is_some() { at } else { found.length };
                            self.ready.push_back(Entry::Damaged(DamagedRange {
                                file: found.path.clone(),
                                from_byte: position,
                                to_byte,
                                from: Offset(from),
                                next_good: Offset(next_good),
                            }));
                        }
                    }
                    Some(_whole) => {}
                    None => {
                        let torn = walk.scan.last_written()?.saturating_sub(position);
                        self.ready.extend((torn > 0).then_some(Entry::Torn(torn)));
                    }
                }
                if good.is_none() {
                    self.walk = None;
                    self.place += 1;
                }
            }
        }
        Ok(())
    }
}
