//! Checks a store that nobody has open: the manifest, and every file against it.

use std::path::Path;

use axle_domain::{Error, Schemas};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};

use crate::data_file::digest;
use crate::failure::{corrupt, io};
use crate::layout::Layout;
use crate::manifest::{FileEntry, Manifest};
use crate::open::refuse_orphans;

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Files that the manifest names.
    pub files: u64,
    /// Rows in them.
    pub rows: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// One past the last record of the log whose rows are in files.
    pub position: u64,
    /// What is wrong, one sentence each; empty if the store is sound.
    pub problems: Vec<String>,
}

/// Reads everything and changes nothing.
///
/// # Errors
/// `Corrupt` where the manifest cannot be read; damage of single files stands in the report.
pub fn verify(folder: &Path, schemas: &Schemas) -> Result<VerifyReport, Error> {
    let manifest = match Manifest::find(folder)? {
        Some(manifest) => manifest,
        None => {
            let streams: Vec<String> =
                schemas.iter().map(|schema| schema.name.as_str().to_owned()).collect();
            refuse_orphans(folder, streams.iter())?;
            Manifest::default()
        }
    };
    let mut report = VerifyReport { position: manifest.position, ..VerifyReport::default() };
    for entry in &manifest.files {
        report.files += 1;
        report.rows += entry.range.rows;
        report.bytes += entry.bytes;
        if let Err(error) = check(folder, entry, schemas) {
            report.problems.push(error.message);
        }
    }
    Ok(report)
}

fn check(folder: &Path, entry: &FileEntry, schemas: &Schemas) -> Result<(), Error> {
    let path = &entry.path;
    let damaged =
        |what: String| corrupt("store.file_damaged", format!("telemetry file `{path}` {what}"));
    let mut file = std::fs::File::open(folder.join(path))
        .map_err(|error| damaged(format!("cannot be opened: {error}")))?;
    let (bytes, sha256) = digest(&mut file).map_err(|error| io("read a telemetry file", error))?;
    if bytes != entry.bytes {
        return Err(damaged(format!("has {bytes} bytes, the manifest says {}", entry.bytes)));
    }
    if sha256 != entry.sha256 {
        return Err(damaged("does not match its checksum".to_owned()));
    }
    let footer = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new())
        .map_err(|error| damaged(format!("has no readable footer: {error}")))?;
    let rows = footer.metadata().file_metadata().num_rows();
    if u64::try_from(rows).ok() != Some(entry.range.rows) {
        return Err(damaged(format!("has {rows} rows, the manifest says {}", entry.range.rows)));
    }
    let Some(stream) = schemas.find(&entry.stream) else {
        return Err(damaged(format!("is of an unknown stream `{}`", entry.stream)));
    };
    let layout = Layout::new(std::sync::Arc::clone(stream));
    let options = ArrowReaderOptions::new().with_schema(std::sync::Arc::clone(&layout.file));
    ArrowReaderMetadata::try_new(std::sync::Arc::clone(footer.metadata()), options)
        .map_err(|error| damaged(format!("has other column types: {error}")))?;
    Ok(())
}
