//! Disks that do what a test wants.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, Weak};

use axle_log::disk::{Disk, DiskFile, RealDisk};

/// What goes wrong on a [`FaultyDisk`]. Calls are counted from 1.
#[derive(Default)]
pub(crate) struct Faults {
    /// The sync of file content that fails once; 0 for none.
    pub(crate) sync_fails_at: AtomicU64,
    /// The write that fails once; 0 for none.
    pub(crate) write_fails_at: AtomicU64,
    /// Every write takes a few bytes at a time, and every third is interrupted.
    pub(crate) is_short: AtomicBool,
    /// There is no room for anything new.
    pub(crate) is_full: AtomicBool,
    /// Without reservation a full disk shows when writing.
    pub(crate) fills_when_writing: AtomicBool,
    pub(crate) syncs: AtomicU64,
    pub(crate) writes: AtomicU64,
    is_held: Mutex<bool>,
    released: Condvar,
}

impl Faults {
    /// Lets every sync wait.
    pub(crate) fn hold(&self) {
        *self.is_held.lock().unwrap() = true;
    }

    /// Lets them go on.
    pub(crate) fn release(&self) {
        *self.is_held.lock().unwrap() = false;
        self.released.notify_all();
    }

    fn full(&self) -> io::Result<()> {
        if self.is_full.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

/// The real disk with faults.
#[derive(Clone, Default)]
pub(crate) struct FaultyDisk(pub(crate) Arc<Faults>);

struct FaultyFile(Arc<dyn DiskFile>, Arc<Faults>);

impl Disk for FaultyDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.0.full()?;
        Ok(Arc::new(FaultyFile(RealDisk.create(path)?, Arc::clone(&self.0))))
    }

    fn open(&self, path: &Path, is_writable: bool) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(FaultyFile(RealDisk.open(path, is_writable)?, Arc::clone(&self.0))))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        RealDisk.sync_folder(folder)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        RealDisk.list(folder)
    }
}

impl DiskFile for FaultyFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.0.read_at(buffer, position)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<usize> {
        let count = self.1.writes.fetch_add(1, Ordering::SeqCst) + 1;
        if count == self.1.write_fails_at.load(Ordering::SeqCst) {
            return Err(io::Error::other("injected write error"));
        }
        if self.1.fills_when_writing.load(Ordering::SeqCst) && self.1.full().is_err() {
            // Half of it still fits.
            self.0.write_at(&bytes[..bytes.len() / 2], position)?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        if self.1.is_short.load(Ordering::SeqCst) {
            if count.is_multiple_of(3) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            return self.0.write_at(&bytes[..bytes.len().min(7)], position);
        }
        self.0.write_at(bytes, position)
    }

    fn sync(&self) -> io::Result<()> {
        let mut is_held = self.1.is_held.lock().unwrap();
        while *is_held {
            is_held = self.1.released.wait(is_held).unwrap();
        }
        let count = self.1.syncs.fetch_add(1, Ordering::SeqCst) + 1;
        if count == self.1.sync_fails_at.load(Ordering::SeqCst) {
            return Err(io::Error::other("injected sync error"));
        }
        self.0.sync()
    }

    fn allocate(&self, from: u64, to: u64) -> io::Result<()> {
        if !self.1.fills_when_writing.load(Ordering::SeqCst) {
            self.1.full()?;
        }
        self.0.allocate(from, to)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn length(&self) -> io::Result<u64> {
        self.0.length()
    }
}

const PAGE_BYTES: usize = 512;

/// A disk in memory that knows what a loss of power would leave, and can lose it at any operation.
#[derive(Clone, Default)]
pub(crate) struct PowerDisk(Arc<Power>);

#[derive(Default)]
struct Power {
    names: Mutex<Names>,
    cut: Mutex<Cut>,
}

/// When the power is cut, and what was left then.
#[derive(Default)]
struct Cut {
    operations: u64,
    at: u64,
    seed: u64,
    promise: Arc<AtomicU64>,
    left: Option<(PowerDisk, u64)>,
}

#[derive(Default)]
struct Names {
    now: BTreeMap<PathBuf, Arc<PowerFile>>,
    synced: BTreeMap<PathBuf, Arc<PowerFile>>,
}

#[derive(Default)]
struct PowerFile {
    content: Mutex<Content>,
    power: Weak<Power>,
}

#[derive(Clone, Default)]
struct Content {
    now: Vec<u8>,
    synced: Vec<u8>,
}

impl PowerDisk {
    /// A disk that notes what a cut before an operation (counted from 1) would leave, and what
    /// was promised by then.
    pub(crate) fn cut_at(at: u64, seed: u64, promise: Arc<AtomicU64>) -> Self {
        let disk = Self::default();
        *disk.0.cut.lock().unwrap() = Cut { at, seed, promise, ..Cut::default() };
        disk
    }

    /// What the cut left and what was promised, once it happened.
    pub(crate) fn left(&self) -> Option<(Self, u64)> {
        self.0.cut.lock().unwrap().left.clone()
    }

    /// Names and bytes that were synced, and of the rest each page by chance.
    fn leftover(&self, seed: u64) -> Self {
        let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut chance = || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random & 1024 == 0
        };
        let left = Self::default();
        let mut files = BTreeMap::new();
        for (path, file) in &self.0.names.lock().unwrap().synced {
            let content = file.content.lock().unwrap().clone();
            let longest = content.now.len().max(content.synced.len());
            let length = if chance() { longest } else { content.synced.len() };
            let mut bytes = vec![0; length];
            for (page, place) in bytes.chunks_mut(PAGE_BYTES).enumerate() {
                let source = if chance() { &content.now } else { &content.synced };
                let begin = (page * PAGE_BYTES).min(source.len());
                let end = (begin + place.len()).min(source.len());
                place[..end - begin].copy_from_slice(&source[begin..end]);
            }
            let content = Mutex::new(Content { now: bytes.clone(), synced: bytes });
            let file = PowerFile { content, power: Arc::downgrade(&left.0) };
            files.insert(path.clone(), Arc::new(file));
        }
        *left.0.names.lock().unwrap() = Names { now: files.clone(), synced: files };
        left
    }

    /// Before every operation that changes something.
    fn tick(&self) {
        let mut cut = self.0.cut.lock().unwrap();
        cut.operations += 1;
        if cut.operations == cut.at {
            let promised = cut.promise.load(Ordering::SeqCst);
            cut.left = Some((self.leftover(cut.seed), promised));
        }
    }
}

impl PowerFile {
    fn tick(&self) {
        if let Some(power) = self.power.upgrade() {
            PowerDisk(power).tick();
        }
    }
}

impl Disk for PowerDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.tick();
        let power = Arc::downgrade(&self.0);
        let file = Arc::new(PowerFile { power, ..PowerFile::default() });
        self.0.names.lock().unwrap().now.insert(path.to_owned(), Arc::clone(&file));
        Ok(file)
    }

    fn open(&self, path: &Path, _is_writable: bool) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.0.names.lock().unwrap().now.get(path).cloned();
        Ok(file.ok_or(io::ErrorKind::NotFound)?)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.tick();
        let names = &mut self.0.names.lock().unwrap().now;
        let file = names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        names.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.tick();
        self.0
            .names
            .lock()
            .unwrap()
            .now
            .remove(path)
            .map(drop)
            .ok_or(io::ErrorKind::NotFound.into())
    }

    fn sync_folder(&self, _folder: &Path) -> io::Result<()> {
        self.tick();
        let mut names = self.0.names.lock().unwrap();
        names.synced = names.now.clone();
        Ok(())
    }

    fn list(&self, _folder: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(self.0.names.lock().unwrap().now.keys().cloned().collect())
    }
}

impl DiskFile for PowerFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let content = self.content.lock().unwrap();
        let begin = usize::try_from(position).unwrap().min(content.now.len());
        let count = buffer.len().min(content.now.len() - begin);
        buffer[..count].copy_from_slice(&content.now[begin..begin + count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<usize> {
        self.tick();
        let mut content = self.content.lock().unwrap();
        let begin = usize::try_from(position).unwrap();
        let end = begin + bytes.len();
        if content.now.len() < end {
            content.now.resize(end, 0);
        }
        content.now[begin..end].copy_from_slice(bytes);
        Ok(bytes.len())
    }

    fn sync(&self) -> io::Result<()> {
        self.tick();
        let mut content = self.content.lock().unwrap();
        content.synced = content.now.clone();
        Ok(())
    }

    fn allocate(&self, _from: u64, to: u64) -> io::Result<()> {
        let to = usize::try_from(to).unwrap();
        self.tick();
        let mut content = self.content.lock().unwrap();
        if content.now.len() < to {
            content.now.resize(to, 0);
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.tick();
        self.content.lock().unwrap().now.resize(usize::try_from(length).unwrap(), 0);
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.content.lock().unwrap().now.len() as u64)
    }
}
