//! A disk in memory that can stop at any operation, and knows what a kill or a loss of power
//! would leave of it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use axle_log::disk::{Disk, DiskFile};

use super::chance::Chance;
use super::planted::Planted;

/// What a disk takes or loses as a whole.
const PAGE_BYTES: usize = 256;

/// What ends a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The process: what the system has in memory stays.
    Kill,
    /// The machine: what was not synced may be gone, page by page and name by name.
    PowerLoss,
}

#[derive(Clone)]
pub(super) struct SimDisk(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    planted: Option<Planted>,
}

#[derive(Clone, Default)]
struct State {
    now: BTreeMap<PathBuf, usize>,
    synced: BTreeMap<PathBuf, usize>,
    files: Vec<Content>,
    /// Operations that may still happen; all if absent.
    budget: Option<u64>,
    is_blocked: bool,
    is_off: bool,
    /// The sync that fails, counted down.
    sync_fails_in: Option<u64>,
    operations: u64,
}

#[derive(Clone, Default)]
struct Content {
    now: Vec<u8>,
    synced: Vec<u8>,
    /// Pages that a failed sync has dropped: the system takes them for written.
    dropped: BTreeSet<usize>,
}

impl Content {
    fn sync(&mut self) {
        let (now, dropped) = (&self.now, &self.dropped);
        self.synced.resize(now.len(), 0);
        for page in 0..now.len().div_ceil(PAGE_BYTES) {
            if !dropped.contains(&page) {
                let range = page * PAGE_BYTES..((page + 1) * PAGE_BYTES).min(now.len());
                self.synced[range.clone()].copy_from_slice(&now[range]);
            }
        }
    }

    fn differing(&self) -> BTreeSet<usize> {
        let pages = 0..self.now.len().div_ceil(PAGE_BYTES);
        pages
            .filter(|page| {
                let range = page * PAGE_BYTES..((page + 1) * PAGE_BYTES).min(self.now.len());
                self.synced.get(range.clone()) != self.now.get(range)
            })
            .collect()
    }

    /// What is left of it after a loss of power.
    fn left(&self, chance: &mut Chance) -> Vec<u8> {
        let mut left = self.synced.clone();
        if self.now.len() != left.len() && chance.one_in(2) {
            left.resize(self.now.len(), 0);
        }
        for page in self.differing().difference(&self.dropped) {
            let range = page * PAGE_BYTES..((page + 1) * PAGE_BYTES).min(self.now.len());
            if chance.one_in(2) && range.end <= left.len() {
                left[range.clone()].copy_from_slice(&self.now[range]);
            }
        }
        left
    }
}

impl SimDisk {
    pub(super) fn new(planted: Option<Planted>) -> Self {
        Self::of(State::default(), planted)
    }

    fn of(state: State, planted: Option<Planted>) -> Self {
        Self(Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new(), planted }))
    }

    fn has(&self, planted: Planted) -> bool {
        self.0.planted == Some(planted)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }

    /// Lets so many operations happen and no more; all if absent.
    pub(super) fn allow(&self, operations: Option<u64>) {
        self.state().budget = operations;
        self.0.changed.notify_all();
    }

    /// Whether the next operation has to wait.
    pub(super) fn is_closed(&self) -> bool {
        self.state().budget == Some(0)
    }

    /// Waits until somebody waits for the disk.
    pub(super) fn wait_blocked(&self) {
        let mut state = self.state();
        while !state.is_blocked && !state.is_off {
            state = self.0.changed.wait(state).unwrap();
        }
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.state().is_blocked
    }

    /// Lets the sync after so many others fail once.
    pub(super) fn fail_sync(&self, after: u64) {
        self.state().sync_fails_in = Some(after);
    }

    pub(super) fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Ends the run: nothing happens on this disk any more. Returns the one that the next run has.
    pub(super) fn end(&self, end: End, chance: &mut Chance) -> Self {
        let mut state = self.state();
        state.is_off = true;
        self.0.changed.notify_all();
        let mut left = State { operations: state.operations, ..State::default() };
        let is_synced = end == End::PowerLoss && chance.one_in(2);
        let names = if is_synced { &state.synced } else { &state.now };
        // Names that were removed, but not durably, are as good as gone for whoever lists them.
        for (path, file) in names {
            let content = &state.files[*file];
            let mut bytes = match end {
                End::Kill => content.now.clone(),
                End::PowerLoss => content.left(chance),
            };
            if self.has(Planted::RecoverShort) && end == End::PowerLoss {
                cut_last_record(&mut bytes);
            }
            // After a kill the system still has to write what it has in memory.
            let (synced, dropped) = match end {
                End::Kill => (content.synced.clone(), content.dropped.clone()),
                End::PowerLoss => (bytes.clone(), BTreeSet::new()),
            };
            left.now.insert(path.clone(), left.files.len());
            if end == End::PowerLoss || state.synced.get(path) == Some(file) {
                left.synced.insert(path.clone(), left.files.len());
            }
            left.files.push(Content { now: bytes, synced, dropped });
        }
        Self::of(left, self.0.planted)
    }

    /// Waits for its turn; an error once the run has ended.
    fn operate(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        while state.budget == Some(0) && !state.is_off {
            state.is_blocked = true;
            self.0.changed.notify_all();
            state = self.0.changed.wait(state).unwrap();
        }
        state.is_blocked = false;
        if state.is_off {
            return Err(io::Error::other("the power is off"));
        }
        state.budget = state.budget.map(|left| left - 1);
        state.operations += 1;
        Ok(state)
    }
}

/// What a start that is off by one would take for torn.
fn cut_last_record(bytes: &mut [u8]) {
    let is_magic = |window: &[u8]| window == b"AXR1";
    if let Some(at) = bytes.windows(4).rposition(is_magic) {
        bytes[at..].fill(0);
    }
}

struct SimFile {
    disk: SimDisk,
    number: usize,
}

impl Disk for SimDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.operate()?;
        let number = state.files.len();
        state.files.push(Content::default());
        state.now.insert(path.to_owned(), number);
        Ok(Arc::new(SimFile { disk: self.clone(), number }))
    }

    fn open(&self, path: &Path, _is_writable: bool) -> io::Result<Arc<dyn DiskFile>> {
        let number = self.state().now.get(path).copied().ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(SimFile { disk: self.clone(), number }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.operate()?;
        let number = state.now.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.now.insert(to.to_owned(), number);
        Ok(())
    }

    /// Deleting waits for nobody: when it happens changes nothing that a run promises.
    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        if state.is_off {
            return Err(io::Error::other("the power is off"));
        }
        state.now.remove(path).ok_or(io::ErrorKind::NotFound)?;
        state.synced.remove(path);
        Ok(())
    }

    fn sync_folder(&self, _folder: &Path) -> io::Result<()> {
        let mut state = self.state();
        if state.now.keys().eq(state.synced.keys()) {
            // After a deletion, see there.
            return Ok(());
        }
        drop(state);
        state = self.operate()?;
        if !self.has(Planted::SkipFolderSync) {
            state.synced = state.now.clone();
        }
        Ok(())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let state = self.state();
        Ok(state.now.keys().filter(|path| path.parent() == Some(folder)).cloned().collect())
    }
}

impl DiskFile for SimFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let state = self.disk.state();
        let now = &state.files[self.number].now;
        let from = usize::try_from(position).unwrap().min(now.len());
        let count = buffer.len().min(now.len() - from);
        buffer[..count].copy_from_slice(&now[from..from + count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<usize> {
        let mut state = self.disk.operate()?;
        let content = &mut state.files[self.number];
        let from = usize::try_from(position).unwrap();
        let end = from + bytes.len();
        if content.now.len() < end {
            content.now.resize(end, 0);
        }
        content.now[from..end].copy_from_slice(bytes);
        for page in from / PAGE_BYTES..end.div_ceil(PAGE_BYTES) {
            content.dropped.remove(&page);
        }
        Ok(bytes.len())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.operate()?;
        let fails = state.sync_fails_in == Some(0);
        state.sync_fails_in = state.sync_fails_in.and_then(|left| left.checked_sub(1));
        let content = &mut state.files[self.number];
        if fails {
            content.dropped = content.differing();
            if !self.disk.has(Planted::SwallowSyncError) {
                return Err(io::Error::other("an input/output error"));
            }
        } else if !self.disk.has(Planted::SkipSync) {
            content.sync();
        }
        Ok(())
    }

    fn allocate(&self, _from: u64, to: u64) -> io::Result<()> {
        let mut state = self.disk.operate()?;
        let to = usize::try_from(to).unwrap();
        let now = &mut state.files[self.number].now;
        now.resize(now.len().max(to), 0);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut state = self.disk.operate()?;
        state.files[self.number].now.resize(usize::try_from(length).unwrap(), 0);
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.disk.state().files[self.number].now.len() as u64)
    }
}
