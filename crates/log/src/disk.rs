//! What the log needs of a file system, so that tests can let it fail.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

/// A folder's worth of files.
pub trait Disk: Send + Sync {
    /// Makes an empty file for reading and writing; one of that name loses its content.
    ///
    /// # Errors
    /// Those of the file system; likewise below.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens a file for reading, and for writing if so wished.
    ///
    /// # Errors
    /// See above.
    fn open(&self, path: &Path, is_writable: bool) -> io::Result<Arc<dyn DiskFile>>;

    /// Gives a file its final name.
    ///
    /// # Errors
    /// See above.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Deletes a file.
    ///
    /// # Errors
    /// See above.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes names durable: what was created, renamed or removed in this folder.
    ///
    /// # Errors
    /// See above.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// All files of a folder.
    ///
    /// # Errors
    /// See above.
    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>>;
}

/// An open file.
pub trait DiskFile: Send + Sync {
    /// Reads into the buffer from a position; 0 at the end.
    ///
    /// # Errors
    /// Those of the file system; likewise below.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;

    /// Writes at a position; says how many bytes went in.
    ///
    /// # Errors
    /// See above.
    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<usize>;

    /// Makes the content durable.
    ///
    /// # Errors
    /// See above.
    fn sync(&self) -> io::Result<()>;

    /// Reserves room up to a length; new bytes are zero.
    ///
    /// # Errors
    /// `StorageFull` while nothing was written yet, and those of the file system.
    fn allocate(&self, from: u64, to: u64) -> io::Result<()>;

    /// Cuts the file to a length.
    ///
    /// # Errors
    /// See above.
    fn set_len(&self, length: u64) -> io::Result<()>;

    /// The length of the file.
    ///
    /// # Errors
    /// See above.
    fn length(&self) -> io::Result<u64>;
}

/// The file system of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        Ok(Arc::new(options.read(true).write(true).create(true).truncate(true).open(path)?))
    }

    fn open(&self, path: &Path, is_writable: bool) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(OpenOptions::new().read(true).write(is_writable).open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
    }
}

impl DiskFile for File {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, position)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<usize> {
        FileExt::write_at(self, bytes, position)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn allocate(&self, from: u64, to: u64) -> io::Result<()> {
        match rustix::fs::fallocate(self, FallocateFlags::empty(), from, to.saturating_sub(from)) {
            // Some file systems cannot reserve; there a full disk shows when writing.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => File::set_len(self, to),
            result => Ok(result?),
        }
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        File::set_len(self, length)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

/// Writes all bytes, however many calls it takes.
pub(crate) fn write_all(
    file: &dyn DiskFile,
    mut bytes: &[u8],
    mut position: u64,
) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(bytes, position) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                position += count as u64;
                bytes = bytes.get(count..).unwrap_or_default();
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads until the buffer is full or the file ends; says how many bytes came.
pub(crate) fn read_full(
    file: &dyn DiskFile,
    buffer: &mut [u8],
    position: u64,
) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, position + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}
