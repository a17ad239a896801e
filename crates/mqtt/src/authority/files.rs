//! Key and certificate files: read whole, written whole.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use axle_domain::{Error, Kind};

/// No key or certificate of ours comes near this.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Who may read a file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Only the server's user.
    Owner,
    /// Everyone.
    Everyone,
}

/// The text of a file, if there is one.
pub(super) fn find(path: &Path) -> Result<Option<String>, Error> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unavailable(path, "read", error)),
    };
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX)
        .read_to_end(&mut bytes)
        .map_err(|error| unavailable(path, "read", error))?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(text)),
        Err(_binary) => Err(corrupt(path, "it is not PEM")),
    }
}

/// Takes a key away from whoever but its owner may read it: a backup that was unpacked by another
/// mask, say.
pub(super) fn protect(path: &Path) -> Result<(), Error> {
    let mode = |path: &Path| fs::metadata(path).map(|it| it.permissions().mode());
    let is_open = mode(path).map_err(|error| unavailable(path, "read", error))? & 0o077 != 0;
    if !is_open {
        return Ok(());
    }
    tracing::warn!(file = %path.display(), "others could read this key; now its owner alone can");
    fs::set_permissions(path, Permissions::from_mode(0o600))
        .map_err(|error| unavailable(path, "write", error))
}

/// Writes a file so that a crash leaves the old one or the new one, never half of one.
pub(super) fn write(path: &Path, contents: &[u8], access: Access) -> Result<(), Error> {
    let temporary = path.with_extension("tmp");
    let mode = if access == Access::Owner { 0o600 } else { 0o644 };
    let attempt = || {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(mode);
        let mut file = options.open(&temporary)?;
        // A leftover keeps the mode that it was made with.
        file.set_permissions(Permissions::from_mode(mode))?;
        file.write_all(contents)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    };
    attempt().map_err(|error| unavailable(path, "write", error))
}

/// Makes what was renamed or removed in a folder lasting.
pub(super) fn sync_folder(folder: &Path) -> Result<(), Error> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| unavailable(folder, "write", error))
}

pub(super) fn corrupt(path: &Path, reason: &str) -> Error {
    let message = format!("{}: {reason}", path.display());
    Error::new(Kind::Corrupt, "authority.file_invalid", message)
}

pub(super) fn unavailable(path: &Path, verb: &str, error: std::io::Error) -> Error {
    let message = format!("cannot {verb} {}: {error}", path.display());
    Error::unavailable("authority.file_unavailable", message).with_source(error)
}
