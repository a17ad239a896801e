//! A segment: one file with a header and the records from its base offset on.
//!
//! ```text
//!  0  magic          "AXLELOG1"
//!  8  version        u32, 1 or 2
//! 12  header_bytes   u32, 64
//! 16  id             u64, random: the seed of every record's checksum
//! 24  base           u64, offset of the first record
//! 32  previous_id    u64, of the segment before; 0 if there never was one
//! 40  previous_base  u64, base of that segment
//! 48  zero           12 bytes
//! 60  checksum       u32, CRC-32C over bytes 0..60
//! 64  records
//! ```
//!
//! The file's name is the base in twenty digits and `.axlelog`. A file gets its name only when its
//! header is durable, and a segment is begun only when the one before is durable; so only the last
//! one can end in a torn write, and a header that cannot be read is never a matter of a crash.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use axle_domain::{Error, Kind};
use bytes::{BufMut, BytesMut};

use crate::disk::{DiskFile, read_full};
use crate::record::Seed;

/// Bytes before the first record.
pub(crate) const HEADER_BYTES: usize = 64;
/// Where the next segment grows up until it has its name.
pub(crate) const UNFINISHED_NAME: &str = "next.unfinished";
const MAGIC: &[u8; 8] = b"AXLELOG1";
/// What is written. Version 1 had records without an envelope; otherwise they are the same.
pub(crate) const VERSION: u32 = 2;
const CHECKED_BYTES: usize = 60;
const SUFFIX: &str = ".axlelog";
/// Distance of the marks by which a reader finds its place.
pub(crate) const MARK_EVERY_BYTES: u64 = 64 * 1024;

/// Who a segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Its format: a segment gets no records that readers of its version do not know.
    pub(crate) version: u32,
    /// Its identity.
    pub(crate) id: u64,
    /// Offset of its first record.
    pub(crate) base: u64,
    /// The identity of the segment before; 0 if there never was one.
    pub(crate) previous_id: u64,
    /// Offset of that segment's first record.
    pub(crate) previous_base: u64,
}

impl Header {
    /// What every checksum of the segment starts from.
    pub(crate) fn seed(&self) -> Seed {
        Seed::new(self.id)
    }

    /// The header as it stands in the file.
    pub(crate) fn encode(&self) -> BytesMut {
        let mut bytes = BytesMut::with_capacity(HEADER_BYTES);
        bytes.put_slice(MAGIC);
        bytes.put_u32_le(self.version);
        bytes.put_u32_le(u32::try_from(HEADER_BYTES).unwrap_or(u32::MAX));
        for number in [self.id, self.base, self.previous_id, self.previous_base] {
            bytes.put_u64_le(number);
        }
        bytes.put_bytes(0, CHECKED_BYTES - bytes.len());
        let checksum = crc32c::crc32c(&bytes);
        bytes.put_u32_le(checksum);
        bytes
    }

    /// Reads the header of a file.
    ///
    /// # Errors
    /// `Corrupt` or `Unavailable`, naming the file: the log must not start without it.
    pub(crate) fn read(file: &dyn DiskFile, path: &Path) -> Result<Self, Error> {
        let damaged = |what: &str| {
            let text = format!(
                "segment {}: {what}; restore the file from a backup, the log does not start \
                 without it",
                path.display()
            );
            Error::new(Kind::Corrupt, "log.header_damaged", text)
        };
        let mut bytes = [0; HEADER_BYTES];
        let count = read_full(file, &mut bytes, 0)
            .map_err(|error| failed("read the header of", path, error))?;
        if count < HEADER_BYTES {
            return Err(damaged(&format!("the file ends after {count} bytes, inside the header")));
        }
        let (magic, rest) = bytes.split_first_chunk::<8>().ok_or_else(|| damaged("too short"))?;
        if magic != MAGIC {
            return Err(damaged("the header does not begin with AXLELOG1"));
        }
        let version = rest.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
        if version > VERSION {
            let text = format!(
                "segment {} has format version {version}, this axle reads up to {VERSION}; start \
                 a newer axle, nothing was touched",
                path.display()
            );
            return Err(Error::new(Kind::Invalid, "log.version_newer", text));
        }
        let (checked, checksum) = bytes.split_at(CHECKED_BYTES);
        if version == 0 || checksum != crc32c::crc32c(checked).to_le_bytes() {
            return Err(damaged("the checksum of the header is wrong"));
        }
        let number = |at: usize| {
            let bytes = checked.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
            bytes.map_or(0, u64::from_le_bytes)
        };
        let header = Self {
            version,
            id: number(16),
            base: number(24),
            previous_id: number(32),
            previous_base: number(40),
        };
        if Some(header.base) != base_of(path) {
            let text = format!("its header says that it is {}", file_name(header.base));
            return Err(damaged(&text));
        }
        Ok(header)
    }
}

/// The file name of a segment.
pub(crate) fn file_name(base: u64) -> String {
    format!("{base:020}{SUFFIX}")
}

/// The base offset that a file name claims; `None` where the file is no segment.
pub(crate) fn base_of(path: &Path) -> Option<u64> {
    let digits = path.file_name()?.to_str()?.strip_suffix(SUFFIX)?;
    (digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit()))
        .then(|| digits.parse().ok())?
}

/// A failed operation on a file, in the log's terms.
pub(crate) fn failed(doing: &str, path: &Path, error: io::Error) -> Error {
    let text = format!("cannot {doing} {}", path.display());
    Error::unavailable("log.disk_failed", text).with_source(error)
}

/// A stretch of a file that holds no valid record though valid ones follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedRange {
    /// The file.
    pub file: PathBuf,
    /// Its first damaged byte.
    pub from_byte: u64,
    /// One past its last damaged byte.
    pub to_byte: u64,
    /// The first offset that is missing.
    pub from: axle_domain::Offset,
    /// The next offset that can be read; equal to `from` where stray bytes cost no record.
    pub next_good: axle_domain::Offset,
}

/// An open segment.
pub(crate) struct Segment {
    /// Who it is.
    pub(crate) header: Header,
    /// Its file's name.
    pub(crate) path: PathBuf,
    /// Its file.
    pub(crate) file: Arc<dyn DiskFile>,
    /// When its first record came, microseconds since 1970; unset where it has none.
    pub(crate) oldest: OnceLock<i64>,
    end: AtomicU64,
    next: AtomicU64,
    /// Positions of some records by offset.
    marks: Mutex<BTreeMap<u64, u64>>,
}

impl Segment {
    /// A segment whose records before `next` end at byte `end`.
    pub(crate) fn new(
        header: Header,
        path: PathBuf,
        file: Arc<dyn DiskFile>,
        (end, next): (u64, u64),
    ) -> Self {
        Self {
            header,
            path,
            file,
            oldest: OnceLock::new(),
            end: AtomicU64::new(end),
            next: AtomicU64::new(next),
            marks: Mutex::new(BTreeMap::new()),
        }
    }

    /// One past the last durable byte, and one past the last durable record.
    pub(crate) fn end(&self) -> (u64, u64) {
        // The other way round than `advance`: the bytes of every record that is seen are there.
        let next = self.next.load(Ordering::Acquire);
        (self.end.load(Ordering::Acquire), next)
    }

    /// More has become durable.
    pub(crate) fn advance(&self, end: u64, next: u64) {
        self.end.store(end, Ordering::Release);
        self.next.store(next, Ordering::Release);
    }

    /// Remembers where records stand.
    pub(crate) fn mark(&self, marks: impl IntoIterator<Item = (u64, u64)>) {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner).extend(marks);
    }

    /// The nearest known place at or before an offset: its offset and position.
    pub(crate) fn find(&self, offset: u64) -> (u64, u64) {
        let marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        let nearest = marks.range(..=offset).next_back().map(|(offset, at)| (*offset, *at));
        nearest.unwrap_or((self.header.base, HEADER_BYTES as u64))
    }
}
