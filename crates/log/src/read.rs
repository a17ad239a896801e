//! Reads records of a segment from the disk.

use axle_domain::port::Record;
use axle_domain::{Error, Kind};
use bytes::Bytes;

use crate::record;
use crate::scan::{Scan, Step};
use crate::segment::{self, MARK_EVERY_BYTES, Segment};

/// Most bytes that are read at once where the reader asks for more.
const CHUNK_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Reads records of a segment from an offset on, which is one of its durable ones: at least one,
/// and no more after `bytes_max` bytes are reached.
///
/// # Errors
/// `Corrupt` where the record is damaged, naming the next good offset; `Unavailable` when the disk
/// fails.
pub(crate) fn read(segment: &Segment, from: u64, bytes_max: usize) -> Result<Vec<Record>, Error> {
    let failed = |error| segment::failed("read", &segment.path, error);
    let (limit, until) = segment.end();
    let (mut expected, position) = segment.find(from);
    // Up to a mark's distance is skipped before the first record that counts.
    let mark_bytes = usize::try_from(MARK_EVERY_BYTES).unwrap_or(usize::MAX);
    let chunk_bytes = bytes_max.min(CHUNK_BYTES_MAX) + mark_bytes;
    let seed = segment.header.seed();
    let mut scan = Scan::new(&*segment.file, seed, position, limit, chunk_bytes);
    let mut marks = Marks { segment, last: position };
    let mut records = Vec::new();
    let mut bytes = 0;
    while expected < until && (bytes < bytes_max || records.is_empty()) {
        let position = scan.position;
        match scan.step().map_err(failed)? {
            Step::Record(head, mut here) if head.offset == expected => {
                marks.pass(expected, position);
                expected += 1;
                if head.offset >= from {
                    bytes += head.length;
                    records.extend(decode(&mut here));
                }
            }
            Step::Record(..) | Step::Blank | Step::Damage if !records.is_empty() => break,
            Step::Record(..) | Step::Blank | Step::Damage => {
                scan.position = position;
                let good = scan.search(expected).map_err(failed)?;
                let next_good = good.map_or(until, |head| head.offset.min(until));
                if from < next_good {
                    return Err(damaged(segment, position, (from, next_good)));
                }
                marks.set(next_good, scan.position);
                expected = next_good;
            }
        }
    }
    marks.pass(expected, scan.position);
    Ok(records)
}

fn decode(bytes: &mut Bytes) -> Option<Record> {
    record::decode(bytes).map(|(record, _length)| record)
}

fn damaged(segment: &Segment, position: u64, (from, next_good): (u64, u64)) -> Error {
    let text = format!(
        "the log is damaged in {} at byte {position}: offset {from} cannot be read, the next good \
         offset is {next_good}",
        segment.path.display()
    );
    // For programs: the limit is the next good offset, the actual value the one asked for.
    Error::new(Kind::Corrupt, "log.damaged", text).with_limit(next_good, from)
}

/// Leaves marks while walking through a segment that has none yet.
struct Marks<'a> {
    segment: &'a Segment,
    last: u64,
}

impl Marks<'_> {
    fn pass(&mut self, offset: u64, position: u64) {
        if position >= self.last + MARK_EVERY_BYTES {
            self.set(offset, position);
        }
    }

    fn set(&mut self, offset: u64, position: u64) {
        self.segment.mark([(offset, position)]);
        self.last = position;
    }
}
