//! Walks through the records of a segment, and finds the next good one behind damage.

use std::io;

use bytes::{Bytes, BytesMut};

use crate::disk::{DiskFile, read_full};
use crate::record::{self, Flaw, Head, Seed};

/// Bytes that a search behind damage looks at together.
const SEARCH_BYTES: usize = 1024 * 1024;
/// Zeros are skipped in blocks of this size.
const BLOCK_BYTES: usize = 4096;

/// What stands at a position.
#[derive(Debug)]
pub(crate) enum Step {
    /// A record, and what follows it in memory.
    Record(Head, Bytes),
    /// Zeros or the end of the file: nothing was written here, as far as one can see from here.
    Blank,
    /// Bytes that are no record.
    Damage,
}

/// A walk through a segment.
pub(crate) struct Scan<'a> {
    file: &'a dyn DiskFile,
    seed: Seed,
    limit: u64,
    chunk: Bytes,
    chunk_bytes: usize,
    /// Where the next record is expected.
    pub(crate) position: u64,
}

impl<'a> Scan<'a> {
    /// A walk from a position to at most `limit`, reading about `chunk_bytes` at a time.
    pub(crate) fn new(
        file: &'a dyn DiskFile,
        seed: Seed,
        position: u64,
        limit: u64,
        chunk_bytes: usize,
    ) -> Self {
        Self { file, seed, limit, chunk: Bytes::new(), chunk_bytes, position }
    }

    fn left(&self) -> usize {
        usize::try_from(self.limit.saturating_sub(self.position)).unwrap_or(usize::MAX)
    }

    fn load(&mut self, at_least: usize) -> io::Result<()> {
        let mut buffer = BytesMut::zeroed(self.chunk_bytes.max(at_least).min(self.left()));
        let count = read_full(self.file, &mut buffer, self.position)?;
        buffer.truncate(count);
        self.chunk = buffer.freeze();
        Ok(())
    }

    /// Looks at what stands at the position; a record is stepped over.
    pub(crate) fn step(&mut self) -> io::Result<Step> {
        loop {
            match record::check(&self.chunk, self.seed) {
                Ok(head) => {
                    let from_here = self.chunk.clone();
                    self.skip(head.length);
                    return Ok(Step::Record(head, from_here));
                }
                Err(Flaw::Damaged) => break,
                Err(Flaw::Short(length)) if length > self.left() => {
                    self.load(self.left())?;
                    break;
                }
                Err(Flaw::Short(length)) => {
                    self.load(length)?;
                    if self.chunk.len() < length {
                        break;
                    }
                }
            }
        }
        let begin = self.chunk.get(..record::MAGIC.len()).unwrap_or(&self.chunk);
        Ok(if begin.iter().all(|byte| *byte == 0) { Step::Blank } else { Step::Damage })
    }

    fn skip(&mut self, bytes: usize) {
        self.position += bytes as u64;
        self.chunk =
            self.chunk.get(bytes..).map_or(Bytes::new(), |rest| self.chunk.slice_ref(rest));
    }

    /// Searches the next record of an offset of at least `expected` and goes there. Where there is
    /// none, the position stays and the answer is `None`.
    pub(crate) fn search(&mut self, expected: u64) -> io::Result<Option<Head>> {
        let start = self.position;
        let chunk_bytes = std::mem::replace(&mut self.chunk_bytes, SEARCH_BYTES);
        let mut at = start;
        let mut found = None;
        while found.is_none() && at < self.limit {
            let window = self.read(at)?;
            let last = window.len() < SEARCH_BYTES;
            // A magic may straddle two windows.
            let step = if last { window.len() } else { window.len() - record::MAGIC.len() + 1 };
            for candidate in candidates(&window) {
                self.position = at + candidate as u64;
                self.chunk = window.slice(candidate..);
                if let Some(head) = self.good(expected)? {
                    found = Some(head);
                    break;
                }
            }
            if found.is_none() {
                at += step.max(1) as u64;
            }
        }
        self.chunk_bytes = chunk_bytes;
        if found.is_none() {
            self.position = start;
        }
        self.chunk = Bytes::new();
        Ok(found)
    }

    fn read(&self, at: u64) -> io::Result<Bytes> {
        let left = usize::try_from(self.limit.saturating_sub(at)).unwrap_or(usize::MAX);
        let mut buffer = BytesMut::zeroed(SEARCH_BYTES.min(left));
        let count = read_full(self.file, &mut buffer, at)?;
        buffer.truncate(count);
        Ok(buffer.freeze())
    }

    /// Whether a record that may follow `expected` stands at the position.
    fn good(&mut self, expected: u64) -> io::Result<Option<Head>> {
        let position = self.position;
        let head = match self.step()? {
            Step::Record(head, _bytes) => Some(head),
            Step::Blank | Step::Damage => None,
        };
        self.position = position;
        Ok(head.filter(|head| head.offset >= expected))
    }

    /// One past the last byte from the position on that is not zero; the position if there is none.
    pub(crate) fn last_written(&self) -> io::Result<u64> {
        let mut last = self.position;
        let mut at = self.position;
        loop {
            let window = self.read(at)?;
            if window.is_empty() {
                return Ok(last);
            }
            if let Some(place) = window.iter().rposition(|byte| *byte != 0) {
                last = at + place as u64 + 1;
            }
            at += window.len() as u64;
        }
    }
}

/// Where in the bytes a record may begin.
fn candidates(bytes: &Bytes) -> impl Iterator<Item = usize> {
    let blocks = bytes.len().div_ceil(BLOCK_BYTES);
    let written = (0..blocks).filter(|block| {
        let begin = block * BLOCK_BYTES;
        let end = (begin + BLOCK_BYTES).min(bytes.len());
        bytes.get(begin..end).is_some_and(|block| block.iter().any(|byte| *byte != 0))
    });
    written.flat_map(|block| {
        let begin = block * BLOCK_BYTES;
        let end = (begin + BLOCK_BYTES + record::MAGIC.len() - 1).min(bytes.len());
        let near = bytes.get(begin..end).unwrap_or_default();
        let magic = record::MAGIC;
        near.windows(magic.len())
            .enumerate()
            .filter(move |(_at, window)| *window == magic)
            .map(move |(at, _window)| begin + at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Disk, RealDisk, write_all};
    use axle_domain::{Message, Source, Timestamp};

    fn records(offsets: &[u64], payload: &[u8]) -> BytesMut {
        let message = Message {
            source: Source::Mqtt,
            device: "d",
            topic: "t",
            content_type: "",
            payload,
            received_at: Timestamp(0),
            connected_at: Timestamp(0),
            sent_at: None,
            replayed_at: None,
            origin: "",
            envelope: axle_domain::Envelope::default(),
        };
        let mut bytes = BytesMut::new();
        for offset in offsets {
            let size = record::size(&message).unwrap();
            record::encode(&mut bytes, &message, *offset, size, Seed::new(1));
        }
        bytes
    }

    #[test]
    fn finds_the_next_good_record_wherever_it_stands() {
        let dir = tempfile::tempdir().unwrap();
        let file = RealDisk.create(&dir.path().join("f")).unwrap();
        let good = records(&[3, 4], b"payload");
        let place = |at: u64| {
            file.set_len(0).unwrap();
            write_all(&*file, &good, at).unwrap();
            let end = file.length().unwrap();
            let mut scan = Scan::new(&*file, Seed::new(1), 0, end, 100);
            let head = scan.search(3).unwrap().unwrap();
            assert_eq!((head.offset, scan.position), (3, at), "at {at}");
            assert!(matches!(scan.step().unwrap(), Step::Record(..)));
            assert!(matches!(scan.step().unwrap(), Step::Record(head, _) if head.offset == 4));
            assert!(matches!(scan.step().unwrap(), Step::Blank));
        };
        let window = SEARCH_BYTES as u64;
        let edges = [0, 1, 4095, 4096, window - 4, window - 3, window - 1, window, window + 1];
        edges.into_iter().for_each(place);
        (window - 70..window).for_each(place);
    }

    #[test]
    fn a_record_that_came_before_is_no_good_record() {
        let dir = tempfile::tempdir().unwrap();
        let file = RealDisk.create(&dir.path().join("f")).unwrap();
        let old = records(&[2], b"old");
        write_all(&*file, &old, 10).unwrap();
        let mut scan = Scan::new(&*file, Seed::new(1), 0, file.length().unwrap(), 100);
        assert_eq!(scan.search(3).unwrap(), None);
        assert_eq!(scan.position, 0);
        assert_eq!(scan.last_written().unwrap(), 10 + old.len() as u64);
    }
}
