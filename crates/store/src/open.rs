//! Opens a store's folder: reads the manifest, checks that its files are there, and clears away
//! what a crash left behind.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use axle_domain::Error;
use tracing::info;

use crate::data_file::DataFile;
use crate::failure::{corrupt, io};
use crate::layout::Layout;
use crate::manifest::Manifest;
use crate::store::StreamState;

/// Creates the folder and keeps other processes out of it.
pub(crate) fn lock(folder: &Path) -> Result<File, Error> {
    std::fs::create_dir_all(folder).map_err(|error| io("create the store's folder", error))?;
    let lock = File::create(folder.join("lock")).map_err(|error| io("lock the store", error))?;
    lock.try_lock().map_err(|error| {
        let message = "the telemetry store is open in another process; stop that one first";
        Error::unavailable("store.locked", message).with_source(error)
    })?;
    Ok(lock)
}

/// The manifest and the files it names.
pub(crate) fn open(
    folder: &Path,
    layouts: &BTreeMap<String, Arc<Layout>>,
) -> Result<(Manifest, BTreeMap<String, StreamState>), Error> {
    let manifest = Manifest::read(folder)?;
    let mut streams: BTreeMap<String, StreamState> = BTreeMap::new();
    let mut known = HashSet::new();
    for entry in &manifest.files {
        let path = &entry.path;
        let length = std::fs::metadata(folder.join(path)).map(|metadata| metadata.len());
        match length {
            Ok(length) if length == entry.bytes => {}
            Ok(length) => {
                let expected = entry.bytes;
                let message = format!("telemetry file `{path}` has {length} bytes, not {expected}");
                return Err(corrupt("store.file_damaged", message));
            }
            Err(error) => {
                let message = format!("telemetry file `{path}` is missing or unreadable: {error}");
                return Err(corrupt("store.file_missing", message));
            }
        }
        known.insert(path.clone());
        let file = Arc::new(DataFile::new(entry.clone(), folder));
        streams.entry(entry.stream.clone()).or_default().files.push(file);
    }
    for stream in layouts.keys() {
        sweep(&folder.join(stream), stream, &known)?;
    }
    Ok((manifest, streams))
}

/// Removes files of our own naming that the manifest does not name: a crash came before it did.
fn sweep(folder: &Path, path: &str, known: &HashSet<String>) -> Result<(), Error> {
    let failed = |error| io("look through the store's folder", error);
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let path = format!("{path}/{name}");
        if entry.file_type().map_err(failed)?.is_dir() {
            sweep(&entry.path(), &path, known)?;
        } else if is_ours(name) && !known.contains(&path) {
            info!(file = %path, "removing a telemetry file that was never committed");
            std::fs::remove_file(entry.path()).map_err(failed)?;
        }
    }
    Ok(())
}

/// Whether a file name is one that this store gives: `flush-17.parquet` and the like.
fn is_ours(name: &str) -> bool {
    let Some(stem) = name.strip_suffix(".parquet") else { return false };
    let number = ["flush-", "settled-", "late-"].iter().find_map(|kind| stem.strip_prefix(kind));
    number.is_some_and(|n| !n.is_empty() && n.bytes().all(|byte| byte.is_ascii_digit()))
}
