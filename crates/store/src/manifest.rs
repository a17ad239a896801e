//! The manifest: which files there are, what is in them, and up to where the log is in them.
//!
//! One JSON document in one line, `{"sha256":"…","manifest":{…}}`, replaced as a whole; the hash
//! is of the bytes of the inner object. See `docs/formats/store-manifest.md`.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use axle_domain::Error;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::failure::{corrupt, internal, io};
use crate::range::Range;

/// The version that this code writes and reads.
const VERSION: u32 = 1;
/// Its name in the store's folder.
pub(crate) const NAME: &str = "manifest.json";
const NEW_NAME: &str = "manifest.json.new";

/// Where a file stands in the life of its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Tier {
    /// Written by one flush.
    Recent,
    /// Merged of several files of one day.
    Settled,
    /// Rows that came long after they happened, or whose clock was far off.
    Late,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileEntry {
    /// Its path below the store's folder, with `/`.
    pub(crate) path: String,
    /// The stream.
    pub(crate) stream: String,
    /// Its tier.
    pub(crate) tier: Tier,
    /// The day (`2026-11-20`), or for late rows the month (`2026-11`), of `time`.
    pub(crate) period: String,
    /// What its rows span.
    pub(crate) range: Range,
    /// Its length in bytes.
    pub(crate) bytes: u64,
    /// The SHA-256 of its bytes, in hexadecimal digits.
    pub(crate) sha256: String,
}

/// All of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    /// The version of this form.
    pub(crate) version: u32,
    /// One past the last record of the log whose rows are in the files.
    pub(crate) position: u64,
    /// Rows that merged into an equal one so far.
    pub(crate) collapsed_rows: u64,
    /// The number of the next file.
    pub(crate) next_file: u64,
    /// The files.
    pub(crate) files: Vec<FileEntry>,
}

impl Default for Manifest {
    fn default() -> Self {
        Self { version: VERSION, position: 0, collapsed_rows: 0, next_file: 1, files: Vec::new() }
    }
}

const HEAD: &str = "{\"sha256\":\"";
const NECK: &str = "\",\"manifest\":";
const TAIL: &str = "}\n";

impl Manifest {
    /// The bytes of the document.
    pub(crate) fn encode(&self) -> Result<String, Error> {
        let body =
            serde_json::to_string(self).map_err(|error| internal("store.manifest", error))?;
        Ok(format!("{HEAD}{}{NECK}{body}{TAIL}", hex(&Sha256::digest(body.as_bytes()))))
    }

    /// Reads and checks the document.
    pub(crate) fn decode(text: &str) -> Result<Self, Error> {
        let damaged = |what: &str| {
            let message = format!(
                "`{NAME}` {what}: restore it from a backup, or delete the store's folder to rebuild it from the log"
            );
            corrupt("store.manifest_damaged", message)
        };
        let inner = text.strip_prefix(HEAD).and_then(|rest| rest.split_once(NECK));
        let (hash, body) = inner.ok_or_else(|| damaged("is no manifest"))?;
        let body = body.strip_suffix(TAIL).ok_or_else(|| damaged("is cut off"))?;
        if hash != hex(&Sha256::digest(body.as_bytes())) {
            return Err(damaged("does not match its checksum"));
        }
        let manifest: Self = serde_json::from_str(body)
            .map_err(|error| damaged(&format!("is malformed ({error})")))?;
        if manifest.version != VERSION {
            let version = manifest.version;
            return Err(damaged(&format!("has version {version}, this axle reads {VERSION}")));
        }
        Ok(manifest)
    }

    /// Reads the manifest of a folder, if there is one.
    pub(crate) fn find(folder: &Path) -> Result<Option<Self>, Error> {
        match std::fs::read_to_string(folder.join(NAME)) {
            Ok(text) => Self::decode(&text).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io("read the store's manifest", error)),
        }
    }

    /// Replaces the manifest of a folder. When it returns the new one survives a crash.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), WriteError> {
        let failed = |error| io("write the store's manifest", error);
        let path = folder.join(NEW_NAME);
        let prepare = || {
            let text = self.encode()?;
            // Never an old file again: what a failed sync left of it may count as written.
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(failed(error));
                }
                _ => {}
            }
            let mut file = File::create(&path).map_err(failed)?;
            file.write_all(text.as_bytes()).map_err(failed)?;
            file.sync_all().map_err(failed)
        };
        prepare().map_err(WriteError::Unchanged)?;
        let replaced = std::fs::rename(&path, folder.join(NAME)).map_err(failed);
        replaced.and_then(|()| sync_folder(folder)).map_err(WriteError::Open)
    }
}

/// Why the manifest was not replaced.
#[derive(Debug)]
pub(crate) enum WriteError {
    /// The old one is there and stays; the same may be tried again.
    Unchanged(Error),
    /// Either may be there after a crash: only reading it again can tell. No file that either of
    /// them names may be removed.
    Open(Error),
}

impl WriteError {
    /// What happened, whatever is on disk now.
    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::Unchanged(error) | Self::Open(error) => error,
        }
    }
}

/// Brings the names in a folder to disk.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), Error> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| io("sync a folder of the store", error))
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string cannot fail.
        write!(text, "{byte:02x}").ok();
        text
    })
}
