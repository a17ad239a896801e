//! The newest commits in memory: who follows the log closely never reads the disk.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use axle_domain::port::Record;
use bytes::{Bytes, BytesMut};

use crate::record;

struct Commit {
    base: u64,
    next: u64,
    bytes: Bytes,
    /// Bytes of memory that the commit holds.
    held: usize,
    /// Offsets and positions inside `bytes`.
    marks: Vec<(u64, usize)>,
}

/// A bounded window of commits up to the durable end.
pub(crate) struct Tail {
    bytes_max: usize,
    commits: Mutex<Commits>,
}

#[derive(Default)]
struct Commits {
    queue: VecDeque<Commit>,
    held: usize,
}

impl Tail {
    /// A window that holds at most so many bytes.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, commits: Mutex::default() }
    }

    /// Takes a commit that is on disk. Gives back memory that nobody reads any more, if there is.
    pub(crate) fn push(
        &self,
        (base, next): (u64, u64),
        bytes: BytesMut,
        marks: Vec<(u64, usize)>,
    ) -> Option<BytesMut> {
        let used = bytes.len();
        let held = bytes.capacity() + size_of::<Commit>();
        let mut spare = None;
        let mut commits = self.lock();
        commits.held += held;
        commits.queue.push_back(Commit { base, next, bytes: bytes.freeze(), held, marks });
        while commits.held > self.bytes_max {
            let Some(oldest) = commits.queue.pop_front() else { break };
            commits.held -= oldest.held;
            if let Ok(buffer) = oldest.bytes.try_into_mut()
                && buffer.capacity() <= 4 * used
            {
                spare = Some(buffer);
            }
        }
        spare
    }

    /// Records from an offset on, if the window reaches so far back: at least one, and no more
    /// after `bytes_max` bytes are reached.
    pub(crate) fn read(&self, from: u64, bytes_max: usize) -> Option<Vec<Record>> {
        let (parts, mut skip) = self.parts(from, bytes_max)?;
        let mut records = Vec::new();
        let mut bytes = 0;
        for mut part in parts {
            while let Some((record, length)) = record::decode(&mut part) {
                if skip > 0 {
                    skip -= 1;
                    continue;
                }
                records.push(record);
                bytes += length;
                if bytes >= bytes_max {
                    return Some(records);
                }
            }
        }
        Some(records)
    }

    /// The bytes from a mark before `from` on, and how many records stand before it there.
    fn parts(&self, from: u64, bytes_max: usize) -> Option<(Vec<Bytes>, u64)> {
        let commits = self.lock();
        let begin = commits.queue.partition_point(|commit| commit.next <= from);
        let first = commits.queue.get(begin).filter(|commit| commit.base <= from)?;
        let mark = first.marks.partition_point(|(offset, _at)| *offset <= from);
        let mark = mark.checked_sub(1).and_then(|mark| first.marks.get(mark));
        let (offset, at) = mark.copied().unwrap_or((first.base, 0));
        let mut parts = vec![first.bytes.slice(at..)];
        let mut bytes = first.bytes.len() - at;
        let mut next = first.next;
        for commit in commits.queue.range(begin + 1..) {
            // What is skipped in the first part counts too little to matter: the reader asks again.
            if bytes >= bytes_max || commit.base != next {
                break;
            }
            bytes += commit.bytes.len();
            next = commit.next;
            parts.push(commit.bytes.clone());
        }
        Some((parts, from - offset))
    }

    fn lock(&self) -> MutexGuard<'_, Commits> {
        self.commits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
