//! The data directory: who holds it, which version wrote it, and the small files in it that
//! clients read.
//!
//! ```text
//! <data>/format           version of this layout      <data>/log/      messages
//! <data>/lock             held while a server runs     <data>/store/    telemetry
//! <data>/admin.token      bearer token, mode 0600      <data>/state.db  devices, commands, …
//! <data>/addresses.json   while a server is ready      <data>/ca.*      device authority
//! ```

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tracing::warn;

use crate::failure::{Exit, Failure};

/// Less free space than this is said at start.
const FREE_BYTES_WANTED: u64 = 1 << 30;
/// The version of the layout that this program writes.
const FORMAT: u32 = 1;
/// No small file of ours comes near this.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// The purpose of a server.
pub const SERVE: &str = "serve";
/// How often a lock is tried that is held for something short.
const LOCK_ATTEMPTS_MAX: u32 = 100;
/// Between two attempts.
const LOCK_PAUSE: std::time::Duration = std::time::Duration::from_millis(50);

/// Addresses of listeners by their names in `addresses.json`.
pub type Addresses = BTreeMap<String, String>;

/// A data directory that this process holds alone.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    // Held until the process ends or this is dropped.
    _lock: File,
}

impl DataDir {
    /// Creates the directory where there is none, and takes it. `purpose` tells others what for;
    /// a server is not waited for, anything else is soon over.
    ///
    /// # Errors
    /// `Conflict` when another process holds it, or when a newer axle wrote it; `Usage` when the
    /// path cannot be a data directory.
    pub fn open(path: &Path, purpose: &str) -> Result<Self, Failure> {
        create(path)?;
        let lock = lock(path, purpose)?;
        check_format(path)?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// The path of a file or folder in it.
    #[must_use]
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Says what a person should mend before it hurts: a secret that others may read, a disk that
    /// is nearly full.
    pub fn warn_if_exposed_or_full(&self) {
        for name in ["admin.token", "ca.key", "server.key"] {
            let mode = fs::metadata(self.join(name)).map(|metadata| metadata.permissions().mode());
            if mode.is_ok_and(|mode| mode & 0o077 != 0) {
                let path = self.join(name);
                warn!(path = %path.display(), "others may read this secret: `chmod 600` it");
            }
        }
        let free = rustix::fs::statvfs(&self.path)
            .map(|volume| volume.f_bavail.saturating_mul(volume.f_frsize));
        if let Ok(free) = free
            && free < FREE_BYTES_WANTED
        {
            warn!(bytes = free, "the disk of the data directory is nearly full");
        }
    }

    /// The administrator's token, if there is one yet.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn find_admin_token(&self) -> Result<Option<String>, Failure> {
        find_admin_token(&self.path)
    }

    /// Keeps the administrator's token; only the server's user may read it.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn put_admin_token(&self, token: &str) -> Result<(), Failure> {
        put(&self.path.join("admin.token"), format!("{token}\n").as_bytes(), 0o600)
    }

    /// Says where the listeners are: the server is ready.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn put_addresses(&self, addresses: &Addresses) -> Result<(), Failure> {
        let text = serde_json::to_string(addresses)
            .map_err(|error| Failure::new(Exit::Internal, error.to_string()))?;
        put(&self.path.join("addresses.json"), format!("{text}\n").as_bytes(), 0o644)
    }

    /// Says that the server is not ready any more.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn delete_addresses(&self) -> Result<(), Failure> {
        let path = self.path.join("addresses.json");
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(Failure::file("remove", &path, &error))
            }
            _gone => Ok(()),
        }
    }
}

/// Addresses of the server that is ready on a data directory, if there is one.
///
/// # Errors
/// When the file cannot be read.
pub fn find_addresses(data_dir: &Path) -> Result<Option<Addresses>, Failure> {
    let path = data_dir.join("addresses.json");
    let Some(text) = find(&path)? else { return Ok(None) };
    serde_json::from_str(&text).map(Some).map_err(|error| {
        Failure::new(Exit::Internal, format!("{}: {error}", path.display()))
            .with_hint("restart the server: it writes the file anew")
    })
}

/// Whether another process, mostly a server, holds a data directory.
///
/// # Errors
/// When its lock cannot be looked at.
pub fn is_in_use(data_dir: &Path) -> Result<bool, Failure> {
    let path = data_dir.join("lock");
    let failed = |error: &std::io::Error| Failure::file("read", &path, error);
    match File::open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed(&error)),
        Ok(file) => match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(failed(&error)),
        },
    }
}

/// The administrator's token of a data directory.
///
/// # Errors
/// When the file cannot be read.
pub fn find_admin_token(data_dir: &Path) -> Result<Option<String>, Failure> {
    Ok(find(&data_dir.join("admin.token"))?.map(|text| text.trim().to_owned()))
}

/// Writes a file so that a crash leaves the old one or the new one, never half of one.
///
/// # Errors
/// When the disk refuses.
pub fn put(path: &Path, contents: &[u8], mode: u32) -> Result<(), Failure> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    let attempt = || {
        // A leftover would keep the mode that it was made with.
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _gone => {}
        }
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        file.write_all(contents)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
            _ => Ok(()),
        }
    };
    attempt().map_err(|error| Failure::file("write", path, &error))
}

fn create(path: &Path) -> Result<(), Failure> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| {
        let message = format!("cannot create the data directory {}: {error}", path.display());
        Failure::usage(message).with_hint("`--data-dir DIR` with a folder that can be written")
    })
}

fn lock(path: &Path, purpose: &str) -> Result<File, Failure> {
    let failed = |error: &std::io::Error| {
        let message = format!("cannot use the data directory {}: {error}", path.display());
        Failure::usage(message).with_hint("`--data-dir DIR` with a folder that can be written")
    };
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let mut file = options.open(path.join("lock")).map_err(|error| failed(&error))?;
    let mut attempts = 0;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(failed(&error)),
        }
        let holder = holder(&mut file);
        attempts += 1;
        if holder.ends_with(SERVE) || attempts >= LOCK_ATTEMPTS_MAX {
            let message =
                format!("the data directory {} is in use by process {holder}", path.display(),);
            let hint = "stop that process, or choose another `--data-dir`";
            return Err(Failure::new(Exit::Conflict, message).with_hint(hint));
        }
        std::thread::sleep(LOCK_PAUSE);
    }
    let mut sign = || {
        file.set_len(0)?;
        file.seek(SeekFrom::Start(0))?;
        writeln!(file, "{} {purpose}", std::process::id())
    };
    sign().map_err(|error| failed(&error))?;
    Ok(file)
}

/// Who holds the lock: process and purpose. Their name is a courtesy; that they hold it is certain.
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.seek(SeekFrom::Start(0)).and_then(|_| file.take(64).read_to_string(&mut text));
    match read {
        Ok(_bytes) => text.trim().to_owned(),
        Err(_unreadable) => "unknown".to_owned(),
    }
}

fn check_format(path: &Path) -> Result<(), Failure> {
    let file = path.join("format");
    let Some(text) = find(&file)? else {
        return put(&file, format!("{FORMAT}\n").as_bytes(), 0o600);
    };
    let found = text.trim().parse::<u32>().map_err(|_no_number| {
        Failure::new(Exit::Refused, format!("{} holds no version", file.display()))
            .with_hint("restore the data directory from a backup, or choose an empty one")
    })?;
    if found > FORMAT {
        let message = format!(
            "the data directory {} has format {found}; this axle knows formats up to {FORMAT}",
            path.display()
        );
        return Err(Failure::new(Exit::Conflict, message)
            .with_hint("start the newer axle that wrote it; nothing was changed"));
    }
    Ok(())
}

fn find(path: &Path) -> Result<Option<String>, Failure> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound) => return Ok(None),
        Err(error) => return Err(Failure::file("read", path, &error)),
    };
    let mut text = String::new();
    file.take(FILE_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(|error| Failure::file("read", path, &error))?;
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_refused_and_told_the_first_ones_pid() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/data");
        let first = DataDir::open(&path, SERVE).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        let refused = DataDir::open(&path, SERVE).unwrap_err();
        assert_eq!(refused.exit, Exit::Conflict);
        assert!(refused.message.contains(&std::process::id().to_string()), "{refused}");
        drop(first);
        DataDir::open(&path, SERVE).unwrap();
    }

    #[test]
    fn a_newer_format_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        drop(DataDir::open(folder.path(), SERVE).unwrap());
        for (text, exit) in [("2\n", Exit::Conflict), ("?", Exit::Refused)] {
            fs::write(folder.path().join("format"), text).unwrap();
            assert_eq!(DataDir::open(folder.path(), SERVE).unwrap_err().exit, exit);
        }
    }

    #[test]
    fn keeps_the_token_from_others_and_removes_the_addresses() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::open(folder.path(), SERVE).unwrap();
        assert_eq!(data.find_admin_token().unwrap(), None);
        data.put_admin_token("axle_x").unwrap();
        assert_eq!(data.find_admin_token().unwrap().as_deref(), Some("axle_x"));
        let mode = fs::metadata(data.join("admin.token")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let addresses = Addresses::from([("http".to_owned(), "127.0.0.1:1".to_owned())]);
        data.put_addresses(&addresses).unwrap();
        assert_eq!(find_addresses(folder.path()).unwrap(), Some(addresses));
        data.delete_addresses().unwrap();
        data.delete_addresses().unwrap();
        assert_eq!(find_addresses(folder.path()).unwrap(), None);
    }
}
