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
use crate::manifest::{Manifest, WriteError};
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
    let manifest = match Manifest::find(folder)? {
        Some(manifest) => manifest,
        None => begin(folder, layouts)?,
    };
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
        // The manifest does not name them: a crash came before it did.
        visit(&folder.join(stream), stream, &mut |path, full| {
            if known.contains(path) {
                return Ok(());
            }
            info!(file = %path, "removing a telemetry file that was never committed");
            std::fs::remove_file(full).map_err(|error| io("look through the store's folder", error))
        })?;
    }
    Ok((manifest, streams))
}

/// The empty manifest of a new store, on disk before any telemetry file: from then on a missing
/// manifest is a loss, and never taken for a new store whose files may be swept.
fn begin(folder: &Path, layouts: &BTreeMap<String, Arc<Layout>>) -> Result<Manifest, Error> {
    refuse_orphans(folder, layouts.keys())?;
    let manifest = Manifest::default();
    manifest.write(folder).map_err(WriteError::into_error)?;
    Ok(manifest)
}

/// Refuses telemetry files that no manifest can name.
pub(crate) fn refuse_orphans<'a>(
    folder: &Path,
    streams: impl Iterator<Item = &'a String>,
) -> Result<(), Error> {
    for stream in streams {
        visit(&folder.join(stream), stream, &mut |path, _full| {
            let message = format!(
                "`manifest.json` is missing in {}, though there are telemetry files such as \
                 `{path}`: restore it from a backup, or delete the store's folder to rebuild it \
                 from the log",
                folder.display()
            );
            Err(corrupt("store.manifest_missing", message))
        })?;
    }
    Ok(())
}

/// Shows each file of our own naming, by its path below the store's folder and its whole path.
fn visit(
    folder: &Path,
    path: &str,
    show: &mut dyn FnMut(&str, &Path) -> Result<(), Error>,
) -> Result<(), Error> {
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
            visit(&entry.path(), &path, show)?;
        } else if is_ours(name) {
            show(&path, &entry.path())?;
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
